/* SPDX-License-Identifier: Apache-2.0 */
/* What a plugin says of itself: copied into tables of ours, and checked.
 *
 * Everything a plugin hands us is data from outside until it has passed here: each table is copied
 * by its own size into a zeroed struct of ours, then checked, so that the core meets only whole
 * tables whose required functions are there.  Nothing is written to a plugin's own tables. */
#include "negotiate.h"

#include "base/options.h"

#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Far above what any plugin needs; a number beyond them is garbage. */
enum {
    NAME_BYTES_MAX = 48,
    ALIASES_MAX = 64,
    OPTIONS_MAX = 1000,
    TABLES_MAX = 1000,
    STRIDE_MAX = 4096,
    TABLE_BYTES_MAX = 64 * 1024,
    OPTIONS_BYTES_MAX = 1024 * 1024,
    SCRATCH_BYTES_MAX = 1024 * 1024,
};

/* ------------------------------------------------------------------ tables and arrays */

/* Copy a table of theirs, which begins with a bd_head, into a zeroed one of ours.  `needed` bytes
 * must be there; `room` bytes, if not 0, are all that it may take. */
static int
table_copy(const void *theirs, uint32_t magic, size_t needed, size_t room, const char *what,
           void *ours, size_t ours_bytes, struct error *why)
{
    struct bd_head head;

    memcpy(&head, theirs, sizeof head);
    if (head.magic != magic)
        return error_set(why, -EINVAL,
                         "%s begins with 0x%08" PRIx32 " instead of 0x%08" PRIx32
                         ": it is no such table; BD_HEAD fills the head of one",
                         what, head.magic, magic);
    if (head.abi_major != BD_ABI_MAJOR)
        return error_set(why, -EINVAL,
                         "%s is made for plugin ABI %" PRIu32 ", and this bucketdisk has ABI %u: "
                         "build the plugin with this version's plugin.h",
                         what, head.abi_major, BD_ABI_MAJOR);
    if (head.flags != 0)
        return error_set(why, -EINVAL,
                         "%s has flags 0x%" PRIx32
                         ", which this bucketdisk does not know: it needs a "
                         "newer bucketdisk",
                         what, head.flags);
    if (head.size < needed || head.size > TABLE_BYTES_MAX)
        return error_set(why, -EINVAL,
                         "%s says that it is %" PRIu32 " bytes long; at least %zu are "
                         "needed: BD_HEAD fills that in",
                         what, head.size, needed);
    if (room != 0 && head.size > room)
        return error_set(why, -EINVAL,
                         "%s is %" PRIu32 " bytes long but only %zu bytes from the next", what,
                         head.size, room);
    memset(ours, 0, ours_bytes);
    memcpy(ours, theirs, head.size < ours_bytes ? head.size : ours_bytes);
    return 0;
}

/* An array of theirs: pointer, count and stride must make sense together. */
static int
array_check(const char *what, const void *rows, uint32_t count, uint32_t count_max, uint32_t stride,
            size_t stride_min, struct error *why)
{
    if (count == 0)
        return 0;
    if (rows == NULL)
        return error_set(why, -EINVAL, "it says that it has %" PRIu32 " %s, but not where", count,
                         what);
    if (count > count_max)
        return error_set(why, -EINVAL,
                         "it says that it has %" PRIu32 " %s; at most %" PRIu32 " are allowed",
                         count, what, count_max);
    if (stride < stride_min || stride > STRIDE_MAX || stride % sizeof(void *) != 0)
        return error_set(why, -EINVAL,
                         "the stride of its %s is %" PRIu32
                         " bytes; a multiple of %zu, at least %zu, "
                         "is needed: it is the size of one of them",
                         what, stride, sizeof(void *), stride_min);
    return 0;
}

static bool
text_is_plain(const char *text, const char *extra, size_t bytes_max)
{
    size_t len = strlen(text);

    if (len == 0 || len > bytes_max
        || strchr("abcdefghijklmnopqrstuvwxyz0123456789", text[0]) == NULL)
        return false;
    for (size_t i = 1; i < len; i++) {
        if (!((text[i] >= 'a' && text[i] <= 'z') || (text[i] >= '0' && text[i] <= '9')
              || strchr(extra, text[i]) != NULL))
            return false;
    }
    return true;
}

