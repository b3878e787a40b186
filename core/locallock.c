/* SPDX-License-Identifier: Apache-2.0 */
/* The lock of this machine on one volume. */
#include "locallock.h"

#include "base/log.h"
#include "loop.h"
#include "mountinfo.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define TEXT_BYTES (2 * PATH_MAX + 1024)

struct locallock {
    int fd;
    char *path;
    struct stat dir;
    uint64_t hash; /* of the identity */
    char mountpoint[PATH_MAX];
    char device[32];
    struct locallock_kept kept;
};

struct holder {
    long pid;
    char state[16];
    char mountpoint[PATH_MAX];
    char device[32];
    char result[512];
    struct locallock_kept kept;
};

static const char *const state_words[] = {
    [LOCK_STARTING] = "starting",
    [LOCK_SERVING] = "serving",
    [LOCK_FINISHING] = "finishing",
    [LOCK_DONE] = "done",
};

static void
lock_directory(char *out, size_t out_bytes)
{
    const char *runtime = getenv("XDG_RUNTIME_DIR");

    if (geteuid() == 0)
        snprintf(out, out_bytes, "/run/bucketdisk");
    else if (runtime != NULL && runtime[0] == '/')
        snprintf(out, out_bytes, "%s/bucketdisk", runtime);
    else
        snprintf(out, out_bytes, "/tmp/bucketdisk-%lu", (unsigned long)geteuid());
}

/* FNV-1a */
static uint64_t
hash_of(const char *text)
{
    uint64_t hash = 0xcbf29ce484222325u;

    for (const char *c = text; *c != '\0'; c++)
        hash = (hash ^ (unsigned char)*c) * 0x100000001b3u;
    return hash;
}

/* Readable, and different for different volumes: their text with what file names cannot have replaced, and
 * a hash of the whole of it. */
void
locallock_name(const char *identity, char out[LOCALLOCK_NAME_BYTES])
{
    char readable[96];
    size_t i = 0;

    for (; identity[i] != '\0' && i < sizeof readable - 1; i++)
        readable[i] =
            strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._:", identity[i])
                ? identity[i]
                : '-';
    readable[i] = '\0';
    snprintf(out, LOCALLOCK_NAME_BYTES, "%s-%016" PRIx64, readable, hash_of(identity));
}

static bool
holder_read(int fd, struct holder *holder)
{
    char text[TEXT_BYTES];
    ssize_t len = pread(fd, text, sizeof text - 1, 0);
    char *line, *rest = text;

    memset(holder, 0, sizeof *holder);
    if (len <= 0)
        return false;
    text[len] = '\0';
    while ((line = strsep(&rest, "\n")) != NULL) {
        sscanf(line, "pid %ld", &holder->pid);
        sscanf(line, "state %15s", holder->state);
        sscanf(line, "device %31s", holder->device);
        sscanf(line, "mountpoint %4095[^\n]", holder->mountpoint);
        sscanf(line, "result %511[^\n]", holder->result);
        if (sscanf(line, "kept %8" SCNx32 " %4095[^\n]", &holder->kept.token, holder->kept.path)
                != 2
            && strncmp(line, "kept", 4) == 0)
            holder->kept.token = 0;
    }
    return holder->pid > 0;
}

void
locallock_state(struct locallock *lock, enum lock_state state, const char *mountpoint,
                const char *device, const char *result)
{
    char text[TEXT_BYTES], kept[PATH_MAX + 32] = "";
    int len;

    if (lock == NULL)
        return;
    if (mountpoint != NULL)
        snprintf(lock->mountpoint, sizeof lock->mountpoint, "%s", mountpoint);
    if (device != NULL)
        snprintf(lock->device, sizeof lock->device, "%s", device);
    if (lock->kept.token != 0)
        snprintf(kept, sizeof kept, "kept %08" PRIx32 " %s\n", lock->kept.token, lock->kept.path);
    len =
        snprintf(text, sizeof text, "pid %ld\nstate %s\ndevice %s\nmountpoint %s\n%sresult %s\n",
                 (long)getpid(), state_words[state], lock->device, lock->mountpoint, kept, result);
    if (len >= (int)sizeof text)
        len = sizeof text - 1;
    if (pwrite(lock->fd, text, (size_t)len, 0) != len || ftruncate(lock->fd, len) != 0)
        log_line(BD_WARNING, "cannot note the state of the mount in %s: %s", lock->path,
                 strerror(errno));
}

