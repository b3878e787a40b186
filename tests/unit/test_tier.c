/* SPDX-License-Identifier: Apache-2.0 */
/* core/tier.c: what is read from the cache file, and from the store; lives of the daemon. */
#include "fake_tier.h"

#include <errno.h>
#include <string.h>

/* The store is asked whether it still has the version; this is its answer. */
static void
answer_check(struct tiered *tiered, uint64_t block, int rc)
{
    below_answer(&tiered->below, STORE_CHECK, block, rc);
}

/* Somebody else wrote it. */
static void
change_stored(struct tiered *tiered, uint64_t block, unsigned char fill)
{
    struct below *below = &tiered->below;

    pthread_mutex_lock(&below->lock);
    memset(below->data + block * BLOCK_BYTES, fill, BLOCK_BYTES);
    below->versions[block]++;
    pthread_mutex_unlock(&below->lock);
}

/* ---- none */

TEST(reads, what_the_file_lacks_comes_from_the_store_and_is_kept)
{
    struct tiered *tiered = tiered_usual();

    keep(tiered, 3);
    expect_kept(tiered, 3, 0, SECTORS, stored_byte(3));
    assert_int_equal(tiered_counter(tiered, "cache_file_misses"), 1);
    assert_int_equal(tiered_counter(tiered, "cache_file_kept"), 1);
    assert_int_equal(tiered_counter(tiered, "cache_file_hits"), 1);
    assert_int_equal(tiered_counter(tiered, "cache_file_compared"), 0);
    tiered_free(tiered);
}

TEST(reads, what_has_no_tag_is_not_kept)
{
    struct tiered *tiered = tiered_usual();
    struct wish read;

    below_is_zero(&tiered->below, 3);
    ask_read(tiered, &read, 3);
    below_answer(&tiered->below, STORE_READ, 3, 0);
    wish_expect(&read, 0);
    expect_no_file(tiered, 3);
    tiered->below.is_silent = true;
    ask_read(tiered, &read, 4);
    below_answer(&tiered->below, STORE_READ, 4, 0);
    wish_expect(&read, stored_byte(4));
    expect_no_file(tiered, 4);
    tiered_free(tiered);
}

TEST(reads, what_cannot_be_read_is_an_error_and_not_kept)
{
    struct tiered *tiered = tiered_usual();
    struct wish read;

    ask_read(tiered, &read, 3);
    below_answer(&tiered->below, STORE_READ, 3, -EIO);
    expect_done(&read, -EIO);
    expect_no_file(tiered, 3);
    tiered_free(tiered);
}

TEST(reads, the_store_is_told_when_nobody_wants_it_any_more)
{
    struct tiered *tiered = tiered_usual();
    atomic_bool is_over = false;
    struct asked *asked;
    struct wish read;

    keep(tiered, 5);
    tiered_restart(tiered, END_ORDERLY);
    put(tiered, 4, 0, 1, 0x11);
    for (uint64_t block = 3; block <= 5; block++) {
        wish_submit(tiered->store, &read,
                    (struct store_req){ .op = STORE_READ,
                                        .block = block,
                                        .bytes = BLOCK_BYTES,
                                        .data = read.data,
                                        .is_over = &is_over });
        asked = below_expect(&tiered->below, block == 5 ? STORE_CHECK : STORE_READ, block);
        assert_ptr_equal(asked->req->is_over, &is_over);
        asked_answer(asked, -ECANCELED);
        expect_done(&read, -ECANCELED);
    }
    tiered_free(tiered);
}

/* ---- dirty */

TEST(reads, a_dirty_block_is_read_from_the_file)
{
    struct tiered *tiered = tiered_usual();

    put(tiered, 3, 0, SECTORS, 0x11);
    expect_kept(tiered, 3, 0, SECTORS, 0x11);
    assert_int_equal(tiered_counter(tiered, "cache_file_hits"), 1);
    tiered_free(tiered);
}

TEST(reads, what_a_dirty_block_lacks_comes_from_the_store)
{
    struct tiered *tiered = tiered_usual();
    struct wish read;

    put(tiered, 3, 0, 1, 0x11);
    put(tiered, 3, 5, 2, 0x22);
    ask_read(tiered, &read, 3);
    below_answer(&tiered->below, STORE_READ, 3, 0);
    assert_int_equal(wish_end(&read), 0);
    for (unsigned sector = 0; sector < SECTORS; sector++)
        assert_int_equal(read.data[sector * SECTOR_BYTES + 7], sector == 0 ? 0x11
                                                               : sector == 5 || sector == 6
                                                                   ? 0x22
                                                                   : stored_byte(3));
    expect_file(tiered, 3, CACHEFILE_DIRTY, 0x61, CACHEFILE_UNKNOWN, "");
    ask_read(tiered, &read, 3);
    below_answer(&tiered->below, STORE_READ, 3, -EIO);
    expect_done(&read, -EIO);
    tiered_free(tiered);
}