/* What is not used yet may mean something to a later host, and then whoever left garbage in it is misread. */
static int
reserved_check(const char *what, uint32_t value, struct error *why)
{
    if (value == 0)
        return 0;
    return error_set(why, -EINVAL,
                     "%s has 0x%" PRIx32 " in a member that is reserved and must be 0", what,
                     value);
}

static int
missing(const char *what, const char *operation, struct error *why)
{
    return error_set(why, -EINVAL, "%s has no function \"%s\", which is required", what, operation);
}

/* ------------------------------------------------------------------ backend */

static int
backend_take(struct plugin *plugin, struct error *why)
{
    const uint32_t known = BD_BACKEND_STACKS;
    struct bd_backend *backend = &plugin->backend;
    int rc;

    if (plugin->desc.backend == NULL)
        return 0;
    rc = table_copy(plugin->desc.backend, BD_MAGIC_BACKEND,
                    offsetof(struct bd_backend, close) + sizeof backend->close, 0,
                    "its backend table", backend, sizeof *backend, why);
    if (rc != 0)
        return rc;
    if (backend->open == NULL)
        return missing("its backend", "open", why);
    if (backend->info == NULL)
        return missing("its backend", "info", why);
    if (backend->submit == NULL)
        return missing("its backend", "submit", why);
    if (backend->close == NULL)
        return missing("its backend", "close", why);
    if (backend->traits & ~known)
        return error_set(why, -EINVAL,
                         "its backend has traits 0x%" PRIx32 ", of which this bucketdisk "
                         "knows 0x%" PRIx32 ": it needs a newer bucketdisk",
                         backend->traits, known);
    if (backend->scratch_bytes > SCRATCH_BYTES_MAX)
        return error_set(why, -EINVAL,
                         "its backend wants %" PRIu32 " bytes of scratch in each request; "
                         "at most %d are allowed",
                         backend->scratch_bytes, SCRATCH_BYTES_MAX);
    return 0;
}

/* ------------------------------------------------------------------ codecs */

static int
token_check(const char *token, struct error *why)
{
    if (token == NULL || !text_is_plain(token, "-_.+", BD_TOKEN_BYTES_MAX))
        return error_set(why, -EINVAL,
                         "a codec has the token \"%.80s\": lower-case letters, digits and -_.+ are "
                         "allowed, at most %d",
                         token != NULL ? token : "", BD_TOKEN_BYTES_MAX);
    if (strcmp(token, "identity") == 0)
        return error_set(why, -EINVAL, "a codec has the token \"identity\", which means no codec");
    return 0;
}

static int
traits_check(const struct bd_codec *codec, struct error *why)
{
    const uint32_t kinds =
        BD_CODEC_COMPRESSES | BD_CODEC_ENCRYPTS | BD_CODEC_AUTHENTICATES | BD_CODEC_TRANSFORMS;
    const uint32_t known = kinds | BD_CODEC_MAY_DECLINE | BD_CODEC_DECODE_ONLY | BD_CODEC_BINDS;
    const uint32_t traits = codec->traits;
    const char *problem = NULL;

    if (traits & ~known)
        problem = "has traits that this bucketdisk does not know: it needs a newer bucketdisk";
    else if ((traits & BD_CODEC_ENCRYPTS) && (traits & BD_CODEC_MAY_DECLINE))
        problem = "encrypts and may decline: then a block could be stored plain";
    else if ((traits & BD_CODEC_AUTHENTICATES) && (traits & BD_CODEC_MAY_DECLINE))
        problem = "authenticates and may decline: then a block could be stored unprotected";
    else if ((traits & BD_CODEC_COMPRESSES)
             && (traits & (BD_CODEC_ENCRYPTS | BD_CODEC_AUTHENTICATES)))
        problem = "compresses and also encrypts or authenticates: its place in a chain is not "
                  "determined; make it two codecs";
    else if ((traits & BD_CODEC_BINDS) && !(traits & BD_CODEC_AUTHENTICATES))
        problem = "binds a block to its place, and does not authenticate";
    else if ((traits & BD_CODEC_TRANSFORMS) && (traits & kinds) != BD_CODEC_TRANSFORMS)
        problem = "says that it only transforms, and that it does more";
    else if ((traits & kinds) == 0)
        problem = "says neither that it compresses, encrypts, authenticates nor transforms";
    if (problem != NULL)
        return error_set(why, -EINVAL, "codec \"%s\" %s", codec->token, problem);
    return 0;
}

