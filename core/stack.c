/* SPDX-License-Identifier: Apache-2.0 */
/* Puts the layers together, top to bottom, and takes them apart again. */
#include "stack.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/util.h"
#include "cache.h"
#include "loader.h"
#include "spill.h"
#include "tier.h"
#include "whole.h"

#include <errno.h>
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
#define CACHE_BLOCKS_DEFAULT (256u << 10)
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

/* ---- options */

/* Plugins bring options, so they must be loaded before the options can be parsed: what says where they are is looked for
 * first, by itself.  Wherever it stands: what root loads is judged by who owns it, not by who names it. */
struct search_fields {
    const char *plugin_path;
    uint8_t builtin_only;
    const char *config_file;
};

#define SEARCH_FIELD(member) BD_FIELD(struct search_fields, member)

static const struct bd_option search_rows[] = {
    { .name = "plugin-path", .type = BD_OPT_STRING, SEARCH_FIELD(plugin_path), .help = "as there" },
    { .name = "plugin-builtin-only",
      .type = BD_OPT_BOOL,
      SEARCH_FIELD(builtin_only),
      .help = "as there" },
    { .name = "config-file", .type = BD_OPT_PATH, SEARCH_FIELD(config_file), .help = "as there" },
};

/* `fields` are good until `*options` is freed, which is the caller's, also after a failure. */
static int
find_plugin_options(const struct stack_side *side, int argc, char **argv,
                    struct search_fields *fields, struct options **options, struct error *why)
{
    char **words = calloc((size_t)argc + 1, sizeof *words);
    int word_count;
    int rc = words != NULL ? options_new(options) : -ENOMEM;

    if (rc != 0) {
        free(words);
        return error_set(why, rc, "out of memory");
    }
    options_skim(*options);
    options_take_side(*options, side->mine, side->others);
    rc = options_add(*options, "", search_rows, ARRAY_LEN(search_rows), sizeof search_rows[0],
                     fields, why);
    if (rc == 0)
        rc = options_parse(*options, argc, argv, SETTINGS_SHORTS, words, &word_count, why);
    free(words);
    return rc;
}

/* Said where the search could not see it, it would be ignored.  `rc` is what became of parsing: it may have failed for that
 * reason, or before it came to the last of several. */
static int
check_plugin_options(const struct settings *settings, const struct search_fields *searched, int rc,
                     struct error *why)
{
    const char *path = settings->plugin_path, *other = searched->plugin_path;
    bool is_unseen = path != NULL && other == NULL;
    bool is_other = (path != NULL && other != NULL && strcmp(path, other) != 0)
                    || settings->plugin_builtin_only > searched->builtin_only;

    if (!is_unseen && !(rc == 0 && is_other))
        return rc;
    return error_set(why, -EINVAL,
                     "--plugin-path=... and --plugin-builtin-only are said once for the whole "
                     "command, and not in a config file that is a pipe");
}

static int
add_rows(struct stack *stack, const struct stack_rows *more, struct error *why)
{
    int rc = options_new(&stack->options);

    if (rc != 0)
        return error_set(why, rc, "out of memory");
    options_take_side(stack->options, stack->side.mine, stack->side.others);
    options_refuse(stack->options, settings_refusals, settings_refusal_count);
    rc = options_add(stack->options, "", settings_rows, settings_row_count, sizeof settings_rows[0],
                     &stack->settings, why);
    if (rc == 0 && more != NULL)
        rc = options_add(stack->options, "", more->rows, more->count, sizeof more->rows[0],
                         more->fields, why);
    for (unsigned i = 0; i < stack->plugins.count && rc == 0; i++) {
        struct plugin *plugin = &stack->plugins.all[i];

        if (plugin->why.text[0] == '\0')
            rc = options_add_plugin(stack->options, plugin->name, plugin_owner(plugin),
                                    plugin->options, plugin->desc.option_count,
                                    sizeof *plugin->options, plugin->option_fields, why);
    }
    return rc;
}