/* May a newcomer wait for this holder, because it is only storing the rest? */
static bool
is_ending(const struct holder *holder)
{
    if (strcmp(holder->state, state_words[LOCK_FINISHING]) == 0
        || strcmp(holder->state, state_words[LOCK_DONE]) == 0)
        return true;
    /* Unmounted a moment ago, and not yet aware of it. */
    return strcmp(holder->state, state_words[LOCK_SERVING]) == 0
           && !mountinfo_has_device((pid_t)holder->pid, holder->device);
}

/* What `up` has mounted is in a place that nobody knows; its directory is found by the loop device. */
static int
tell_mounted(const struct holder *holder, const char *volume, struct error *why)
{
    char device[LOOP_DEVICE_BYTES];
    struct mountinfo files;

    if (strncmp(holder->mountpoint, LOCALLOCK_UP "/", strlen(LOCALLOCK_UP "/")) != 0)
        return error_set(why, -EBUSY, "%s is mounted on %s by process %ld; unmount it there first",
                         volume, holder->mountpoint, holder->pid);
    if (!loop_find_below(holder->mountpoint, device) || !mountinfo_of_source(device, &files))
        return error_set(why, -EBUSY,
                         "%s is being put up or taken down, or its files are still in use: process "
                         "%ld serves it",
                         volume, holder->pid);
    return error_set(why, -EBUSY, "%s is up on %s; bucketdisk down %s first", volume,
                     files.mountpoint, files.mountpoint);
}

static int
wait_for_holder(int fd, const char *volume, struct error *why)
{
    const struct timespec moment = { 0, 20 * 1000 * 1000 };
    bool is_told = false;
    int unreadable = 0;

    while (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        struct holder holder;

        if (errno != EWOULDBLOCK && errno != EINTR)
            return error_set(why, -errno, "cannot lock the volume on this machine: %s",
                             strerror(errno));
        if (!holder_read(fd, &holder)) {
            if (++unreadable > 100)
                return error_set(why, -EBUSY, "%s is in use by another process", volume);
        } else if (!is_ending(&holder)) {
            if (strcmp(holder.state, state_words[LOCK_STARTING]) == 0)
                return error_set(why, -EBUSY,
                                 "%s is just being mounted, or a command works on it: process %ld",
                                 volume, holder.pid);
            return tell_mounted(&holder, volume, why);
        } else if (!is_told) {
            is_told = true;
            log_line(BD_INFO,
                     "waiting for process %ld, which ends when nobody uses %s any more and "
                     "everything is stored",
                     holder.pid, holder.mountpoint);
        }
        nanosleep(&moment, NULL);
    }
    return 0;
}

