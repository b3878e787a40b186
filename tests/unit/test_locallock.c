/* SPDX-License-Identifier: Apache-2.0 */
/* core/locallock.c: one daemon for a volume on this machine.  Uses the real directory of locks, with
 * identities that no volume has. */
#include "fake_backend.h"

#include "locallock.h"

#include <errno.h>
#include <glob.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static char runtime[] = "/tmp/bucketdisk-test-XXXXXX";
static char identity[64];

static int
setup(void **state)
{
    (void)state;
    snprintf(identity, sizeof identity, "unit-test:%ld:~/ odd", (long)getpid());
    /* Users' locks are in their runtime directory; root's are not. */
    return mkdtemp(runtime) == NULL || setenv("XDG_RUNTIME_DIR", runtime, 1) != 0;
}

static int
teardown(void **state)
{
    char dir[64];

    (void)state;
    snprintf(dir, sizeof dir, "%s/bucketdisk", runtime);
    rmdir(dir);
    return rmdir(runtime);
}

static struct locallock *
take(void)
{
    struct error why = { "" };
    struct locallock *lock = NULL;

    if (locallock_take(identity, "the volume", &why, &lock) != 0)
        fail_msg("%s", why.text);
    return lock;
}

static void
expect_busy(const char *reason)
{
    struct error why = { "" };
    struct locallock *lock;

    assert_int_equal(locallock_take(identity, "the volume", &why, &lock), -EBUSY);
    if (strstr(why.text, reason) == NULL)
        fail_msg("%s", why.text);
}

/* A device that this process surely sees a mount of: the first one's. */
static void
mounted_device(char out[32])
{
    FILE *file = fopen("/proc/self/mountinfo", "re");

    assert_non_null(file);
    assert_int_equal(fscanf(file, "%*d %*d %31s", out), 1);
    fclose(file);
}

TEST(locallock, who_starts_or_serves_is_not_disturbed)
{
    struct locallock *lock = take();
    char device[32];
    int fd;

    expect_busy("just being mounted");
    mounted_device(device);
    locallock_state(lock, LOCK_SERVING, "/mnt/odd place", device, "");
    expect_busy("is mounted on /mnt/odd place");
    fd = locallock_find(device, "/mnt/odd place");
    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(locallock_find(device, "/mnt/another"), -1);
    locallock_release(lock);
    locallock_release(take());
}

TEST(locallock, different_volumes_have_different_locks_and_ids)
{
    struct locallock *lock = take(), *other = NULL;
    char ids[2][64];
    struct error why = { "" };

    identity[0] ^= 1;
    assert_int_equal(locallock_take(identity, "other", &why, &other), 0);
    identity[0] ^= 1;
    locallock_id(lock, ids[0], sizeof ids[0]);
    locallock_id(other, ids[1], sizeof ids[1]);
    assert_string_not_equal(ids[0], ids[1]);
    assert_null(strchr(ids[0], ' '));
    locallock_release(lock);
    locallock_release(other);
}

/* It is a word of the mount token, by which the next daemon knows that this one is dead. */
TEST(locallock, whoever_takes_a_lock_again_has_its_id_again)
{
    char ids[2][64];

    for (unsigned i = 0; i < 2; i++) {
        struct locallock *lock = take();

        locallock_id(lock, ids[i], sizeof ids[i]);
        locallock_release(lock);
    }
    assert_string_equal(ids[0], ids[1]);
}

static void *
release_soon(void *arg)
{
    usleep(100000);
    locallock_state(arg, LOCK_DONE, NULL, NULL, "");
    locallock_release(arg);
    return NULL;
}

/* Both have no mount any more, one of them without knowing it yet. */
TEST(locallock, who_stores_the_rest_is_waited_for)
{
    static const enum lock_state states[] = { LOCK_FINISHING, LOCK_SERVING };

    for (unsigned i = 0; i < 2; i++) {
        struct locallock *lock = take();
        pthread_t thread;

        locallock_state(lock, states[i], "/mnt/gone", "9999:9999", "");
        assert_int_equal(pthread_create(&thread, NULL, release_soon, lock), 0);
        locallock_release(take());
        pthread_join(thread, NULL);
    }
}

