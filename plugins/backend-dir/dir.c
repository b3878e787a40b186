/* SPDX-License-Identifier: Apache-2.0 */
/* backend-dir: one object is one file in a directory, named as the object.
 *
 * Here: options, opening and closing, the plugin's table.  What is done to objects is in
 * objects.c. */
#include "dir.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

struct dir_options {
    const char *path;
    uint32_t threads;
    uint8_t create;
};

static const struct bd_option dir_rows[] = {
    { .name = "path",
      .type = BD_OPT_PATH,
      .flags = BD_OPTF_REQUIRED | BD_OPTF_LOCATION,
      BD_FIELD(struct dir_options, path),
      .metavar = "DIRECTORY",
      .help = "the directory that holds the objects" },
    { .name = "threads",
      .type = BD_OPT_UINT,
      BD_FIELD(struct dir_options, threads),
      .def = "16",
      .min = 1,
      .max = 1024,
      .help = "how many files to work on at once" },
    { .name = "create",
      .type = BD_OPT_BOOL,
      BD_FIELD(struct dir_options, create),
      .def = "no",
      .help = "make the directory if it does not exist" },
};

/* ------------------------------------------------------------------ lifecycle */

/* One sentence for the user. */
static enum bd_status
open_failed(const struct bd_host *host, const char *path, int error)
{
    switch (error) {
    case ENOENT:
        host->log(host, BD_ERROR, "%s does not exist: make it, or use --dir-create", path);
        return BD_INVALID;
    case ENOTDIR:
        host->log(host, BD_ERROR, "%s is not a directory", path);
        return BD_INVALID;
    case EACCES:
    case EPERM:
        host->log(host, BD_ERROR, "%s may not be read by this user", path);
        return BD_DENIED;
    default:
        host->log(host, BD_ERROR, "%s: %s", path, strerror(error));
        return error == EROFS ? BD_DENIED : error == ENOSPC ? BD_FULL : BD_FATAL;
    }
}

/* Make the directory, and its name durable. */
static int
create(const char *path)
{
    char *copy, *slash;
    int fd, rc;

    if (mkdir(path, 0700) != 0)
        return errno == EEXIST ? 0 : -1;
    copy = strdup(path);
    if (copy == NULL)
        return -1;
    for (size_t bytes = strlen(copy); bytes > 1 && copy[bytes - 1] == '/'; bytes--)
        copy[bytes - 1] = '\0';
    slash = strrchr(copy, '/');
    if (slash != NULL)
        slash[slash == copy] = '\0';
    fd = open(slash == NULL ? "." : copy, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    free(copy);
    if (fd == -1)
        return 0; /* a parent that may be passed but not read cannot be synced */
    rc = fsync(fd);
    close(fd);
    return rc;
}

static void
dir_free(struct dir *dir)
{
    listing_free(&dir->listing);
    locks_free(&dir->locks);
    parents_free(&dir->parents);
    close(dir->fd);
    free(dir->path);
    free(dir);
}

static enum bd_status
dir_open(const struct bd_host *host, const void *options, const struct bd_lower *lower,
         void **handle)
{
    const struct dir_options *opts = options;
    enum bd_status status;
    struct stat stat;
    struct dir *dir;
    int fd;

    (void)lower;
    if (opts->path == NULL || opts->path[0] == '\0') {
        host->log(host, BD_ERROR, "no directory was named: use --dir-path=DIRECTORY");
        return BD_INVALID;
    }
    if (opts->create && create(opts->path) != 0)
        return open_failed(host, opts->path, errno);
    fd = open(opts->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd == -1)
        return open_failed(host, opts->path, errno);
    if (fstat(fd, &stat) != 0 || faccessat(fd, ".", X_OK, AT_EACCESS) != 0) {
        status = open_failed(host, opts->path, errno);
        close(fd);
        return status;
    }
    dir = calloc(1, sizeof *dir);
    if (dir == NULL) {
        close(fd);
        return open_failed(host, opts->path, ENOMEM);
    }
    dir->host = host;
    dir->fd = fd;
    dir->threads = opts->threads == 0 ? 16 : opts->threads;
    dir->path = realpath(opts->path, NULL);
    if (dir->path == NULL)
        dir->path = strdup(opts->path);
    snprintf(dir->identity, sizeof dir->identity, "dir:%u:%u:%llu", major(stat.st_dev),
             minor(stat.st_dev), (unsigned long long)stat.st_ino);
    locks_init(&dir->locks, host);
    parents_init(&dir->parents);
    listing_init(&dir->listing, host, fd);
    if (dir->path == NULL) {
        status = open_failed(host, opts->path, ENOMEM);
        goto free_dir;
    }
    dir->has_xattrs = attrs_supported(fd);
    status = locks_open(&dir->locks, fd, dir->path);
    if (status != BD_OK)
        goto free_dir;
    if (dir->locks.fd != -1)
        temps_remove(dir);
    if (guards_init(&dir->guards, host) != 0) {
        status = open_failed(host, opts->path, errno);
        goto free_dir;
    }
    status = bd_blocking_new(host, &object_ops, dir, dir->threads, &dir->blocking);
    if (status != BD_OK) {
        host->log(host, BD_ERROR, "cannot make %u threads: use fewer with --dir-threads",
                  dir->threads);
        guards_free(&dir->guards);
        goto free_dir;
    }
    *handle = dir;
    return BD_OK;

free_dir:
    dir_free(dir);
    return status;
}

static void
dir_info(void *handle, struct bd_backend_info *out)
{
    const struct dir *dir = handle;

    out->capabilities = BD_CAP_CONDITIONS_GET | BD_CAP_CONSISTENT | BD_CAP_RANGES
                        | BD_CAP_DELETE_MANY | BD_CAP_LOCAL;
    /* A directory that may not be written to refuses each write for that reason, not for want of
     * locks. */
    if (dir->locks.are_supported || dir->locks.fd == -1)
        out->capabilities |= BD_CAP_CONDITIONS_PUT | BD_CAP_CONDITIONS_DELETE;
    if (dir->has_xattrs)
        out->capabilities |= BD_CAP_ATTRS;
    out->object_bytes_max = OBJECT_BYTES_MAX;
    out->delete_many_max = 1000;
    out->list_max = 1000;
    out->identity = dir->identity;
    out->display = dir->path;
}

static void
dir_submit(void *handle, struct bd_io *io)
{
    struct dir *dir = handle;

    bd_blocking_submit(dir->blocking, io);
}

static void
dir_close(void *handle)
{
    struct dir *dir = handle;

    bd_blocking_free(dir->blocking);
    guards_free(&dir->guards);
    dir_free(dir);
}

/* ------------------------------------------------------------------ tables */

static const struct bd_backend dir_backend = {
    .head = BD_HEAD(BACKEND, struct bd_backend),
    .scratch_bytes = BD_BLOCKING_SCRATCH,
    .open = dir_open,
    .info = dir_info,
    .submit = dir_submit,
    .close = dir_close,
};

static const struct bd_plugin dir_plugin = {
    .head = BD_HEAD(PLUGIN, struct bd_plugin),
    .abi_minor = BD_ABI_MINOR,
    .name = "backend-dir",
    .version = "1.0",
    .summary = "objects as files in a directory",
    .options = dir_rows,
    .option_count = sizeof dir_rows / sizeof dir_rows[0],
    .option_stride = sizeof dir_rows[0],
    .options_bytes = sizeof(struct dir_options),
    .backend = &dir_backend,
};

BD_PLUGIN(dir_plugin)
