/* SPDX-License-Identifier: Apache-2.0 */
/* core/token.c, core/holder.c: locks that beat, and who watches them. */
#include "tokens.h"

#include <errno.h>
#include <time.h>

TEST(token, who_is_refused_is_told_who_has_it_since_when_it_stands_still_and_the_ways_out)
{
    struct error why = { "" };
    struct token token;
    struct test_store store;

    memory_open(&store, NULL);
    put_beating(&store, rival_owner, 5);
    assert_int_equal(token_take(store.backend, &token_layout, &token_willing, &token, &why),
                     -EBUSY);
    assert_non_null(strstr(why.text, "in use on rival, "));
    assert_non_null(strstr(why.text, "2023-11-14 22:13:20 UTC"));
    assert_non_null(strstr(why.text, "takeover` waits until it surely writes no more, about 90 s"));
    assert_non_null(strstr(why.text, "--reset-mounted-flag"));
    expect_owner(&store, rival_owner);
    store_close(&store);
}

static unsigned
carried_out_later_ms(const struct test_store *store, unsigned settle_ms)
{
    return backend_info(store->backend)->capabilities & BD_CAP_LOCAL ? 0 : settle_ms;
}

/* A copy of this machine, which beat last so many seconds before our boot. */
static struct {
    struct test_store *store;
    struct lock lock;
} copy;

static void
copy_beats(void)
{
    struct backend_io *io = request(copy.store, BD_PUT, TOKEN);
    struct lock_text text;

    copy.lock.lease.beat++;
    assert_int_equal(lock_put(io, &copy.lock, "20260101T000000Z", &text), 0);
    assert_int_equal(run(io, NULL), BD_OK);
    attrs_clear(&text.attrs);
}

static void
copy_comes(struct test_store *store, int before_boot_s)
{
    uint64_t booted_s = (uint64_t)time(NULL) - clock_now_ns() / NS_PER_S;
    char words[4][128], owner[520];

    memory_open(store, NULL);
    copy.store = store;
    copy.lock =
        (struct lock){ .value = 0x42,
                       .lease = { 5, 1, 400, 700, (uint64_t)((int64_t)booted_s - before_boot_s) } };
    assert_int_equal(own_words(store, words), machine_id != NULL);
    snprintf(owner, sizeof owner, "%s another-boot %s %s", words[0], words[2], words[3]);
    assert_true(strlen(owner) < sizeof copy.lock.owner);
    strcpy(copy.lock.owner, owner);
    copy_beats();
}

TEST(token, who_may_be_a_copy_of_this_machine_is_watched)
{
    static const struct {
        int before_boot_s;
        bool beats;
        bool is_known;
        int rc;
    } cases[] = {
        { -10, false, true, -EBUSY }, /* since our boot */
        { 10, false, true, 0 },
        { 10, true, true, -EBUSY },
        { 10, false, false, -EBUSY },
    };
    const char *known = machine_id;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        uint64_t begun = clock_now_ns();
        struct test_store store;
        struct token token;

        machine_id = cases[i].is_known ? known : NULL;
        copy_comes(&store, cases[i].before_boot_s);
        token_meanwhile = cases[i].beats ? copy_beats : NULL;
        assert_int_equal(take(&store, "1:2", false, &token), cases[i].rc);
        token_meanwhile = NULL;
        if (cases[i].rc == 0) {
            assert_true(clock_now_ns() - begun >= copy.lock.lease.lease_ms * NS_PER_MS / 2);
            /* What it has on its way may be for its whole lease, and carried out later. */
            assert_int_equal(token.hold_ms, 400 + carried_out_later_ms(&store, 700));
        }
        store_close(&store);
    }
    machine_id = known;
}

TEST(token, who_takes_by_force_holds_his_writes_for_the_lease_of_an_owner_who_may_live)
{
    static const bool is_dead[] = { false, true };

    for (size_t i = 0; i < ARRAY_LEN(is_dead); i++) {
        char owner[520];
        struct token token;
        struct test_store store;

        variant_fresh(&store);
        if (is_dead[i])
            put_dead_neighbours(&store, owner);
        else
            put_beating(&store, rival_owner, 5);
        assert_int_equal(take(&store, "1:2", true, &token), 0);
        assert_int_equal(token.hold_ms,
                         carried_out_later_ms(&store, 30000) + (is_dead[i] ? 0 : 60000));
        store_close(&store);
    }
}

TEST(token, who_is_dead_had_waited_for_others_and_so_does_who_comes_after)
{
    struct error why = { "" };
    struct test_store store;
    struct token token;
    struct lock lock;
    uint64_t hold_ms;

    variant_fresh(&store);
    put_beating(&store, rival_owner, 5);
    assert_int_equal(take(&store, "1:2", true, &token), 0);
    hold_ms = token.hold_ms;
    for (unsigned deaths = 0; deaths < 3; deaths++) {
        assert_int_equal(holder_look(store.backend, &token_layout, &lock, &why), 0);
        assert_int_equal(lock.hold_ms, hold_ms);
        assert_int_equal(take(&store, "1:2", deaths == 2, &token), 0);
        assert_int_equal(token.hold_ms, hold_ms);
    }
    store_close(&store);
}

TEST(token, who_only_passes_puts_back_what_he_has_overwritten_by_force)
{
    struct error why = { "" };
    struct test_store store;
    struct token token;
    struct lock lock;

    variant_fresh(&store);
    put_beating(&store, rival_owner, 5);
    assert_int_equal(take(&store, "1:2", true, &token), 0);
    assert_int_equal(token_give_back(store.backend, &token_layout, &token, &why), 0);
    assert_int_equal(holder_look(store.backend, &token_layout, &lock, &why), 0);
    assert_string_equal(lock.owner, rival_owner);
    assert_int_equal(lock.lease.beat, 5);
    store_close(&store);
}

TEST(token, a_token_that_is_taken_knows_what_its_lease_begins_with)
{
    struct token token;
    struct test_store store;
    struct error why = { "" };
    struct lock lock;
    uint64_t before = clock_now_ns();

    variant_fresh(&store);
    put_beating(&store, rival_owner, 5);
    variant.puts = 0;
    assert_int_equal(take(&store, "1:2", true, &token), 0);
    assert_in_range(token.since_ns, before, variant.first_put_ns);
    assert_int_equal(token.epoch, 5);
    assert_int_equal(holder_look(store.backend, &token_layout, &lock, &why), 0);
    assert_string_equal(lock.tag, token.tag);
    /* Whether there can be a lease is not known before the store has been tried. */
    assert_int_equal(lock.lease.beat, 0);
    store_close(&store);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        RUN(token, who_is_refused_is_told_who_has_it_since_when_it_stands_still_and_the_ways_out),
        RUN(token, who_may_be_a_copy_of_this_machine_is_watched),
        RUN(token, who_takes_by_force_holds_his_writes_for_the_lease_of_an_owner_who_may_live),
        RUN(token, who_is_dead_had_waited_for_others_and_so_does_who_comes_after),
        RUN(token, who_only_passes_puts_back_what_he_has_overwritten_by_force),
        RUN(token, a_token_that_is_taken_knows_what_its_lease_begins_with),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
