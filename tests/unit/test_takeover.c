/* SPDX-License-Identifier: Apache-2.0 */
/* core/takeover.c over backend-memory: is the owner of a lock dead?  Pauses move the clock on and take no time. */
#include "backends.h"

#include "base/util.h"
#include "holder.h"
#include "takeover.h"
#include "token.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <time.h>

#define LOCK "v/s3backer-mounted"
#define OWNER "machine boot 7:7 there"

static const struct layout layout = { .prefix = "v/" };

static atomic_uint_least64_t ahead_ns;

uint64_t
clock_now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec + atomic_load(&ahead_ns);
}

/* What the other machine does, and when: before the question that follows this pause. */
static struct {
    struct test_store *store;
    unsigned pauses, at;
    void (*act)(struct test_store *store);
} other;

int
sigtimedwait(const sigset_t *signals, siginfo_t *info, const struct timespec *time)
{
    (void)signals, (void)info;
    atomic_fetch_add(&ahead_ns, (uint64_t)time->tv_sec * NS_PER_S + (uint64_t)time->tv_nsec);
    if (other.act != NULL && ++other.pauses == other.at)
        other.act(other.store);
    errno = EAGAIN;
    return -1;
}

static void
put_this(struct test_store *store, const struct lock *lock)
{
    struct backend_io *io = request(store, BD_PUT, LOCK);
    struct lock_text text;

    assert_int_equal(lock_put(io, lock, "20260101T000000Z", &text), 0);
    assert_int_equal(run(io, NULL), BD_OK);
    attrs_clear(&text.attrs);
}

static void
put_lock(struct test_store *store, const char *owner, uint64_t beat, uint64_t settle_ms)
{
    struct lock lock = {
        .value = 0x42,
        .lease = { .beat = beat, .epoch = 1, .lease_ms = 60000, .settle_ms = settle_ms, .at_s = 99 }
    };

    snprintf(lock.owner, sizeof lock.owner, "%s", owner);
    put_this(store, &lock);
}

static void
beats(struct test_store *store)
{
    put_lock(store, OWNER, 6, 30000);
}

static void
another_comes(struct test_store *store)
{
    put_lock(store, "third boot 1:2 third", 5, 30000);
}

/* The same words in another object: somebody has written it anew. */
static void
is_put_again(struct test_store *store)
{
    put_lock(store, OWNER, 5, 30000);
}

static void
unmounts(struct test_store *store)
{
    assert_int_equal(delete_if(store, LOCK, NULL), BD_OK);
}

/* Returns its rc; the seconds that it took. */
static int
watch(struct test_store *store, uint64_t settle_ms, struct lock *lock, unsigned *seconds,
      struct error *why)
{
    const struct takeover_config config = {
        .backend = store->backend, .layout = &layout, .lock_id = "1:2", .settle_ms = settle_ms
    };
    uint64_t begun = clock_now_ns();
    int rc;

    other.store = store;
    other.pauses = 0;
    why->text[0] = '\0';
    rc = takeover_watch(&config, lock, why);
    *seconds = (unsigned)((clock_now_ns() - begun) / NS_PER_S);
    return rc;
}

TEST(takeover, for_whom_the_dead_one_waited_is_waited_too)
{
    struct lock dead = { .value = 0x42,
                         .owner = OWNER,
                         .lease = { .beat = 5, .epoch = 1, .lease_ms = 1000, .at_s = 99 },
                         .hold_ms = 500000 };
    struct test_store store;
    struct error why;
    unsigned seconds;
    struct lock lock;

    memory_open(&store, NULL);
    put_this(&store, &dead);
    assert_int_equal(watch(&store, 0, &lock, &seconds, &why), 0);
    assert_in_range(seconds, 500, 510);
    store_close(&store);
}

TEST(takeover, who_stands_still_for_lease_and_settle_time_is_dead)
{
    static const struct {
        uint64_t theirs_ms, ours_ms;
        unsigned seconds;
    } cases[] = { { 30000, 30000, 90 },
                  { 30000, 1000, 90 },
                  { 1000, 30000, 90 },
                  { 0, 0, 60 },
                  { 0, 600000, 660 } };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct test_store store;
        struct error why;
        struct lock lock;
        unsigned seconds;

        memory_open(&store, NULL);
        other.act = NULL;
        put_lock(&store, OWNER, 5, cases[i].theirs_ms);
        assert_int_equal(watch(&store, cases[i].ours_ms, &lock, &seconds, &why), 0);
        assert_true(lock_is_of(&lock, 0x42, OWNER));
        assert_in_range(seconds, cases[i].seconds, cases[i].seconds + 3);
        store_close(&store);
    }
}

TEST(takeover, who_beats_is_refused_by_name_however_late)
{
    static const unsigned at[] = { 1, 45, 90 };

    for (size_t i = 0; i < ARRAY_LEN(at); i++) {
        struct test_store store;
        struct error why;
        struct lock lock;
        unsigned seconds;

        memory_open(&store, NULL);
        put_lock(&store, OWNER, 5, 30000);
        other.act = beats;
        other.at = at[i];
        assert_int_equal(watch(&store, 0, &lock, &seconds, &why), -EBUSY);
        assert_non_null(strstr(why.text, "in use on there, which lives"));
        assert_in_range(seconds, at[i], at[i] + 1);
        store_close(&store);
    }
}

TEST(takeover, another_lock_in_its_place_is_no_dead_one)
{
    struct test_store store;
    struct error why;
    struct lock lock;
    unsigned seconds;

    memory_open(&store, NULL);
    put_lock(&store, OWNER, 5, 30000);
    other.act = another_comes;
    other.at = 50;
    assert_int_equal(watch(&store, 0, &lock, &seconds, &why), -EBUSY);
    assert_non_null(strstr(why.text, "third"));
    put_lock(&store, OWNER, 5, 30000);
    other.act = is_put_again;
    assert_int_equal(watch(&store, 0, &lock, &seconds, &why), -EBUSY);
    store_close(&store);
}

