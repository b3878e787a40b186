/* SPDX-License-Identifier: Apache-2.0 */
/* The loader: finds plugins in the places of the search path, and opens them.
 *
 * All plugins that are found are loaded, before the first thread, and stay loaded for the life of the
 * process.  A file that is no good is kept with the sentence that says so: it only matters when
 * somebody asks for what it would have provided. */
#ifndef CORE_LOADER_H
#define CORE_LOADER_H

#include "plugin.h"

struct plugin_search {
    const char *extra; /* --plugin-path: colon-separated absolute directories or .so files; NULL */
    bool builtin_only; /* only the directory that the program was built or installed with */
};

/* Search, load, check.  Fails only when nothing can be searched at all (out of memory, --plugin-path
 * not absolute); then `plugins` is empty. */
int plugins_load(struct plugins *plugins, const struct plugin_search *search, struct error *why);

#endif
