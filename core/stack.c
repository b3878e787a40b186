/* SPDX-License-Identifier: Apache-2.0 */
/* Puts the layers together, top to bottom, and takes them apart again. */
#include "stack.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/secret.h"
#include "base/util.h"
#include "cache.h"
#include "codecs.h"
#include "keyslots.h"
#include "loader.h"
#include "passphrase.h"
#include "whole.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LAYERS_MAX 8
#define IN_FLIGHT_DEFAULT 128u
#define IN_FLIGHT_BYTES (256ull << 20)
#define CACHE_BYTES_MIN (64ull << 20)
#define CACHE_BLOCKS_MIN 2u
#define CACHE_BLOCKS_MAX (1u << 30)
#define CACHE_BYTES_MAX (1ull << 30)
/* So much longer than usual a block waits that is written to again and again. */
#define PATIENCE 8
#define STALE_READ_ONLY_NS (5 * NS_PER_S)
#define STALL_READ_NS (120 * NS_PER_S)
#define STALL_WRITE_NS (600 * NS_PER_S)

/* s3backer's words that are a backend with options here. */
static const struct {
    size_t offset; /* of the switch in struct settings */
    const char *layer;
    const char *option, *value;
} s3backer_tests[] = {
    { offsetof(struct settings, test_delays), "chaos", "chaos-jitter", "200ms" },
    { offsetof(struct settings, test_errors), "chaos", "chaos-retry", "10000" },
    { offsetof(struct settings, test_discard), "chaos", "chaos-discard", "yes" },
};
static const char s3backer_test_backend[] = "dir";
#define KEY_WRAP "argon2id" /* of new volumes */

/* ---- options */

/* Plugins bring options, so they must be loaded before the options can be parsed: what says where they are
 * is looked for first, by itself. */
static void
find_plugin_options(int argc, char **argv, struct plugin_search *search)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
        const char *name = argv[i] + 2;
        size_t len;

        if (strncmp(argv[i], "--", 2) != 0)
            continue;
        len = strcspn(name, "=");
        if (options_name_is(name, len, "plugin-builtin-only"))
            search->builtin_only = name[len] == '\0' || strcmp(name + len, "=yes") == 0;
        else if (options_name_is(name, len, "plugin-path"))
            search->extra = name[len] == '=' ? name + len + 1 : i + 1 < argc ? argv[++i] : NULL;
    }
}

/* Said where the search could not see it, it would be ignored. */
static int
check_plugin_options(const struct settings *settings, const struct plugin_search *search,
                     struct error *why)
{
    const char *path = settings->plugin_path != NULL ? settings->plugin_path : "";
    const char *searched = search->extra != NULL ? search->extra : "";

    if (strcmp(path, searched) != 0 || !!settings->plugin_builtin_only != search->builtin_only)
        return error_set(why, -EINVAL,
                         "--plugin-path=... and --plugin-builtin-only work only as words of "
                         "the command line, not behind -o and not in a file");
    return 0;
}

int
stack_parse(struct stack *stack, const struct stack_rows *more, int argc, char **argv, char **words,
            int *word_count, struct error *why)
{
    struct plugin_search search = { 0 };
    int rc;

    find_plugin_options(argc, argv, &search);
    rc = plugins_load(&stack->plugins, &search, why);
    if (rc != 0)
        return rc;
    rc = options_new(&stack->options);
    if (rc != 0)
        return error_set(why, rc, "out of memory");
    rc = options_add(stack->options, "", settings_rows, settings_row_count, sizeof settings_rows[0],
                     &stack->settings, why);
    if (rc == 0 && more != NULL)
        rc = options_add(stack->options, "", more->rows, more->count, sizeof more->rows[0],
                         more->fields, why);
    for (unsigned i = 0; i < stack->plugins.count && rc == 0; i++) {
        struct plugin *plugin = &stack->plugins.all[i];

        if (plugin->why.text[0] == '\0')
            rc = options_add(stack->options, plugin_owner(plugin), plugin->options,
                             plugin->desc.option_count, sizeof *plugin->options,
                             plugin->option_fields, why);
    }
    if (rc == 0)
        rc = options_parse(stack->options, argc, argv, SETTINGS_SHORTS, words, word_count, why);
    return rc != 0 ? rc : check_plugin_options(&stack->settings, &search, why);
}

