/* SPDX-License-Identifier: Apache-2.0 */
/* s3backer's statistics, made of ours. */
#include "s3backer_stats.h"

#include "base/clock.h"
#include "base/util.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* As wide as s3backer makes the column of names. */
#define NAME_WIDTH 28

enum made_of {
    NOTHING,    /* has no meaning here: always 0 */
    COUNT,      /* a */
    BLOCKS,     /* the same, with the unit behind it */
    LESS,       /* a - b */
    OF_PLUGINS, /* counters of plugins of that name, with the plugins' names in front */
    MEAN,
    TOTAL,     /* of the times in a */
    SHARE,     /* a / b */
    HIT_RATIO, /* a / (a + b) */
    REUSED,    /* 1 - a / b, of plugins' counters */
};

/* s3backer's order. */
static const struct {
    const char *name;
    enum made_of made_of;
    const char *a, *b;
} rows[] = {
    { "http_normal_blocks_read", COUNT, "object_gets", NULL },
    { "http_normal_blocks_written", COUNT, "object_puts", NULL },
    { "http_zero_blocks_read", COUNT, "object_gets_absent", NULL },
    { "http_zero_blocks_written", COUNT, "object_deletes", NULL },
    { "http_empty_blocks_read", COUNT, "zero_reads", NULL },
    { "http_empty_blocks_written", COUNT, "zero_writes", NULL },
    { "http_gets", COUNT, "object_gets", NULL },
    { "http_puts", COUNT, "object_puts", NULL },
    { "http_deletes", COUNT, "object_deletes", NULL },
    { "http_avg_get_time", MEAN, "object_get_seconds", NULL },
    { "http_avg_put_time", MEAN, "object_put_seconds", NULL },
    { "http_avg_delete_time", MEAN, "object_delete_seconds", NULL },
    { "http_unauthorized", OF_PLUGINS, "http_unauthorized", NULL },
    { "http_forbidden", OF_PLUGINS, "http_forbidden", NULL },
    { "http_stale", COUNT, "stale_reads", NULL },
    { "http_redirect", OF_PLUGINS, "http_redirect", NULL },
    { "http_verified", COUNT, "same_checks", NULL },
    { "http_mismatch", LESS, "checks", "same_checks" },
    { "http_5xx_error", OF_PLUGINS, "http_5xx_error", NULL },
    { "http_4xx_error", OF_PLUGINS, "http_4xx_error", NULL },
    { "http_3xx_error", OF_PLUGINS, "http_3xx_error", NULL },
    { "http_other_error", OF_PLUGINS, "http_other_error", NULL },
    { "http_canceled_writes", NOTHING, NULL, NULL },
    { "http_num_retries", COUNT, "object_retries", NULL },
    { "http_total_retry_delay", TOTAL, "object_retry_pause_seconds", NULL },
    { "curl_handle_reuse_ratio", REUSED, "connections", "requests" },
    { "curl_timeouts", OF_PLUGINS, "curl_timeouts", NULL },
    { "curl_connect_failed", OF_PLUGINS, "curl_connect_failed", NULL },
    { "curl_host_unknown", OF_PLUGINS, "curl_host_unknown", NULL },
    { "curl_out_of_memory", OF_PLUGINS, "curl_out_of_memory", NULL },
    { "curl_other_error", OF_PLUGINS, "curl_other_error", NULL },
    { "block_cache_current_size", BLOCKS, "cache_blocks", NULL },
    { "block_cache_initial_size", BLOCKS, "cache_file_initial_blocks", NULL },
    { "block_cache_dirty_ratio", SHARE, "dirty_blocks", "cache_blocks" },
    { "block_cache_read_hits", COUNT, "cache_read_hits", NULL },
    { "block_cache_read_misses", COUNT, "cache_read_misses", NULL },
    { "block_cache_read_hit_ratio", HIT_RATIO, "cache_read_hits", "cache_read_misses" },
    { "block_cache_write_hits", COUNT, "cache_write_hits", NULL },
    { "block_cache_write_misses", COUNT, "cache_write_misses", NULL },
    { "block_cache_write_hit_ratio", HIT_RATIO, "cache_write_hits", "cache_write_misses" },
    { "block_cache_verified", LESS, "cache_file_compared", "cache_file_outdated" },
    { "block_cache_mismatch", COUNT, "cache_file_outdated", NULL },
    { "zero_block_cache_size", BLOCKS, "zero_blocks", NULL },
    { "zero_block_cache_read_hits", COUNT, "zero_reads", NULL },
    { "zero_block_cache_write_hits", COUNT, "zero_writes", NULL },
    { "md5_cache_current_size", BLOCKS, "remembered_writes", NULL },
    { "md5_cache_data_hits", NOTHING, NULL, NULL },
    { "md5_cache_full_delays", TOTAL, NULL, NULL },
    { "md5_cache_write_delays", TOTAL, "held_write_seconds", NULL },
    { "out_of_memory_errors", NOTHING, NULL, NULL },
};

static double
seconds(uint64_t ns)
{
    return (double)ns / (double)NS_PER_S;
}

static double
share(uint64_t part, uint64_t whole)
{
    return whole > 0 ? (double)part / (double)whole : 0;
}

static uint64_t
less(uint64_t from, uint64_t what)
{
    return from > what ? from - what : 0;
}

static void
print_row(FILE *out, struct stats *stats, size_t i)
{
    const char *a = rows[i].a, *b = rows[i].b;
    struct histogram_state times = { .count = 0 };

    fprintf(out, "%-*s ", NAME_WIDTH, rows[i].name);
    switch (rows[i].made_of) {
    case NOTHING:
        fputs("0\n", out);
        break;
    case COUNT:
        fprintf(out, "%" PRIu64 "\n", stats_number(stats, a));
        break;
    case BLOCKS:
        fprintf(out, "%" PRIu64 " blocks\n", stats_number(stats, a));
        break;
    case LESS:
        fprintf(out, "%" PRIu64 "\n", less(stats_number(stats, a), stats_number(stats, b)));
        break;
    case OF_PLUGINS:
        fprintf(out, "%" PRIu64 "\n", stats_sum_behind(stats, a));
        break;
    case MEAN:
        stats_times(stats, a, &times);
        fprintf(out, "%.3f sec\n", seconds(histogram_mean_ns(&times)));
        break;
    case TOTAL:
        if (a != NULL)
            stats_times(stats, a, &times);
        fprintf(out, "%.3f sec\n", seconds(times.sum_ns));
        break;
    case SHARE:
        fprintf(out, "%.4f\n", share(stats_number(stats, a), stats_number(stats, b)));
        break;
    case HIT_RATIO:
        fprintf(out, "%.4f\n",
                share(stats_number(stats, a), stats_number(stats, a) + stats_number(stats, b)));
        break;
    case REUSED: {
        uint64_t all = stats_sum_behind(stats, b);

        fprintf(out, "%.4f\n", share(less(all, stats_sum_behind(stats, a)), all));
        break;
    }
    }
}

char *
s3backer_stats_text(struct stats *stats)
{
    char *text = NULL, *ours = stats_text(stats);
    size_t bytes;
    FILE *out = ours != NULL ? open_memstream(&text, &bytes) : NULL;

    if (out == NULL) {
        free(ours);
        return NULL;
    }
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        print_row(out, stats, i);
    fputs(ours, out);
    free(ours);
    if (fclose(out) != 0) {
        free(text);
        return NULL;
    }
    return text;
}
