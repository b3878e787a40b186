/* SPDX-License-Identifier: Apache-2.0 */
/* core/wait.c: requests waited for, until they are done, a signal comes, or the time is over. */
#include "test.h"

#include "base/util.h"
#include "wait.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

#define HELD_MAX 8u

/* Holds requests until it is told what they get; request i of several gets rc - i. */
struct holder {
    struct store store;
    pthread_mutex_t lock; /* guards the rest */
    struct store_req *held[HELD_MAX];
    unsigned count;
    bool answers;
    int rc;
};

static struct holder *holder_at_work;
static sigset_t usr;

static void
holder_submit(struct store *store, struct store_req *req)
{
    struct holder *holder = container_of(store, struct holder, store);
    bool answers;

    pthread_mutex_lock(&holder->lock);
    answers = holder->answers;
    if (!answers)
        holder->held[holder->count++] = req;
    pthread_mutex_unlock(&holder->lock);
    if (answers)
        store_done(req, holder->rc);
}

static void
holder_init(struct holder *holder)
{
    *holder = (struct holder){ .store.submit = holder_submit };
    pthread_mutex_init(&holder->lock, NULL);
}

static void
answer(struct holder *holder, int rc)
{
    pthread_mutex_lock(&holder->lock);
    while (holder->count > 0) {
        struct store_req *req = holder->held[--holder->count];

        pthread_mutex_unlock(&holder->lock);
        store_done(req, rc - (int)req->block);
        pthread_mutex_lock(&holder->lock);
    }
    holder->answers = true;
    holder->rc = rc;
    pthread_mutex_unlock(&holder->lock);
}

static unsigned
held(struct holder *holder)
{
    unsigned count;

    pthread_mutex_lock(&holder->lock);
    count = holder->count;
    pthread_mutex_unlock(&holder->lock);
    return count;
}

static void
nap(void)
{
    nanosleep(&(struct timespec){ .tv_nsec = 20000000 }, NULL);
}

/* On another thread: when so many are held, this is what they get. */
struct answering {
    struct holder *holder;
    unsigned count;
    int rc;
    pthread_t thread;
};

static void *
answer_main(void *arg)
{
    const struct answering *answering = arg;

    while (held(answering->holder) < answering->count)
        nap();
    answer(answering->holder, answering->rc);
    return NULL;
}

static void
answer_later(struct answering *answering)
{
    assert_int_equal(pthread_create(&answering->thread, NULL, answer_main, answering), 0);
}

static void
joined(struct answering *answering)
{
    assert_int_equal(pthread_join(answering->thread, NULL), 0);
}

/* ---- requests to a store */

TEST(store, one_is_waited_for_also_when_it_is_done_at_once)
{
    struct holder holder;
    struct answering answering = { .holder = &holder, .count = 1, .rc = -EIO };
    struct store_req req = { .op = STORE_READ };

    holder_init(&holder);
    answer_later(&answering);
    assert_int_equal(store_submit_wait(&holder.store, &req), -EIO);
    joined(&answering);
    assert_int_equal(store_submit_wait(&holder.store, &req), -EIO);
}

TEST(store, several_are_asked_at_once_and_each_has_its_answer)
{
    struct holder holder;
    struct answering answering = { .holder = &holder, .count = HELD_MAX, .rc = -10 };
    struct store_req reqs[HELD_MAX];

    holder_init(&holder);
    for (unsigned i = 0; i < HELD_MAX; i++)
        reqs[i] = (struct store_req){ .op = STORE_CHECK, .block = i };
    answer_later(&answering);
    assert_int_equal(store_submit_all_wait(&holder.store, reqs, HELD_MAX, NULL), 0);
    joined(&answering);
    for (unsigned i = 0; i < HELD_MAX; i++)
        assert_int_equal(reqs[i].rc, -10 - (int)i);
}

static void
cancel(void *arg)
{
    unsigned *calls = arg;

    (*calls)++;
    answer(holder_at_work, -ECANCELED);
}