/* ---- backends */

struct layer_list {
    struct backend_layer layers[LAYERS_MAX];
    unsigned count;
};

static int
add_layer(struct stack *stack, const char *name, struct layer_list *list, struct error *why)
{
    const struct plugin *plugin = plugins_backend(&stack->plugins, name, why);

    if (plugin == NULL)
        return -ENOENT;
    if (list->count == LAYERS_MAX)
        return error_set(why, -EINVAL, "--backend: more than %d layers", LAYERS_MAX);
    if (options_require(stack->options, plugin_owner(plugin), why) != 0
        || plugin_check(plugin, why) != 0)
        return -EINVAL;
    list->layers[list->count++] = (struct backend_layer){ .name = plugin->name,
                                                          .table = &plugin->backend,
                                                          .options = plugin->option_fields };
    return 0;
}

/* An option of a backend that is not used would be silently ignored. */
static int
refuse_unused(struct stack *stack, const struct layer_list *list, struct error *why)
{
    for (unsigned i = 0; i < stack->plugins.count; i++) {
        const struct plugin *plugin = &stack->plugins.all[i];
        bool is_used = plugin->why.text[0] != '\0' || plugin->desc.backend == NULL;

        for (unsigned j = 0; j < list->count; j++)
            is_used = is_used || list->layers[j].table == &plugin->backend;
        for (uint32_t j = 0; j < plugin->desc.option_count && !is_used; j++) {
            char name[128];

            snprintf(name, sizeof name, "%s-%s", plugin_owner(plugin), plugin->options[j].name);
            if (options_given(stack->options, name))
                return error_set(why, -EINVAL,
                                 "--%s is an option of the backend \"%s\", which is not "
                                 "used; say --backend=...,%s,... or leave it out",
                                 name, plugin_owner(plugin), plugin_owner(plugin));
        }
    }
    return 0;
}

/* The innermost layer is where the location belongs. */
static int
choose_layers(struct stack *stack, const char *location, struct layer_list *list, struct error *why)
{
    const struct settings *settings = &stack->settings;
    char *names = strdup(settings->test ? s3backer_test_backend : settings->backend);
    char *rest = names, *name;
    const struct plugin *plugin;
    const char *innermost;
    int rc = 0;

    if (names == NULL)
        return error_set(why, -ENOMEM, "out of memory");
    innermost = strrchr(names, ',') != NULL ? strrchr(names, ',') + 1 : names;
    plugin = plugins_backend(&stack->plugins, innermost, why);
    if (plugin == NULL)
        rc = -ENOENT;
    else
        rc = options_set_location(stack->options, plugin_owner(plugin), location, why);
    for (size_t i = 0; i < ARRAY_LEN(s3backer_tests) && rc == 0; i++) {
        if (!((const uint8_t *)settings)[s3backer_tests[i].offset])
            continue;
        if (list->count == 0)
            rc = add_layer(stack, s3backer_tests[i].layer, list, why);
        if (rc == 0)
            rc =
                options_set(stack->options, s3backer_tests[i].option, s3backer_tests[i].value, why);
    }
    while (rc == 0 && (name = strsep(&rest, ",")) != NULL)
        rc = add_layer(stack, name, list, why);
    free(names);
    return rc != 0 ? rc : refuse_unused(stack, list, why);
}

int
stack_open(struct stack *stack, const char *location, struct error *why)
{
    struct layer_list list = { .count = 0 };
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    int rc = choose_layers(stack, location, &list, why);

    if (rc != 0)
        return rc;
    rc = stats_new(&stack->stats);
    if (rc == 0)
        rc = pool_new(cores > 2 ? (unsigned)cores : 2, &stack->pool);
    if (rc != 0)
        return error_set(why, rc, "cannot start the workers: %s", strerror(-rc));
    return backend_open(list.layers, list.count, stack->pool, stack->stats, why, &stack->backend);
}

/* Volumes of one store differ in their prefixes.  Where the identity is itself what names begin with, "b/a" is one
 * volume with "b" and --prefix=a/. */
