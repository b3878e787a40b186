/* SPDX-License-Identifier: Apache-2.0 */
/* The mount: one directory with the disk as a file, and its statistics. */
#include "fuse.h"

#include "base/clock.h"
#include "base/cond.h"
#include "base/log.h"
#include "base/util.h"
#include "s3backer_stats.h"

#include <assert.h>
#include <errno.h>
#include <fuse_lowlevel.h>
#include <linux/falloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum inode {
    INODE_ROOT = FUSE_ROOT_ID,
    INODE_FILE,
    INODE_STATS,
    INODE_STATS_JSON,
    INODE_METRICS,
    INODE_END,
};

/* From this size on, a write keeps the buffer it came in; below, copying is cheaper than replacing it. */
#define STEAL_BYTES (64u << 10)
#define WAKE_SIGNAL SIGUSR1
#define WAKE_EVERY_NS (50 * NS_PER_MS)
#define NAMES_CACHED_S 31536000.0 /* names never change */

struct frontend {
    struct frontend_config config;
    const struct disk *disk;
    struct stats *stats;
    struct fuse_session *session;
    char *stats_json_name;
    struct timespec started;
    atomic_llong written_s; /* st_mtime */
    struct counter *reads, *writes, *flushes, *zeros, *bytes_read, *bytes_written;
    struct histogram *times[DISK_SEEK_HOLE + 1]; /* by operation; NULL for those not timed */

    pthread_mutex_t lock; /* guards the rest */
    pthread_cond_t idle;
    size_t in_flight;
    unsigned ended_count; /* threads that serve no more */
    int users;            /* open descriptors of the file */
    bool is_abandoned;
    int rc; /* why serving ended; 0: unmounted */
};

/* One request of the kernel on its way through the disk. */
struct call {
    struct disk_req disk;
    struct frontend *frontend;
    fuse_req_t req;
    void *buffer; /* freed at the end */
    size_t bytes; /* asked for */
    uint64_t started_ns;
};

/* Kept where leak checkers look; see frontend_free. */
static struct fuse_session *volatile abandoned;

/* The buffer that this thread's current request came in; a big write takes it away. */
static _Thread_local struct fuse_buf *thread_buf;

static struct frontend *
frontend_of(fuse_req_t req)
{
    return fuse_req_userdata(req);
}

/* ---- calls */

static struct call *
call_new(fuse_req_t req, enum disk_op op, uint64_t offset, uint64_t bytes,
         void (*done)(struct disk_req *disk))
{
    struct frontend *frontend = frontend_of(req);
    struct call *call = calloc(1, sizeof *call);

    if (call == NULL) {
        fuse_reply_err(req, ENOMEM);
        return NULL;
    }
    call->frontend = frontend;
    call->req = req;
    call->bytes = bytes;
    call->started_ns = clock_now_ns();
    call->disk = (struct disk_req){ .op = op, .offset = offset, .bytes = bytes, .done = done };
    pthread_mutex_lock(&frontend->lock);
    frontend->in_flight++;
    pthread_mutex_unlock(&frontend->lock);
    return call;
}

/* Right before the reply, so that who has the reply finds it counted. */
static void
call_time(const struct call *call)
{
    histogram_add(call->frontend->times[call->disk.op], clock_now_ns() - call->started_ns);
}

/* After the reply. */
static void
call_free(struct call *call)
{
    struct frontend *frontend = call->frontend;

    free(call->buffer);
    free(call);
    pthread_mutex_lock(&frontend->lock);
    if (--frontend->in_flight == 0 && frontend->ended_count > 0)
        pthread_cond_broadcast(&frontend->idle);
    pthread_mutex_unlock(&frontend->lock);
}

static void
call_submit(struct call *call)
{
    disk_submit(call->frontend->disk, &call->disk);
}

static void
reply_rc(struct disk_req *disk)
{
    struct call *call = container_of(disk, struct call, disk);

    call_time(call);
    fuse_reply_err(call->req, -disk->rc);
    call_free(call);
}

/* ---- attributes and names */

static const char *
name_of(const struct frontend *frontend, enum inode inode)
{
    switch (inode) {
    case INODE_FILE:
        return frontend->config.file_name;
    case INODE_STATS:
        return frontend->config.stats_name;
    case INODE_STATS_JSON:
        return frontend->stats_json_name;
    case INODE_METRICS:
        return frontend->config.stats_name != NULL ? METRICS_NAME : NULL;
    default:
        return NULL;
    }
}