/* ---- clean, from another run */

TEST(reads, what_is_from_another_run_is_compared_once)
{
    struct tiered *tiered = tiered_usual();
    struct wish read;

    keep(tiered, 3);
    tiered_restart(tiered, END_ORDERLY);
    ask_read(tiered, &read, 3);
    answer_check(tiered, 3, 0);
    wish_expect(&read, stored_byte(3));
    expect_kept(tiered, 3, 0, SECTORS, stored_byte(3));
    assert_int_equal(tiered_counter(tiered, "cache_file_compared"), 1);
    assert_int_equal(tiered_counter(tiered, "cache_file_hits"), 2);
    assert_int_equal(tiered_counter(tiered, "cache_file_outdated"), 0);
    tiered_free(tiered);
}

TEST(reads, what_is_out_of_date_is_fetched_and_kept)
{
    struct tiered *tiered = tiered_usual();
    struct wish read;

    keep(tiered, 3);
    tiered_restart(tiered, END_ORDERLY);
    change_stored(tiered, 3, 0x77);
    ask_read(tiered, &read, 3);
    answer_check(tiered, 3, 0);
    below_answer(&tiered->below, STORE_READ, 3, 0);
    wish_expect(&read, 0x77);
    expect_kept(tiered, 3, 0, SECTORS, 0x77);
    assert_int_equal(tiered_counter(tiered, "cache_file_outdated"), 1);
    tiered_free(tiered);
}

TEST(reads, what_is_out_of_date_and_cannot_be_fetched_is_gone)
{
    struct tiered *tiered = tiered_usual();
    struct wish read;

    keep(tiered, 3);
    tiered_restart(tiered, END_ORDERLY);
    change_stored(tiered, 3, 0x77);
    ask_read(tiered, &read, 3);
    answer_check(tiered, 3, 0);
    below_answer(&tiered->below, STORE_READ, 3, -EIO);
    expect_done(&read, -EIO);
    expect_no_file(tiered, 3);
    tiered_free(tiered);
}

TEST(reads, what_cannot_be_compared_is_an_error_and_stays)
{
    struct tiered *tiered = tiered_usual();
    struct wish read;

    keep(tiered, 3);
    tiered_restart(tiered, END_ORDERLY);
    ask_read(tiered, &read, 3);
    answer_check(tiered, 3, -EIO);
    expect_done(&read, -EIO);
    ask_read(tiered, &read, 3);
    answer_check(tiered, 3, 0);
    wish_expect(&read, stored_byte(3));
    tiered_free(tiered);
}

TEST(reads, what_was_stored_by_this_run_is_not_compared)
{
    struct tiered *tiered = tiered_usual();

    put(tiered, 3, 0, SECTORS, 0x11);
    tiered_sleep(tiered, TIER_DELAY_NS);
    answer_write(tiered, 3, 0);
    expect_file(tiered, 3, CACHEFILE_CLEAN, ALL_SECTORS, CACHEFILE_TAG, "\"1\"");
    expect_kept(tiered, 3, 0, SECTORS, 0x11);
    tiered_free(tiered);
}

TEST(reads, who_is_not_alone_compares_each_time)
{
    struct tiered *tiered = tiered_with((struct tier_config){ .is_reader = true });
    struct wish read;

    keep(tiered, 3);
    for (unsigned i = 0; i < 2; i++) {
        ask_read(tiered, &read, 3);
        answer_check(tiered, 3, 0);
        wish_expect(&read, stored_byte(3));
    }
    change_stored(tiered, 3, 0x77);
    ask_read(tiered, &read, 3);
    answer_check(tiered, 3, 0);
    below_answer(&tiered->below, STORE_READ, 3, 0);
    wish_expect(&read, 0x77);
    tiered_free(tiered);
}

TEST(reads, who_trusts_the_file_never_compares)
{
    struct tiered *tiered =
        tiered_with((struct tier_config){ .trusts_file = true, .is_reader = true });

    keep(tiered, 3);
    tiered_restart(tiered, END_ORDERLY);
    expect_kept(tiered, 3, 0, SECTORS, stored_byte(3));
    tiered_free(tiered);
}