TEST(takeover, nothing_is_to_be_taken_where_nobody_is)
{
    struct test_store store;
    struct error why;
    struct lock lock;
    unsigned seconds;

    memory_open(&store, NULL);
    other.act = NULL;
    assert_int_equal(watch(&store, 0, &lock, &seconds, &why), 0);
    assert_false(lock.is_there);
    put_lock(&store, OWNER, 5, 30000);
    other.act = unmounts;
    other.at = 50;
    assert_int_equal(watch(&store, 0, &lock, &seconds, &why), 0);
    assert_false(lock.is_there);
    store_close(&store);
}

TEST(takeover, a_lock_that_never_beats_tells_nothing)
{
    struct test_store store;
    struct error why;
    struct lock lock;
    unsigned seconds;

    other.act = NULL;
    for (unsigned is_ours = 0; is_ours < 2; is_ours++) {
        memory_open(&store, NULL);
        put_with(&store, LOCK, 4, NULL,
                 (const char *const[4]){ "s3backer-mount-token", "00000042",
                                         is_ours ? "bucketdisk-owner" : NULL, OWNER });
        assert_int_equal(watch(&store, 0, &lock, &seconds, &why), -EBUSY);
        assert_non_null(strstr(why.text, is_ours ? "there" : "another machine"));
        assert_non_null(strstr(why.text, "--reset-mounted-flag"));
        assert_int_equal(seconds, 0);
        store_close(&store);
    }
}

TEST(takeover, a_volume_that_is_shared_is_nobodys)
{
    struct test_store store;
    struct error why;
    struct lock lock;
    unsigned seconds;

    other.act = NULL;
    memory_open(&store, NULL);
    put_with(&store, LOCK, 4, NULL,
             (const char *const[4]){ "s3backer-mount-token", "7fffffff", NULL, NULL });
    assert_int_equal(watch(&store, 0, &lock, &seconds, &why), -EBUSY);
    assert_non_null(strstr(why.text, "--sharedDiskMode"));
    assert_int_equal(seconds, 0);
    store_close(&store);
}

TEST(takeover, a_dead_daemon_of_this_machine_needs_only_the_settle_time)
{
    const struct token_wish wish = { .lock_id = "1:2" };
    struct test_store store;
    struct error why = { "" };
    struct token token;
    struct lock lock;
    unsigned seconds;

    memory_open(&store, NULL);
    other.act = NULL;
    assert_int_equal(token_take(store.backend, &layout, &wish, &token, &why), 0);
    assert_int_equal(watch(&store, 20000, &lock, &seconds, &why), 0);
    assert_true(lock_is_of(&lock, token.value, token.owner));
    assert_in_range(seconds, 20, 23);
    store_close(&store);
}

TEST(takeover, what_may_be_in_a_cache_file_alone_is_left_behind_by_force_only)
{
    static const struct {
        bool is_here, is_forced;
        const char *words;
    } cases[] = { { false, false, "cache file alone" },
                  { true, false, "takes it over" },
                  { false, true, NULL } };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct takeover_config config = { .layout = &layout,
                                          .lock_id = "1:2",
                                          .is_forced = cases[i].is_forced };
        struct lock lock = { .value = 0x42, .is_local = true, .lease = { 5, 1, 60000, 30000, 99 } };
        struct test_store store;
        struct error why = { "" };
        int rc;

        memory_open(&store, NULL);
        config.backend = store.backend;
        other.act = NULL;
        if (cases[i].is_here)
            holder_format("1:2", lock.owner, sizeof lock.owner);
        else
            strcpy(lock.owner, OWNER);
        put_this(&store, &lock);
        rc = takeover_watch(&config, &lock, &why);
        assert_int_equal(rc, cases[i].is_forced ? 0 : -EBUSY);
        if (cases[i].words != NULL)
            assert_non_null(strstr(why.text, cases[i].words));
        store_close(&store);
    }
}

TEST(takeover, who_may_be_a_copy_of_this_machine_is_watched_like_any_other)
{
    struct lock lock = { .value = 0x42, .lease = { 5, 1, 60000, 30000, 99 } };
    char machine[64], rest[128];
    struct test_store store;
    struct error why;
    unsigned seconds;

    memory_open(&store, NULL);
    other.act = NULL;
    holder_format("1:2", lock.owner, sizeof lock.owner);
    assert_int_equal(sscanf(lock.owner, "%63s %*s %127[^\n]", machine, rest), 2);
    snprintf(lock.owner, sizeof lock.owner, "%s another-boot %s", machine, rest);
    put_this(&store, &lock);
    assert_int_equal(watch(&store, 0, &lock, &seconds, &why), 0);
    assert_in_range(seconds, 90, 93);
    store_close(&store);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        RUN(takeover, for_whom_the_dead_one_waited_is_waited_too),
        RUN(takeover, who_stands_still_for_lease_and_settle_time_is_dead),
        RUN(takeover, who_beats_is_refused_by_name_however_late),
        RUN(takeover, another_lock_in_its_place_is_no_dead_one),
        RUN(takeover, nothing_is_to_be_taken_where_nobody_is),
        RUN(takeover, a_lock_that_never_beats_tells_nothing),
        RUN(takeover, a_volume_that_is_shared_is_nobodys),
        RUN(takeover, a_dead_daemon_of_this_machine_needs_only_the_settle_time),
        RUN(takeover, what_may_be_in_a_cache_file_alone_is_left_behind_by_force_only),
        RUN(takeover, who_may_be_a_copy_of_this_machine_is_watched_like_any_other),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