static int
codec_check(const struct bd_codec *codec, struct error *why)
{
    const bool encodes = !(codec->traits & BD_CODEC_DECODE_ONLY);
    char what[BD_TOKEN_BYTES_MAX + 16];
    int rc = reserved_check("a codec table", codec->reserved, why);

    if (rc == 0)
        rc = token_check(codec->token, why);
    for (unsigned i = 0; rc == 0 && codec->aliases != NULL && codec->aliases[i] != NULL; i++) {
        if (i == ALIASES_MAX)
            return error_set(why, -EINVAL, "codec \"%s\" has more than %d aliases", codec->token,
                             ALIASES_MAX);
        rc = token_check(codec->aliases[i], why);
    }
    if (rc == 0)
        rc = traits_check(codec, why);
    if (rc != 0)
        return rc;
    snprintf(what, sizeof what, "codec \"%s\"", codec->token);
    if (codec->open == NULL)
        return missing(what, "open", why);
    if (codec->close == NULL)
        return missing(what, "close", why);
    if (codec->decode == NULL)
        return missing(what, "decode", why);
    if (encodes && codec->encode == NULL)
        return missing(what, "encode", why);
    if (encodes && codec->bound == NULL)
        return missing(what, "bound", why);
    if (codec->worker_new != NULL && codec->worker_free == NULL)
        return missing(what, "worker_free", why);
    if (codec->worker_new == NULL && codec->worker_free != NULL)
        return missing(what, "worker_new", why);
    return 0;
}

static int
codecs_take(struct plugin *plugin, struct error *why)
{
    const struct bd_plugin *desc = &plugin->desc;
    const size_t needed = offsetof(struct bd_codec, decode) + sizeof plugin->codecs->decode;
    int rc = array_check("codecs", desc->codecs, desc->codec_count, TABLES_MAX, desc->codec_stride,
                         needed, why);

    if (rc != 0 || desc->codec_count == 0)
        return rc;
    plugin->codecs = calloc(desc->codec_count, sizeof *plugin->codecs);
    if (plugin->codecs == NULL)
        return error_set(why, -ENOMEM, "out of memory");
    for (uint32_t i = 0; rc == 0 && i < desc->codec_count; i++) {
        const char *theirs = (const char *)desc->codecs + (size_t)i * desc->codec_stride;

        rc = table_copy(theirs, BD_MAGIC_CODEC, needed, desc->codec_stride, "a codec table",
                        &plugin->codecs[i], sizeof *plugin->codecs, why);
        if (rc == 0)
            rc = codec_check(&plugin->codecs[i], why);
    }
    return rc;
}

/* ------------------------------------------------------------------ key wraps */

static int
keywrap_check(const struct bd_keywrap *keywrap, struct error *why)
{
    char what[NAME_BYTES_MAX + 16];

    if (keywrap->name == NULL || !text_is_plain(keywrap->name, "-", NAME_BYTES_MAX))
        return error_set(why, -EINVAL,
                         "a key wrap has the name \"%.80s\": lower-case letters, digits and - are "
                         "allowed, at most %d",
                         keywrap->name != NULL ? keywrap->name : "", NAME_BYTES_MAX);
    snprintf(what, sizeof what, "key wrap \"%s\"", keywrap->name);
    if (keywrap->wrap == NULL)
        return missing(what, "wrap", why);
    if (keywrap->unwrap == NULL)
        return missing(what, "unwrap", why);
    if (keywrap->subkey == NULL)
        return missing(what, "subkey", why);
    return 0;
}

static int
keywraps_take(struct plugin *plugin, struct error *why)
{
    const struct bd_plugin *desc = &plugin->desc;
    const size_t needed = offsetof(struct bd_keywrap, subkey) + sizeof plugin->keywraps->subkey;
    int rc = array_check("key wraps", desc->keywraps, desc->keywrap_count, TABLES_MAX,
                         desc->keywrap_stride, needed, why);

    if (rc != 0 || desc->keywrap_count == 0)
        return rc;
    plugin->keywraps = calloc(desc->keywrap_count, sizeof *plugin->keywraps);
    if (plugin->keywraps == NULL)
        return error_set(why, -ENOMEM, "out of memory");
    for (uint32_t i = 0; rc == 0 && i < desc->keywrap_count; i++) {
        const char *theirs = (const char *)desc->keywraps + (size_t)i * desc->keywrap_stride;

        rc = table_copy(theirs, BD_MAGIC_KEYWRAP, needed, desc->keywrap_stride, "a key wrap table",
                        &plugin->keywraps[i], sizeof *plugin->keywraps, why);
        if (rc == 0)
            rc = keywrap_check(&plugin->keywraps[i], why);
    }
    return rc;
}

