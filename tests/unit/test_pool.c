/* SPDX-License-Identifier: Apache-2.0 */
/* base/pool.c: tasks run once and in order, timers at their time. */
#include "fake_backend.h"

#include <stdatomic.h>
#include <stdlib.h>

#define TIMERS 500

static struct pool *
fresh(unsigned workers)
{
    struct pool *pool;

    assert_int_equal(pool_new(workers, &pool), 0);
    assert_int_equal(pool_workers(pool), workers);
    return pool;
}

/* ---- tasks */

static atomic_uint ran;
static sem_t all_ran;
static unsigned expected;

struct numbered {
    struct task task;
    unsigned number;
    atomic_uint runs;
};

static void
count_run(struct task *task)
{
    atomic_fetch_add(&container_of(task, struct numbered, task)->runs, 1);
    if (atomic_fetch_add(&ran, 1) + 1 == expected)
        sem_post(&all_ran);
}

static unsigned order[TIMERS];

static void
note_order(struct task *task)
{
    order[atomic_load(&ran)] = container_of(task, struct numbered, task)->number;
    count_run(task);
}

static void
expect_runs(unsigned count)
{
    atomic_store(&ran, 0);
    expected = count;
    sem_init(&all_ran, 0, 0);
}

TEST(pool, one_worker_runs_tasks_in_the_order_of_submission)
{
    static struct numbered tasks[TIMERS];
    struct pool *pool = fresh(1);

    expect_runs(TIMERS);
    for (unsigned i = 0; i < TIMERS; i++) {
        tasks[i].number = i;
        tasks[i].task.run = note_order;
        pool_submit(pool, &tasks[i].task);
    }
    wait_for(&all_ran);
    for (unsigned i = 0; i < TIMERS; i++)
        assert_int_equal(order[i], i);
    pool_free(pool);
}

#define SUBMITTERS 4
#define TASKS_EACH 50000u

struct submitter {
    struct pool *pool;
    struct numbered *tasks;
};

static void *
submit_many(void *arg)
{
    struct submitter *submitter = arg;

    for (unsigned i = 0; i < TASKS_EACH; i++) {
        submitter->tasks[i].task.run = count_run;
        pool_submit(submitter->pool, &submitter->tasks[i].task);
    }
    return NULL;
}

TEST(pool, very_many_tasks_from_many_threads_run_once_each)
{
    struct numbered *tasks = calloc(SUBMITTERS * TASKS_EACH, sizeof *tasks);
    struct submitter submitters[SUBMITTERS];
    struct pool *pool = fresh(4);
    pthread_t threads[SUBMITTERS];

    expect_runs(SUBMITTERS * TASKS_EACH);
    for (unsigned i = 0; i < SUBMITTERS; i++) {
        submitters[i] = (struct submitter){ pool, tasks + i * TASKS_EACH };
        assert_int_equal(pthread_create(&threads[i], NULL, submit_many, &submitters[i]), 0);
    }
    for (unsigned i = 0; i < SUBMITTERS; i++)
        pthread_join(threads[i], NULL);
    wait_for(&all_ran);
    pool_free(pool);
    for (unsigned i = 0; i < SUBMITTERS * TASKS_EACH; i++)
        assert_int_equal(atomic_load(&tasks[i].runs), 1);
    free(tasks);
}

TEST(pool, what_is_queued_still_runs_when_the_pool_ends)
{
    static struct numbered tasks[TIMERS];
    struct pool *pool = fresh(2);

    expect_runs(TIMERS);
    for (unsigned i = 0; i < TIMERS; i++) {
        tasks[i].task.run = count_run;
        pool_submit(pool, &tasks[i].task);
    }
    pool_free(pool);
    assert_int_equal(atomic_load(&ran), TIMERS);
}

/* ---- timers */

struct alarm {
    struct timer timer;
    unsigned number;
    atomic_bool has_run;
    bool is_early;
};

static void
alarm_run(struct task *task)
{
    struct alarm *alarm = container_of(task, struct alarm, timer.task);

    alarm->is_early = clock_now_ns() < alarm->timer.at_ns;
    order[atomic_fetch_add(&ran, 1)] = alarm->number;
    atomic_store(&alarm->has_run, true);
    if (atomic_load(&ran) == expected)
        sem_post(&all_ran);
}

