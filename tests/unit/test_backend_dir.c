/* SPDX-License-Identifier: Apache-2.0 */
/* What is particular to backend-dir: files, failures of the directory, what other programs leave
 * there. */
#include "backends.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/xattr.h>

static char scratch[512];

static int
open_at(struct test_store *store, const char *path, const char *create)
{
    const char *options[] = { "path", path, "create", create, NULL };

    store_init(store);
    store_layer(store, 0, "backend-dir", options);
    return store_open(store, 1);
}

static void
fresh(struct test_store *store)
{
    scratch_make(scratch);
    assert_int_equal(open_at(store, scratch, "0"), 0);
}

static void
done(struct test_store *store)
{
    store_close(store);
    scratch_remove(scratch);
}

static const char *
in_scratch(const char *name)
{
    static char path[1024];

    snprintf(path, sizeof path, "%s/%s", scratch, name);
    return path;
}

static void
file_write(const char *name, const char *text)
{
    FILE *file = fopen(in_scratch(name), "w");

    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

TEST(dir, an_object_is_a_private_file_of_its_name)
{
    struct test_store store;
    struct stat stat_of;

    fresh(&store);
    assert_int_equal(put_text(&store, "00000001", "body"), BD_OK);
    assert_int_equal(stat(in_scratch("00000001"), &stat_of), 0);
    assert_int_equal(stat_of.st_mode & 07777, 0600);
    assert_int_equal(stat_of.st_size, 4);
    done(&store);
}

TEST(dir, a_file_of_another_program_has_a_tag_that_changes_with_it)
{
    struct test_store store;
    char first[257], second[257];

    fresh(&store);
    file_write("00000002", "written by s3backer");
    expect_text(&store, "00000002", "written by s3backer");
    assert_int_equal(run(request(&store, BD_HEAD_OBJECT, "00000002"), first), BD_OK);
    assert_int_equal(first[0], 'f');
    file_write("other", "written by S3backer");
    {
        char from[1024];

        snprintf(from, sizeof from, "%s", in_scratch("other"));
        assert_int_equal(rename(from, in_scratch("00000002")), 0);
    }
    assert_int_equal(run(request(&store, BD_HEAD_OBJECT, "00000002"), second), BD_OK);
    assert_string_not_equal(first, second);
    assert_int_equal(put_if(&store, "00000002", "x", 1, first, NULL, NULL), BD_CONDITION);
    assert_int_equal(put_if(&store, "00000002", "x", 1, second, NULL, NULL), BD_OK);
    done(&store);
}

TEST(dir, names_with_slashes_are_files_in_subdirectories)
{
    struct test_store store;
    struct seen seen = { 0 };
    struct stat stat_of;
    unsigned pages;

    fresh(&store);
    assert_int_equal(put_text(&store, "a/b/c", "1"), BD_OK);
    assert_int_equal(put_text(&store, "a/b-1", "2"), BD_OK);
    assert_int_equal(put_text(&store, "a/b0", "3"), BD_OK);
    expect_text(&store, "a/b/c", "1");
    assert_int_equal(stat(in_scratch("a/b/c"), &stat_of), 0);
    assert_int_equal(list(&store, "a/b", NULL, 2, &seen, &pages), BD_OK);
    assert_int_equal(seen.count, 3); /* '-' < '/' < '0' */
    assert_string_equal(seen.names[0], "a/b-1");
    assert_string_equal(seen.names[1], "a/b/c");
    assert_string_equal(seen.names[2], "a/b0");
    seen_free(&seen);
    assert_int_equal(delete_if(&store, "a/b/c", NULL), BD_OK);
    assert_int_equal(run(request(&store, BD_HEAD_OBJECT, "a/b/c"), NULL), BD_ABSENT);
    assert_int_equal(run(request(&store, BD_HEAD_OBJECT, "no/such/place"), NULL), BD_ABSENT);
    done(&store);
}

TEST(dir, names_that_lead_elsewhere_are_refused)
{
    static const char *const names[] = { "",
                                         "/etc/x",
                                         "../x",
                                         "a/../x",
                                         "a//x",
                                         "a/",
                                         ".",
                                         "..",
                                         "./x",
                                         ".bucketdisk-lock",
                                         "a/.bucketdisk-tmp-1" };
    struct test_store store;

    fresh(&store);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        assert_int_equal(put_text(&store, names[i], "x"), BD_INVALID);
        assert_int_equal(run(request(&store, BD_HEAD_OBJECT, names[i]), NULL), BD_INVALID);
    }
    assert_int_equal(symlink("/etc", in_scratch("link")), 0);
    assert_int_equal(put_text(&store, "link/x", "x"), BD_INVALID);
    assert_int_equal(run(request(&store, BD_HEAD_OBJECT, "link/passwd"), NULL), BD_INVALID);
    assert_int_equal(run(request(&store, BD_HEAD_OBJECT, "link"), NULL), BD_INVALID);
    done(&store);
}

