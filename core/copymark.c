/* SPDX-License-Identifier: Apache-2.0 */
/* The mark of a volume that somebody copies to. */
#include "copymark.h"

#include "ask.h"

#include <ctype.h>
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MARK_BYTES_MAX (64u << 10)

void
copymark_clear(struct copymark *mark)
{
    free(mark->source);
    free(mark->called);
    free(mark->volume);
    free(mark->encryption);
    memset(mark, 0, sizeof *mark);
}

static json_t *
escaped(const char *text)
{
    json_t *json = json_string(text);
    bool is_utf8 = json != NULL;
    char *out = malloc(3 * strlen(text) + 1), *to = out;

    json_decref(json);
    for (; out != NULL && *text != '\0'; text++) {
        if (*text == '%' || (!is_utf8 && (unsigned char)*text >= 0x80))
            to += sprintf(to, "%%%02x", (unsigned char)*text);
        else
            *to++ = *text;
    }
    if (out != NULL)
        *to = '\0';
    json = out != NULL ? json_string(out) : NULL;
    free(out);
    return json;
}

static char *
unescaped(const char *text)
{
    char *out = malloc(strlen(text) + 1), *to = out;

    for (; out != NULL && *text != '\0'; to++) {
        if (text[0] == '%' && isxdigit((unsigned char)text[1])
            && isxdigit((unsigned char)text[2])) {
            const char digits[] = { text[1], text[2], '\0' };

            *to = (char)strtoul(digits, NULL, 16);
            text += 3;
        } else {
            *to = *text++;
        }
    }
    if (out != NULL)
        *to = '\0';
    return out;
}

static int
mark_parse(const char *text, size_t bytes, struct copymark *out, struct error *why)
{
    json_t *json = json_loadb(text, bytes, 0, NULL);
    const char *source, *called, *volume, *encryption;
    json_int_t disk_bytes, block_bytes;
    int version, rc = 0;

    if (json_unpack(json, "{s:i, s:s, s:s, s:s, s:s, s:I, s:I}", "copy", &version, "source",
                    &source, "called", &called, "volume", &volume, "encryption", &encryption,
                    "disk_bytes", &disk_bytes, "block_bytes", &block_bytes)
            == 0
        && version == 1 && disk_bytes > 0 && block_bytes > 0) {
        out->source = unescaped(source);
        out->called = unescaped(called);
        out->volume = unescaped(volume);
        out->encryption = unescaped(encryption);
        out->disk_bytes = (uint64_t)disk_bytes;
        out->block_bytes = (uint64_t)block_bytes;
        if (out->source == NULL || out->called == NULL || out->volume == NULL
            || out->encryption == NULL)
            rc = error_set(why, -ENOMEM, "out of memory");
    }
    json_decref(json);
    return rc;
}

int
copymark_read(struct backend *backend, const struct layout *layout, struct copymark *mark,
              struct error *why)
{
    struct backend_io *io = backend_io_new(backend);
    char *text = malloc(MARK_BYTES_MAX);
    object_name name;
    enum bd_status status;
    int rc = 0;

    copymark_clear(mark);
    if (io == NULL || text == NULL) {
        rc = error_set(why, -ENOMEM, "out of memory");
        goto free_io;
    }
    layout_control_name(layout, COPYMARK_OBJECT, name);
    io->io.op = BD_GET;
    io->io.name = name;
    io->io.data = text;
    io->io.cap = MARK_BYTES_MAX;
    status = ask(io, NULL);
    mark->is_there = status == BD_OK;
    if (mark->is_there && io->io.object_bytes <= MARK_BYTES_MAX)
        rc = mark_parse(text, io->io.len, mark, why);
    else if (status != BD_OK && status != BD_ABSENT)
        rc = ask_failed(io, "look at the volume", why);
free_io:
    free(text);
    backend_io_free(io);
    return rc;
}

int
copymark_refuse(struct backend *backend, const struct layout *layout, struct error *why)
{
    struct copymark mark = { .is_there = false };
    int rc = copymark_read(backend, layout, &mark, why);

    if (rc == 0 && mark.is_there)
        rc =
            error_set(why, -EINVAL,
                      "the volume is a copy of %s that is not complete: say \"bucketdisk copy\" as "
                      "it was begun and it goes on; bucketdisk erase removes it",
                      mark.called != NULL ? mark.called : "another one");
    copymark_clear(&mark);
    return rc;
}

int
copymark_put(struct backend *backend, const struct layout *layout, const struct copymark *mark,
             uint64_t until_ns, bool *was_unknown, struct error *why)
{
    struct backend_io *io = backend_io_new(backend);
    json_t *json =
        json_pack("{s:i, s:o, s:o, s:o, s:o, s:I, s:I}", "copy", 1, "source", escaped(mark->source),
                  "called", escaped(mark->called), "volume", escaped(mark->volume), "encryption",
                  escaped(mark->encryption), "disk_bytes", (json_int_t)mark->disk_bytes,
                  "block_bytes", (json_int_t)mark->block_bytes);
    char *text = json != NULL ? json_dumps(json, JSON_COMPACT) : NULL;
    object_name name;
    int rc = 0;

    if (io == NULL || text == NULL) {
        rc = error_set(why, -ENOMEM, "out of memory");
    } else {
        layout_control_name(layout, COPYMARK_OBJECT, name);
        io->io.op = BD_PUT;
        io->io.name = name;
        io->io.body = text;
        io->io.body_bytes = strlen(text);
        io->io.media_type = "application/json";
        if (ask_before(io, until_ns, was_unknown) != BD_OK)
            rc = ask_failed(io, "note that a copy is under way", why);
    }
    free(text);
    json_decref(json);
    backend_io_free(io);
    return rc;
}

int
copymark_remove(struct backend *backend, const struct layout *layout, uint64_t until_ns,
                bool *was_unknown, struct error *why)
{
    struct backend_io *io = backend_io_new(backend);
    enum bd_status status;
    object_name name;
    int rc = 0;

    if (io == NULL)
        return error_set(why, -ENOMEM, "out of memory");
    layout_control_name(layout, COPYMARK_OBJECT, name);
    io->io.op = BD_DELETE;
    io->io.name = name;
    status = ask_before(io, until_ns, was_unknown);
    if (status != BD_OK && status != BD_ABSENT)
        rc = ask_failed(io, "note that the copy is complete", why);
    backend_io_free(io);
    return rc;
}
