/* SPDX-License-Identifier: Apache-2.0 */
/* The end of a volume. */
#include "volume_erase.h"

#include "ask.h"
#include "base/clock.h"
#include "copymark.h"
#include "lock.h"
#include "manifest.h"
#include "volume_manifest.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Never there. */
#define TRIAL_OBJECT "bucketdisk-trial"

static enum bd_status
ask_noted(struct volume_erase *erase, struct backend_io *io, uint64_t until_ns)
{
    bool was_unknown = false;
    enum bd_status status = ask_before(io, until_ns, &was_unknown);

    if (was_unknown)
        erase->unknown_at_ns = clock_now_ns();
    return status;
}

/* The description, or the mark, is not what it was: an attempt of ours whose answer was lost may have done that.  If the mark
 * is there, its tag is known then. */
static int
look_again(struct volume_erase *erase, bool may_be_ours, bool is_mark_wanted, struct error *why)
{
    struct stored_manifest now = { .is_there = false };
    struct error reason = { "" };
    int rc = volume_manifest_read(erase->backend, erase->layout, &now, &reason);
    bool is_as_wished = is_mark_wanted ? rc == -EIDRM : rc == 0 && !now.is_there;

    manifest_clear(&now.manifest);
    if (may_be_ours && is_as_wished) {
        memcpy(erase->tag, now.tag, sizeof erase->tag);
        return 0;
    }
    return error_set(why, -EROFS,
                     "somebody else may have the volume by now: its description, " MANIFEST_OBJECT
                     ", has changed");
}

/* `tag`: of the object that must be there; NULL: whichever is there goes. */
static int
remove_control(struct volume_erase *erase, const char *object, const char *tag, struct error *why)
{
    struct backend_io *io = backend_io_new(erase->backend);
    char what[BD_NAME_BYTES_MAX + 16];
    enum bd_status status;
    object_name name;
    uint64_t until_ns;
    int rc = 0;

    if (io == NULL)
        return error_set(why, -ENOMEM, "out of memory");
    layout_control_name(erase->layout, object, name);
    snprintf(what, sizeof what, "delete %s", name);
    io->io.op = BD_DELETE;
    io->io.name = name;
    if (tag != NULL && tag[0] != '\0'
        && backend_info(erase->backend)->capabilities & BD_CAP_CONDITIONS_DELETE)
        io->io.if_match = tag;
    rc = lease_await(erase->lease, &until_ns, why);
    if (rc != 0)
        goto free_io;
    status = ask_noted(erase, io, until_ns);
    if (status == BD_UNSUPPORTED && io->io.if_match != NULL) {
        io->io.if_match = NULL;
        status = ask_noted(erase, io, until_ns);
    }
    if (status == BD_CONDITION)
        rc = look_again(erase, true, false, why);
    else if (status != BD_OK && status != BD_ABSENT)
        rc = ask_failed(io, what, why);
free_io:
    backend_io_free(io);
    return rc;
}

/* In the place of the description that was read, or of none. */
static int
put_mark(struct volume_erase *erase, const char *text, struct error *why)
{
    struct backend_io *io = backend_io_new(erase->backend);
    enum bd_status status;
    object_name name;
    uint64_t until_ns;
    int rc = io != NULL ? lease_await(erase->lease, &until_ns, why)
                        : error_set(why, -ENOMEM, "out of memory");

    if (rc != 0)
        goto free_io;
    layout_control_name(erase->layout, MANIFEST_OBJECT, name);
    io->io.op = BD_PUT;
    io->io.name = name;
    io->io.body = text;
    io->io.body_bytes = strlen(text);
    io->io.media_type = "application/json";
    if (erase->lease != NULL && !erase->is_there)
        io->io.if_none_match = "*";
    else if (erase->lease != NULL && erase->tag[0] != '\0')
        io->io.if_match = erase->tag;
    status = ask_noted(erase, io, until_ns);
    if (status == BD_OK)
        snprintf(erase->tag, sizeof erase->tag, "%s", io->tag != NULL ? io->tag : "");
    else if (status == BD_CONDITION)
        rc = look_again(erase, erase->unknown_at_ns != 0, true, why);
    else
        rc = ask_failed(io, "mark the volume as one that is being erased", why);
free_io:
    backend_io_free(io);
    return rc;
}

int
volume_erase_begin(struct volume_erase *erase, struct error *why)
{
    char *text = manifest_print_erased(erase->layout->is_format_2, erase->layout->is_hashed);
    int rc = text != NULL ? 0 : error_set(why, -ENOMEM, "out of memory");

    /* Who may write and not delete would have made the volume useless. */
    if (rc == 0)
        rc = remove_control(erase, TRIAL_OBJECT, NULL, why);
    erase->unknown_at_ns = 0;
    if (rc == 0)
        rc = put_mark(erase, text, why);
    free(text);
    return rc;
}

int
volume_erase_end(struct volume_erase *erase, struct error *why)
{
    int rc = 0;

    /* In format 1 that is the lock itself. */
    if (erase->layout->is_format_2)
        rc = remove_control(erase, TOKEN_OBJECT, NULL, why);
    if (rc == 0) /* of half a copy */
        rc = remove_control(erase, COPYMARK_OBJECT, NULL, why);
    if (rc == 0)
        rc = remove_control(erase, MANIFEST_OBJECT, erase->lease != NULL ? erase->tag : NULL, why);
    return rc;
}