TEST(dir, a_removed_directory_is_fatal_and_never_absent)
{
    struct test_store store;
    struct seen seen = { 0 };
    unsigned pages;

    fresh(&store);
    scratch_remove(scratch);
    assert_int_equal(run(request(&store, BD_HEAD_OBJECT, "x"), NULL), BD_FATAL);
    assert_int_equal(put_text(&store, "x", "x"), BD_FATAL);
    assert_int_equal(delete_if(&store, "x", NULL), BD_FATAL);
    assert_int_equal(list(&store, "", NULL, 10, &seen, &pages), BD_FATAL);
    store_close(&store);
}

TEST(dir, a_missing_directory_is_refused_or_made)
{
    struct test_store store;
    char path[600];

    scratch_make(scratch);
    snprintf(path, sizeof path, "%s/new", scratch);
    assert_int_equal(open_at(&store, path, "0"), -EINVAL);
    store_close(&store);
    assert_int_equal(open_at(&store, path, "1"), 0);
    assert_int_equal(put_text(&store, "x", "x"), BD_OK);
    store_close(&store);
    snprintf(path, sizeof path, "%s/new/x", scratch);
    assert_int_equal(open_at(&store, path, "1"), -EINVAL); /* a file */
    store_close(&store);
    scratch_remove(scratch);
}

TEST(dir, stale_temporary_files_are_removed_and_live_ones_kept)
{
    const char *stale = ".bucketdisk-tmp-00112233445566778899aabbccddeeff";
    const char *live = ".bucketdisk-tmp-ff112233445566778899aabbccddeeff";
    const char *foreign = ".bucketdisk-tmp-notes";
    struct test_store store;
    struct seen seen = { 0 };
    unsigned pages;
    int fd;

    scratch_make(scratch);
    umask(077);
    file_write(stale, "half an obj");
    file_write(live, "half an obj");
    file_write(foreign, "of the user");
    fd = open(in_scratch(live), O_RDWR);
    assert_int_equal(flock(fd, LOCK_EX), 0);
    assert_int_equal(open_at(&store, scratch, "0"), 0);
    assert_int_equal(access(in_scratch(stale), F_OK), -1);
    assert_int_equal(access(in_scratch(live), F_OK), 0);
    assert_int_equal(access(in_scratch(foreign), F_OK), 0);
    assert_int_equal(list(&store, "", NULL, 10, &seen, &pages), BD_OK);
    assert_int_equal(seen.count, 0);
    close(fd);
    done(&store);
}

static unsigned
file_count(void)
{
    DIR *stream = opendir(scratch);
    unsigned count = 0;

    while (readdir(stream) != NULL)
        count++;
    closedir(stream);
    return count - 2;
}

