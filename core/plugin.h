/* SPDX-License-Identifier: Apache-2.0 */
/* The loader: finds plugins, negotiates versions, keeps the registries.
 *
 * All plugins that are found are loaded, before the first thread, and stay loaded for the life of the
 * process.  A file that is no good is kept with the sentence that says so: it only matters when
 * somebody asks for what it would have provided. */
#ifndef CORE_PLUGIN_H
#define CORE_PLUGIN_H

#include "base/error.h"

#include <bucketdisk/plugin.h>

#include <stdbool.h>
#include <sys/types.h>

struct plugin {
    char *path;
    char *name;              /* from the file name: "backend-dir" */
    struct error why;        /* "" when it is usable */
    struct bd_plugin desc;   /* copied by size; zeros where theirs is shorter; version "" if NULL */
    struct bd_backend backend; /* valid if desc.backend != NULL */
    struct bd_codec *codecs;   /* desc.codec_count of them, copied by size and stride */
    struct bd_keywrap *keywraps;
    struct bd_option *options; /* desc.option_count of them, copied by size and stride */
    void *option_fields;       /* desc.options_bytes, zeroed; the options module fills it */
};

struct plugins {
    struct plugin *all;
    unsigned count;
    char *searched; /* the places looked in, joined by ", " */
};

struct plugin_search {
    const char *extra;    /* --plugin-path: colon-separated absolute directories or .so files; NULL */
    bool builtin_only;    /* only the directory that the program was built or installed with */
};

/* Search, load, check.  Fails only when nothing can be searched at all (out of memory, --plugin-path
 * not absolute).  Two plugins that claim the same exact token, or key wrap: -EEXIST naming both; `plugins`
 * is filled then, too.  After any other failure it is empty. */
int plugins_load(struct plugins *plugins, const struct plugin_search *search, struct error *why);
/* Frees our copies; the modules stay. */
void plugins_free(struct plugins *plugins);

/* The usable plugin that provides backend `name` ("dir", or "backend-dir"); else NULL with why: not
 * found (naming what was found and where it was searched), or found and no good (saying why). */
const struct plugin *plugins_backend(const struct plugins *plugins, const char *name,
                                     struct error *why);
/* The codec for a token of any case: exact names and aliases first, then match().  NULL: none. */
const struct bd_codec *plugins_codec(const struct plugins *plugins, const char *token,
                                     const struct plugin **owner);

/* Would root trust the file at this absolute path: it and every directory and link on
 * the way belong to root, or to `owner_too`, and nobody else may write there?
 * -EPERM naming the part at fault, or the errno of looking at it. */
int plugin_path_trust(const char *path, uid_t owner_too, struct error *why);

/* "dir" of "backend-dir": what prefixes its options. */
const char *plugin_owner(const struct plugin *plugin);

#endif
