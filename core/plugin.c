/* SPDX-License-Identifier: Apache-2.0 */
/* The registries: which loaded plugin provides a backend, a codec, a key wrap. */
#include "plugin.h"

#include "base/util.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

void
plugin_clear(struct plugin *plugin)
{
    free(plugin->codecs);
    free(plugin->keywraps);
    free(plugin->options);
    free(plugin->option_fields);
    plugin->codecs = NULL;
    plugin->keywraps = NULL;
    plugin->options = NULL;
    plugin->option_fields = NULL;
    memset(&plugin->desc, 0, sizeof plugin->desc);
    memset(&plugin->backend, 0, sizeof plugin->backend);
}

void
plugins_free(struct plugins *plugins)
{
    for (unsigned i = 0; i < plugins->count; i++) {
        plugin_clear(&plugins->all[i]);
        free(plugins->all[i].path);
        free(plugins->all[i].name);
    }
    free(plugins->all);
    free(plugins->searched);
    memset(plugins, 0, sizeof *plugins);
}

const char *
plugin_owner(const struct plugin *plugin)
{
    static const char *const kinds[] = { "backend-", "codec-", "crypto-" };

    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        size_t len = strlen(kinds[i]);

        if (strncmp(plugin->name, kinds[i], len) == 0 && plugin->name[len] != '\0')
            return plugin->name + len;
    }
    return plugin->name;
}

int
plugin_check(const struct plugin *plugin, struct error *why)
{
    struct error reason = { "" };

    if (plugin->desc.check == NULL
        || plugin->desc.check(plugin->option_fields, reason.text, sizeof reason.text) == BD_OK)
        return 0;
    return error_set(why, -EINVAL, "%s",
                     reason.text[0] != '\0' ? reason.text : "its plugin refuses its options");
}

/* ------------------------------------------------------------------ claims */

static bool
codec_has_token(const struct bd_codec *codec, const char *token)
{
    if (strcasecmp(codec->token, token) == 0)
        return true;
    for (unsigned i = 0; codec->aliases != NULL && codec->aliases[i] != NULL; i++) {
        if (strcasecmp(codec->aliases[i], token) == 0)
            return true;
    }
    return false;
}

const char *
codecs_common_token(const struct bd_codec *a, const struct bd_codec *b)
{
    if (codec_has_token(b, a->token))
        return a->token;
    for (unsigned i = 0; a->aliases != NULL && a->aliases[i] != NULL; i++) {
        if (codec_has_token(b, a->aliases[i]))
            return a->aliases[i];
    }
    return NULL;
}

static int
claimed_twice(const char *what, const char *name, const struct plugin *a, const struct plugin *b,
              struct error *why)
{
    return error_set(why, -EEXIST, "two plugins claim the %s \"%s\": %s and %s; remove one of them",
                     what, name, a->path, b->path);
}

static int
plugins_check_pair(const struct plugin *a, const struct plugin *b, struct error *why)
{
    for (uint32_t i = 0; i < a->desc.codec_count; i++) {
        for (uint32_t j = 0; j < b->desc.codec_count; j++) {
            const char *token = codecs_common_token(&a->codecs[i], &b->codecs[j]);

            if (token != NULL)
                return claimed_twice("token", token, a, b, why);
        }
    }
    for (uint32_t i = 0; i < a->desc.keywrap_count; i++) {
        for (uint32_t j = 0; j < b->desc.keywrap_count; j++) {
            if (strcmp(a->keywraps[i].name, b->keywraps[j].name) == 0)
                return claimed_twice("key wrap", a->keywraps[i].name, a, b, why);
        }
    }
    return 0;
}

int
plugins_check_token(const struct plugins *plugins, const char *token, struct error *why)
{
    const struct plugin *first = NULL;

    for (unsigned i = 0; i < plugins->count; i++) {
        const struct plugin *plugin = &plugins->all[i];
        bool has_it = false;

        for (uint32_t j = 0; j < plugin->desc.codec_count; j++)
            has_it = has_it || codec_has_token(&plugin->codecs[j], token);
        if (has_it && first != NULL)
            return claimed_twice("token", token, first, plugin, why);
        if (has_it)
            first = plugin;
    }
    return 0;
}

