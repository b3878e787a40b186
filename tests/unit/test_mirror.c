/* SPDX-License-Identifier: Apache-2.0 */
/* core/mirror.c: the end, while a copy is on its way. */
#include "test.h"

#include "base/clock.h"
#include "base/cond.h"
#include "mirror.h"

#include <fcntl.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static uint64_t now_ns = NS_PER_S;
static pthread_t test_thread;
static sem_t is_waiting; /* the mirror, for the time of its next copy */
static sem_t may_rename; /* it, each copy of its own */
static unsigned waits;   /* of the test, for its end */

uint64_t
clock_now_ns(void)
{
    return now_ns;
}

int
rename(const char *from, const char *to)
{
    if (!pthread_equal(pthread_self(), test_thread))
        sem_wait(&may_rename);
    return renameat(AT_FDCWD, from, AT_FDCWD, to);
}

void
cond_init(pthread_cond_t *cond)
{
    pthread_cond_init(cond, NULL);
}

/* Nobody waits for a time.  Whoever waits for the mirror's end is stopped for an hour at first; then the file lets itself be
 * written. */
void
cond_wait_ns(pthread_cond_t *cond, pthread_mutex_t *lock, uint64_t ns)
{
    (void)ns;
    if (!pthread_equal(pthread_self(), test_thread)) {
        sem_post(&is_waiting);
        pthread_cond_wait(cond, lock);
    } else if (++waits == 1) {
        now_ns += 3600 * NS_PER_S;
    } else {
        sem_post(&may_rename);
        pthread_cond_wait(cond, lock);
    }
}

TEST(mirror, the_time_in_which_the_process_was_stopped_is_no_wait_for_the_last_copy)
{
    char path[] = TEST_BINARY_DIR "/mirror-XXXXXX", file[sizeof path + 8], left[sizeof path + 16];
    struct error why = { "" };
    struct mirror *mirror;
    struct stats *stats;
    struct stat before, after;

    test_thread = pthread_self();
    sem_init(&is_waiting, 0, 0);
    sem_init(&may_rename, 0, 0);
    assert_non_null(mkdtemp(path));
    snprintf(file, sizeof file, "%s/stats", path);
    snprintf(left, sizeof left, "%s.new", file);
    assert_int_equal(stats_new(&stats), 0);
    assert_int_equal(mirror_start(file, 1000, stats, &why, &mirror), 0);
    assert_int_equal(stat(file, &before), 0);
    sem_wait(&is_waiting);
    mirror_stop(mirror);
    assert_int_equal(waits, 2);
    assert_int_equal(stat(file, &after), 0);
    assert_int_not_equal(before.st_ino, after.st_ino);
    assert_int_equal(access(left, F_OK), -1);
    stats_free(stats);
    unlink(file);
    rmdir(path);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        RUN(mirror, the_time_in_which_the_process_was_stopped_is_no_wait_for_the_last_copy),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
