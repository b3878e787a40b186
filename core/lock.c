/* SPDX-License-Identifier: Apache-2.0 */
/* The lock object of a volume, and what it says. */
#include "lock.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define LOCAL "cache"
#define AT_S_MAX 253402300799 /* the last second of the year 9999 */
#define LEASE_FORMAT                                                                               \
    "beat=%" PRIu64 " epoch=%" PRIu64 " lease=%" PRIu64 " settle=%" PRIu64 " at=%" PRIu64
#define LEASE_SCAN                                                                                 \
    "beat=%" SCNu64 " epoch=%" SCNu64 " lease=%" SCNu64 " settle=%" SCNu64 " at=%" SCNu64

void
lock_name(const struct layout *layout, object_name name)
{
    layout_control_name(layout, layout->is_format_2 ? TOKEN_LOCK_OBJECT : TOKEN_OBJECT, name);
}

static void
lease_print(const struct lock_lease *lease, char *out, size_t out_bytes)
{
    snprintf(out, out_bytes, LEASE_FORMAT, lease->beat, lease->epoch, lease->lease_ms,
             lease->settle_ms, lease->at_s);
}

/* Only what we write ourselves counts, byte for byte: by this somebody may be taken for dead. */
static struct lock_lease
lease_parse(const char *text)
{
    struct lock_lease lease;
    char again[BD_ATTR_VALUE_BYTES_MAX + 1];

    if (sscanf(text, LEASE_SCAN, &lease.beat, &lease.epoch, &lease.lease_ms, &lease.settle_ms,
               &lease.at_s)
            != 5
        || lease.beat == 0 || lease.lease_ms == 0 || lease.lease_ms > LEASE_MS_MAX
        || lease.settle_ms > LEASE_MS_MAX || lease.at_s > AT_S_MAX)
        return (struct lock_lease){ .beat = 0 };
    lease_print(&lease, again, sizeof again);
    return strcmp(text, again) == 0 ? lease : (struct lock_lease){ .beat = 0 };
}

/* Too long is safe. */
static uint64_t
hold_parse(const char *text)
{
    uint64_t ms = strtoull(text, NULL, 10);

    return ms < HOLD_MS_MAX ? ms : HOLD_MS_MAX;
}

void
lock_parse(const struct backend_io *io, struct lock *out)
{
    const char *text;
    size_t bytes;

    memset(out, 0, sizeof *out);
    out->is_there = true;
    text = backend_io_attr(io, ATTR_TOKEN, &bytes);
    out->value = text != NULL ? (uint32_t)strtoul(text, NULL, 16) : 1;
    text = backend_io_attr(io, ATTR_OWNER, &bytes);
    snprintf(out->owner, sizeof out->owner, "%s", text != NULL ? text : "");
    text = backend_io_attr(io, ATTR_LEASE, &bytes);
    if (text != NULL)
        out->lease = lease_parse(text);
    text = backend_io_attr(io, ATTR_HOLD, &bytes);
    if (text != NULL)
        out->hold_ms = hold_parse(text);
    text = backend_io_attr(io, ATTR_DURABILITY, &bytes);
    out->is_local = text != NULL && strcmp(text, LOCAL) == 0;
    snprintf(out->tag, sizeof out->tag, "%s", io->tag != NULL ? io->tag : "");
}

bool
lock_is_of(const struct lock *lock, uint32_t value, const char *owner)
{
    return lock->is_there && lock->value == value && strcmp(lock->owner, owner) == 0;
}

bool
lock_is_same(const struct lock *a, const struct lock *b)
{
    return a->is_there == b->is_there && a->value == b->value && strcmp(a->owner, b->owner) == 0
           && a->lease.beat == b->lease.beat && strcmp(a->tag, b->tag) == 0;
}

bool
lock_is_shared(const struct lock *lock)
{
    return lock->is_there && lock->value == TOKEN_SHARED;
}

bool
lock_is_fence(const struct lock *lock)
{
    return lock->is_there && strcmp(lock->owner, TOKEN_FENCE_OWNER) == 0;
}

const char *
lock_host(const struct lock *lock)
{
    const char *space = strrchr(lock->owner, ' ');

    return space != NULL ? space + 1 : NULL;
}

int
lock_put(struct backend_io *io, const struct lock *lock, const char *when, struct lock_text *text)
{
    const char *host = lock_host(lock);
    char value[16], hold[24] = "", lease[BD_ATTR_VALUE_BYTES_MAX + 1] = "";

    snprintf(value, sizeof value, "%08x", lock->value);
    if (lock->lease.beat > 0)
        lease_print(&lock->lease, lease, sizeof lease);
    if (lock->hold_ms > 0)
        snprintf(hold, sizeof hold, "%" PRIu64, lock->hold_ms);
    /* s3backer's two lines, which nobody parses, and what makes it different from all others. */
    snprintf(text->body, sizeof text->body, "%s\n%s\n%s\n%s%s%s%s", host != NULL ? host : "-", when,
             value, lease, lease[0] != '\0' ? "\n" : "", hold, hold[0] != '\0' ? "\n" : "");
    memset(&text->attrs, 0, sizeof text->attrs);
    if (attrs_add(&text->attrs, ATTR_TOKEN, value, strlen(value)) != 0
        || (lock->owner[0] != '\0'
            && attrs_add(&text->attrs, ATTR_OWNER, lock->owner, strlen(lock->owner)) != 0)
        || (lease[0] != '\0' && attrs_add(&text->attrs, ATTR_LEASE, lease, strlen(lease)) != 0)
        || (hold[0] != '\0' && attrs_add(&text->attrs, ATTR_HOLD, hold, strlen(hold)) != 0)
        || (lock->is_local && attrs_add(&text->attrs, ATTR_DURABILITY, LOCAL, strlen(LOCAL)) != 0))
        return -ENOMEM;
    io->io.op = BD_PUT;
    io->io.body = text->body;
    io->io.body_bytes = strlen(text->body);
    io->io.media_type = "text/plain";
    io->io.attrs = text->attrs.list;
    io->io.attr_count = text->attrs.count;
    io->io.attr_stride = sizeof *text->attrs.list;
    return 0;
}

void
lock_now(char when[LOCK_WHEN_BYTES])
{
    time_t now = time(NULL);
    struct tm utc;

    strftime(when, LOCK_WHEN_BYTES, "%Y%m%dT%H%M%SZ", gmtime_r(&now, &utc));
}