static char *
stats_content(const struct frontend *frontend, enum inode inode)
{
    switch (inode) {
    case INODE_STATS_JSON:
        return stats_json(frontend->stats);
    case INODE_METRICS: /* a machine may have several disks, and one collector for all of them */
        return stats_metrics(frontend->stats, "mountpoint", frontend->config.mountpoint);
    default:
        return s3backer_stats_text(frontend->stats);
    }
}

static int
attributes(const struct frontend *frontend, fuse_ino_t inode, struct stat *st)
{
    const struct frontend_config *config = &frontend->config;

    memset(st, 0, sizeof *st);
    st->st_ino = inode;
    st->st_uid = config->uid;
    st->st_gid = config->gid;
    st->st_nlink = 1;
    st->st_atim = st->st_mtim = st->st_ctim = frontend->started;
    if (inode == INODE_ROOT) {
        st->st_mode = S_IFDIR | 0755;
        st->st_nlink = 2;
    } else if (inode == INODE_FILE) {
        st->st_mode = S_IFREG | config->file_mode;
        st->st_size = (off_t)frontend->disk->bytes;
        st->st_blocks = (blkcnt_t)(config->data_bytes(config->data_bytes_arg) / 512);
        st->st_blksize = (blksize_t)frontend->disk->block_bytes;
        st->st_mtim.tv_sec = st->st_ctim.tv_sec = (time_t)atomic_load(&frontend->written_s);
    } else if (inode < INODE_END && name_of(frontend, (enum inode)inode) != NULL) {
        char *content = stats_content(frontend, (enum inode)inode);

        st->st_mode = S_IFREG | 0444;
        st->st_size = content != NULL ? (off_t)strlen(content) : 0;
        free(content);
    } else {
        return ENOENT;
    }
    return 0;
}

static void
fs_getattr(fuse_req_t req, fuse_ino_t inode, struct fuse_file_info *info)
{
    struct stat st;
    int error = attributes(frontend_of(req), inode, &st);

    (void)info;
    if (error != 0)
        fuse_reply_err(req, error);
    else
        fuse_reply_attr(req, &st, 0.0);
}

/* The size is the volume's: setting it changes nothing and does no harm, so that `dd of=file` works as it
 * does with s3backer.  Times are ours; owner and mode are options of the mount. */
static void
fs_setattr(fuse_req_t req, fuse_ino_t inode, struct stat *st, int to_set,
           struct fuse_file_info *info)
{
    (void)st;
    if (to_set & (FUSE_SET_ATTR_MODE | FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID))
        fuse_reply_err(req, EPERM);
    else
        fs_getattr(req, inode, info);
}

static void
fs_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    const struct frontend *frontend = frontend_of(req);
    struct fuse_entry_param entry = { .entry_timeout = NAMES_CACHED_S };

    if (parent != INODE_ROOT) {
        fuse_reply_err(req, ENOTDIR);
        return;
    }
    for (fuse_ino_t inode = INODE_FILE; inode < INODE_END; inode++) {
        const char *ours = name_of(frontend, (enum inode)inode);

        if (ours == NULL || strcmp(ours, name) != 0)
            continue;
        entry.ino = inode;
        attributes(frontend, inode, &entry.attr);
        fuse_reply_entry(req, &entry);
        return;
    }
    fuse_reply_err(req, ENOENT);
}

static void
fs_readdir(fuse_req_t req, fuse_ino_t inode, size_t size, off_t offset, struct fuse_file_info *info)
{
    const struct frontend *frontend = frontend_of(req);
    char buffer[4096];
    size_t used = 0;

    (void)info;
    if (inode != INODE_ROOT) {
        fuse_reply_err(req, ENOTDIR);
        return;
    }
    if (size > sizeof buffer)
        size = sizeof buffer;
    /* Offsets: 0 ".", 1 "..", then the inodes from INODE_FILE (2) on. */
    for (off_t at = offset; at < INODE_END; at++) {
        const char *name = at == 0 ? "." : at == 1 ? ".." : name_of(frontend, (enum inode)at);
        struct stat st = { .st_ino = at < INODE_FILE ? INODE_ROOT : (ino_t)at,
                           .st_mode = at < INODE_FILE ? S_IFDIR : S_IFREG };
        size_t bytes;

        if (name == NULL)
            continue;
        bytes = fuse_add_direntry(req, buffer + used, size - used, name, &st, at + 1);
        if (bytes > size - used)
            break;
        used += bytes;
    }
    fuse_reply_buf(req, buffer, used);
}