static void
die_holding(void)
{
    pid_t child = fork();
    int status;

    assert_true(child >= 0);
    if (child == 0) {
        struct locallock *lock = NULL;
        char device[32];

        mounted_device(device);
        if (locallock_take(identity, "the volume", NULL, &lock) != 0)
            _exit(1);
        locallock_state(lock, LOCK_SERVING, "/mnt/dead", device, "");
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

TEST(locallock, a_dead_holder_holds_nothing)
{
    die_holding();
    locallock_release(take());
}

/* The lock file as another process sees it. */
static int
find_file(const char *device)
{
    return locallock_find(device, "/mnt/x");
}

/* The number of a daemon that was killed may soon be another process's, alive and well: ours, here. */
static void
reuse_number(const char *device)
{
    char pattern[256];
    glob_t found;
    FILE *file;

    snprintf(pattern, sizeof pattern, "%s/bucketdisk/unit-test:%ld:*",
             geteuid() == 0 ? "/run" : runtime, (long)getpid());
    assert_int_equal(glob(pattern, 0, NULL, &found), 0);
    file = fopen(found.gl_pathv[0], "w");
    assert_non_null(file);
    fprintf(file, "pid %ld\nstate serving\ndevice %s\nmountpoint /mnt/x\nresult \n", (long)getpid(),
            device);
    fclose(file);
    globfree(&found);
}

TEST(locallock, what_a_dead_daemon_left_is_nobodys_whoever_has_its_number)
{
    char device[32];

    mounted_device(device);
    die_holding();
    reuse_number(device);
    assert_int_equal(find_file(device), -1);
    locallock_release(take());
}

TEST(locallock, who_waits_hears_how_it_ended)
{
    static const struct {
        enum lock_state state;
        const char *result;
        int rc;
    } ends[] = { { LOCK_DONE, "", 0 },
                 { LOCK_DONE, "three blocks could not be stored", -EIO },
                 { LOCK_FINISHING, "", -EIO } };
    char device[32];

    mounted_device(device);
    for (unsigned i = 0; i < ARRAY_LEN(ends); i++) {
        struct locallock *lock = take();
        struct error why = { "" };
        int fd;

        locallock_state(lock, LOCK_SERVING, "/mnt/x", device, "");
        fd = find_file(device);
        assert_true(fd >= 0);
        locallock_state(lock, ends[i].state, NULL, NULL, ends[i].result);
        locallock_release(lock);
        assert_int_equal(locallock_wait(fd, &why), ends[i].rc);
        assert_non_null(strstr(why.text, ends[i].result));
    }
}

/* ---- files that are removed while others wait for them */

#define TAKERS 4
#define ROUNDS 20

static atomic_int holders;
static atomic_uint overlaps, failures;

static void *
take_and_release(void *arg)
{
    (void)arg;
    for (unsigned i = 0; i < ROUNDS; i++) {
        struct error why = { "" };
        struct locallock *lock;
        int rc = locallock_take(identity, "the volume", &why, &lock);

        if (rc == -EBUSY) /* met the moment before FINISHING was noted */
            continue;
        if (rc != 0) {
            atomic_fetch_add(&failures, 1);
            break;
        }
        locallock_state(lock, LOCK_FINISHING, NULL, NULL, "");
        if (atomic_fetch_add(&holders, 1) != 0)
            atomic_fetch_add(&overlaps, 1);
        usleep(1000);
        atomic_fetch_sub(&holders, 1);
        locallock_release(lock);
    }
    return NULL;
}

TEST(locallock, a_file_that_was_removed_is_no_lock)
{
    pthread_t threads[TAKERS];

    for (unsigned i = 0; i < TAKERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, take_and_release, NULL), 0);
    for (unsigned i = 0; i < TAKERS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(atomic_load(&overlaps), 0);
    assert_int_equal(atomic_load(&failures), 0);
}

TEST(locallock, what_was_kept_is_known_to_all_who_come_later)
{
    struct locallock *lock = take();

    assert_int_equal(locallock_kept(lock)->token, 0);
    locallock_keep(lock, "/a place/with blanks", 0xabc);
    locallock_state(lock, LOCK_DONE, NULL, NULL, "kept");
    locallock_release(lock);
    for (unsigned i = 0; i < 3; i++) { /* also one who is refused, and leaves it as it is */
        lock = take();
        assert_int_equal(locallock_kept(lock)->token, 0xabc);
        assert_string_equal(locallock_kept(lock)->path, "/a place/with blanks");
        locallock_release(lock);
    }
    lock = take();
    locallock_keep(lock, NULL, 0);
    locallock_state(lock, LOCK_DONE, NULL, NULL, "");
    locallock_release(lock);
    lock = take();
    assert_int_equal(locallock_kept(lock)->token, 0);
    locallock_release(lock);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        RUN(locallock, who_starts_or_serves_is_not_disturbed),
        RUN(locallock, different_volumes_have_different_locks_and_ids),
        RUN(locallock, whoever_takes_a_lock_again_has_its_id_again),
        RUN(locallock, who_stores_the_rest_is_waited_for),
        RUN(locallock, a_dead_holder_holds_nothing),
        RUN(locallock, what_a_dead_daemon_left_is_nobodys_whoever_has_its_number),
        RUN(locallock, who_waits_hears_how_it_ended),
        RUN(locallock, a_file_that_was_removed_is_no_lock),
        RUN(locallock, what_was_kept_is_known_to_all_who_come_later),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