/* What the store got last may not be in the file. */
TEST(reads, who_trusts_the_file_compares_after_a_crash)
{
    struct tiered *tiered =
        tiered_with((struct tier_config){ .is_sync = true, .trusts_file = true });
    struct wish wish;

    keep(tiered, 3);
    keep(tiered, 4);
    ask_flush(tiered, &wish);
    expect_done(&wish, 0);
    ask_write(tiered, &wish, 3, 0, SECTORS, 0x22);
    answer_write(tiered, 3, 0);
    expect_done(&wish, 0);
    tiered_restart(tiered, END_POWER_CUT);
    tiered_restart(tiered, END_ORDERLY); /* this makes it no truer */
    ask_read(tiered, &wish, 3);
    answer_check(tiered, 3, 0);
    below_answer(&tiered->below, STORE_READ, 3, 0);
    wish_expect(&wish, 0x22);
    tiered_restart(tiered, END_ORDERLY);
    ask_read(tiered, &wish, 3);
    answer_check(tiered, 3, 0);
    wish_expect(&wish, 0x22);
    ask_read(tiered, &wish, 4);
    answer_check(tiered, 4, 0);
    wish_expect(&wish, stored_byte(4));
    tiered_restart(tiered, END_ORDERLY); /* now all has been compared */
    expect_kept(tiered, 3, 0, SECTORS, 0x22);
    expect_kept(tiered, 4, 0, SECTORS, stored_byte(4));
    tiered_free(tiered);
}

/* ---- incomplete, damaged */

TEST(reads, what_was_completed_to_be_stored_is_whole)
{
    struct tiered *tiered = tiered_usual();

    put(tiered, 3, 2, 1, 0x11);
    tiered_sleep(tiered, TIER_DELAY_NS);
    below_answer(&tiered->below, STORE_READ, 3, 0);
    answer_write(tiered, 3, 0);
    expect_file(tiered, 3, CACHEFILE_CLEAN, 0xff, CACHEFILE_TAG, "\"1\"");
    expect_kept(tiered, 3, 2, 1, 0x11);
    expect_kept(tiered, 3, 3, 5, stored_byte(3));
    tiered_free(tiered);
}

TEST(reads, a_clean_block_that_is_damaged_is_fetched)
{
    struct tiered *tiered = tiered_usual();
    struct wish read;

    keep(tiered, 3);
    disk_rots(tiered);
    ask_read(tiered, &read, 3);
    below_answer(&tiered->below, STORE_READ, 3, 0);
    wish_expect(&read, stored_byte(3));
    expect_kept(tiered, 3, 0, SECTORS, stored_byte(3));
    assert_int_equal(tiered_gauge(tiered, "cache_file_damaged"), 1);
    tiered_free(tiered);
}

TEST(reads, a_dirty_block_that_is_damaged_is_an_error_and_no_flush_hides_it)
{
    struct tiered *tiered = tiered_usual();
    struct wish read, flush;

    put(tiered, 3, 0, SECTORS, 0x11);
    disk_rots(tiered);
    ask_read(tiered, &read, 3);
    expect_done(&read, -EIO);
    ask_flush(tiered, &flush);
    expect_done(&flush, -EIO);
    tiered_expect_quiet(tiered);
    put(tiered, 3, 0, SECTORS, 0x22);
    ask_flush(tiered, &flush);
    answer_write(tiered, 3, 0);
    expect_done(&flush, 0);
    expect_kept(tiered, 3, 0, SECTORS, 0x22);
    tiered_free(tiered);
}

/* ---- the rest of the interface */

TEST(interface, a_check_is_passed_on)
{
    struct tiered *tiered = tiered_usual();
    struct store_version version = { .is = VERSION_TAG, .tag = "\"0\"" };
    struct wish check;

    wish_submit(tiered->store, &check,
                (struct store_req){ .op = STORE_CHECK, .block = 3, .version = &version });
    answer_check(tiered, 3, 0);
    expect_done(&check, 0);
    assert_true(check.req.is_same);
    tiered_free(tiered);
}

TEST(interface, what_is_dirty_is_not_known_to_be_zeros)
{
    struct tiered *tiered = tiered_usual();

    below_is_zero(&tiered->below, 3);
    assert_true(store_is_zero(tiered->store, 3));
    assert_false(store_is_zero(tiered->store, 4));
    put(tiered, 3, 0, 1, 0x11);
    assert_false(store_is_zero(tiered->store, 3));
    tiered_free(tiered);
}

static struct tiered *landing; /* its block 3 is in flight */
static bool (*is_zero_below)(struct store *store, uint64_t block);

/* Right after the answer, the flight lands. */
static bool
is_zero_until_now(struct store *store, uint64_t block)
{
    bool is_zero = is_zero_below(store, block);

    if (landing != NULL) {
        answer_write(landing, block, 0);
        landing = NULL;
    }
    return is_zero;
}

