/* SPDX-License-Identifier: Apache-2.0 */
/* The limit of the kernel's path: a mount like core/fuse.c's whose file costs nothing to read or write.
 *
 *   null_fuse mountpoint=DIR [size=BYTES] [threads=4] [background=256] [loop=own|libfuse] [clone=no|yes]
 *             [splice=none|read|write|move|all] [reply=buf|memory|file] [handed-over=no|yes]
 *
 * Reads are answered from one constant buffer, writes are swallowed, by the thread that took the request.  Ends when it is
 * unmounted.  The defaults are what core/fuse.c does; the other words are for finding out whether it should do otherwise:
 * loop=libfuse is fuse_session_loop_mt; clone gives each thread a descriptor of its own; splice says what to ask of the
 * kernel; reply=memory, reply=file go through fuse_reply_data, the only way that splices; handed-over lets one other thread
 * answer all reads and writes. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <linux/fuse.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "load.h"

#define INODE_FILE 2
#define FILE_NAME "file"
#define REQUEST_BYTES_MAX (1u << 20)
#define CACHED_S 31536000.0
#define THREADS_MAX 64

struct null {
    struct fuse_session *session;
    const char *mountpoint;
    uint64_t bytes;
    unsigned threads, background;
    bool is_libfuse_loop, is_cloned, is_handed_over;
    unsigned splice; /* FUSE_CAP_SPLICE_* */
    enum { REPLY_BUF, REPLY_MEMORY, REPLY_FILE } reply;
    char *data;  /* REQUEST_BYTES_MAX */
    int data_fd; /* the same, for REPLY_FILE */
};

/* A read or write whose answer is left to the other thread. */
struct handed {
    struct handed *next;
    fuse_req_t req;
    size_t size;
    bool is_write;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards the queue */
static pthread_cond_t is_filled = PTHREAD_COND_INITIALIZER;
static struct handed *queue;

/* The descriptor of this thread, with clone=yes in our own loop: an answer must go where its request came from. */
static _Thread_local int thread_fd = -1;

/* ---- the file */

static void
attributes(const struct null *null, fuse_ino_t inode, struct stat *st)
{
    *st = (struct stat){ .st_ino = inode, .st_uid = getuid(), .st_gid = getgid(), .st_nlink = 1 };
    st->st_mode = inode == FUSE_ROOT_ID ? S_IFDIR | 0755 : S_IFREG | 0600;
    st->st_size = inode == FUSE_ROOT_ID ? 0 : (off_t)null->bytes;
    st->st_blksize = 65536;
}

static void
null_getattr(fuse_req_t req, fuse_ino_t inode, struct fuse_file_info *info)
{
    struct stat st;

    (void)info;
    attributes(fuse_req_userdata(req), inode, &st);
    fuse_reply_attr(req, &st, 0.0);
}

static void
null_setattr(fuse_req_t req, fuse_ino_t inode, struct stat *st, int to_set,
             struct fuse_file_info *info)
{
    (void)st;
    (void)to_set;
    null_getattr(req, inode, info);
}

static void
null_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    struct fuse_entry_param entry = { .ino = INODE_FILE, .entry_timeout = CACHED_S };

    (void)parent;
    if (strcmp(name, FILE_NAME) != 0) {
        fuse_reply_err(req, ENOENT);
        return;
    }
    attributes(fuse_req_userdata(req), INODE_FILE, &entry.attr);
    fuse_reply_entry(req, &entry);
}

static void
null_open(fuse_req_t req, fuse_ino_t inode, struct fuse_file_info *info)
{
    (void)inode;
    info->keep_cache = 1;
    fuse_reply_open(req, info);
}

static void
null_done(fuse_req_t req, fuse_ino_t inode, struct fuse_file_info *info)
{
    (void)inode;
    (void)info;
    fuse_reply_err(req, 0);
}

static void
null_fsync(fuse_req_t req, fuse_ino_t inode, int datasync, struct fuse_file_info *info)
{
    (void)datasync;
    null_done(req, inode, info);
}

static void
null_fallocate(fuse_req_t req, fuse_ino_t inode, int mode, off_t at, off_t bytes,
               struct fuse_file_info *info)
{
    (void)mode;
    (void)at;
    (void)bytes;
    null_done(req, inode, info);
}

static void
reply_data(const struct null *null, fuse_req_t req, size_t size)
{
    struct fuse_bufvec data = FUSE_BUFVEC_INIT(size);

    if (null->reply == REPLY_BUF) {
        fuse_reply_buf(req, null->data, size);
        return;
    }
    data.buf[0].mem = null->data;
    if (null->reply == REPLY_FILE) {
        data.buf[0].flags = FUSE_BUF_IS_FD | FUSE_BUF_FD_SEEK;
        data.buf[0].fd = null->data_fd;
    }
    fuse_reply_data(req, &data, null->splice & FUSE_CAP_SPLICE_MOVE ? FUSE_BUF_SPLICE_MOVE : 0);
}