TEST(dir, a_full_disk_is_full_and_leaves_the_old_object)
{
    struct test_store store;
    char *big = calloc(1, 512 * 1024);

    scratch_make(scratch);
    if (mount("none", scratch, "tmpfs", 0, "size=256k") != 0) {
        free(big);
        scratch_remove(scratch);
        skip(); /* needs root */
    }
    assert_int_equal(open_at(&store, scratch, "0"), 0);
    assert_int_equal(put_text(&store, "object", "old"), BD_OK);
    assert_int_equal(put(&store, "object", big, 512 * 1024), BD_FULL);
    expect_text(&store, "object", "old");
    assert_int_equal(file_count(), 2); /* with the lock: no half file is left */
    assert_int_equal(put_text(&store, "object", "new"), BD_OK);
    expect_text(&store, "object", "new");
    store_close(&store);
    assert_int_equal(umount(scratch), 0);
    scratch_remove(scratch);
    free(big);
}

TEST(dir, without_extended_attributes_plain_objects_work_and_others_are_refused)
{
    struct bd_attr attr = { "mac", "x", 1 };
    struct test_store store;
    struct backend_io *io;
    char first[257], second[257];

    scratch_make(scratch);
    /* ramfs has none on any kernel */
    if (mount("none", scratch, "ramfs", 0, NULL) != 0) {
        scratch_remove(scratch);
        skip();
    }
    if (getxattr(scratch, "user.x", first, sizeof first) >= 0 || errno != EOPNOTSUPP) {
        umount(scratch);
        scratch_remove(scratch);
        skip();
    }
    assert_int_equal(open_at(&store, scratch, "0"), 0);
    assert_int_equal(backend_info(store.backend)->capabilities & BD_CAP_ATTRS, 0);
    io = request(&store, BD_PUT, "object");
    io->io.attrs = &attr;
    io->io.attr_count = 1;
    assert_int_equal(run(io, NULL), BD_UNSUPPORTED);
    io = request(&store, BD_PUT, "object");
    io->io.encoding = "zstd";
    backend_submit_wait(io);
    assert_int_equal(io->status, BD_UNSUPPORTED);
    assert_non_null(strstr(io->why.text, "extended attributes"));
    backend_io_free(io);
    assert_int_equal(put_if(&store, "object", "1", 1, NULL, NULL, first), BD_OK);
    assert_int_equal(run(request(&store, BD_HEAD_OBJECT, "object"), second), BD_OK);
    assert_string_equal(first, second);
    assert_int_equal(put_if(&store, "object", "2", 1, first, NULL, second), BD_OK);
    assert_int_equal(put_if(&store, "object", "3", 1, first, NULL, NULL), BD_CONDITION);
    store_close(&store);
    assert_int_equal(umount(scratch), 0);
    scratch_remove(scratch);
}

TEST(dir, a_read_only_filesystem_is_read_and_denies_writes)
{
    struct test_store store;

    scratch_make(scratch);
    if (mount("none", scratch, "tmpfs", 0, "size=256k") != 0) {
        scratch_remove(scratch);
        skip();
    }
    file_write("object", "text");
    assert_int_equal(mount("none", scratch, "tmpfs", MS_REMOUNT | MS_RDONLY, NULL), 0);
    assert_int_equal(open_at(&store, scratch, "0"), 0);
    expect_text(&store, "object", "text");
    assert_int_equal(put_text(&store, "object", "new"), BD_DENIED);
    assert_int_equal(delete_if(&store, "object", NULL), BD_DENIED);
    assert_int_equal(delete_if(&store, "object", "x"), BD_DENIED);
    store_close(&store);
    assert_int_equal(umount(scratch), 0);
    scratch_remove(scratch);
}