int
locallock_take(const char *identity, const char *volume, struct error *why, struct locallock **out)
{
    struct locallock *lock = calloc(1, sizeof *lock);
    char dir[PATH_MAX - 256], name[160];
    struct stat opened, named;
    struct holder before;
    int rc;

    if (lock == NULL)
        return error_set(why, -ENOMEM, "out of memory");
    lock_directory(dir, sizeof dir);
    lock->hash = hash_of(identity);
    locallock_name(identity, name);
    if (mkdir(dir, geteuid() == 0 ? 0755 : 0700) != 0 && errno != EEXIST) {
        rc = error_set(why, -errno, "cannot make the directory %s for locks: %s", dir,
                       strerror(errno));
        goto free_lock;
    }
    if (lstat(dir, &lock->dir) != 0 || !S_ISDIR(lock->dir.st_mode) || lock->dir.st_uid != geteuid()
        || lock->dir.st_mode & 022) {
        rc = error_set(why, -EPERM,
                       "the directory %s for locks must be yours and not writable by others", dir);
        goto free_lock;
    }
    if (asprintf(&lock->path, "%s/%s.lock", dir, name) == -1) {
        lock->path = NULL;
        rc = error_set(why, -ENOMEM, "out of memory");
        goto free_lock;
    }
    /* The file is removed by the holder at its end: what we locked may be gone from the directory. */
    for (;;) {
        lock->fd = open(lock->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
        if (lock->fd == -1) {
            rc = error_set(why, -errno, "cannot open the lock file %s: %s", lock->path,
                           strerror(errno));
            goto free_lock;
        }
        rc = wait_for_holder(lock->fd, volume, why);
        if (rc != 0)
            goto close_fd;
        if (fstat(lock->fd, &opened) == 0 && stat(lock->path, &named) == 0
            && opened.st_ino == named.st_ino && opened.st_dev == named.st_dev)
            break;
        close(lock->fd);
    }
    if (holder_read(lock->fd, &before))
        lock->kept = before.kept;
    locallock_state(lock, LOCK_STARTING, NULL, NULL, "");
    *out = lock;
    return 0;

close_fd:
    close(lock->fd);
free_lock:
    free(lock->path);
    free(lock);
    return rc;
}

void
locallock_leave(struct locallock *lock)
{
    if (lock == NULL)
        return;
    close(lock->fd);
    free(lock->path);
    free(lock);
}

void
locallock_release(struct locallock *lock)
{
    if (lock != NULL && lock->kept.token == 0)
        unlink(lock->path);
    locallock_leave(lock);
}

const struct locallock_kept *
locallock_kept(const struct locallock *lock)
{
    return &lock->kept;
}

void
locallock_keep(struct locallock *lock, const char *path, uint32_t token)
{
    if (lock == NULL)
        return;
    lock->kept.token = path != NULL ? token : 0;
    snprintf(lock->kept.path, sizeof lock->kept.path, "%s", path != NULL ? path : "");
}

void
locallock_id(const struct locallock *lock, char *out, size_t out_bytes)
{
    snprintf(out, out_bytes, "%llx:%llx:%016" PRIx64, (unsigned long long)lock->dir.st_dev,
             (unsigned long long)lock->dir.st_ino, lock->hash);
}

bool
locallock_serves(const char *identity, const char *device, const char *mountpoint)
{
    char dir[PATH_MAX - 256], name[160], path[PATH_MAX];
    struct holder holder;
    bool serves;
    int fd;

    lock_directory(dir, sizeof dir);
    locallock_name(identity, name);
    snprintf(path, sizeof path, "%s/%s.lock", dir, name);
    fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd == -1)
        return false;
    serves = holder_read(fd, &holder) && strcmp(holder.device, device) == 0
             && strcmp(holder.mountpoint, mountpoint) == 0 && flock(fd, LOCK_SH | LOCK_NB) != 0;
    close(fd);
    return serves;
}

int
locallock_find(const char *device, const char *mountpoint)
{
    char dir_path[PATH_MAX];
    const struct dirent *entry;
    DIR *dir;
    int found = -1;

    lock_directory(dir_path, sizeof dir_path);
    dir = opendir(dir_path);
    while (found == -1 && dir != NULL && (entry = readdir(dir)) != NULL) {
        struct holder holder;
        int fd;

        if (entry->d_name[0] == '.')
            continue;
        fd = openat(dirfd(dir), entry->d_name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
        if (fd == -1)
            continue;
        /* What a daemon that died left behind is locked by nobody, whoever has its number by now. */
        if (holder_read(fd, &holder) && (device == NULL || strcmp(holder.device, device) == 0)
            && strcmp(holder.mountpoint, mountpoint) == 0 && flock(fd, LOCK_SH | LOCK_NB) != 0)
            found = fd;
        else
            close(fd);
    }
    if (dir != NULL)
        closedir(dir);
    return found;
}

int
locallock_wait(int fd, struct error *why)
{
    const struct timespec moment = { 0, 20 * 1000 * 1000 };
    struct holder holder;
    bool is_told = false;
    int rc = 0;

    while (flock(fd, LOCK_SH | LOCK_NB) != 0) {
        if (errno != EINTR && errno != EWOULDBLOCK) {
            rc = error_set(why, -errno, "cannot wait for the daemon: %s", strerror(errno));
            goto close_fd;
        }
        if (!is_told && holder_read(fd, &holder) && holder.result[0] != '\0'
            && strcmp(holder.state, state_words[LOCK_FINISHING]) == 0) {
            log_line(BD_WARNING, "%s", holder.result);
            is_told = true;
        }
        nanosleep(&moment, NULL);
    }
    if (!holder_read(fd, &holder) || strcmp(holder.state, state_words[LOCK_DONE]) != 0)
        rc = error_set(why, -EIO, "the daemon (process %ld) died before it had stored everything",
                       holder.pid);
    else if (holder.result[0] != '\0')
        rc = error_set(why, -EIO, "%s", holder.result);
close_fd:
    close(fd);
    return rc;
}