static void
fs_statfs(fuse_req_t req, fuse_ino_t inode)
{
    const struct frontend *frontend = frontend_of(req);
    uint64_t used = frontend->config.data_bytes(frontend->config.data_bytes_arg);
    struct statvfs st = { .f_bsize = frontend->disk->block_bytes,
                          .f_frsize = frontend->disk->block_bytes,
                          .f_namemax = 255 };

    (void)inode;
    st.f_blocks = frontend->disk->bytes / frontend->disk->block_bytes;
    st.f_bfree = st.f_bavail = st.f_blocks - used / frontend->disk->block_bytes;
    fuse_reply_statfs(req, &st);
}

/* s3backer's way to reset the counters. */
static void
fs_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    struct frontend *frontend = frontend_of(req);

    (void)parent;
    if (frontend->config.stats_name != NULL && strcmp(name, frontend->config.stats_name) == 0) {
        stats_reset(frontend->stats);
        fuse_reply_err(req, 0);
    } else {
        fuse_reply_err(req, EPERM);
    }
}

/* ---- open files */

/* What fi->fh holds for the disk file; for the statistics it is their text, so that one reader sees one
 * state of them. */
enum {
    OPENED_TO_READ = 0,
    OPENED_TO_WRITE = 1,
};

static bool
may_write(const struct frontend *frontend)
{
    const struct frontend_config *config = &frontend->config;

    return !config->is_read_only
           && (config->has_become_read_only == NULL
               || !config->has_become_read_only(config->has_become_read_only_arg));
}

static void
count_user(struct frontend *frontend, int change)
{
    const struct frontend_config *config = &frontend->config;

    pthread_mutex_lock(&frontend->lock);
    frontend->users += change;
    if (config->used != NULL)
        config->used(config->used_arg, frontend->users > 0);
    pthread_mutex_unlock(&frontend->lock);
}

static void
fs_open(fuse_req_t req, fuse_ino_t inode, struct fuse_file_info *info)
{
    struct frontend *frontend = frontend_of(req);
    bool is_write = (info->flags & O_ACCMODE) != O_RDONLY;

    if (inode == INODE_ROOT) {
        fuse_reply_err(req, EISDIR);
        return;
    }
    if (is_write && !may_write(frontend)) {
        fuse_reply_err(req, EROFS);
        return;
    }
    if (inode == INODE_FILE) {
        info->fh = is_write ? OPENED_TO_WRITE : OPENED_TO_READ;
        info->direct_io = frontend->config.is_direct_io;
        info->keep_cache = !frontend->config.is_direct_io && !frontend->config.is_read_only;
    } else {
        char *content = stats_content(frontend, (enum inode)inode);

        if (content == NULL) {
            fuse_reply_err(req, ENOMEM);
            return;
        }
        info->fh = (uintptr_t)content;
        info->direct_io = 1;
    }
    if (inode == INODE_FILE)
        count_user(frontend, 1);
    /* Who was interrupted has it not open, and never closes it. */
    if (fuse_reply_open(req, info) == -ENOENT && inode == INODE_FILE)
        count_user(frontend, -1);
}

static void
fs_release(fuse_req_t req, fuse_ino_t inode, struct fuse_file_info *info)
{
    if (inode != INODE_FILE)
        free((void *)(uintptr_t)info->fh);
    else
        count_user(frontend_of(req), -1);
    fuse_reply_err(req, 0);
}

/* ---- data */

static void
read_done(struct disk_req *disk)
{
    struct call *call = container_of(disk, struct call, disk);

    call_time(call);
    if (disk->rc != 0) {
        fuse_reply_err(call->req, -disk->rc);
    } else {
        counter_add(call->frontend->bytes_read, (int64_t)call->bytes);
        fuse_reply_buf(call->req, call->buffer, call->bytes);
    }
    call_free(call);
}