static void
reply(fuse_req_t req, size_t size, bool is_write)
{
    if (is_write)
        fuse_reply_write(req, size);
    else
        reply_data(fuse_req_userdata(req), req, size);
}

static void
hand_over(fuse_req_t req, size_t size, bool is_write)
{
    struct handed *handed = malloc(sizeof *handed);

    if (handed == NULL)
        fail("out of memory");
    pthread_mutex_lock(&lock);
    *handed = (struct handed){ queue, req, size, is_write };
    queue = handed;
    pthread_cond_signal(&is_filled);
    pthread_mutex_unlock(&lock);
}

/* The other thread, until the process ends. */
static void *
reply_all(void *arg)
{
    for (;;) {
        struct handed *all;

        pthread_mutex_lock(&lock);
        while (queue == NULL)
            pthread_cond_wait(&is_filled, &lock);
        all = queue;
        queue = NULL;
        pthread_mutex_unlock(&lock);
        while (all != NULL) {
            struct handed *next = all->next;

            reply(all->req, all->size, all->is_write);
            free(all);
            all = next;
        }
    }
    return arg;
}

static void
answer(fuse_req_t req, size_t size, bool is_write)
{
    const struct null *null = fuse_req_userdata(req);

    if (null->is_handed_over)
        hand_over(req, size, is_write);
    else
        reply(req, size, is_write);
}

static void
null_read(fuse_req_t req, fuse_ino_t inode, size_t size, off_t at, struct fuse_file_info *info)
{
    const struct null *null = fuse_req_userdata(req);

    (void)inode;
    (void)info;
    if ((uint64_t)at >= null->bytes)
        size = 0;
    else if (size > null->bytes - (uint64_t)at)
        size = null->bytes - (uint64_t)at;
    assert(size <= REQUEST_BYTES_MAX);
    answer(req, size, false);
}

static void
null_write(fuse_req_t req, fuse_ino_t inode, const char *data, size_t size, off_t at,
           struct fuse_file_info *info)
{
    (void)inode;
    (void)data;
    (void)at;
    (void)info;
    answer(req, size, true);
}

/* ---- the session */

static void
null_init(void *arg, struct fuse_conn_info *conn)
{
    const struct null *null = arg;

    conn->max_background = null->background;
    conn->congestion_threshold = null->background * 3 / 4;
    conn->want &= ~(unsigned)(FUSE_CAP_AUTO_INVAL_DATA | FUSE_CAP_SPLICE_READ
                              | FUSE_CAP_SPLICE_WRITE | FUSE_CAP_SPLICE_MOVE);
    conn->want |= conn->capable & (FUSE_CAP_ASYNC_DIO | null->splice);
}

static const struct fuse_lowlevel_ops operations = {
    .init = null_init,
    .lookup = null_lookup,
    .getattr = null_getattr,
    .setattr = null_setattr,
    .open = null_open,
    .release = null_done,
    .read = null_read,
    .write = null_write,
    .flush = null_done,
    .fsync = null_fsync,
    .fallocate = null_fallocate,
};

static ssize_t
read_own(int fd, void *buffer, size_t bytes, void *arg)
{
    (void)arg;
    return read(thread_fd != -1 ? thread_fd : fd, buffer, bytes);
}

static ssize_t
writev_own(int fd, struct iovec *parts, int count, void *arg)
{
    (void)arg;
    return writev(thread_fd != -1 ? thread_fd : fd, parts, count);
}

static const struct fuse_custom_io own_descriptors = { .read = read_own, .writev = writev_own };

static void *
serve(void *arg)
{
    const struct null *null = arg;
    struct fuse_buf buf = { .mem = NULL };

    if (null->is_cloned) {
        uint32_t master = (uint32_t)fuse_session_fd(null->session);

        thread_fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
        if (thread_fd == -1 || ioctl(thread_fd, FUSE_DEV_IOC_CLONE, &master) == -1)
            fail("/dev/fuse: cannot clone: %s", strerror(errno));
    }
    while (!fuse_session_exited(null->session)) {
        int rc = fuse_session_receive_buf(null->session, &buf);

        if (rc == -EINTR || rc == -EAGAIN)
            continue;
        if (rc <= 0)
            break;
        fuse_session_process_buf(null->session, &buf);
    }
    fuse_session_exit(null->session);
    free(buf.mem);
    return NULL;
}

/* An unmount ends every thread's read(2), so nobody has to be woken. */
static void
serve_all(struct null *null)
{
    pthread_t threads[THREADS_MAX], other;

    if (null->is_handed_over && pthread_create(&other, NULL, reply_all, NULL) != 0)
        fail("cannot start the other thread");
    for (unsigned i = 0; i < null->threads; i++) {
        if (pthread_create(&threads[i], NULL, serve, null) != 0)
            fail("cannot start thread %u", i);
    }
    for (unsigned i = 0; i < null->threads; i++)
        pthread_join(threads[i], NULL);
}

