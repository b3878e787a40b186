/* SPDX-License-Identifier: Apache-2.0 */
/* backend-dir's own parts, a section for each file.
 *
 * Any thread may call any of them; those that init, open and free have the instance to themselves.
 * Lock order: a name's mutex, its byte; the other locks are taken alone. */
#ifndef BACKEND_DIR_H
#define BACKEND_DIR_H

#include <bucketdisk/sdk.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>

/* Our own files in the directory begin so; no object's name has a component that does. */
#define RESERVED ".bucketdisk-"

/* Of an object's body, as the backend promises it. */
#define OBJECT_BYTES_MAX ((uint64_t)1 << 40)

struct dir;

/* ---- status.c: what an errno means for a request */

/* Says `what` and the system's text as the request's error. */
enum bd_status dir_failed(const struct bd_host *host, struct bd_io *io, const char *what,
                          int error);
/* The same for what changes a name: what the filesystem (over a network) did not do now, it may do later. */
enum bd_status dir_change_failed(const struct bd_host *host, struct bd_io *io, const char *what,
                                 int error);
/* A name is missing.  BD_ABSENT means zeros to the core, so this first looks whether the directory
 * is still one. */
enum bd_status dir_absent(const struct dir *dir, struct bd_io *io);

/* ---- attrs.c: xattrs user.bucketdisk.{tag,encoding,a.NAME} */

#define DIR_TAG_BYTES 96 /* of a buffer for a tag, the NUL included */

bool attrs_supported(int fd);
/* Put the tag, the encoding and the attributes of a PUT on the file.  0 or -1 with errno. */
int attrs_write(int fd, const struct bd_io *io, const char *tag);
/* The tag of a file: the stored one, or for a file that came from elsewhere one made of its inode,
 * size and times.  0 or -1 with errno. */
int attrs_tag(int fd, const struct stat *stat, bool has_xattrs, char tag[DIR_TAG_BYTES]);
/* Give the encoding and the attributes to the host. */
enum bd_status attrs_read(const struct bd_host *host, struct bd_io *io, int fd);

/* ---- listing.c */

struct snapshot;

struct listing {
    const struct bd_host *host;
    int fd;

    pthread_mutex_t lock; /* guards the snapshots; held while a page is given */
    struct snapshot *snapshots;
};

void listing_init(struct listing *listing, const struct bd_host *host, int fd);
void listing_free(struct listing *listing);
enum bd_status listing_list(struct listing *listing, struct bd_io *io);
/* An object of this name is there now.  Before its PUT completes. */
void listing_note(struct listing *listing, const char *name);

/* ---- locks.c: one lock for each name, between threads and between processes */

#define STRIPES 64

struct locks {
    const struct bd_host *host;
    int fd;             /* of the file of locks; -1: the directory may not be written to */
    bool are_supported; /* by this filesystem, between processes */
    pthread_mutex_t stripes[STRIPES];
};

void locks_init(struct locks *locks, const struct bd_host *host);
/* Open the file of locks in the directory `dir`.  A directory that may only be read has none, and
 * needs none: fd stays -1. */
enum bd_status locks_open(struct locks *locks, int dir, const char *path);
void locks_free(struct locks *locks);
/* Waits for the name's lock, until the request's deadline.  After BD_OK, locks_release follows. */
enum bd_status locks_take(struct locks *locks, struct bd_io *io, const char *name);
void locks_release(struct locks *locks, const char *name);

/* ---- guard.c: no name is changed after the request's deadline, however long the process is stopped */

struct guards {
    const struct bd_host *host;
    int no_directory;        /* a descriptor */
    pthread_key_t of_thread; /* a timer for each that has changed something */
    atomic_bool is_told;     /* that there is none */
};

/* 0 or -1 with errno. */
int guards_init(struct guards *guards, const struct bd_host *host);
/* Its threads have ended. */
void guards_free(struct guards *guards);
/* Gives a descriptor of the directory, good until the request's deadline: the one system call that changes a name in it
 * uses that.  BD_RETRY: it is too late.  After BD_OK, guard_end follows. */
enum bd_status guard_begin(struct guards *guards, struct bd_io *io, int directory, int *guarded);
/* The call has ended with this errno, 0 if well.  BD_RETRY: it was not made, for it was too late. */
enum bd_status guard_end(struct guards *guards, struct bd_io *io, int guarded, int error);

/* ---- parents.c: the directory that a name is in */

/* Syncs of the root that many PUTs wait for at once: whoever comes while one runs waits for
 * the next, which then serves all of them. */
struct sync {
    pthread_mutex_t lock; /* guards all of it; not held during fsync */
    pthread_cond_t done_cond;
    uint64_t asked, done, failed; /* tickets: everything up to this */
    int error;                    /* of the sync that `failed` tells of */
    bool is_running;
};

struct parents {
    struct sync sync;
    pthread_mutex_t durable_lock; /* guards the next */
    char *durable; /* a subdirectory whose way from the root is known to be on the disk */
};

void parents_init(struct parents *parents);
void parents_free(struct parents *parents);
/* Open the directory that `name` is in, without following symbolic links, and give the last
 * component, which is in `name`.  With `create`, make what is missing, and make sure that all of the
 * way is on the disk.  Without, BD_ABSENT when it is not there.  After BD_OK, parent_close follows. */
enum bd_status parent_open(struct dir *dir, struct bd_io *io, const char *name, bool create,
                           int *out, const char **leaf);
/* A change of names in the parent was made; is it on the disk?  If that cannot be said, the outcome
 * is BD_UNKNOWN. */
enum bd_status parent_sync(struct dir *dir, struct bd_io *io, int fd);
void parent_close(const struct dir *dir, int fd);

/* ---- temps.c: temporary files */

#define TEMP_NAME RESERVED "tmp-"
#define TEMP_RANDOM_BYTES 16
#define TEMP_NAME_BYTES (sizeof TEMP_NAME + 2 * TEMP_RANDOM_BYTES)

/* Write what a PUT brings to a file in the root, and sync it.  It is locked for as long as it is
 * open, which tells others that its process lives.  Gives the name and the open file; nothing is left
 * after an error. */
enum bd_status temp_make(struct dir *dir, struct bd_io *io, const char *tag,
                         char name[TEMP_NAME_BYTES], int *out);
/* Remove the temporary files of processes that died.  A living one has its file locked from right
 * after making it; should we come just between, its rename fails and its PUT is tried again. */
void temps_remove(struct dir *dir);

/* ---- objects.c: what is done to objects; `self` is a struct dir */

extern const struct bd_blocking_ops object_ops;

/* ---- dir.c: options, opening and closing, the plugin's table */

struct dir {
    const struct bd_host *host;
    int fd;     /* the root: the directory that was named */
    char *path; /* for sentences */
    bool has_xattrs;
    struct locks locks;
    struct guards guards;
    struct parents parents;
    struct listing listing;

    struct bd_blocking *blocking;
    unsigned threads;
    char identity[80];
};

#endif
