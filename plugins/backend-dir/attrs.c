/* SPDX-License-Identifier: Apache-2.0 */
/* Tags, encodings and attributes as extended attributes of an object's file. */
#include "dir.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/xattr.h>

#define XATTR_TAG "user.bucketdisk.tag"
#define XATTR_ENCODING "user.bucketdisk.encoding"
#define XATTR_A "user.bucketdisk.a."

/* The kernel's limits of one name and of a list of names (linux/limits.h). */
#define NAME_BYTES 256
#define LIST_BYTES 65536

bool
attrs_supported(int fd)
{
    char byte;

    return fgetxattr(fd, XATTR_TAG, &byte, sizeof byte) >= 0 || errno == ENODATA || errno == ERANGE;
}

int
attrs_write(int fd, const struct bd_io *io, const char *tag)
{
    char name[NAME_BYTES];

    if (fsetxattr(fd, XATTR_TAG, tag, strlen(tag), 0) != 0)
        return -1;
    if (io->encoding != NULL
        && fsetxattr(fd, XATTR_ENCODING, io->encoding, strlen(io->encoding), 0) != 0)
        return -1;
    for (uint32_t i = 0; i < io->attr_count; i++) {
        const struct bd_attr *attr = bd_io_attr(io, i);

        if ((size_t)snprintf(name, sizeof name, XATTR_A "%s", attr->name) >= sizeof name) {
            errno = ENAMETOOLONG;
            return -1;
        }
        if (fsetxattr(fd, name, attr->value, attr->value_bytes, 0) != 0)
            return -1;
    }
    return 0;
}

int
attrs_tag(int fd, const struct stat *stat, bool has_xattrs, char tag[DIR_TAG_BYTES])
{
    if (has_xattrs) {
        ssize_t bytes = fgetxattr(fd, XATTR_TAG, tag, DIR_TAG_BYTES - 1);

        if (bytes > 0) {
            tag[bytes] = '\0';
            return 0;
        }
        if (bytes < 0 && errno != ENODATA && errno != ERANGE)
            return -1;
    }
    snprintf(tag, DIR_TAG_BYTES, "f%llx-%llx-%llx.%lx-%llx.%lx", (unsigned long long)stat->st_ino,
             (unsigned long long)stat->st_size, (unsigned long long)stat->st_mtim.tv_sec,
             (unsigned long)stat->st_mtim.tv_nsec, (unsigned long long)stat->st_ctim.tv_sec,
             (unsigned long)stat->st_ctim.tv_nsec);
    return 0;
}

enum bd_status
attrs_read(const struct bd_host *host, struct bd_io *io, int fd)
{
    char list[LIST_BYTES], value[BD_ENCODING_BYTES_MAX + 1];
    ssize_t list_bytes = flistxattr(fd, list, sizeof list), bytes;

    if (list_bytes < 0)
        return dir_failed(host, io, "listing attributes", errno);
    for (const char *name = list; name < list + list_bytes; name += strlen(name) + 1) {
        bool is_encoding = strcmp(name, XATTR_ENCODING) == 0;

        if (!is_encoding && strncmp(name, XATTR_A, strlen(XATTR_A)) != 0)
            continue;
        bytes = fgetxattr(fd, name, value, sizeof value - 1);
        if (bytes < 0 && errno == ERANGE) {
            host->error(io, "the attribute %s is too long to be ours", name);
            return BD_CORRUPT;
        }
        if (bytes < 0)
            return dir_failed(host, io, name, errno);
        value[bytes] = '\0';
        if (is_encoding)
            host->encoding_set(io, value);
        else
            host->attr_add(io, name + strlen(XATTR_A), value, (size_t)bytes);
    }
    return BD_OK;
}