/* ------------------------------------------------------------------ options */

static int
option_rows_take(struct plugin *plugin, struct error *why)
{
    const struct bd_plugin *desc = &plugin->desc;
    const size_t needed = offsetof(struct bd_option, help) + sizeof plugin->options->help;
    const uint32_t count = desc->option_count, stride = desc->option_stride;
    int rc = array_check("options", desc->options, count, OPTIONS_MAX, stride, needed, why);

    if (rc != 0)
        return rc;
    if (desc->options_bytes > OPTIONS_BYTES_MAX)
        return error_set(why, -EINVAL,
                         "its options struct has %" PRIu32 " bytes; at most %d are "
                         "allowed",
                         desc->options_bytes, OPTIONS_BYTES_MAX);
    rc =
        options_check(plugin_owner(plugin), desc->options, count, stride, desc->options_bytes, why);
    if (rc != 0)
        return rc;
    plugin->options = calloc(count + 1, sizeof *plugin->options);
    plugin->option_fields = calloc(1, desc->options_bytes + 1);
    if (plugin->options == NULL || plugin->option_fields == NULL)
        return error_set(why, -ENOMEM, "out of memory");
    for (uint32_t i = 0; i < count; i++)
        memcpy(&plugin->options[i], (const char *)desc->options + (size_t)i * stride,
               stride < sizeof *plugin->options ? stride : sizeof *plugin->options);
    return 0;
}

/* ------------------------------------------------------------------ the descriptor */

int
negotiate_name(const char *name, struct error *why)
{
    if (text_is_plain(name, "-", NAME_BYTES_MAX))
        return 0;
    return error_set(
        why, -EINVAL,
        "a plugin's file name has lower-case letters, digits and - before .so, at most "
        "%d",
        NAME_BYTES_MAX);
}

static int
identity_check(const struct plugin *plugin, struct error *why)
{
    const struct bd_plugin *desc = &plugin->desc;

    if (desc->name == NULL || desc->name[0] == '\0')
        return error_set(why, -EINVAL, "has no name in its descriptor");
    if (strcmp(desc->name, plugin->name) != 0)
        return error_set(
            why, -EINVAL,
            "calls itself \"%.80s\", but its file is named \"%s.so\": rename one of the two",
            desc->name, plugin->name);
    return 0;
}

int
negotiate_tables(struct plugin *plugin, const struct bd_plugin *theirs, struct error *why)
{
    struct bd_plugin *desc = &plugin->desc;
    int rc = table_copy(theirs, BD_MAGIC_PLUGIN,
                        offsetof(struct bd_plugin, summary) + sizeof desc->summary, 0,
                        "its descriptor", desc, sizeof *desc, why);

    if (rc == 0)
        rc = reserved_check("its descriptor", desc->reserved | desc->reserved2, why);
    if (rc == 0)
        rc = identity_check(plugin, why);
    if (rc != 0)
        return rc;
    if (desc->version == NULL)
        desc->version = "";
    if (desc->summary == NULL)
        desc->summary = "";
    if (desc->backend == NULL && desc->codec_count == 0 && desc->keywrap_count == 0)
        return error_set(why, -EINVAL, "provides nothing: no backend, no codec, no key wrap");
    rc = option_rows_take(plugin, why);
    if (rc == 0)
        rc = backend_take(plugin, why);
    if (rc == 0)
        rc = codecs_take(plugin, why);
    if (rc == 0)
        rc = keywraps_take(plugin, why);
    for (uint32_t i = 0; rc == 0 && i < desc->codec_count; i++) {
        for (uint32_t j = 0; rc == 0 && j < i; j++) {
            const char *token = codecs_common_token(&plugin->codecs[j], &plugin->codecs[i]);

            if (token != NULL)
                rc = error_set(why, -EINVAL, "two of its codecs claim the token \"%s\"", token);
        }
    }
    return rc;
}
