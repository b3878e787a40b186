/* SPDX-License-Identifier: Apache-2.0 */
/* The core's own options. */
#ifndef CORE_SETTINGS_H
#define CORE_SETTINGS_H

#include "base/options.h"

#include <stdint.h>

enum stall {
    STALL_LIMITED,
    STALL_FOREVER,
};

enum durability {
    DURABILITY_STORE,
    DURABILITY_CACHE,
};

struct settings {
    /* what is mounted */
    const char *backend;
    const char *codec;
    const char *default_content_encoding;
    const char *compress, *compress_level, *encrypt;
    const char *password, *password_file, *key_file, *password_salt;
    uint8_t accept_plain;
    uint32_t format;
    const char *prefix;
    uint64_t size, block_size;
    uint8_t block_hash_prefix, no_auto_detect, force, read_only, shared_disk_mode, test;
    uint8_t test_delays, test_errors, test_discard;
    /* how it shows */
    const char *filename, *stats_filename;
    uint32_t file_mode, uid, gid;
    const char *stats_file_mirror;
    uint64_t stats_file_mirror_interval_ms;
    const char *fsname, *subtype;
    uint8_t direct_io, allow_other;
    uint32_t fuse_threads, max_background;
    uint64_t max_readahead;
    /* how it treats the store */
    uint64_t timeout_ms, initial_retry_pause_ms, max_retry_pause_ms;
    uint32_t stall;
    uint64_t lease_ms;
    uint64_t settle_time_ms, min_write_delay_ms, md5_cache_time_ms;
    uint32_t md5_cache_size;
    uint8_t list_blocks;
    uint32_t list_blocks_threads;
    /* the cache */
    uint64_t cache_size;
    uint32_t block_cache_size, block_cache_threads;
    uint32_t block_cache_max_dirty, block_cache_num_protected;
    uint64_t block_cache_write_delay_ms, block_cache_timeout_ms;
    uint8_t block_cache_sync;
    const char *block_cache_file;
    uint64_t cache_file_size;
    uint8_t block_cache_no_verify, block_cache_file_advise;
    uint8_t block_cache_recover_dirty_blocks, block_cache_discard_dirty_blocks;
    uint32_t durability;
    uint64_t max_unsent_age_ms;
    const char *spill_directory;
    uint32_t read_ahead, read_ahead_trigger;
    /* how the daemon runs */
    uint64_t stop_timeout_ms;
    uint8_t foreground, debug, debug_foreground, single_thread, quiet;
    const char *plugin_path;
    uint8_t plugin_builtin_only;
    const char *config_file;
    /* what to do instead of mounting */
    uint8_t erase, reset_mounted_flag, help, version, dump_options;
};

/* -f -d -s -F FILE -h -V, for options_parse. */
#define SETTINGS_SHORTS                                                                            \
    "f=foreground d=debug-foreground s=single-thread F=config-file h=help V=version"

extern const struct bd_option settings_rows[];
extern const uint32_t settings_row_count;

/* Options that s3backer has or had, and we have not. */
extern const struct option_refusal settings_refusals[];
extern const size_t settings_refusal_count;

#endif