int
stack_names(const struct stack *stack, char **identity, char **volume, struct error *why)
{
    const struct bd_backend_info *info = backend_info(stack->backend);
    const char *prefix = stack->settings.prefix;
    const char *between = prefix[0] != '\0' ? ":" : "";
    size_t bytes = strlen(info->identity);
    bool is_begun = bytes > 0 && info->identity[bytes - 1] == '/';

    if (asprintf(identity, "%s%s%s", info->identity, is_begun ? "" : between, prefix) == -1)
        *identity = NULL;
    if (asprintf(volume, "%s%s%s", info->display, between, prefix) == -1)
        *volume = NULL;
    if (*identity == NULL || *volume == NULL)
        return error_set(why, -ENOMEM, "out of memory");
    return 0;
}

/* ---- the layers over the volume */

static uint64_t
stall_ns(const struct settings *settings, uint64_t usual_ns)
{
    if (settings->stall == STALL_FOREVER)
        return UINT64_MAX;
    if (settings->max_retry_pause_ms > 0)
        return settings->max_retry_pause_ms * NS_PER_MS;
    return usual_ns;
}

static unsigned
in_flight_max(const struct stack *stack)
{
    const struct settings *settings = &stack->settings;
    unsigned backend_max = backend_info(stack->backend)->concurrency;
    unsigned max = IN_FLIGHT_DEFAULT;

    if (settings->block_cache_threads > 0)
        return settings->block_cache_threads;
    if (backend_max > 0 && backend_max < max)
        max = backend_max;
    if (max > IN_FLIGHT_BYTES / stack->layout.block_bytes)
        max = (unsigned)(IN_FLIGHT_BYTES / stack->layout.block_bytes);
    return max > 0 ? max : 1;
}

/* A local store lists all it has for each listing that begins anew, and has no latency to hide. */
static unsigned
listers_max(const struct stack *stack)
{
    bool is_local = backend_info(stack->backend)->capabilities & BD_CAP_LOCAL;

    if (is_local && !options_given(stack->options, "list-blocks-threads"))
        return 1;
    return stack->settings.list_blocks_threads;
}

/* An eighth of the memory that we may use, unless something is asked for.  0: no cache.  Of one block alone nothing
 * could be read while that one cannot be stored. */
static uint64_t
cache_blocks(const struct stack *stack)
{
    const struct settings *settings = &stack->settings;
    uint64_t bytes = settings->cache_size, blocks;

    if (options_given(stack->options, "block-cache-size")) {
        blocks = settings->block_cache_size;
        if (blocks == 0)
            return 0;
    } else if (options_given(stack->options, "cache-size") && bytes == 0) {
        return 0;
    } else {
        if (bytes == 0) {
            bytes = memory_bytes() / 8;
            bytes = bytes < CACHE_BYTES_MIN ? CACHE_BYTES_MIN : bytes;
            bytes = bytes > CACHE_BYTES_MAX ? CACHE_BYTES_MAX : bytes;
        }
        blocks = bytes / stack->layout.block_bytes;
    }
    return blocks < CACHE_BLOCKS_MIN   ? CACHE_BLOCKS_MIN
           : blocks < CACHE_BLOCKS_MAX ? blocks
                                       : CACHE_BLOCKS_MAX;
}

/* Somebody else may write: what is known of the store grows old.  Unless we are told that it never does. */
static bool
is_reader(const struct stack *stack)
{
    const struct settings *settings = &stack->settings;

    return settings->read_only
           && !(options_given(stack->options, "block-cache-timeout")
                && settings->block_cache_timeout_ms == 0);
}

static int
build_cache(struct stack *stack, unsigned in_flight)
{
    const struct settings *settings = &stack->settings;
    uint64_t blocks = cache_blocks(stack);
    struct cache_config config = {
        .block_bytes = stack->layout.block_bytes,
        .block_count = stack->layout.block_count,
        .blocks_max = (uint32_t)blocks,
        .dirty_max = settings->block_cache_max_dirty,
        .write_delay_ns = settings->block_cache_write_delay_ms * NS_PER_MS,
        .idle_ns = settings->block_cache_timeout_ms * NS_PER_MS,
        .protected_count = settings->block_cache_num_protected,
        .in_flight_max = in_flight,
        .stall_ns = stall_ns(settings, STALL_WRITE_NS),
        .is_reader = is_reader(stack),
        .is_sync = settings->block_cache_sync,
        .read_ahead_max = options_given(stack->options, "read-ahead") ? settings->read_ahead
                                                                      : CACHE_READ_AHEAD_ADAPTIVE,
        .read_ahead_trigger = settings->read_ahead_trigger,
    };

    if (blocks == 0)
        return whole_new(stack->consistency, stack->layout.block_bytes, IN_FLIGHT_BYTES,
                         &stack->blocks);
    if (settings->block_cache_sync)
        config.write_delay_ns = 0;
    config.write_delay_max_ns = config.write_delay_ns;
    if (!options_given(stack->options, "block-cache-write-delay"))
        config.write_delay_max_ns *= PATIENCE;
    if (config.is_reader && !options_given(stack->options, "block-cache-timeout"))
        config.idle_ns = STALE_READ_ONLY_NS;
    stack->has_cache = true;
    return cache_new(&config, stack->consistency, stack->pool, stack->stats, &stack->blocks);
}

