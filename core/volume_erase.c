/* SPDX-License-Identifier: Apache-2.0 */
/* The end of a volume. */
#include "volume_erase.h"

#include "ask.h"
#include "base/clock.h"
#include "copymark.h"
#include "lock.h"
#include "manifest.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Never there. */
#define TRIAL_OBJECT "bucketdisk-trial"

/* Without conditions: nobody else writes the volume's own objects while the token is ours. */
static int
ask_for(struct backend_io *io, const char *what, uint64_t *unknown_at_ns, struct error *why)
{
    bool was_unknown = false;
    enum bd_status status = ask(io, &was_unknown);

    if (was_unknown)
        *unknown_at_ns = clock_now_ns();
    return status == BD_OK || status == BD_ABSENT ? 0 : ask_failed(io, what, why);
}

static int
remove_control(struct backend *backend, const struct layout *layout, const char *object,
               uint64_t *unknown_at_ns, struct error *why)
{
    struct backend_io *io = backend_io_new(backend);
    char what[BD_NAME_BYTES_MAX + 16];
    object_name name;
    int rc;

    if (io == NULL)
        return error_set(why, -ENOMEM, "out of memory");
    layout_control_name(layout, object, name);
    snprintf(what, sizeof what, "delete %s", name);
    io->io.op = BD_DELETE;
    io->io.name = name;
    rc = ask_for(io, what, unknown_at_ns, why);
    backend_io_free(io);
    return rc;
}

int
volume_erase_begin(struct backend *backend, const struct layout *layout, uint64_t *unknown_at_ns,
                   struct error *why)
{
    char *text = manifest_print_erased(layout->is_format_2, layout->is_hashed);
    struct backend_io *io = backend_io_new(backend);
    object_name name;
    int rc;

    if (text == NULL || io == NULL) {
        rc = error_set(why, -ENOMEM, "out of memory");
        goto free_io;
    }
    /* Who may write and not delete would have made the volume useless. */
    rc = remove_control(backend, layout, TRIAL_OBJECT, unknown_at_ns, why);
    if (rc != 0)
        goto free_io;
    *unknown_at_ns = 0;
    layout_control_name(layout, MANIFEST_OBJECT, name);
    io->io.op = BD_PUT;
    io->io.name = name;
    io->io.body = text;
    io->io.body_bytes = strlen(text);
    io->io.media_type = "application/json";
    rc = ask_for(io, "mark the volume as one that is being erased", unknown_at_ns, why);
free_io:
    backend_io_free(io);
    free(text);
    return rc;
}

int
volume_erase_end(struct backend *backend, const struct layout *layout, uint64_t *unknown_at_ns,
                 struct error *why)
{
    int rc = 0;

    /* In format 1 that is the lock itself. */
    if (layout->is_format_2)
        rc = remove_control(backend, layout, TOKEN_OBJECT, unknown_at_ns, why);
    if (rc == 0) /* of half a copy */
        rc = remove_control(backend, layout, COPYMARK_OBJECT, unknown_at_ns, why);
    if (rc == 0)
        rc = remove_control(backend, layout, MANIFEST_OBJECT, unknown_at_ns, why);
    return rc;
}