int
plugins_check_keywrap(const struct plugins *plugins, const char *name, struct error *why)
{
    const struct plugin *first = NULL;

    for (unsigned i = 0; i < plugins->count; i++) {
        const struct plugin *plugin = &plugins->all[i];
        bool has_it = false;

        for (uint32_t j = 0; j < plugin->desc.keywrap_count; j++)
            has_it = has_it || strcmp(plugin->keywraps[j].name, name) == 0;
        if (has_it && first != NULL)
            return claimed_twice("key wrap", name, first, plugin, why);
        if (has_it)
            first = plugin;
    }
    return 0;
}

int
plugins_check(const struct plugins *plugins, struct error *why)
{
    int rc = 0;

    for (unsigned i = 0; rc == 0 && i < plugins->count; i++) {
        for (unsigned j = 0; rc == 0 && j < i; j++)
            rc = plugins_check_pair(&plugins->all[j], &plugins->all[i], why);
    }
    return rc;
}

/* ------------------------------------------------------------------ the registries */

/* The names of the usable backends, joined by ", ". */
static void
backends_join(const struct plugins *plugins, char *out, size_t out_bytes)
{
    size_t len = 0;

    snprintf(out, out_bytes, "none");
    for (unsigned i = 0; i < plugins->count && len < out_bytes; i++) {
        if (plugins->all[i].desc.backend != NULL)
            len += (size_t)snprintf(out + len, out_bytes - len, "%s%s", len > 0 ? ", " : "",
                                    plugin_owner(&plugins->all[i]));
    }
}

const struct plugin *
plugins_backend(const struct plugins *plugins, const char *name, struct error *why)
{
    char found[160];

    for (unsigned i = 0; i < plugins->count; i++) {
        const struct plugin *plugin = &plugins->all[i];
        const bool is_named =
            strcmp(plugin->name, name) == 0
            || (strncmp(plugin->name, "backend-", 8) == 0 && strcmp(plugin->name + 8, name) == 0);

        if (!is_named)
            continue;
        if (plugin->why.text[0] != '\0') {
            error_set(why, 0, "backend \"%.60s\" is no good: %.400s", name, plugin->why.text);
            return NULL;
        }
        if (plugin->desc.backend == NULL) {
            error_set(why, 0, "plugin \"%.60s\" (%.300s) provides no backend", name, plugin->path);
            return NULL;
        }
        return plugin;
    }
    backends_join(plugins, found, sizeof found);
    error_set(why, 0, "there is no backend \"%.60s\"; found: %s; searched: %.200s", name, found,
              plugins->searched != NULL ? plugins->searched : "nowhere");
    return NULL;
}

static const struct bd_codec *
codec_found(const struct plugin *plugin, const struct bd_codec *codec, const struct plugin **owner)
{
    if (owner != NULL)
        *owner = plugin;
    return codec;
}

const struct bd_codec *
plugins_codec(const struct plugins *plugins, const char *token, const struct plugin **owner)
{
    char lower[BD_TOKEN_BYTES_MAX + 1];
    size_t len = strlen(token);

    for (unsigned i = 0; i < plugins->count; i++) {
        const struct plugin *plugin = &plugins->all[i];

        for (uint32_t j = 0; j < plugin->desc.codec_count; j++) {
            if (codec_has_token(&plugin->codecs[j], token))
                return codec_found(plugin, &plugin->codecs[j], owner);
        }
    }
    if (len == 0 || len > BD_TOKEN_BYTES_MAX)
        return NULL;
    for (size_t i = 0; i <= len; i++)
        lower[i] = token[i] >= 'A' && token[i] <= 'Z' ? (char)(token[i] + ('a' - 'A')) : token[i];
    for (unsigned i = 0; i < plugins->count; i++) {
        const struct plugin *plugin = &plugins->all[i];

        for (uint32_t j = 0; j < plugin->desc.codec_count; j++) {
            if (plugin->codecs[j].match != NULL && plugin->codecs[j].match(lower))
                return codec_found(plugin, &plugin->codecs[j], owner);
        }
    }
    return NULL;
}

const struct bd_keywrap *
plugins_keywrap(const struct plugins *plugins, const char *name, const struct plugin **owner)
{
    for (unsigned i = 0; i < plugins->count; i++) {
        const struct plugin *plugin = &plugins->all[i];

        for (uint32_t j = 0; j < plugin->desc.keywrap_count; j++) {
            if (strcmp(plugin->keywraps[j].name, name) == 0) {
                *owner = plugin;
                return &plugin->keywraps[j];
            }
        }
    }
    return NULL;
}