int
stack_build(struct stack *stack, struct error *why)
{
    const struct settings *settings = &stack->settings;
    uint64_t stall_read_ns = stall_ns(settings, STALL_READ_NS);
    const struct objects_config objects = {
        .layout = &stack->layout,
        .attempt_ns = settings->timeout_ms * NS_PER_MS,
        .retry_pause_ns = settings->initial_retry_pause_ms * NS_PER_MS,
        .stall_read_ns = stall_read_ns,
        .stall_write_ns = stall_ns(settings, STALL_WRITE_NS),
        .in_flight_max = in_flight_max(stack),
    };
    const struct consistency_config consistency = {
        .layout = &stack->layout,
        .recent.settle_ns = settings->settle_time_ms * NS_PER_MS,
        .recent.write_gap_ns = settings->min_write_delay_ms * NS_PER_MS,
        .recent.tag_keep_ns = settings->md5_cache_time_ms > 0
                                  ? settings->md5_cache_time_ms * NS_PER_MS
                                  : TAG_KEEP_FOREVER_NS,
        .recent.tag_count_max = settings->md5_cache_size,
        .stall_read_ns = stall_read_ns,
        .listers_max = listers_max(stack),
        .is_reader = is_reader(stack),
    };
    int rc;

    rc = objects_new(&objects, stack->backend, stack->chain, stack->pool, stack->stats,
                     &stack->objects);
    if (rc == 0)
        rc = consistency_new(&consistency, stack->objects, stack->pool, stack->stats,
                             &stack->consistency);
    if (rc == 0)
        rc = build_cache(stack, objects.in_flight_max);
    if (rc != 0)
        return error_set(why, rc, "out of memory");
    stack->disk = (struct disk){ .next = stack->blocks,
                                 .block_bytes = stack->layout.block_bytes,
                                 .bytes = stack->layout.block_bytes * stack->layout.block_count };
    return 0;
}

/* ---- the chain */

/* s3backer salts with "BUCKET/PREFIX".  A store without a name for its container has "/". */
static int
password_salt(const struct stack *stack, char **out)
{
    const char *container = backend_info(stack->backend)->container;

    if (options_given(stack->options, "password-salt")) {
        *out = strdup(stack->settings.password_salt);
        return *out != NULL ? 0 : -ENOMEM;
    }
    return asprintf(out, "%s%s", container != NULL ? container : "/", stack->settings.prefix) == -1
               ? -ENOMEM
               : 0;
}

/* `encrypted`: what the volume is encrypted with; NULL: it is not. */
static int
take_passphrase(struct stack *stack, const char *encrypted, struct error *why)
{
    const struct settings *settings = &stack->settings;
    char *passphrase = NULL, *salt = NULL;
    int rc;

    if (stack->keyring.passphrase != NULL)
        return 0;
    rc = passphrase_given(settings->password, settings->password_file, &passphrase, why);
    if (rc == 0 && passphrase == NULL
        && (encrypted != NULL || options_given(stack->options, "encrypt"))) {
        rc = passphrase_ask("Password of the volume: ", &passphrase, why);
        if (rc == -ENOTTY && encrypted != NULL)
            rc = error_set(why, -EINVAL, "the volume is encrypted (%s); give --password-file",
                           encrypted);
        else if (rc == -ENOTTY)
            rc = error_set(why, -EINVAL, "--encrypt needs a password; give --password-file");
    }
    if (rc == 0 && passphrase != NULL) {
        rc = password_salt(stack, &salt);
        if (rc == 0)
            rc = keyring_set_passphrase(&stack->keyring, passphrase, salt);
        if (rc != 0)
            error_set(why, rc, "out of memory");
    }
    secret_free(passphrase);
    free(salt);
    return rc;
}

