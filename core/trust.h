/* SPDX-License-Identifier: Apache-2.0 */
/* Who may put a file there: root loads nothing that somebody else could have written. */
#ifndef CORE_TRUST_H
#define CORE_TRUST_H

#include "base/error.h"

#include <sys/types.h>

/* Would root trust the plugin at this absolute path: it and every directory and link on
 * the way belong to root, or to `owner_too`, and nobody else may write there?
 * Any thread.
 * -EPERM naming the part at fault, or the errno of looking at it. */
int trust_path(const char *path, uid_t owner_too, struct error *why);

#endif