static void
read_stats(fuse_req_t req, const char *content, size_t size, uint64_t offset)
{
    size_t len = strlen(content);
    char *copy;

    if (offset >= len) {
        fuse_reply_buf(req, NULL, 0);
        return;
    }
    if (size > len - offset)
        size = len - offset;
    /* Whoever has the answer may close the file, and so free its text, before the call that sent it returns. */
    copy = malloc(size + 1);
    if (copy == NULL) {
        fuse_reply_err(req, ENOMEM);
        return;
    }
    memcpy(copy, content + offset, size);
    fuse_reply_buf(req, copy, size);
    free(copy);
}

static void
fs_read(fuse_req_t req, fuse_ino_t inode, size_t size, off_t at, struct fuse_file_info *info)
{
    struct frontend *frontend = frontend_of(req);
    uint64_t offset = (uint64_t)at, end = frontend->disk->bytes;
    struct call *call;

    if (inode != INODE_FILE) {
        read_stats(req, (const char *)(uintptr_t)info->fh, size, offset);
        return;
    }
    if (offset >= end || size == 0) {
        fuse_reply_buf(req, NULL, 0);
        return;
    }
    if (size > end - offset)
        size = end - offset;
    call = call_new(req, DISK_READ, offset, size, read_done);
    if (call == NULL)
        return;
    counter_add(frontend->reads, 1);
    call->buffer = malloc(size);
    if (call->buffer == NULL) {
        fuse_reply_err(req, ENOMEM);
        call_free(call);
        return;
    }
    call->disk.data = call->buffer;
    call_submit(call);
}

static void
write_done(struct disk_req *disk)
{
    struct call *call = container_of(disk, struct call, disk);

    call_time(call);
    if (disk->rc != 0) {
        fuse_reply_err(call->req, -disk->rc);
    } else {
        atomic_store(&call->frontend->written_s, (long long)time(NULL));
        counter_add(call->frontend->bytes_written, (int64_t)call->bytes);
        fuse_reply_write(call->req, call->bytes);
    }
    call_free(call);
}

static void
fs_write(fuse_req_t req, fuse_ino_t inode, const char *data, size_t size, off_t at,
         struct fuse_file_info *info)
{
    struct frontend *frontend = frontend_of(req);
    uint64_t offset = (uint64_t)at, end = frontend->disk->bytes;
    struct call *call;

    (void)info;
    if (inode != INODE_FILE) {
        fuse_reply_err(req, EACCES);
        return;
    }
    if (!may_write(frontend)) {
        fuse_reply_err(req, EROFS);
        return;
    }
    if (offset >= end && size > 0) {
        fuse_reply_err(req, ENOSPC);
        return;
    }
    if (size > end - offset)
        size = end - offset;
    call = call_new(req, DISK_WRITE, offset, size, write_done);
    if (call == NULL)
        return;
    counter_add(frontend->writes, 1);
    if (size >= STEAL_BYTES) {
        const char *mem = thread_buf->mem;

        assert(data >= mem && data + size <= mem + thread_buf->size);
        call->buffer = thread_buf->mem;
        call->disk.data = (char *)call->buffer + (data - mem);
        thread_buf->mem = NULL;
    } else {
        call->buffer = malloc(size + 1);
        if (call->buffer == NULL) {
            fuse_reply_err(req, ENOMEM);
            call_free(call);
            return;
        }
        memcpy(call->buffer, data, size);
        call->disk.data = call->buffer;
    }
    call_submit(call);
}

static void
flush(fuse_req_t req)
{
    struct call *call = call_new(req, DISK_FLUSH, 0, 0, reply_rc);

    if (call == NULL)
        return;
    counter_add(call->frontend->flushes, 1);
    call_submit(call);
}

/* close(2).  Who only read has nothing to wait for. */
static void
fs_flush(fuse_req_t req, fuse_ino_t inode, struct fuse_file_info *info)
{
    if (inode == INODE_FILE && info->fh == OPENED_TO_WRITE)
        flush(req);
    else
        fuse_reply_err(req, 0);
}

static void
fs_fsync(fuse_req_t req, fuse_ino_t inode, int datasync, struct fuse_file_info *info)
{
    (void)datasync;
    (void)info;
    if (inode == INODE_FILE)
        flush(req);
    else
        fuse_reply_err(req, 0);
}

