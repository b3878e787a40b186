/* SPDX-License-Identifier: Apache-2.0 */
/* What a plugin gives for a request of a check, and the requests that it makes of the one below: the host table's half that
 * works on requests, but complete. */
#include "impl.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void
asked_error(struct bd_io *io, const char *format, ...)
{
    struct asked *asked = asked_of(io);
    va_list args;

    va_start(args, format);
    vsnprintf(asked->why.text, sizeof asked->why.text, format, args);
    va_end(args);
    check_said(asked->why.text, true);
}

void
asked_attr_add(struct bd_io *io, const char *name, const void *value, size_t value_bytes)
{
    struct asked *asked = asked_of(io);

    if (attrs_add(&asked->attrs, name, value, value_bytes) != 0)
        asked->wrong = "an attribute is over the limits, or its name is not of [a-z0-9-]";
}

static bool
text_keep(struct asked *asked, char *out, size_t bytes_max, const char *text, const char *wrong)
{
    if (text != NULL && strlen(text) > bytes_max) {
        asked->wrong = wrong;
        return false;
    }
    if (text != NULL)
        strcpy(out, text);
    return text != NULL;
}

void
asked_encoding_set(struct bd_io *io, const char *encoding)
{
    struct asked *asked = asked_of(io);

    asked->has_encoding = text_keep(asked, asked->encoding, BD_ENCODING_BYTES_MAX, encoding,
                                    "the encoding is over the limit");
}

void
asked_tag_set(struct bd_io *io, const char *tag)
{
    struct asked *asked = asked_of(io);

    asked->has_tag =
        text_keep(asked, asked->tag, BD_TAG_BYTES_MAX, tag, "the tag is over the limit");
}

static struct entry *
entry_new(struct asked *asked)
{
    if (asked->entry_count == asked->entry_room) {
        const unsigned room = asked->entry_room == 0 ? 16 : asked->entry_room * 2;
        struct entry *grown = realloc(asked->entries, room * sizeof *grown);

        if (grown == NULL)
            return NULL;
        asked->entries = grown;
        asked->entry_room = room;
    }
    memset(&asked->entries[asked->entry_count], 0, sizeof *asked->entries);
    return &asked->entries[asked->entry_count++];
}

int
asked_list_add(struct bd_io *io, const char *name, uint64_t object_bytes, const char *tag)
{
    struct asked *asked = asked_of(io);
    struct entry *entry;

    if (name == NULL || name[0] == '\0' || strlen(name) > BD_NAME_BYTES_MAX
        || (tag != NULL && strlen(tag) > BD_TAG_BYTES_MAX)) {
        asked->wrong = "a name or tag of the listing is over the limit, or empty";
        return 0;
    }
    if (asked->entries_wanted > 0 && asked->entry_count == asked->entries_wanted) {
        asked->calls_after_enough++;
        return 0;
    }
    entry = entry_new(asked);
    if (entry == NULL)
        return 0;
    strcpy(entry->name, name);
    entry->bytes = object_bytes;
    entry->has_tag = tag != NULL;
    if (tag != NULL)
        strcpy(entry->tag, tag);
    return asked->entries_wanted == 0 || asked->entry_count < asked->entries_wanted;
}

/* ------------------------------------------------------------------ children */

static void
child_ended(struct task *task)
{
    struct asked *asked = container_of(task, struct asked, task);

    asked->done(asked->io, asked->status, asked->done_arg);
}

struct bd_io *
asked_child_new(const struct bd_host *host, const struct bd_lower *lower, const struct bd_io *like)
{
    struct asked *asked = asked_new(lower->instance, NULL);
    struct bd_io *io = asked->io;
    void *const scratch = io->scratch;

    asked->parent = (struct check_host *)(uintptr_t)host;
    asked->task.run = child_ended;
    atomic_fetch_add(&check_counts.children, 1);
    if (like == NULL)
        return io;
    *io = *like;
    io->scratch = scratch;
    io->len = 0;
    io->object_bytes = 0;
    io->more = 0;
    io->retry_after_ms = 0;
    return io;
}

void
asked_child_submit(struct bd_io *child, bd_io_done *done, void *arg)
{
    struct asked *asked = asked_of(child);

    asked->done = done;
    asked->done_arg = arg;
    atomic_store(&asked->completions, 0);
    asked_submit(asked);
}

void
asked_child_result(const struct bd_io *child, struct bd_io *to)
{
    const struct asked *from = asked_of(child);
    struct asked *asked = asked_of(to);

    to->len = child->len;
    to->object_bytes = child->object_bytes;
    to->more = child->more;
    to->retry_after_ms = child->retry_after_ms;
    asked_tag_set(to, from->has_tag ? from->tag : NULL);
    asked_encoding_set(to, from->has_encoding ? from->encoding : NULL);
    for (uint32_t i = 0; i < from->attrs.count; i++)
        asked_attr_add(to, from->attrs.list[i].name, from->attrs.list[i].value,
                       from->attrs.list[i].value_bytes);
    asked->why = from->why;
    for (unsigned i = 0; i < from->entry_count; i++) {
        const struct entry *entry = &from->entries[i];

        if (!asked_list_add(to, entry->name, entry->bytes, entry->has_tag ? entry->tag : NULL)) {
            to->more |= i + 1 < from->entry_count;
            break;
        }
    }
}

void
asked_child_free(struct bd_io *child)
{
    if (child != NULL)
        atomic_fetch_sub(&check_counts.children, 1);
}
