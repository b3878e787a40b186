/* SPDX-License-Identifier: Apache-2.0 */
/* The loader: finds plugins, negotiates versions, keeps the registries.
 *
 * Everything a plugin hands us is data from outside until it has passed here: each table is copied
 * by its own size into a zeroed struct of ours, then checked, so that the core meets only whole
 * tables whose required functions are there.  Nothing is written to a plugin's own tables. */
#include "plugin.h"

#include "base/log.h"
#include "base/options.h"
#include "host.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <ltdl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/auxv.h>
#include <sys/stat.h>
#include <unistd.h>

#define SUFFIX ".so"

/* Far above what any plugin needs; a number beyond them is garbage. */
enum {
    NAME_BYTES_MAX = 48,
    TOKEN_BYTES_MAX = 64,
    ALIASES_MAX = 64,
    OPTIONS_MAX = 1000,
    TABLES_MAX = 1000,
    STRIDE_MAX = 4096,
    TABLE_BYTES_MAX = 64 * 1024,
    OPTIONS_BYTES_MAX = 1024 * 1024,
    SCRATCH_BYTES_MAX = 1024 * 1024,
    LINKS_MAX = 40,
};

/* The directory of the running program, and whether it is a build tree. */
struct program {
    char dir[PATH_MAX];
    uid_t owner;
    bool is_build_tree;
};

/* ------------------------------------------------------------------ who may put a plugin there */

static int
trust_status(const char *path, const struct stat *status, uid_t owner_too, bool holds_the_file,
             struct error *why)
{
    const bool others_write = (status->st_mode & (S_IWGRP | S_IWOTH)) != 0;

    if (status->st_uid != 0 && status->st_uid != owner_too)
        return error_set(
            why, -EPERM,
            "%s belongs to user %lu; for root to load a plugin, it and every directory "
            "above it must belong to root",
            path, (unsigned long)status->st_uid);
    if (S_ISLNK(status->st_mode) || !others_write)
        return 0;
    /* In a sticky directory nobody can replace what belongs to somebody else, and what is below is
     * checked for its owner in turn.  But anybody can add a plugin there. */
    if (S_ISDIR(status->st_mode) && (status->st_mode & S_ISVTX) && !holds_the_file)
        return 0;
    return error_set(why, -EPERM,
                     "%s is writable by its group or by others (mode %04o); for root to load a "
                     "plugin, nobody else may write to it or to a directory above it",
                     path, (unsigned)(status->st_mode & 07777));
}

/* Put a link's target in the place of the link: `done` is the directory that it is in, `rest` what
 * follows it. */
static int
link_follow(const char *link, char done[PATH_MAX], char rest[PATH_MAX], struct error *why)
{
    char target[PATH_MAX], joined[PATH_MAX];
    ssize_t len = readlink(link, target, sizeof target - 1);

    if (len == -1)
        return error_set(why, -errno, "%s: %s", link, strerror(errno));
    target[len] = '\0';
    if ((size_t)len + strlen(rest) + 2 > sizeof joined)
        return error_set(why, -ENAMETOOLONG, "%s: %s", link, strerror(ENAMETOOLONG));
    memcpy(joined, target, (size_t)len);
    joined[len] = '/';
    strcpy(joined + len + 1, rest);
    strcpy(rest, joined);
    if (target[0] == '/')
        done[0] = '\0';
    return 0;
}

/* Walks the path as the kernel does, so that each directory that holds a link, and each that holds
 * a link's target, is looked at.  `done` has no link in it and no slash at its end. */