TEST(interface, what_is_stored_while_one_asks_is_not_known_to_be_zeros)
{
    struct tiered *tiered = tiered_usual();

    below_is_zero(&tiered->below, 3);
    is_zero_below = tiered->below.store.is_zero;
    tiered->below.store.is_zero = is_zero_until_now;
    put(tiered, 3, 0, SECTORS, 0x11);
    tiered_sleep(tiered, TIER_DELAY_NS);
    landing = tiered;
    assert_false(store_is_zero(tiered->store, 3));
    if (landing != NULL)
        answer_write(tiered, 3, 0);
    landing = NULL;
    assert_false(store_is_zero(tiered->store, 3));
    tiered_free(tiered);
}

TEST(interface, a_seek_waits_until_the_store_knows)
{
    struct tiered *tiered = tiered_usual();
    struct wish seek;

    put(tiered, 3, 0, SECTORS, 0x11);
    wish_submit(tiered->store, &seek,
                (struct store_req){ .op = STORE_SEEK, .block = 0, .count = 9, .want_data = true });
    expect_waits(tiered, &seek);
    assert_int_equal(below_asked(&tiered->below, STORE_SEEK), 0);
    answer_write(tiered, 3, 0);
    below_answer(&tiered->below, STORE_SEEK, ANY_BLOCK, 0);
    expect_done(&seek, 0);
    put(tiered, 3, 0, SECTORS, 0x22);
    wish_submit(tiered->store, &seek,
                (struct store_req){ .op = STORE_SEEK, .block = 0, .count = 9, .want_data = true });
    answer_write(tiered, 3, -EIO);
    expect_done(&seek, -EIO);
    tiered_free(tiered);
}

TEST(interface, statistics_say_what_waits)
{
    struct tiered *tiered = tiered_usual();

    assert_int_equal(tiered_gauge(tiered, "unsent_blocks"), 0);
    assert_int_equal(tiered_gauge(tiered, "unsent_age_seconds"), 0);
    keep(tiered, 2);
    put(tiered, 3, 0, SECTORS, 0x11);
    put(tiered, 4, 0, SECTORS, 0x11);
    tiered_sleep(tiered, 5 * NS_PER_S);
    assert_int_equal(tiered_gauge(tiered, "cache_file_blocks"), 3);
    assert_int_equal(tiered_gauge(tiered, "unsent_blocks"), 2);
    assert_int_equal(tier_unsent(tiered->store), 2);
    assert_in_range(tiered_gauge(tiered, "unsent_age_seconds"), 5, 6);
    tiered_sleep(tiered, 5 * NS_PER_S);
    answer_write(tiered, 3, 0);
    assert_int_equal(tiered_gauge(tiered, "unsent_blocks"), 1);
    assert_in_range(tiered_gauge(tiered, "unsent_age_seconds"), 10, 11);
    answer_write(tiered, 4, 0);
    assert_int_equal(tiered_gauge(tiered, "unsent_blocks"), 0);
    assert_int_equal(tiered_gauge(tiered, "unsent_age_seconds"), 0);
    assert_int_equal(tiered_counter(tiered, "cache_file_sent"), 2);
    tiered_free(tiered);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        RUN(reads, what_the_file_lacks_comes_from_the_store_and_is_kept),
        RUN(reads, what_has_no_tag_is_not_kept),
        RUN(reads, what_cannot_be_read_is_an_error_and_not_kept),
        RUN(reads, the_store_is_told_when_nobody_wants_it_any_more),
        RUN(reads, a_dirty_block_is_read_from_the_file),
        RUN(reads, what_a_dirty_block_lacks_comes_from_the_store),
        RUN(reads, what_is_from_another_run_is_compared_once),
        RUN(reads, what_is_out_of_date_is_fetched_and_kept),
        RUN(reads, what_is_out_of_date_and_cannot_be_fetched_is_gone),
        RUN(reads, what_cannot_be_compared_is_an_error_and_stays),
        RUN(reads, what_was_stored_by_this_run_is_not_compared),
        RUN(reads, who_is_not_alone_compares_each_time),
        RUN(reads, who_trusts_the_file_never_compares),
        RUN(reads, who_trusts_the_file_compares_after_a_crash),
        RUN(reads, what_was_completed_to_be_stored_is_whole),
        RUN(reads, a_clean_block_that_is_damaged_is_fetched),
        RUN(reads, a_dirty_block_that_is_damaged_is_an_error_and_no_flush_hides_it),
        RUN(interface, a_check_is_passed_on),
        RUN(interface, what_is_dirty_is_not_known_to_be_zeros),
        RUN(interface, what_is_stored_while_one_asks_is_not_known_to_be_zeros),
        RUN(interface, a_seek_waits_until_the_store_knows),
        RUN(interface, statistics_say_what_waits),
    };

    return cmocka_run_group_tests_name("tier", tests, NULL, NULL);
}
