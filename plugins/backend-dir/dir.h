/* SPDX-License-Identifier: Apache-2.0 */
/* backend-dir's own parts: attributes in attrs.c, listings in listing.c, all else in dir.c. */
#ifndef BACKEND_DIR_H
#define BACKEND_DIR_H

#include <bucketdisk/sdk.h>

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>

/* Our own files in the directory begin so; no object's name has a component that does. */
#define RESERVED ".bucketdisk-"

/* ---- dir.c */

/* What an errno means for a request; says `what` and the system's text as its error. */
enum bd_status dir_failed(const struct bd_host *host, struct bd_io *io, const char *what,
                          int error);

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

#endif
