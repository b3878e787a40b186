/* SPDX-License-Identifier: Apache-2.0 */
/* A copy of a write, which is only borrowed, for who needs it after the write completes. */
#include "chaos.h"

#include <stdlib.h>
#include <string.h>

static void *
bytes_copy(const void *data, size_t bytes, bool *is_whole)
{
    void *copy = malloc(bytes + 1);

    if (copy == NULL)
        *is_whole = false;
    else if (bytes > 0)
        memcpy(copy, data, bytes);
    return copy;
}

static char *
text_copy(const char *text, bool *is_whole)
{
    return text == NULL ? NULL : bytes_copy(text, strlen(text) + 1, is_whole);
}

static struct bd_attr *
attrs_copy(const struct bd_io *io, bool *is_whole)
{
    struct bd_attr *attrs = calloc((size_t)io->attr_count + 1, sizeof *attrs);

    if (attrs == NULL)
        *is_whole = false;
    for (uint32_t i = 0; attrs != NULL && i < io->attr_count; i++) {
        const struct bd_attr *from = bd_io_attr(io, i);

        attrs[i].name = text_copy(from->name, is_whole);
        attrs[i].value = bytes_copy(from->value, from->value_bytes, is_whole);
        attrs[i].value_bytes = from->value_bytes;
    }
    return attrs;
}

static const char *const *
names_copy(const struct bd_io *io, bool *is_whole)
{
    const char **names = calloc((size_t)io->name_count + 1, sizeof *names);

    if (names == NULL)
        *is_whole = false;
    for (uint32_t i = 0; names != NULL && i < io->name_count; i++)
        names[i] = text_copy(io->names[i], is_whole);
    return names;
}

static void
drop(const void *copied)
{
    free((void *)(uintptr_t)copied);
}

void
copy_free(struct bd_io *copy)
{
    for (uint32_t i = 0; copy->names != NULL && i < copy->name_count; i++)
        drop(copy->names[i]);
    for (uint32_t i = 0; copy->attrs != NULL && i < copy->attr_count; i++) {
        drop(copy->attrs[i].name);
        drop(copy->attrs[i].value);
    }
    drop(copy->names);
    drop(copy->statuses);
    drop(copy->attrs);
    drop(copy->body);
    drop(copy->name);
    drop(copy->encoding);
    drop(copy->media_type);
    drop(copy->if_match);
    drop(copy->if_none_match);
    free(copy);
}

struct bd_io *
copy_new(const struct bd_io *io)
{
    struct bd_io *copy = malloc(sizeof *copy);
    bool is_whole = true;

    if (copy == NULL)
        return NULL;
    *copy = *io;
    copy->name = text_copy(io->name, &is_whole);
    copy->encoding = text_copy(io->encoding, &is_whole);
    copy->media_type = text_copy(io->media_type, &is_whole);
    copy->if_match = text_copy(io->if_match, &is_whole);
    copy->if_none_match = text_copy(io->if_none_match, &is_whole);
    copy->body = bytes_copy(io->body, io->op == BD_PUT ? io->body_bytes : 0, &is_whole);
    copy->attrs = attrs_copy(io, &is_whole);
    copy->attr_stride = sizeof *copy->attrs;
    copy->names = names_copy(io, &is_whole);
    copy->statuses = calloc((size_t)io->name_count + 1, sizeof *copy->statuses);
    if (is_whole && copy->statuses != NULL)
        return copy;
    copy_free(copy);
    return NULL;
}
