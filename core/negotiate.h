/* SPDX-License-Identifier: Apache-2.0 */
/* What a plugin says of itself: copied into tables of ours, and checked. */
#ifndef CORE_NEGOTIATE_H
#define CORE_NEGOTIATE_H

#include "plugin.h"

/* May a plugin be called so?  0 or -EINVAL. */
int negotiate_name(const char *name, struct error *why);

/* Fill everything of `plugin` that comes from its descriptor, `theirs`, which is borrowed as long as
 * the plugin's module stays.  `plugin` has its path and name, and zeros elsewhere.
 * Called before the first thread.
 * Fails with -EINVAL (a table is no such table, or made for another ABI, or wrong), -ENOMEM;
 * plugin_clear then frees what was copied. */
int negotiate_tables(struct plugin *plugin, const struct bd_plugin *theirs, struct error *why);

#endif
