/* SPDX-License-Identifier: Apache-2.0 */
/* A few stored blocks. */
#include "volume_samples.h"

#include "ask.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

int
volume_look(struct backend *backend, const struct layout *layout, uint64_t block,
            struct volume_look *out, struct error *why)
{
    struct backend_io *io = backend_io_new(backend);
    uint8_t head[ENVELOPE_BYTES_MAX];
    object_name name;
    enum bd_status status;
    size_t bytes;
    int rc = 0;

    *out = (struct volume_look){ .block = block };
    if (io == NULL)
        return error_set(why, -ENOMEM, "out of memory");
    layout_block_name(layout, block, name);
    io->io.op = BD_GET;
    io->io.name = name;
    io->io.data = head;
    io->io.cap = sizeof head;
    status = ask(io, NULL);
    if (status == BD_OK) {
        out->is_there = true;
        snprintf(out->encoding, sizeof out->encoding, "%s",
                 io->encoding != NULL ? io->encoding : "");
        out->has_envelope = envelope_read(head, io->io.len, &out->envelope, &bytes, NULL) == 0;
    } else if (status != BD_ABSENT) {
        rc = ask_failed(io, "look at a block", why);
    }
    backend_io_free(io);
    return rc;
}

/* ---- the listing */

struct listing {
    const struct layout *layout;
    uint64_t *blocks;
    unsigned count, max;
};

static bool
list_entry(void *arg, const char *name, uint64_t object_bytes, const char *tag)
{
    struct listing *listing = arg;
    uint64_t block;

    (void)object_bytes, (void)tag;
    if (listing->count < listing->max && layout_parse(listing->layout, name, &block) && block != 0)
        listing->blocks[listing->count++] = block;
    return listing->count < listing->max;
}

/* Who else has objects here may have a page full of them before the first block. */
static int
list(struct backend *backend, struct listing *listing, struct error *why)
{
    return ask_list(backend, listing->layout->prefix, list_entry, listing,
                    "list the volume's objects", why);
}

int
volume_samples(struct backend *backend, const struct layout *layout,
               uint64_t blocks[VOLUME_SAMPLES_MAX], unsigned *count, struct error *why)
{
    struct listing listing = { .layout = layout, .blocks = blocks, .max = VOLUME_SAMPLES_MAX };
    int rc = list(backend, &listing, why);

    *count = listing.count;
    return rc;
}

int
volume_look_any(struct backend *backend, const struct layout *layout, struct volume_look *out,
                struct error *why)
{
    struct layout names = *layout;
    int rc = 0;

    /* Who says that nothing is encrypted may say where nothing is, too. */
    for (unsigned i = 0; i < 2; i++, names.is_hashed = !names.is_hashed) {
        uint64_t block;
        struct listing listing = { .layout = &names, .blocks = &block, .max = 1 };

        rc = volume_look(backend, &names, 0, out, why);
        if (rc != 0 || out->is_there)
            return rc;
        rc = list(backend, &listing, why);
        if (rc == 0 && listing.count > 0)
            rc = volume_look(backend, &names, block, out, why);
        if (rc != 0 || out->is_there)
            return rc;
    }
    return 0;
}
