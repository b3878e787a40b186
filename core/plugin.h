/* SPDX-License-Identifier: Apache-2.0 */
/* The registries: which loaded plugin provides a backend, a codec, a key wrap.
 *
 * Filled by the loader before the first thread, then only read, by any thread. */
#ifndef CORE_PLUGIN_H
#define CORE_PLUGIN_H

#include "base/error.h"

#include <bucketdisk/plugin.h>

#include <stdbool.h>

struct plugin {
    char *path;
    char *name;            /* from the file name: "backend-dir" */
    struct error why;      /* "" when it is usable */
    struct bd_plugin desc; /* copied by size; zeros where theirs is shorter; version "" if NULL */
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

/* "dir" of "backend-dir": what prefixes its options. */
const char *plugin_owner(const struct plugin *plugin);
/* A token that two codecs have, as an exact name or alias; NULL when there is none. */
const char *codecs_common_token(const struct bd_codec *a, const struct bd_codec *b);
/* Has it nothing against its options?  Asked where it is used, when all of them are set.  -EINVAL, and why. */
int plugin_check(const struct plugin *plugin, struct error *why);
/* Free our copies of its tables, so that it provides nothing. */
void plugin_clear(struct plugin *plugin);

/* Do no two plugins claim the same token or key wrap, or this one?  0, or -EEXIST naming both.  Asked where one is used:
 * a plugin that nobody uses is in nobody's way. */
int plugins_check(const struct plugins *plugins, struct error *why);
int plugins_check_token(const struct plugins *plugins, const char *token, struct error *why);
int plugins_check_keywrap(const struct plugins *plugins, const char *name, struct error *why);
/* Frees our copies; the modules stay. */
void plugins_free(struct plugins *plugins);

/* The usable plugin that provides backend `name` ("dir", or "backend-dir"); else NULL with why: not
 * found (naming what was found and where it was searched), or found and no good (saying why). */
const struct plugin *plugins_backend(const struct plugins *plugins, const char *name,
                                     struct error *why);
/* The codec for a token of any case: exact names and aliases first, then match().  NULL: none. */
const struct bd_codec *plugins_codec(const struct plugins *plugins, const char *token,
                                     const struct plugin **owner);

/* The key wrap of this name, and whose it is.  NULL: none. */
const struct bd_keywrap *plugins_keywrap(const struct plugins *plugins, const char *name,
                                         const struct plugin **owner);

#endif
