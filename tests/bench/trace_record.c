/* SPDX-License-Identifier: Apache-2.0 */
/* What a filesystem asks of its disk: a FUSE server with one file, `disk`, that notes each request for it.
 *
 *   trace_record BACKING_FILE TRACE MOUNT_POINT -f -s [-o OPTION...]
 *
 * One line a request, appended to TRACE at once, so that others can put lines of their own between them:
 * "r" or "w", how many sectors of 512 bytes lie between the end of the last request and this one's begin (negative:
 * it lies before that), and how many sectors it has.  Flushes are not noted. */
#define FUSE_USE_VERSION 314

#include <errno.h>
#include <fcntl.h>
#include <fuse.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SECTOR_BYTES 512

static int backing, trace;
static int64_t last_end; /* sectors */

static int
note(char operation, int64_t offset_bytes, size_t bytes)
{
    int64_t first = offset_bytes / SECTOR_BYTES;
    int64_t end = (offset_bytes + (int64_t)bytes + SECTOR_BYTES - 1) / SECTOR_BYTES;
    int rc =
        dprintf(trace, "%c %" PRId64 " %" PRId64 "\n", operation, first - last_end, end - first);

    last_end = end;
    return rc < 0 ? -EIO : 0;
}

static int
disk_getattr(const char *path, struct stat *stat, struct fuse_file_info *file)
{
    (void)file;
    if (strcmp(path, "/") == 0) {
        memset(stat, 0, sizeof *stat);
        stat->st_mode = S_IFDIR | 0755;
        return 0;
    }
    if (strcmp(path, "/disk") != 0)
        return -ENOENT;
    return fstat(backing, stat) == 0 ? 0 : -errno;
}

static int
disk_read(const char *path, char *out, size_t bytes, off_t offset, struct fuse_file_info *file)
{
    ssize_t got = pread(backing, out, bytes, offset);

    (void)path, (void)file;
    if (got == -1)
        return -errno;
    return note('r', offset, bytes) == 0 ? (int)got : -EIO;
}

static int
disk_write(const char *path, const char *from, size_t bytes, off_t offset,
           struct fuse_file_info *file)
{
    ssize_t got = pwrite(backing, from, bytes, offset);

    (void)path, (void)file;
    if (got == -1)
        return -errno;
    return note('w', offset, bytes) == 0 ? (int)got : -EIO;
}

static int
disk_fsync(const char *path, int is_datasync, struct fuse_file_info *file)
{
    (void)path, (void)is_datasync, (void)file;
    return 0;
}

int
main(int argc, char **argv)
{
    static const struct fuse_operations operations = {
        .getattr = disk_getattr,
        .read = disk_read,
        .write = disk_write,
        .fsync = disk_fsync,
    };

    if (argc < 4) {
        fprintf(stderr,
                "usage: trace_record BACKING_FILE TRACE MOUNT_POINT -f -s [-o OPTION...]\n");
        return 2;
    }
    backing = open(argv[1], O_RDWR | O_CLOEXEC);
    trace = open(argv[2], O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (backing == -1 || trace == -1) {
        perror(argv[backing == -1 ? 1 : 2]);
        return 1;
    }
    argv[2] = argv[0];
    return fuse_main(argc - 2, argv + 2, &operations, NULL);
}