/* The level goes to the codec that compresses, as an option of its plugin. */
static int
set_level(struct stack *stack, const char *list, const char *level, struct error *why)
{
    struct encoding encoding;
    const struct plugin *owner;
    char name[128];

    encoding_parse(list, &encoding, NULL);
    for (unsigned i = 0; i < encoding.count; i++) {
        const struct bd_codec *codec = plugins_codec(&stack->plugins, encoding.tokens[i], &owner);

        if (codec == NULL || !(codec->traits & BD_CODEC_COMPRESSES))
            continue;
        snprintf(name, sizeof name, "%s-level", plugin_owner(owner));
        return options_set(stack->options, name, level, why);
    }
    return error_set(why, -EINVAL, "--compress-level=%s, but nothing compresses; give --compress",
                     level);
}

static const char *
if_given(const struct stack *stack, const char *name, const char *value)
{
    return options_given(stack->options, name) ? value : NULL;
}

/* What a new mount is written with. */
static int
choose_codecs(struct stack *stack, bool is_new_format_2, const char *stored,
              char list[ENCODING_JOINED_BYTES], struct error *why)
{
    const struct settings *settings = &stack->settings;
    const struct codecs_wish wish = {
        .codec = if_given(stack, "codec", settings->codec),
        .compress = if_given(stack, "compress", settings->compress),
        .encrypt = if_given(stack, "encrypt", settings->encrypt),
        .is_new_format_2 = is_new_format_2,
        .has_password = stack->keyring.passphrase != NULL,
        .stored = stored,
    };
    char level[BD_TOKEN_BYTES_MAX + 1];
    int rc = codecs_choose(&wish, list, level, why);

    if (rc == 0 && options_given(stack->options, "compress-level"))
        rc = set_level(stack, list, settings->compress_level, why);
    else if (rc == 0 && level[0] != '\0')
        rc = set_level(stack, list, level, why);
    return rc;
}

static int
open_chain(struct stack *stack, const char *list, bool must_authenticate, struct error *why)
{
    const struct settings *settings = &stack->settings;
    const struct manifest *manifest = &stack->description.manifest;
    struct chain_config config = {
        .plugins = &stack->plugins,
        .keyring = &stack->keyring,
        .block_bytes = stack->layout.block_bytes,
        .write_list = list,
        .read_default = settings->default_content_encoding,
        .must_authenticate = must_authenticate,
        .accepts_plain = settings->accept_plain,
        .list_bytes_max = stack->layout.is_format_2 ? 0 : CHAIN_S3BACKER_LIST_BYTES_MAX,
        .is_format_2 = stack->layout.is_format_2,
        .key_id = manifest->key_id,
    };
    int rc = codecs_check(list, stack->layout.is_format_2, why);

    if (rc != 0)
        return rc;
    memcpy(config.volume_id, manifest->id, VOLUME_ID_BYTES);
    if (manifest_is_encrypted(manifest))
        config.accepts = &manifest->accepts;
    chain_close(stack->chain);
    stack->chain = NULL;
    return chain_open(&config, stack->pool, stack->stats, why, &stack->chain);
}

/* The block size of a volume of format 1 that does not say it. */
static int
measure(void *arg, const struct volume_sample *sample, uint64_t *block_bytes, struct error *why)
{
    struct stack *stack = arg;
    int rc = take_passphrase(stack, sample->is_encrypted ? sample->encoding : NULL, why);

    stack->layout.block_bytes = LAYOUT_BLOCK_BYTES_MAX; /* until it is known */
    if (rc == 0)
        rc = open_chain(stack, "", false, why);
    return rc != 0
               ? rc
               : volume_try(stack->backend, &stack->layout, stack->chain, sample, block_bytes, why);
}