static void
serve_by_libfuse(struct null *null)
{
    struct fuse_loop_config *config = fuse_loop_cfg_create();

    if (config == NULL)
        fail("out of memory");
    fuse_loop_cfg_set_clone_fd(config, null->is_cloned);
    fuse_loop_cfg_set_max_threads(config, null->threads);
    fuse_loop_cfg_set_idle_threads(config, null->threads);
    fuse_session_loop_mt(null->session, config);
    fuse_loop_cfg_destroy(config);
}

/* ---- from the command line */

static unsigned
choice_of(int argc, char **argv, const char *name, const char *const *choices)
{
    const char *value = word_of(argc, argv, name, choices[0]);

    for (unsigned i = 0; choices[i] != NULL; i++) {
        if (strcmp(value, choices[i]) == 0)
            return i;
    }
    fail("%s=%s", name, value);
}

static void
null_parse(struct null *null, int argc, char **argv)
{
    static const char *const yes[] = { "no", "yes", NULL },
                             *const loops[] = { "own", "libfuse", NULL },
                             *const replies[] = { "buf", "memory", "file", NULL },
                             *const splices[] = { "none", "read", "write", "move", "all", NULL };
    static const unsigned caps[] = { 0, FUSE_CAP_SPLICE_READ, FUSE_CAP_SPLICE_WRITE,
                                     FUSE_CAP_SPLICE_WRITE | FUSE_CAP_SPLICE_MOVE,
                                     FUSE_CAP_SPLICE_READ | FUSE_CAP_SPLICE_WRITE
                                         | FUSE_CAP_SPLICE_MOVE };

    null->mountpoint = word_of(argc, argv, "mountpoint", NULL);
    null->bytes = strtoull(word_of(argc, argv, "size", "17179869184"), NULL, 10);
    null->threads = (unsigned)strtoul(word_of(argc, argv, "threads", "4"), NULL, 10);
    null->background = (unsigned)strtoul(word_of(argc, argv, "background", "256"), NULL, 10);
    null->is_libfuse_loop = choice_of(argc, argv, "loop", loops);
    null->is_cloned = choice_of(argc, argv, "clone", yes);
    null->reply = choice_of(argc, argv, "reply", replies);
    null->splice = caps[choice_of(argc, argv, "splice", splices)];
    null->is_handed_over = choice_of(argc, argv, "handed-over", yes);
    if (null->is_handed_over && null->is_cloned)
        fail("the other thread has no descriptor of theirs");
    if (null->threads == 0 || null->threads > THREADS_MAX)
        fail("threads=%u", null->threads);
}

static void
data_make(struct null *null)
{
    null->data_fd = memfd_create("data", MFD_CLOEXEC);
    if (null->data_fd == -1 || ftruncate(null->data_fd, REQUEST_BYTES_MAX) == -1)
        fail("memory: %s", strerror(errno));
    null->data =
        mmap(NULL, REQUEST_BYTES_MAX, PROT_READ | PROT_WRITE, MAP_SHARED, null->data_fd, 0);
    if (null->data == MAP_FAILED)
        fail("memory: %s", strerror(errno));
    for (size_t i = 0; i < REQUEST_BYTES_MAX; i++)
        null->data[i] = (char)(i * 31 + i / 251);
}

int
main(int argc, char **argv)
{
    struct null null = { .data_fd = -1 };
    struct fuse_args args = FUSE_ARGS_INIT(0, NULL);

    null_parse(&null, argc, argv);
    data_make(&null);
    if (fuse_opt_add_arg(&args, "null_fuse") == -1 || fuse_opt_add_arg(&args, "-o") == -1
        || fuse_opt_add_arg(&args,
                            "fsname=null_fuse,subtype=null_fuse,default_permissions,nodev,nosuid,"
                            "allow_other")
               == -1)
        fail("out of memory");
    null.session = fuse_session_new(&args, &operations, sizeof operations, &null);
    if (null.session == NULL || fuse_session_mount(null.session, null.mountpoint) != 0)
        fail("cannot mount on %s", null.mountpoint);
    if (null.is_cloned && !null.is_libfuse_loop
        && fuse_session_custom_io(null.session, &own_descriptors, fuse_session_fd(null.session))
               != 0)
        fail("libfuse takes no descriptors of ours");
    if (null.is_libfuse_loop)
        serve_by_libfuse(&null);
    else
        serve_all(&null);
    fuse_session_unmount(null.session);
    fuse_session_destroy(null.session);
    fuse_opt_free_args(&args);
    return 0;
}