static void
fs_fallocate(fuse_req_t req, fuse_ino_t inode, int mode, off_t at, off_t length,
             struct fuse_file_info *info)
{
    struct frontend *frontend = frontend_of(req);
    uint64_t offset = (uint64_t)at, bytes = (uint64_t)length, size = frontend->disk->bytes;
    bool is_past_end = offset > size || bytes > size - offset;
    struct call *call;

    (void)info;
    if (inode != INODE_FILE) {
        fuse_reply_err(req, EOPNOTSUPP);
        return;
    }
    if (!may_write(frontend)) {
        fuse_reply_err(req, EROFS);
        return;
    }
    switch (mode) {
    case 0:
    case FALLOC_FL_KEEP_SIZE:
        /* The store has room for every block; all that could be missing is disk. */
        fuse_reply_err(req, mode == 0 && is_past_end ? ENOSPC : 0);
        return;
    case FALLOC_FL_ZERO_RANGE:
        if (is_past_end) {
            fuse_reply_err(req, ENOSPC);
            return;
        }
        break;
    case FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE:
    case FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE:
        break;
    default:
        fuse_reply_err(req, EOPNOTSUPP);
        return;
    }
    if (offset >= size || bytes == 0) {
        fuse_reply_err(req, 0);
        return;
    }
    if (is_past_end)
        bytes = size - offset;
    call = call_new(req, DISK_ZERO, offset, bytes, reply_rc);
    if (call == NULL)
        return;
    counter_add(frontend->zeros, 1);
    atomic_store(&frontend->written_s, (long long)time(NULL));
    call_submit(call);
}

static void
seek_done(struct disk_req *disk)
{
    struct call *call = container_of(disk, struct call, disk);

    if (disk->rc != 0)
        fuse_reply_err(call->req, -disk->rc);
    else
        fuse_reply_lseek(call->req, (off_t)disk->offset);
    call_free(call);
}

static void
fs_lseek(fuse_req_t req, fuse_ino_t inode, off_t at, int whence, struct fuse_file_info *info)
{
    struct call *call;

    (void)info;
    if (inode != INODE_FILE || (whence != SEEK_DATA && whence != SEEK_HOLE)) {
        fuse_reply_err(req, EINVAL);
        return;
    }
    call = call_new(req, whence == SEEK_DATA ? DISK_SEEK_DATA : DISK_SEEK_HOLE, (uint64_t)at, 0,
                    seek_done);
    if (call != NULL)
        call_submit(call);
}

/* ---- the session */

static void
fs_init(void *arg, struct fuse_conn_info *conn)
{
    struct frontend *frontend = arg;

    conn->max_background = frontend->config.background_max;
    if (conn->max_readahead > frontend->config.readahead_max)
        conn->max_readahead = frontend->config.readahead_max;
    conn->congestion_threshold = frontend->config.background_max * 3 / 4;
    /* Nobody changes the file behind the kernel's back; and a write wants the buffer, not a pipe. */
    conn->want &= ~(unsigned)(FUSE_CAP_AUTO_INVAL_DATA | FUSE_CAP_SPLICE_READ);
    if (conn->capable & FUSE_CAP_ASYNC_DIO)
        conn->want |= FUSE_CAP_ASYNC_DIO;
    frontend->config.ready(frontend->config.ready_arg);
}

static const struct fuse_lowlevel_ops operations = {
    .init = fs_init,
    .lookup = fs_lookup,
    .getattr = fs_getattr,
    .setattr = fs_setattr,
    .readdir = fs_readdir,
    .statfs = fs_statfs,
    .unlink = fs_unlink,
    .open = fs_open,
    .release = fs_release,
    .read = fs_read,
    .write = fs_write,
    .flush = fs_flush,
    .fsync = fs_fsync,
    .fallocate = fs_fallocate,
    .lseek = fs_lseek,
};

