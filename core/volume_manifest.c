/* SPDX-License-Identifier: Apache-2.0 */
/* Format 2 in the store. */
#include "volume_manifest.h"

#include "ask.h"
#include "attrs.h"
#include "base/clock.h"
#include "holder.h"
#include "token.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What s3backer finds in its token: neither none (0) nor "shared" (7fffffff); any other value keeps it off. */
#define FENCE_VALUE "0000bd02"
#define FENCE_BODY "This is a volume of bucketdisk, format 2. s3backer cannot read it.\n"

int
volume_manifest_read(struct backend *backend, const struct layout *layout,
                     struct stored_manifest *stored, struct error *why)
{
    struct backend_io *io = backend_io_new(backend);
    char *text = malloc(MANIFEST_BYTES_MAX);
    object_name name;
    struct error reason;
    enum bd_status status;
    int rc = 0;

    manifest_clear(&stored->manifest);
    stored->is_there = stored->is_erased = false;
    stored->tag[0] = '\0';
    if (io == NULL || text == NULL) {
        rc = error_set(why, -ENOMEM, "out of memory");
        goto free_io;
    }
    layout_control_name(layout, MANIFEST_OBJECT, name);
    io->io.op = BD_GET;
    io->io.name = name;
    io->io.data = text;
    io->io.cap = MANIFEST_BYTES_MAX;
    status = ask(io, NULL);
    if (status == BD_ABSENT)
        goto free_io;
    if (status != BD_OK) {
        rc = ask_failed(io, "read the volume's description, " MANIFEST_OBJECT, why);
        goto free_io;
    }
    stored->is_there = true;
    snprintf(stored->tag, sizeof stored->tag, "%s", io->tag != NULL ? io->tag : "");
    rc = io->io.object_bytes > MANIFEST_BYTES_MAX
             ? error_set(&reason, -EBADMSG, "it has %" PRIu64 " bytes", io->io.object_bytes)
             : manifest_parse(text, io->io.len, &stored->manifest, &reason);
    stored->is_erased = rc == -EIDRM;
    if (rc == -EIDRM)
        error_set(
            why, rc,
            "the volume is being erased, or was in part, so that what is left of it is no use: "
            "\"bucketdisk erase\" finishes that");
    else if (rc != 0)
        error_set(why, rc, "the volume's description, %s, is damaged: %s", name, reason.text);
free_io:
    free(text);
    backend_io_free(io);
    return rc;
}

int
volume_lock_format(struct backend *backend, struct layout *layout, struct stored_manifest *stored,
                   struct error *why)
{
    int rc = volume_manifest_read(backend, layout, stored, why);

    layout->is_format_2 = rc == -EIDRM ? stored->manifest.was_format_2 : stored->is_there;
    if (rc == -EIDRM)
        why->text[0] = '\0';
    return rc == -EIDRM ? 0 : rc;
}

/* ---- writing */

/* One object to be put. */
struct putting {
    const char *name, *text, *media_type;
    const struct attrs *attrs;      /* NULL: none */
    char tag[BD_TAG_BYTES_MAX + 1]; /* once it is done */
    bool was_unknown;               /* as of ask() */
};

static enum bd_status
put(struct backend *backend, struct putting *putting, const char *if_match,
    const char *if_none_match, struct error *why)
{
    const struct attrs *attrs = putting->attrs;
    struct backend_io *io = backend_io_new(backend);
    enum bd_status status;

    if (io == NULL) {
        error_set(why, -ENOMEM, "out of memory");
        return BD_FATAL;
    }
    io->io.op = BD_PUT;
    io->io.name = putting->name;
    io->io.body = putting->text;
    io->io.body_bytes = strlen(putting->text);
    io->io.media_type = putting->media_type;
    io->io.if_match = if_match;
    io->io.if_none_match = if_none_match;
    if (attrs != NULL) {
        io->io.attrs = attrs->list;
        io->io.attr_count = attrs->count;
        io->io.attr_stride = sizeof *attrs->list;
    }
    status = ask(io, &putting->was_unknown);
    if (status == BD_OK) {
        snprintf(putting->tag, sizeof putting->tag, "%s", io->tag != NULL ? io->tag : "");
    } else {
        char what[BD_NAME_BYTES_MAX + 16];

        snprintf(what, sizeof what, "write %s", putting->name);
        ask_failed(io, what, why);
    }
    backend_io_free(io);
    return status;
}

/* A condition that does not hold may be our own write, if its answer was lost.  (Else not, even if it says the same:
 * two who begin an epoch at once write the same.) */
static int
settle(struct backend *backend, const struct layout *layout, const struct putting *putting,
       struct stored_manifest *stored, struct error *why)
{
    struct stored_manifest now = { 0 };
    int rc = volume_manifest_read(backend, layout, &now, why);
    char *theirs = rc == 0 && now.is_there ? manifest_print(&now.manifest) : NULL;

    if (rc == 0 && (!putting->was_unknown || theirs == NULL || strcmp(theirs, putting->text) != 0))
        rc = error_set(why, -EBUSY, "somebody else has just changed the volume's description");
    if (rc == 0) {
        stored->is_there = true;
        memcpy(stored->tag, now.tag, sizeof stored->tag);
    }
    free(theirs);
    manifest_clear(&now.manifest);
    return rc;
}