/* A volume of format 2 that is there: its key, and then what its description says. */
static int
detect_format_2(struct stack *stack, const struct volume_wish *wish, struct error *why)
{
    const struct manifest *manifest = &stack->description.manifest;
    bool is_encrypted = manifest_is_encrypted(manifest);
    char list[ENCODING_JOINED_BYTES];
    unsigned slot;
    int rc;

    if (stack->settings.format == 1)
        return error_set(why, -EINVAL, "the volume is of format 2; leave --format=1 out");
    rc = take_passphrase(stack, is_encrypted ? manifest->codec : NULL, why);
    if (rc == 0 && !is_encrypted && stack->keyring.passphrase != NULL)
        return error_set(why, -EINVAL,
                         "a password is given, but the volume says that it is not encrypted; if it "
                         "should be, somebody has replaced its description, " MANIFEST_OBJECT);
    if (rc == 0 && is_encrypted && stack->keyring.volume_key == NULL)
        rc = keyslots_open(manifest, &stack->plugins, stack->keyring.passphrase, &stack->keyring,
                           &slot, why);
    if (rc == 0)
        rc = manifest_verify(manifest, &stack->keyring, why);
    if (rc == 0)
        rc = volume_manifest_layout(manifest, wish, &stack->layout, why);
    if (rc == 0)
        rc = choose_codecs(stack, false, manifest->codec, list, why);
    stack->block_0 = BLOCK_0_RIGHT;
    return rc != 0 ? rc : open_chain(stack, list, is_encrypted, why);
}

/* A volume that is going to be of format 2: all that can be known before it is made. */
static int
prepare_format_2(struct stack *stack, const char *list, struct error *why)
{
    struct manifest *manifest = &stack->description.manifest;
    int rc = 0;

    random_fill(manifest->id, VOLUME_ID_BYTES);
    strcpy(manifest->wrap, KEY_WRAP);
    manifest->key_id = stack->keyring.passphrase != NULL;
    if (stack->keyring.passphrase != NULL && stack->keyring.volume_key == NULL)
        rc = keyslots_new_key(manifest, &stack->plugins, &stack->keyring, why);
    manifest->disk_bytes = stack->layout.block_bytes * stack->layout.block_count;
    manifest->block_bytes = stack->layout.block_bytes;
    manifest->is_hashed = stack->layout.is_hashed;
    stack->layout.is_format_2 = stack->is_new = true;
    if (rc == 0)
        rc = open_chain(stack, list, false, why);
    if (rc == 0 && stack->keyring.passphrase != NULL && !chain_authenticates(stack->chain))
        rc = error_set(why, -EINVAL, "a password is given, but \"%s\" does not encrypt", list);
    return rc;
}

/* Is this block encrypted in a way that s3backer does not know? */
static bool
is_format_2_block(const struct stack *stack, const struct volume_sample *sample)
{
    struct encoding encoding;
    const struct plugin *owner;
    bool is = false;

    encoding_parse(sample->encoding, &encoding, NULL);
    for (unsigned i = 0; i < encoding.count; i++) {
        const struct bd_codec *codec = plugins_codec(&stack->plugins, encoding.tokens[i], &owner);

        is = is
             || (codec != NULL && codec->traits & BD_CODEC_ENCRYPTS
                 && !codecs_are_s3backers(encoding.tokens[i]));
    }
    return is;
}

static int
detect_format_1(struct stack *stack, const struct volume_wish *wish, struct error *why)
{
    const unsigned format = stack->settings.format;
    char list[ENCODING_JOINED_BYTES];
    struct volume_sample sample = { false };
    bool is_empty, is_s3backers;
    int rc = volume_detect(stack->backend, wish, &stack->layout, &stack->block_0, &sample, why);

    /* Without its key it cannot be read, and what would be written to it would be for everyone to read. */
    if (sample.is_there && is_format_2_block(stack, &sample))
        rc = error_set(why, -EINVAL,
                       "block %08" PRIx64 " is one of format 2 (%s), but the volume's description "
                       "with its key, " MANIFEST_OBJECT ", is not there",
                       sample.block, sample.encoding);
    if (rc == 0)
        rc = take_passphrase(stack, sample.is_encrypted ? sample.encoding : NULL, why);
    if (rc != 0)
        return rc;
    is_empty = !sample.is_there && wish->auto_detect;
    rc = choose_codecs(stack, is_empty && format == 2, sample.is_encrypted ? sample.encoding : NULL,
                       list, why);
    if (rc != 0)
        return rc;
    is_s3backers = codecs_are_s3backers(list);
    if (is_empty && format != 1 && (format == 2 || !is_s3backers))
        return prepare_format_2(stack, list, why);
    if (format == 2)
        return error_set(why, -EINVAL, "there is a volume of format 1 here; leave --format=2 out");
    if (!is_s3backers)
        return error_set(
            why, -EINVAL,
            "the volume is of format 1, which is s3backer's, and s3backer does not know "
            "\"%s\"; only a new volume can be written so",
            list);
    rc = open_chain(stack, list, sample.is_encrypted, why);
    if (rc == 0 && stack->keyring.passphrase != NULL && !chain_authenticates(stack->chain))
        rc =
            error_set(why, -EINVAL,
                      "a password is given, but the volume is not encrypted; leave it out, or give "
                      "--encrypt for a new volume");
    /* Of a volume that nothing encrypts, a damaged block is that block's matter alone. */
    if (rc == 0 && sample.is_there && chain_authenticates(stack->chain))
        rc = volume_try(stack->backend, &stack->layout, stack->chain, &sample, NULL, why);
    return rc;
}

