/* SPDX-License-Identifier: Apache-2.0 */
/* core/s3backer_stats.c: s3backer's lines, to the letter. */
#include "test.h"

#include "base/clock.h"
#include "s3backer_stats.h"

#include <stdlib.h>
#include <string.h>

static uint64_t
eight(void *arg)
{
    (void)arg;
    return 8;
}

static uint64_t
two(void *arg)
{
    (void)arg;
    return 2;
}

static void
expect_line(const char *text, const char *line)
{
    if (strstr(text, line) == NULL)
        fail_msg("no \"%s\" in:\n%s", line, text);
}

TEST(s3backer_stats, are_there_in_its_format_when_nothing_is_counted)
{
    struct stats *stats;
    char *text;

    assert_int_equal(stats_new(&stats), 0);
    text = s3backer_stats_text(stats);
    assert_non_null(text);
    assert_ptr_equal(
        strstr(text, "http_normal_blocks_read      0\nhttp_normal_blocks_written   0\n"), text);
    expect_line(text, "\nhttp_avg_get_time            0.000 sec\n");
    expect_line(text, "\ncurl_handle_reuse_ratio      0.0000\n");
    expect_line(text, "\nblock_cache_current_size     0 blocks\n");
    expect_line(text, "\nblock_cache_write_hit_ratio  0.0000\n");
    expect_line(text, "\nout_of_memory_errors         0\n");
    free(text);
    stats_free(stats);
}

TEST(s3backer_stats, are_made_of_ours_which_follow)
{
    struct stats *stats;
    char *text;

    assert_int_equal(stats_new(&stats), 0);
    counter_add(stats_counter(stats, "object_gets", ""), 12);
    counter_add(stats_counter(stats, "checks", ""), 7);
    counter_add(stats_counter(stats, "same_checks", ""), 5);
    counter_add(stats_counter(stats, "s3_requests", ""), 8);
    counter_add(stats_counter(stats, "s3_connections", ""), 2);
    counter_add(stats_counter(stats, "s3_http_5xx_error", ""), 3);
    counter_add(stats_counter(stats, "cache_read_hits", ""), 3);
    counter_add(stats_counter(stats, "cache_read_misses", ""), 1);
    assert_int_equal(stats_gauge(stats, "cache_blocks", "", eight, NULL), 0);
    assert_int_equal(stats_gauge(stats, "dirty_blocks", "", two, NULL), 0);
    histogram_add(stats_histogram(stats, "object_get_seconds", ""), NS_PER_S / 4);
    histogram_add(stats_histogram(stats, "object_retry_pause_seconds", ""), NS_PER_S);
    histogram_add(stats_histogram(stats, "object_retry_pause_seconds", ""), NS_PER_S / 2);
    text = s3backer_stats_text(stats);
    assert_non_null(text);
    expect_line(text, "http_normal_blocks_read      12\n");
    expect_line(text, "\nhttp_gets                    12\n");
    expect_line(text, "\nhttp_avg_get_time            0.250 sec\n");
    expect_line(text, "\nhttp_verified                5\n");
    expect_line(text, "\nhttp_mismatch                2\n");
    expect_line(text, "\nhttp_5xx_error               3\n");
    expect_line(text, "\nhttp_total_retry_delay       1.500 sec\n");
    expect_line(text, "\ncurl_handle_reuse_ratio      0.7500\n");
    expect_line(text, "\nblock_cache_current_size     8 blocks\n");
    expect_line(text, "\nblock_cache_dirty_ratio      0.2500\n");
    expect_line(text, "\nblock_cache_read_hit_ratio   0.7500\n");
    expect_line(text, "\nout_of_memory_errors         0\nobject_gets                    12\n");
    free(text);
    stats_reset(stats);
    text = s3backer_stats_text(stats);
    expect_line(text, "http_normal_blocks_read      0\n");
    expect_line(text, "\nhttp_total_retry_delay       0.000 sec\n");
    expect_line(text, "\nblock_cache_current_size     8 blocks\n");
    free(text);
    stats_free(stats);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        RUN(s3backer_stats, are_there_in_its_format_when_nothing_is_counted),
        RUN(s3backer_stats, are_made_of_ours_which_follow),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