int
stack_parse(struct stack *stack, const struct stack_rows *more, int argc, char **argv, char **words,
            int *word_count, struct error *why)
{
    struct search_fields fields = { 0 };
    struct options *first = NULL;
    int rc = find_plugin_options(&stack->side, argc, argv, &fields, &first, why);

    if (rc == 0)
        rc = plugins_load(&stack->plugins,
                          &(struct plugin_search){ .extra = fields.plugin_path,
                                                   .builtin_only = fields.builtin_only },
                          why);
    if (rc == 0)
        rc = add_rows(stack, more, why);
    if (rc == 0) {
        rc = options_parse(stack->options, argc, argv, SETTINGS_SHORTS, words, word_count, why);
        rc = check_plugin_options(&stack->settings, &fields, rc, why);
    }
    if (stack->settings.debug_foreground)
        stack->settings.debug = stack->settings.foreground = 1;
    options_free(first);
    return rc;
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

static int
refuse_option(const struct stack *stack, const struct plugin *plugin,
              const struct bd_option *option, struct error *why)
{
    const char *owner = plugin_owner(plugin), *name = option->name;

    if (stack->side.others != NULL)
        return error_set(why, -EINVAL,
                         "--%s-%s is an option of the backend \"%s\", which is not used here; say "
                         "--%s-%s-%s if the other side is meant, or leave it out",
                         owner, name, owner, stack->side.others, owner, name);
    return error_set(why, -EINVAL,
                     "--%s-%s is an option of the backend \"%s\", which is not used; say "
                     "--backend=...,%s,... or leave it out",
                     owner, name, owner, owner);
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

            snprintf(name, sizeof name, "%s:%s", plugin->name, plugin->options[j].name);
            if (options_given(stack->options, name))
                return refuse_option(stack, plugin, &plugin->options[j], why);
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
    else if (plugin->backend.traits & BD_BACKEND_STACKS)
        rc = error_set(why, -EINVAL, "backend %s needs another one below it: --backend=%s,OTHER",
                       innermost, names);
    else
        rc = options_set_location(stack->options, plugin_owner(plugin), location, why);
    if (rc == 0)
        stack->place = options_location_path(stack->options, plugin_owner(plugin));
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

bool
stack_wants_path(const struct stack *stack)
{
    const char *names = stack->settings.test ? s3backer_test_backend : stack->settings.backend;
    const char *last = strrchr(names, ',');
    const struct plugin *plugin =
        plugins_backend(&stack->plugins, last != NULL ? last + 1 : names, &(struct error){ "" });

    for (uint32_t i = 0; plugin != NULL && i < plugin->desc.option_count; i++) {
        if (plugin->options[i].flags & BD_OPTF_LOCATION)
            return plugin->options[i].type == BD_OPT_PATH;
    }
    return false;
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
    log_follow(stack->pool);
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

unsigned
stack_in_flight_max(const struct stack *stack)
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
unsigned
stack_listers_max(const struct stack *stack)
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

    if (settings->shared_disk_mode)
        return 0;
    if (options_given(stack->options, "block-cache-size")
        && (settings->block_cache_file == NULL || settings->block_cache_size == 0)) {
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
        /* What the cache keeps of each block would be a quarter of the smallest blocks. */
        if (settings->cache_size == 0 && blocks > CACHE_BLOCKS_DEFAULT)
            blocks = CACHE_BLOCKS_DEFAULT;
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

    return settings->shared_disk_mode
           || (settings->read_only
               && !(options_given(stack->options, "block-cache-timeout")
                    && settings->block_cache_timeout_ms == 0));
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
        .next_takes_parts = stack->tier != NULL,
    };
    struct store *next = stack->tier != NULL ? stack->tier : stack->consistency;

    /* Two requests for one block must not meet at the tier. */
    if (blocks == 0 && stack->tier != NULL)
        blocks = config.blocks_max = CACHE_BLOCKS_MIN;
    if (blocks == 0)
        return whole_new(next, stack->layout.block_bytes, IN_FLIGHT_BYTES, &stack->blocks);
    if (settings->block_cache_sync)
        config.write_delay_ns = 0;
    config.write_delay_max_ns = config.write_delay_ns;
    if (!options_given(stack->options, "block-cache-write-delay"))
        config.write_delay_max_ns *= PATIENCE;
    if (config.is_reader && !options_given(stack->options, "block-cache-timeout"))
        config.idle_ns = STALE_READ_ONLY_NS;
    stack->has_cache = true;
    stack->cache_blocks = config.blocks_max;
    return cache_new(&config, next, stack->pool, stack->stats, &stack->blocks);
}

static int
build_tier(struct stack *stack, unsigned in_flight)
{
    const struct settings *settings = &stack->settings;
    const struct tier_config config = {
        .file = stack->file,
        .block_bytes = (uint32_t)stack->layout.block_bytes,
        .durability = settings->durability == DURABILITY_CACHE ? TIER_FILE : TIER_STORE,
        .is_sync = settings->block_cache_sync,
        .is_reader = is_reader(stack),
        .trusts_file = settings->block_cache_no_verify,
        .write_delay_ns =
            settings->block_cache_sync ? 0 : settings->block_cache_write_delay_ms * NS_PER_MS,
        .unsent_max_ns = settings->max_unsent_age_ms * NS_PER_MS,
        .in_flight_max = in_flight,
        .stall_ns = stall_ns(settings, STALL_WRITE_NS),
    };

    return stack->file == NULL
               ? 0
               : tier_new(&config, stack->consistency, stack->pool, stack->stats, &stack->tier);
}

int
stack_build_objects(struct stack *stack, struct error *why)
{
    const struct settings *settings = &stack->settings;
    const struct objects_config config = {
        .layout = &stack->layout,
        .attempt_ns = settings->timeout_ms * NS_PER_MS,
        .retry_pause_ns = settings->initial_retry_pause_ms * NS_PER_MS,
        .stall_read_ns = stall_ns(settings, STALL_READ_NS),
        .stall_write_ns = stall_ns(settings, STALL_WRITE_NS),
        .in_flight_max = stack_in_flight_max(stack),
        .lease = stack->lease,
    };
    int rc = objects_new(&config, stack->backend, stack->chain, stack->pool, stack->stats,
                         &stack->objects);

    return rc == 0 ? 0 : error_set(why, rc, "out of memory");
}

int
stack_build_store(struct stack *stack, uint64_t hold_until_ns, struct error *why)
{
    const struct settings *settings = &stack->settings;
    const struct consistency_config consistency = {
        .layout = &stack->layout,
        .recent.settle_ns = settings->settle_time_ms * NS_PER_MS,
        .recent.write_gap_ns = settings->min_write_delay_ms * NS_PER_MS,
        .recent.tag_keep_ns = settings->md5_cache_time_ms > 0
                                  ? settings->md5_cache_time_ms * NS_PER_MS
                                  : TAG_KEEP_FOREVER_NS,
        .recent.tag_count_max = settings->md5_cache_size,
        .stall_read_ns = stall_ns(settings, STALL_READ_NS),
        .listers_max = stack_listers_max(stack),
        .is_reader = is_reader(stack),
        .is_shared = settings->shared_disk_mode,
    };
    uint64_t now = clock_now_ns();
    int rc = stack_build_objects(stack, why);

    if (rc != 0)
        return rc;
    rc = consistency_new(&consistency, stack->objects, stack->pool, stack->stats,
                         &stack->consistency);
    if (rc != 0)
        return error_set(why, rc, "out of memory");
    if (hold_until_ns > now)
        consistency_hold(stack->consistency, hold_until_ns - now);
    return 0;
}

int
stack_build_cache(struct stack *stack, struct error *why)
{
    unsigned in_flight = stack_in_flight_max(stack);
    int rc = build_tier(stack, in_flight);

    if (rc == 0)
        rc = build_cache(stack, in_flight);
    if (rc != 0)
        return error_set(why, rc, "out of memory");
    stack->disk = (struct disk){ .next = stack->blocks,
                                 .block_bytes = stack->layout.block_bytes,
                                 .bytes = stack->layout.block_bytes * stack->layout.block_count };
    return 0;
}

void
stack_close(struct stack *stack)
{
    struct error why;

    if (stack->has_cache)
        cache_free(stack->blocks);
    else
        whole_free(stack->blocks);
    tier_free(stack->tier);
    if (stack->file != NULL && cachefile_close(stack->file, &why) != 0)
        log_line(BD_ERROR, "%s", why.text);
    spill_close(stack->spill);
    chain_close(stack->seal);
    consistency_free(stack->consistency);
    objects_free(stack->objects);
    lease_free(stack->lease);
    chain_close(stack->chain);
    keyring_clear(&stack->keyring);
    manifest_clear(&stack->description.manifest);
    if (stack->backend != NULL)
        backend_close(stack->backend);
    log_unfollow(stack->pool);
    pool_free(stack->pool);
    stats_free(stack->stats);
    options_free(stack->options);
    plugins_free(&stack->plugins);
}