TEST(pool, timers_run_in_the_order_of_their_times_and_none_early)
{
    static struct alarm alarms[TIMERS];
    uint64_t seed = test_seed(), begin = clock_now_ns() + 20 * NS_PER_MS;
    struct pool *pool = fresh(1);
    unsigned shuffled[TIMERS];

    expect_runs(TIMERS);
    for (unsigned i = 0; i < TIMERS; i++)
        shuffled[i] = i;
    for (unsigned i = TIMERS - 1; i > 0; i--) {
        unsigned j = (unsigned)(random_next(&seed) % (i + 1)), kept = shuffled[i];

        shuffled[i] = shuffled[j];
        shuffled[j] = kept;
    }
    for (unsigned i = 0; i < TIMERS; i++) {
        struct alarm *alarm = &alarms[shuffled[i]];

        alarm->number = shuffled[i];
        alarm->timer.task.run = alarm_run;
        assert_int_equal(pool_timer_set(pool, &alarm->timer, begin + shuffled[i] * NS_PER_MS / 10),
                         0);
    }
    wait_for(&all_ran);
    for (unsigned i = 0; i < TIMERS; i++) {
        assert_int_equal(order[i], i);
        assert_false(alarms[i].is_early);
    }
    pool_free(pool);
}

TEST(pool, a_cancelled_timer_does_not_run_and_the_others_do)
{
    static struct alarm alarms[TIMERS];
    static bool is_cancelled[TIMERS];
    uint64_t seed = test_seed(), begin = clock_now_ns() + 3600 * NS_PER_S;
    struct pool *pool = fresh(1);
    unsigned left = TIMERS;

    for (unsigned i = 0; i < TIMERS; i++) {
        alarms[i].number = i;
        alarms[i].timer.task.run = alarm_run;
        assert_int_equal(
            pool_timer_set(pool, &alarms[i].timer, begin + random_next(&seed) % NS_PER_S), 0);
    }
    for (unsigned i = 0; i < TIMERS; i++) {
        if (random_next(&seed) % 2 == 0) {
            is_cancelled[i] = true;
            left--;
            assert_true(pool_timer_cancel(pool, &alarms[i].timer));
            assert_false(pool_timer_cancel(pool, &alarms[i].timer));
        }
    }
    expect_runs(left);
    clock_jump(pool, 3602 * NS_PER_S);
    wait_for(&all_ran);
    for (unsigned i = 0; i < TIMERS; i++) {
        assert_int_equal(atomic_load(&alarms[i].has_run), !is_cancelled[i]);
        assert_false(pool_timer_cancel(pool, &alarms[i].timer));
    }
    for (unsigned i = 1; i < left; i++)
        assert_true(alarms[order[i - 1]].timer.at_ns <= alarms[order[i]].timer.at_ns);
    pool_free(pool);
}

TEST(pool, an_earlier_timer_is_not_kept_waiting_by_a_later_one)
{
    struct alarm late = { .timer.task.run = alarm_run }, soon = { .timer.task.run = alarm_run };
    struct pool *pool = fresh(1);

    expect_runs(1);
    assert_int_equal(pool_timer_set(pool, &late.timer, clock_now_ns() + 3600 * NS_PER_S), 0);
    assert_int_equal(pool_timer_set(pool, &soon.timer, clock_now_ns() + 10 * NS_PER_MS), 0);
    wait_for(&all_ran);
    assert_true(atomic_load(&soon.has_run));
    assert_false(atomic_load(&late.has_run));
    pool_free(pool); /* drops `late` */
}

struct again {
    struct timer timer;
    struct pool *pool;
    unsigned left;
};

static void
run_again(struct task *task)
{
    struct again *again = container_of(task, struct again, timer.task);

    if (--again->left == 0)
        sem_post(&all_ran);
    else
        assert_int_equal(pool_timer_set(again->pool, &again->timer, clock_now_ns()), 0);
}

TEST(pool, a_timer_may_set_itself_again_when_it_runs)
{
    struct again again = { .timer.task.run = run_again, .pool = fresh(2), .left = 1000 };

    expect_runs(0);
    assert_int_equal(pool_timer_set(again.pool, &again.timer, 0), 0);
    wait_for(&all_ran);
    pool_free(again.pool);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        RUN(pool, one_worker_runs_tasks_in_the_order_of_submission),
        RUN(pool, very_many_tasks_from_many_threads_run_once_each),
        RUN(pool, what_is_queued_still_runs_when_the_pool_ends),
        RUN(pool, timers_run_in_the_order_of_their_times_and_none_early),
        RUN(pool, a_cancelled_timer_does_not_run_and_the_others_do),
        RUN(pool, an_earlier_timer_is_not_kept_waiting_by_a_later_one),
        RUN(pool, a_timer_may_set_itself_again_when_it_runs),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