TEST(store, a_signal_interrupts_once_and_all_are_waited_for_all_the_same)
{
    struct holder holder;
    unsigned calls = 0;
    const struct interruption interruption = { &usr, cancel, &calls };
    struct store_req reqs[2] = { { .op = STORE_READ }, { .op = STORE_READ } };

    holder_init(&holder);
    holder_at_work = &holder;
    raise(SIGUSR1);
    raise(SIGUSR2);
    assert_int_equal(store_submit_all_wait(&holder.store, reqs, 2, &interruption), -EINTR);
    assert_int_equal(calls, 1);
    assert_int_equal(reqs[0].rc, -ECANCELED);
    assert_int_equal(reqs[1].rc, -ECANCELED);
    /* The second one is for whoever waits next. */
    assert_true(sigtimedwait(&usr, NULL, &(struct timespec){ 0 }) > 0);
}

TEST(store, where_no_signal_comes_nothing_is_interrupted)
{
    struct holder holder;
    struct answering answering = { .holder = &holder, .count = 1 };
    unsigned calls = 0;
    const struct interruption interruption = { &usr, cancel, &calls };
    struct store_req req = { .op = STORE_READ };

    holder_init(&holder);
    holder_at_work = &holder;
    answer_later(&answering);
    assert_int_equal(store_submit_all_wait(&holder.store, &req, 1, &interruption), 0);
    joined(&answering);
    assert_int_equal(calls, 0);
    assert_int_equal(req.rc, 0);
}

/* ---- flushes of a disk */

static struct disk
disk_over(struct holder *holder)
{
    holder_init(holder);
    return (struct disk){ .next = &holder->store, .block_bytes = 4096, .bytes = 8192 };
}

TEST(flush, has_the_answer_of_the_store)
{
    struct holder holder;
    const struct disk disk = disk_over(&holder);
    struct answering answering = { .holder = &holder, .count = 1, .rc = -EIO };

    answer_later(&answering);
    assert_int_equal(disk_flush_wait_or(&disk, &usr, -1), -EIO);
    joined(&answering);
    disk_flush_join();
}

TEST(flush, goes_on_alone_when_the_time_is_over_or_a_signal_comes)
{
    struct holder holder;
    const struct disk disk = disk_over(&holder);

    assert_int_equal(disk_flush_wait_or(&disk, &usr, 1), -ETIMEDOUT);
    assert_int_equal(held(&holder), 1);
    raise(SIGUSR1);
    assert_int_equal(disk_flush_wait_or(&disk, &usr, -1), -EINTR);
    assert_int_equal(held(&holder), 2);
    answer(&holder, 0);
    disk_flush_join();
}

TEST(flush, without_descriptors_it_is_not_begun)
{
    struct holder holder;
    const struct disk disk = disk_over(&holder);
    struct rlimit usual, none;

    getrlimit(RLIMIT_NOFILE, &usual);
    none = (struct rlimit){ .rlim_cur = 0, .rlim_max = usual.rlim_max };
    setrlimit(RLIMIT_NOFILE, &none);
    assert_int_equal(disk_flush_wait_or(&disk, &usr, 1000), -EMFILE);
    setrlimit(RLIMIT_NOFILE, &usual);
    assert_int_equal(held(&holder), 0);
    disk_flush_join();
}

TEST(flush, who_joins_waits_for_all_that_went_on_alone)
{
    struct holder holder;
    const struct disk disk = disk_over(&holder);
    struct answering answering = { .holder = &holder, .count = 2 };

    assert_int_equal(disk_flush_wait_or(&disk, &usr, 1), -ETIMEDOUT);
    assert_int_equal(disk_flush_wait_or(&disk, &usr, 1), -ETIMEDOUT);
    answer_later(&answering);
    disk_flush_join();
    assert_int_equal(held(&holder), 0);
    joined(&answering);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        RUN(store, one_is_waited_for_also_when_it_is_done_at_once),
        RUN(store, several_are_asked_at_once_and_each_has_its_answer),
        RUN(store, a_signal_interrupts_once_and_all_are_waited_for_all_the_same),
        RUN(store, where_no_signal_comes_nothing_is_interrupted),
        RUN(flush, has_the_answer_of_the_store),
        RUN(flush, goes_on_alone_when_the_time_is_over_or_a_signal_comes),
        RUN(flush, without_descriptors_it_is_not_begun),
        RUN(flush, who_joins_waits_for_all_that_went_on_alone),
    };

    sigemptyset(&usr);
    sigaddset(&usr, SIGUSR1);
    sigaddset(&usr, SIGUSR2);
    pthread_sigmask(SIG_BLOCK, &usr, NULL);
    return cmocka_run_group_tests_name("wait", tests, NULL, NULL);
}