static void *
serve(void *arg)
{
    struct frontend *frontend = arg;
    struct fuse_buf buf = { .mem = NULL };
    sigset_t wake;
    int rc = 0;

    sigemptyset(&wake);
    sigaddset(&wake, WAKE_SIGNAL);
    pthread_sigmask(SIG_UNBLOCK, &wake, NULL);
    thread_buf = &buf;
    while (!fuse_session_exited(frontend->session)) {
        rc = fuse_session_receive_buf(frontend->session, &buf);
        if (rc == -ENOMEM) /* for a new buffer: a disk does not go away for that */
            nanosleep(&(struct timespec){ 0, 10 * 1000 * 1000 }, NULL);
        if (rc == -EINTR || rc == -EAGAIN || rc == -ENOMEM)
            continue;
        if (rc <= 0)
            break;
        fuse_session_process_buf(frontend->session, &buf);
    }
    free(buf.mem);
    /* The others must see it too, whatever woke this one: they are interrupted in frontend_run. */
    fuse_session_exit(frontend->session);
    pthread_mutex_lock(&frontend->lock);
    if (rc < 0 && rc != -EINTR && rc != -ENODEV)
        frontend->rc = rc;
    frontend->ended_count++;
    pthread_cond_broadcast(&frontend->idle);
    pthread_mutex_unlock(&frontend->lock);
    return NULL;
}

static void
woken(int signal)
{
    (void)signal;
}