int
volume_manifest_write(struct backend *backend, const struct layout *layout,
                      struct stored_manifest *stored, struct error *why)
{
    bool has_conditions = backend_info(backend)->capabilities & BD_CAP_CONDITIONS_PUT;
    const char *if_match = stored->is_there && stored->tag[0] != '\0' ? stored->tag : NULL;
    const char *if_none_match = stored->is_there ? NULL : "*";
    struct error reason = { "" };
    char *text = manifest_print(&stored->manifest);
    object_name name;
    struct putting putting = { .name = name, .text = text, .media_type = "application/json" };
    enum bd_status status = BD_UNSUPPORTED;
    int rc = 0;

    if (text == NULL)
        return error_set(why, -ENOMEM, "out of memory");
    /* Nobody could read it. */
    if (strlen(text) > MANIFEST_BYTES_MAX) {
        free(text);
        return error_set(why, -E2BIG,
                         "the volume's description would have more than %u bytes; remove damaged "
                         "key slots",
                         MANIFEST_BYTES_MAX);
    }
    layout_control_name(layout, MANIFEST_OBJECT, name);
    if (has_conditions && (if_match != NULL || if_none_match != NULL))
        status = put(backend, &putting, if_match, if_none_match, &reason);
    if (status == BD_UNSUPPORTED)
        status = put(backend, &putting, NULL, NULL, &reason);
    if (putting.was_unknown)
        stored->unknown_at_ns = clock_now_ns();
    if (status == BD_CONDITION) {
        rc = settle(backend, layout, &putting, stored, why);
    } else if (status != BD_OK) {
        rc = error_set(why, status_errno(status), "%s", reason.text);
    } else {
        stored->is_there = true;
        memcpy(stored->tag, putting.tag, sizeof putting.tag);
    }
    free(text);
    return rc;
}

/* ---- sizes */

int
volume_manifest_layout(const struct manifest *manifest, const struct volume_wish *wish,
                       struct layout *layout, struct error *why)
{
    if ((wish->block_bytes != 0 && wish->block_bytes != manifest->block_bytes)
        || (wish->disk_bytes != 0 && wish->disk_bytes != manifest->disk_bytes))
        return error_set(why, -EINVAL,
                         "the volume has %" PRIu64 " bytes in blocks of %u, which is not what the "
                         "options say; leave --size and --blockSize out",
                         manifest->disk_bytes, manifest->block_bytes);
    if (wish->is_hashed && !manifest->is_hashed)
        return error_set(why, -EINVAL,
                         "the names of the volume's blocks do not begin with a hash; leave "
                         "--blockHashPrefix out");
    *layout = (struct layout){ .prefix = wish->prefix,
                               .is_hashed = manifest->is_hashed,
                               .is_format_2 = true };
    return volume_check_sizes(manifest->disk_bytes, manifest->block_bytes, layout, why);
}

/* ---- s3backer */

/* Is it our fence that is there? */
static int
fence_check(struct backend *backend, const struct layout *layout, bool *is_ours, struct error *why)
{
    const struct layout s3backers = { .prefix = layout->prefix };
    struct lock lock;
    int rc = holder_look(backend, &s3backers, &lock, why);
    object_name name;

    *is_ours = lock_is_fence(&lock);
    if (rc != 0 || !lock.is_there || *is_ours)
        return rc;
    lock_name(&s3backers, name);
    return error_set(why, -EBUSY,
                     "the volume has a mount token of s3backer's kind, %s; it may be in use. "
                     "If it is not, clear it with --reset-mounted-flag",
                     name);
}

int
volume_fence_s3backer(struct backend *backend, const struct layout *layout, struct error *why)
{
    bool has_conditions = backend_info(backend)->capabilities & BD_CAP_CONDITIONS_PUT;
    struct attrs attrs = { 0 };
    object_name name;
    struct putting putting = {
        .name = name, .text = FENCE_BODY, .media_type = "text/plain", .attrs = &attrs
    };
    enum bd_status status = BD_UNSUPPORTED;
    struct error reason = { "" };
    bool is_ours;
    int rc = fence_check(backend, layout, &is_ours, why);

    if (rc != 0 || is_ours)
        return rc;
    layout_control_name(layout, TOKEN_OBJECT, name);
    if (attrs_add(&attrs, ATTR_TOKEN, FENCE_VALUE, strlen(FENCE_VALUE)) != 0
        || attrs_add(&attrs, ATTR_OWNER, TOKEN_FENCE_OWNER, strlen(TOKEN_FENCE_OWNER)) != 0) {
        attrs_clear(&attrs);
        return error_set(why, -ENOMEM, "out of memory");
    }
    if (has_conditions)
        status = put(backend, &putting, NULL, "*", &reason);
    if (status == BD_UNSUPPORTED)
        status = put(backend, &putting, NULL, NULL, &reason);
    attrs_clear(&attrs);
    if (status == BD_OK)
        return 0;
    if (status != BD_CONDITION)
        return error_set(why, status_errno(status), "%s", reason.text);
    rc = fence_check(backend, layout, &is_ours, why);
    if (rc == 0 && !is_ours)
        rc = error_set(why, -EBUSY, "somebody else's mount token was in the way; try again");
    return rc;
}

int
volume_reset_fence(struct backend *backend, const struct layout *layout, uint64_t settle_ms,
                   struct error *why)
{
    const struct layout s3backers = { .prefix = layout->prefix };
    bool is_ours;
    int rc = fence_check(backend, layout, &is_ours, why);

    return rc == -EBUSY ? token_reset(backend, &s3backers, settle_ms, why) : rc;
}