/* As a process that is stopped between taking and giving back. */
TEST(dir, a_lock_that_another_process_keeps_is_waited_for_until_the_deadline)
{
    struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
    struct test_store store;
    struct backend_io *io;
    uint64_t began;
    int fd;

    fresh(&store);
    assert_int_equal(put_text(&store, "object", "old"), BD_OK);
    fd = open(in_scratch(".bucketdisk-lock"), O_RDWR | O_CLOEXEC);
    assert_int_not_equal(fd, -1);
    assert_int_equal(fcntl(fd, F_OFD_SETLK, &lock), 0);
    for (unsigned i = 0; i < 2; i++) {
        io = request(&store, i == 0 ? BD_PUT : BD_DELETE, "object");
        began = clock_now_ns();
        io->io.deadline_ns = began + 200 * NS_PER_MS;
        io->io.body = i == 0 ? "new" : NULL;
        io->io.body_bytes = i == 0 ? 3 : 0;
        backend_submit_wait(io);
        assert_int_equal(io->status, BD_RETRY);
        assert_non_null(strstr(io->why.text, ".bucketdisk-lock"));
        assert_non_null(strstr(io->why.text, "stopped"));
        assert_in_range(clock_now_ns() - began, 200 * NS_PER_MS, 10 * NS_PER_S);
        backend_io_free(io);
    }
    expect_text(&store, "object", "old");
    close(fd);
    assert_int_equal(put_text(&store, "object", "new"), BD_OK);
    expect_text(&store, "object", "new");
    done(&store);
}

TEST(dir, the_identity_is_the_same_by_any_path)
{
    struct test_store store, other;
    char link[600];

    fresh(&store);
    snprintf(link, sizeof link, "%s-link", scratch);
    assert_int_equal(symlink(scratch, link), 0);
    assert_int_equal(open_at(&other, link, "0"), 0);
    assert_string_equal(backend_info(store.backend)->identity,
                        backend_info(other.backend)->identity);
    store_close(&other);
    unlink(link);
    done(&store);
}

/* A page of a big listing must not cost a scan of its own: 100 pages in about the time of one scan.
 */
TEST(dir, paging_a_big_directory_is_not_quadratic)
{
    struct test_store store;
    struct backend_io *io;
    struct seen seen = { 0 };
    char name[32], last[32] = "";
    uint64_t begin, first_ns, rest_ns;
    unsigned count = 0;

    fresh(&store);
    for (unsigned i = 0; i < 20000; i++) {
        int fd;

        snprintf(name, sizeof name, "%08x", i * 7919 % 20000);
        fd = open(in_scratch(name), O_CREAT | O_WRONLY, 0600);
        assert_true(fd >= 0);
        close(fd);
    }
    io = request(&store, BD_LIST, "");
    io->io.limit = 100;
    io->entry = seen_add;
    io->entry_arg = &seen;
    begin = clock_now_ns();
    backend_submit_wait(io);
    first_ns = clock_now_ns() - begin;
    begin = clock_now_ns();
    for (;;) {
        count += (unsigned)seen.count;
        snprintf(last, sizeof last, "%s", seen.names[seen.count - 1]);
        seen_free(&seen);
        if (!io->io.more)
            break;
        io->io.start_after = last;
        backend_submit_wait(io);
        assert_int_equal(io->status, BD_OK);
    }
    rest_ns = clock_now_ns() - begin;
    print_message("first page %.1f ms, 199 more %.1f ms\n", (double)first_ns / 1e6,
                  (double)rest_ns / 1e6);
    assert_int_equal(count, 20000);
    assert_true(rest_ns < 50 * first_ns);
    backend_io_free(io);
    done(&store);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        RUN(dir, an_object_is_a_private_file_of_its_name),
        RUN(dir, a_file_of_another_program_has_a_tag_that_changes_with_it),
        RUN(dir, names_with_slashes_are_files_in_subdirectories),
        RUN(dir, names_that_lead_elsewhere_are_refused),
        RUN(dir, a_removed_directory_is_fatal_and_never_absent),
        RUN(dir, a_missing_directory_is_refused_or_made),
        RUN(dir, stale_temporary_files_are_removed_and_live_ones_kept),
        RUN(dir, a_full_disk_is_full_and_leaves_the_old_object),
        RUN(dir, without_extended_attributes_plain_objects_work_and_others_are_refused),
        RUN(dir, a_read_only_filesystem_is_read_and_denies_writes),
        RUN(dir, a_lock_that_another_process_keeps_is_waited_for_until_the_deadline),
        RUN(dir, the_identity_is_the_same_by_any_path),
        RUN(dir, paging_a_big_directory_is_not_quadratic),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