int
frontend_run(struct frontend *frontend)
{
    unsigned count = frontend->config.threads;
    struct sigaction action = { .sa_handler = woken };
    pthread_t *threads = calloc(count, sizeof *threads);
    unsigned started = 0;
    int rc;

    if (threads == NULL)
        return -ENOMEM;
    sigaction(WAKE_SIGNAL, &action, NULL);
    while (started < count && pthread_create(&threads[started], NULL, serve, frontend) == 0)
        started++;
    if (started == 0) {
        free(threads);
        return -EAGAIN;
    }
    pthread_mutex_lock(&frontend->lock);
    while (frontend->ended_count == 0 && !frontend->is_abandoned)
        pthread_cond_wait(&frontend->idle, &frontend->lock);
    /* A thread may be on its way into read(2) when it is signalled, so it is until it ends. */
    while (frontend->ended_count < started) {
        for (unsigned i = 0; i < started; i++)
            pthread_kill(threads[i], WAKE_SIGNAL);
        cond_wait_ns(&frontend->idle, &frontend->lock, WAKE_EVERY_NS);
    }
    pthread_mutex_unlock(&frontend->lock);
    for (unsigned i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
    free(threads);
    pthread_mutex_lock(&frontend->lock);
    while (frontend->in_flight > 0)
        pthread_cond_wait(&frontend->idle, &frontend->lock);
    rc = frontend->rc;
    pthread_mutex_unlock(&frontend->lock);
    return rc;
}

void
frontend_abandon(struct frontend *frontend)
{
    pthread_mutex_lock(&frontend->lock);
    frontend->is_abandoned = true;
    pthread_cond_broadcast(&frontend->idle);
    pthread_mutex_unlock(&frontend->lock);
    fuse_session_exit(frontend->session);
}

/* What libfuse says would go to standard error as a second sentence beside ours. */
static _Thread_local struct error *libfuse_said;

static void libfuse_log(enum fuse_log_level level, const char *format, va_list args)
    __attribute__((format(printf, 2, 0)));

static void
libfuse_log(enum fuse_log_level level, const char *format, va_list args)
{
    char text[400];

    vsnprintf(text, sizeof text, format, args);
    text[strcspn(text, "\n")] = '\0';
    if (libfuse_said != NULL)
        error_set(libfuse_said, 0, "%s", text);
    else
        log_line(level <= FUSE_LOG_ERR       ? BD_ERROR
                 : level <= FUSE_LOG_WARNING ? BD_WARNING
                                             : BD_DEBUG,
                 "libfuse: %s", text);
}

static int
mount_options(const struct frontend_config *config, struct fuse_args *args)
{
    char *options = NULL, *source = NULL, *subtype = NULL;
    int rc = 0;

    /* libfuse's own escaping takes care of commas in the name. */
    if (asprintf(&source, "fsname=%s", config->source) == -1)
        return -ENOMEM;
    if (asprintf(&subtype, "subtype=%s", config->subtype) == -1) {
        free(source);
        return -ENOMEM;
    }
    if (fuse_opt_add_opt_escaped(&options, source) == -1
        || fuse_opt_add_opt_escaped(&options, subtype) == -1
        || fuse_opt_add_opt(&options, "default_permissions") == -1
        || fuse_opt_add_opt(&options, "nodev") == -1 || fuse_opt_add_opt(&options, "nosuid") == -1
        || (config->allow_other && fuse_opt_add_opt(&options, "allow_other") == -1)
        || (config->mount_flags[0] != '\0' && fuse_opt_add_opt(&options, config->mount_flags) == -1)
        || (config->is_read_only && fuse_opt_add_opt(&options, "ro") == -1)
        || fuse_opt_add_arg(args, "bucketdisk") == -1 || fuse_opt_add_arg(args, "-o") == -1
        || fuse_opt_add_arg(args, options) == -1)
        rc = -ENOMEM;
    free(options);
    free(subtype);
    free(source);
    return rc;
}

int
frontend_new(const struct frontend_config *config, const struct disk *disk, struct stats *stats,
             struct error *why, struct frontend **out)
{
    struct frontend *frontend = calloc(1, sizeof *frontend);
    struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
    int rc;

    if (frontend == NULL)
        return error_set(why, -ENOMEM, "out of memory");
    frontend->config = *config;
    frontend->disk = disk;
    frontend->stats = stats;
    clock_gettime(CLOCK_REALTIME, &frontend->started);
    atomic_init(&frontend->written_s, (long long)frontend->started.tv_sec);
    pthread_mutex_init(&frontend->lock, NULL);
    cond_init(&frontend->idle);
    if (config->stats_name != NULL && config->stats_name[0] == '\0')
        frontend->config.stats_name = NULL;
    rc = mount_options(config, &args);
    if (rc == 0 && frontend->config.stats_name != NULL
        && asprintf(&frontend->stats_json_name, "%s" STATS_JSON_SUFFIX, config->stats_name) == -1) {
        frontend->stats_json_name = NULL;
        rc = -ENOMEM;
    }
    if (rc != 0) {
        error_set(why, rc, "out of memory");
        goto free_frontend;
    }
    fuse_set_log_func(libfuse_log);
    frontend->session = fuse_session_new(&args, &operations, sizeof operations, frontend);
    if (frontend->session == NULL) {
        rc = error_set(why, -EIO, "libfuse refused the options of the mount");
        goto free_frontend;
    }
    frontend->reads = stats_counter(stats, "file_reads", "reads of the file");
    frontend->writes = stats_counter(stats, "file_writes", "writes to the file");
    frontend->flushes = stats_counter(stats, "file_flushes", "fsync and close of the file");
    frontend->zeros =
        stats_counter(stats, "file_zeros", "ranges zeroed or punched out of the file");
    frontend->bytes_read = stats_counter(stats, "file_bytes_read", "bytes read from the file");
    frontend->bytes_written =
        stats_counter(stats, "file_bytes_written", "bytes written to the file");
    frontend->times[DISK_READ] =
        stats_histogram(stats, "file_read_seconds", "reads of the file: from request to reply");
    frontend->times[DISK_WRITE] =
        stats_histogram(stats, "file_write_seconds", "writes to the file: from request to reply");
    frontend->times[DISK_FLUSH] = stats_histogram(
        stats, "file_flush_seconds", "fsync and close of the file: from request to reply");
    frontend->times[DISK_ZERO] =
        stats_histogram(stats, "file_zero_seconds",
                        "ranges zeroed or punched out of the file: from request to reply");
    fuse_opt_free_args(&args);
    *out = frontend;
    return 0;

free_frontend:
    fuse_opt_free_args(&args);
    frontend_free(frontend);
    return rc;
}

int
frontend_mount(struct frontend *frontend, struct error *why)
{
    struct error said = { "is fuse3 installed, and are you allowed to mount there?" };
    int rc;

    libfuse_said = &said;
    rc = fuse_session_mount(frontend->session, frontend->config.mountpoint);
    libfuse_said = NULL;
    if (rc != 0)
        return error_set(why, -EIO, "cannot mount on %s: %s", frontend->config.mountpoint,
                         said.text);
    return 0;
}

void
frontend_free(struct frontend *frontend)
{
    if (frontend == NULL)
        return;
    if (frontend->session != NULL && !frontend->is_abandoned) {
        fuse_session_unmount(frontend->session);
        fuse_session_destroy(frontend->session);
    }
    /* libfuse unmounts by path: after a lazy detach that would hit whatever is mounted there by now.  So such
     * a session is kept to the end of the process, which is near. */
    if (frontend->is_abandoned)
        abandoned = frontend->session;
    free(frontend->stats_json_name);
    pthread_cond_destroy(&frontend->idle);
    pthread_mutex_destroy(&frontend->lock);
    free(frontend);
}