int
plugin_path_trust(const char *path, uid_t owner_too, struct error *why)
{
    char done[PATH_MAX] = "", rest[PATH_MAX], here[PATH_MAX];
    unsigned links = 0;
    struct stat status;
    int rc;

    if (path[0] != '/' || strlen(path) >= sizeof rest)
        return error_set(why, -EINVAL, "%s: not an absolute path", path);
    strcpy(rest, path);
    if (lstat("/", &status) == -1)
        return error_set(why, -errno, "/: %s", strerror(errno));
    rc = trust_status("/", &status, owner_too, false, why);
    while (rc == 0 && rest[0] != '\0') {
        size_t len = strcspn(rest, "/");
        char *next = rest + len + strspn(rest + len, "/");
        const bool is_last = *next == '\0';

        if (len == 0 || (len == 1 && rest[0] == '.')) {
            memmove(rest, next, strlen(next) + 1);
            continue;
        }
        if (len == 2 && rest[0] == '.' && rest[1] == '.') {
            char *slash = strrchr(done, '/');

            if (slash != NULL)
                *slash = '\0';
            memmove(rest, next, strlen(next) + 1);
            continue;
        }
        /* The directory that holds the last part is held to the stricter rule. */
        if (is_last) {
            const char *dir = done[0] != '\0' ? done : "/";

            if (lstat(dir, &status) == -1)
                return error_set(why, -errno, "%s: %s", dir, strerror(errno));
            rc = trust_status(dir, &status, owner_too, true, why);
            if (rc != 0)
                break;
        }
        if ((size_t)snprintf(here, sizeof here, "%s/%.*s", done, (int)len, rest) >= sizeof here)
            return error_set(why, -ENAMETOOLONG, "%s: %s", path, strerror(ENAMETOOLONG));
        if (lstat(here, &status) == -1)
            return error_set(why, -errno, "%s: %s", here, strerror(errno));
        rc = trust_status(here, &status, owner_too, false, why);
        if (rc != 0)
            break;
        memmove(rest, next, strlen(next) + 1);
        if (!S_ISLNK(status.st_mode))
            strcpy(done, here);
        else if (++links > LINKS_MAX)
            return error_set(why, -ELOOP, "%s: %s", path, strerror(ELOOP));
        else
            rc = link_follow(here, done, rest, why);
    }
    return rc;
}

/* ------------------------------------------------------------------ tables */

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
                         ": it is no such table",
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
                         "needed",
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
                         "is needed",
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

static int
missing(const char *what, const char *operation, struct error *why)
{
    return error_set(why, -EINVAL, "%s has no function \"%s\", which is required", what, operation);
}

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

static int
token_check(const char *token, struct error *why)
{
    if (token == NULL || !text_is_plain(token, "-_.+", TOKEN_BYTES_MAX))
        return error_set(why, -EINVAL,
                         "a codec has the token \"%.80s\": lower-case letters, digits and -_.+ are "
                         "allowed, at most %d",
                         token != NULL ? token : "", TOKEN_BYTES_MAX);
    if (strcmp(token, "identity") == 0)
        return error_set(why, -EINVAL, "a codec has the token \"identity\", which means no codec");
    return 0;
}