int
stack_detect(struct stack *stack, struct error *why)
{
    const struct settings *settings = &stack->settings;
    const struct volume_wish wish = {
        .prefix = settings->prefix,
        .is_hashed = settings->block_hash_prefix,
        .disk_bytes = settings->size,
        .block_bytes = settings->block_size,
        .auto_detect = !settings->no_auto_detect,
        .is_forced = settings->force,
        .is_read_only = settings->read_only,
        .measure = measure,
        .measure_arg = stack,
    };
    int rc;

    if (strlen(settings->prefix) > LAYOUT_PREFIX_BYTES_MAX)
        return error_set(why, -EINVAL, "--prefix is longer than %u bytes", LAYOUT_PREFIX_BYTES_MAX);
    /* A key that was made for a new volume opens none that somebody has made meanwhile. */
    if (stack->is_new)
        keyring_drop_volume_key(&stack->keyring);
    stack->is_new = false;
    stack->layout.prefix = settings->prefix;
    rc = volume_manifest_read(stack->backend, &stack->layout, &stack->description, why);
    if (rc != 0)
        return rc;
    return stack->description.is_there ? detect_format_2(stack, &wish, why)
                                       : detect_format_1(stack, &wish, why);
}

int
stack_claim(struct stack *stack, const struct token *token, struct error *why)
{
    struct manifest *manifest = &stack->description.manifest;
    struct encoding written;
    int rc;

    /* A store that shows something old may have hidden the description once. */
    if (token->is_format_2 != stack->layout.is_format_2)
        return error_set(why, -EBUSY, "the volume has just become one of format %d; try again",
                         stack->layout.is_format_2 ? 2 : 1);
    if (!stack->layout.is_format_2)
        return 0;
    if (manifest->epoch == MANIFEST_EPOCH_MAX)
        return error_set(why, -EINVAL,
                         "the volume was mounted %u times, which is as often as "
                         "can be; copy it",
                         MANIFEST_EPOCH_MAX);
    rc = volume_fence_s3backer(stack->backend, &stack->layout, why);
    if (rc == 0 && stack->is_new) {
        strcpy(manifest->codec, chain_written(stack->chain));
        if (chain_authenticates(stack->chain)) {
            encoding_parse(manifest->codec, &written, NULL);
            manifest->accepts.count = 1;
            strcpy(manifest->accepts.tokens[0], written.tokens[written.count - 1]);
            rc = keyslots_add(manifest, &stack->plugins, &stack->keyring, 0,
                              stack->keyring.passphrase, "", why);
        }
    }
    manifest->epoch++;
    if (rc == 0)
        rc = manifest_seal(manifest, &stack->keyring, why);
    if (rc == 0)
        rc = volume_manifest_write(stack->backend, &stack->layout, &stack->description, why);
    chain_set_epoch(stack->chain, manifest->epoch);
    return rc;
}

void
stack_close(struct stack *stack)
{
    if (stack->has_cache)
        cache_free(stack->blocks);
    else
        whole_free(stack->blocks);
    consistency_free(stack->consistency);
    objects_free(stack->objects);
    chain_close(stack->chain);
    keyring_clear(&stack->keyring);
    manifest_clear(&stack->description.manifest);
    if (stack->backend != NULL)
        backend_close(stack->backend);
    pool_free(stack->pool);
    stats_free(stack->stats);
    options_free(stack->options);
    plugins_free(&stack->plugins);
}