static int
traits_check(const struct bd_codec *codec, struct error *why)
{
    const uint32_t kinds =
        BD_CODEC_COMPRESSES | BD_CODEC_ENCRYPTS | BD_CODEC_AUTHENTICATES | BD_CODEC_TRANSFORMS;
    const uint32_t known = kinds | BD_CODEC_MAY_DECLINE | BD_CODEC_DECODE_ONLY;
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
    char what[TOKEN_BYTES_MAX + 16];
    int rc = token_check(codec->token, why);

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

/* A token that two codecs have; NULL when there is none. */
static const char *
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

/* ------------------------------------------------------------------ one plugin */

/* The host as a plugin sees it in bd_plugin_query: valid for the life of the process, as plugin.h
 * promises. */
static int
query_host(const struct bd_host **out, struct error *why)
{
    static struct host *host;
    int rc;

    if (host == NULL && (rc = host_new("plugin", NULL, NULL, &host)) != 0)
        return error_set(why, rc, "no host table: %s", strerror(-rc));
    *out = host_table(host);
    return 0;
}

static int
module_open(const char *path, lt_dlhandle *out, struct error *why)
{
    lt_dladvise advise;
    const char *text;

    /* libltdl binds lazily, and says "file not found" for every failure, having taken the text of
     * dlerror().  So the first open is ours: it finds an unresolved symbol now, not at its first
     * call, and tells us its name.  Never closed: plugins stay. */
    dlerror();
    if (dlopen(path, RTLD_NOW | RTLD_LOCAL) == NULL) {
        text = dlerror();
        if (text == NULL)
            text = "unknown reason";
        if (strncmp(text, path, strlen(path)) == 0)
            text += strlen(path) + strspn(text + strlen(path), ": ");
        return error_set(why, -EINVAL, "cannot be loaded: %s", text);
    }
    if (lt_dladvise_init(&advise) != 0)
        return error_set(why, -ENOMEM, "out of memory");
    lt_dladvise_local(&advise);
    lt_dladvise_resident(&advise);
    *out = lt_dlopenadvise(path, advise);
    lt_dladvise_destroy(&advise);
    if (*out != NULL)
        return 0;
    text = lt_dlerror();
    return error_set(why, -EINVAL, "cannot be loaded: %s", text != NULL ? text : "unknown reason");
}

static int
module_query(lt_dlhandle module, const struct bd_plugin **out, struct error *why)
{
    const struct bd_host *host = NULL;
    bd_plugin_query_fn *query;
    void *symbol = lt_dlsym(module, "bd_plugin_query");
    int rc;

    if (symbol == NULL)
        return error_set(why, -EINVAL, "exports no bd_plugin_query: it is no plugin of bucketdisk");
    rc = query_host(&host, why);
    if (rc != 0)
        return rc;
    memcpy(&query, &symbol, sizeof query);
    *out = query(host);
    if (*out == NULL)
        return error_set(why, -EINVAL,
                         "has nothing for plugin ABI %u: its bd_plugin_query returned NULL",
                         BD_ABI_MAJOR);
    return 0;
}

static int
identity_check(const struct plugin *plugin, struct error *why)
{
    const struct bd_plugin *desc = &plugin->desc;

    if (desc->name == NULL || desc->name[0] == '\0')
        return error_set(why, -EINVAL, "has no name in its descriptor");
    if (strcmp(desc->name, plugin->name) != 0)
        return error_set(why, -EINVAL,
                         "calls itself \"%.80s\", but its file is named \"%s" SUFFIX "\"",
                         desc->name, plugin->name);
    return 0;
}

static int
descriptor_take(struct plugin *plugin, const struct bd_plugin *theirs, struct error *why)
{
    struct bd_plugin *desc = &plugin->desc;
    int rc = table_copy(theirs, BD_MAGIC_PLUGIN,
                        offsetof(struct bd_plugin, summary) + sizeof desc->summary, 0,
                        "its descriptor", desc, sizeof *desc, why);

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

static int
plugin_open(struct plugin *plugin, const struct program *program, struct error *why)
{
    const struct bd_plugin *theirs;
    lt_dlhandle module;
    struct stat status;
    int rc;

    if (!text_is_plain(plugin->name, "-", NAME_BYTES_MAX))
        return error_set(why, -EINVAL,
                         "a plugin's file name has lower-case letters, digits and - before " SUFFIX
                         ", at most %d",
                         NAME_BYTES_MAX);
    if (stat(plugin->path, &status) == -1)
        return error_set(why, -errno, "%s", strerror(errno));
    if (!S_ISREG(status.st_mode))
        return error_set(why, -EINVAL, "is no regular file");
    if (geteuid() == 0) {
        rc = plugin_path_trust(plugin->path, program->is_build_tree ? program->owner : 0, why);
        if (rc != 0)
            return rc;
    }
    rc = module_open(plugin->path, &module, why);
    if (rc == 0)
        rc = module_query(module, &theirs, why);
    if (rc == 0)
        rc = descriptor_take(plugin, theirs, why);
    return rc;
}

static void
plugin_clear_tables(struct plugin *plugin)
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

/* ------------------------------------------------------------------ the search */

/* Load one file, unless one of its name was found before. */
static int
file_load(struct plugins *plugins, const struct program *program, const char *path)
{
    const char *base = strrchr(path, '/') + 1;
    struct plugin *grown, *plugin;
    char *name = strndup(base, strlen(base) - strlen(SUFFIX));
    struct error why = { "" };

    if (name == NULL)
        return -ENOMEM;
    for (unsigned i = 0; i < plugins->count; i++) {
        if (strcmp(plugins->all[i].name, name) == 0) {
            free(name);
            return 0;
        }
    }
    grown = reallocarray(plugins->all, plugins->count + 1, sizeof *grown);
    if (grown == NULL) {
        free(name);
        return -ENOMEM;
    }
    plugins->all = grown;
    plugin = &grown[plugins->count];
    memset(plugin, 0, sizeof *plugin);
    plugin->name = name;
    plugin->path = strdup(path);
    if (plugin->path == NULL) {
        free(name);
        return -ENOMEM;
    }
    plugins->count++;
    if (plugin_open(plugin, program, &why) != 0) {
        plugin_clear_tables(plugin);
        /* The file leads: the reason alone does not say whose it is. */
        if (strncmp(why.text, path, strlen(path)) == 0)
            plugin->why = why;
        else
            error_set(&plugin->why, 0, "%.250s: %.220s", path, why.text);
    }
    return 0;
}

static bool
name_ends_in_suffix(const char *name)
{
    size_t len = strlen(name);

    return len > strlen(SUFFIX) && strcmp(name + len - strlen(SUFFIX), SUFFIX) == 0;
}

static int
entry_is_candidate(const struct dirent *entry)
{
    return entry->d_name[0] != '.' && name_ends_in_suffix(entry->d_name);
}

static int
directory_load(struct plugins *plugins, const struct program *program, const char *dir)
{
    struct dirent **entries;
    int rc = 0;
    int count = scandir(dir, &entries, entry_is_candidate, alphasort);

    if (count == -1)
        return errno == ENOMEM ? -ENOMEM : 0; /* most machines lack most of these directories */
    for (int i = 0; i < count; i++) {
        char *path;

        if (rc == 0 && asprintf(&path, "%s/%s", dir, entries[i]->d_name) < 0)
            rc = -ENOMEM;
        if (rc == 0) {
            rc = file_load(plugins, program, path);
            free(path);
        }
        free(entries[i]);
    }
    free(entries);
    return rc;
}

static int
searched_add(struct plugins *plugins, const char *place)
{
    char *joined;

    if (asprintf(&joined, "%s%s%s", plugins->searched != NULL ? plugins->searched : "",
                 plugins->searched != NULL ? ", " : "", place)
        < 0)
        return -ENOMEM;
    free(plugins->searched);
    plugins->searched = joined;
    return 0;
}

/* A directory, or one file. */
static int
place_load(struct plugins *plugins, const struct program *program, const char *place)
{
    struct stat status;
    int rc = searched_add(plugins, place);

    if (rc != 0)
        return rc;
    if (stat(place, &status) == 0 && !S_ISDIR(status.st_mode) && name_ends_in_suffix(place)
        && strrchr(place, '/')[1] != '.')
        return file_load(plugins, program, place);
    return directory_load(plugins, program, place);
}

/* Places joined by colons.  `from` names the option or variable that they come from. */
static int
places_load(struct plugins *plugins, const struct program *program, const char *places,
            const char *from, struct error *why)
{
    char *copy = strdup(places);
    char *at = copy, *place;
    int rc = copy != NULL ? 0 : error_set(why, -ENOMEM, "out of memory");

    while (rc == 0 && (place = strsep(&at, ":")) != NULL) {
        struct stat status;

        if (place[0] == '\0')
            continue;
        if (place[0] != '/')
            rc = error_set(why, -EINVAL, "%s: \"%s\" is not an absolute path", from, place);
        else if (stat(place, &status) == -1)
            log_line(BD_WARNING, "%s: %s: %s", from, place, strerror(errno));
        if (rc == 0 && (rc = place_load(plugins, program, place)) != 0)
            error_set(why, rc, "out of memory");
    }
    free(copy);
    return rc;
}

/* The installed program holds no path of a build tree: it looks beside itself, and only where a
 * build tree shows itself. */
static void
program_find(struct program *program)
{
    char path[PATH_MAX], cache[PATH_MAX + 32];
    struct stat status;
    ssize_t len = readlink("/proc/self/exe", path, sizeof path - 1);

    memset(program, 0, sizeof *program);
    if (len <= 0)
        return;
    path[len] = '\0';
    if (stat("/proc/self/exe", &status) == -1)
        return;
    *strrchr(path, '/') = '\0';
    strcpy(program->dir, path);
    program->owner = status.st_uid;
    snprintf(cache, sizeof cache, "%s/CMakeCache.txt", program->dir);
    program->is_build_tree = access(cache, F_OK) == 0;
}

static int
builtin_load(struct plugins *plugins, const struct program *program)
{
    char dir[PATH_MAX + 32];

    if (program->is_build_tree)
        snprintf(dir, sizeof dir, "%s/plugins", program->dir);
    else
        snprintf(dir, sizeof dir, "%s", BUCKETDISK_PLUGIN_DIR);
    return place_load(plugins, program, dir);
}

static int
plugins_check_pair(const struct plugin *a, const struct plugin *b, struct error *why)
{
    for (uint32_t i = 0; i < a->desc.codec_count; i++) {
        for (uint32_t j = 0; j < b->desc.codec_count; j++) {
            const char *token = codecs_common_token(&a->codecs[i], &b->codecs[j]);

            if (token != NULL)
                return error_set(
                    why, -EEXIST,
                    "two plugins claim the token \"%s\": %s and %s; remove one of them", token,
                    a->path, b->path);
        }
    }
    for (uint32_t i = 0; i < a->desc.keywrap_count; i++) {
        for (uint32_t j = 0; j < b->desc.keywrap_count; j++) {
            if (strcmp(a->keywraps[i].name, b->keywraps[j].name) == 0)
                return error_set(
                    why, -EEXIST,
                    "two plugins claim the key wrap \"%s\": %s and %s; remove one of them",
                    a->keywraps[i].name, a->path, b->path);
        }
    }
    return 0;
}

static int
plugins_check_claims(const struct plugins *plugins, struct error *why)
{
    int rc = 0;

    for (unsigned i = 0; rc == 0 && i < plugins->count; i++) {
        for (unsigned j = 0; rc == 0 && j < i; j++)
            rc = plugins_check_pair(&plugins->all[j], &plugins->all[i], why);
    }
    return rc;
}

int
plugins_load(struct plugins *plugins, const struct plugin_search *search, struct error *why)
{
    const char *environment = getenv("BUCKETDISK_PLUGIN_PATH");
    struct program program;
    int rc = 0;

    memset(plugins, 0, sizeof *plugins);
    program_find(&program);
    if (lt_dlinit() != 0)
        return error_set(why, -ENOMEM, "libltdl does not start: %s", lt_dlerror());
    if (!search->builtin_only && search->extra != NULL)
        rc = places_load(plugins, &program, search->extra, "--plugin-path", why);
    /* Whoever starts a privileged process must not choose its code by a variable. */
    if (rc == 0 && !search->builtin_only && environment != NULL && geteuid() != 0
        && getauxval(AT_SECURE) == 0)
        rc = places_load(plugins, &program, environment, "BUCKETDISK_PLUGIN_PATH", why);
    if (rc == 0 && (rc = builtin_load(plugins, &program)) != 0)
        error_set(why, rc, "out of memory");
    if (rc != 0) {
        plugins_free(plugins);
        return rc;
    }
    return plugins_check_claims(plugins, why);
}

void
plugins_free(struct plugins *plugins)
{
    for (unsigned i = 0; i < plugins->count; i++) {
        plugin_clear_tables(&plugins->all[i]);
        free(plugins->all[i].path);
        free(plugins->all[i].name);
    }
    free(plugins->all);
    free(plugins->searched);
    memset(plugins, 0, sizeof *plugins);
}

/* ------------------------------------------------------------------ the registries */

const char *
plugin_owner(const struct plugin *plugin)
{
    static const char *const kinds[] = { "backend-", "codec-", "crypto-" };

    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        size_t len = strlen(kinds[i]);

        if (strncmp(plugin->name, kinds[i], len) == 0 && plugin->name[len] != '\0')
            return plugin->name + len;
    }
    return plugin->name;
}

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
    char lower[TOKEN_BYTES_MAX + 1];
    size_t len = strlen(token);

    for (unsigned i = 0; i < plugins->count; i++) {
        const struct plugin *plugin = &plugins->all[i];

        for (uint32_t j = 0; j < plugin->desc.codec_count; j++) {
            if (codec_has_token(&plugin->codecs[j], token))
                return codec_found(plugin, &plugin->codecs[j], owner);
        }
    }
    if (len == 0 || len > TOKEN_BYTES_MAX)
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
