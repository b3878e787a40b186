/* SPDX-License-Identifier: Apache-2.0 */
/* A list of attributes, held to the ABI's limits. */
#include "attrs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

const struct bd_attr *
attrs_find(const struct attrs *attrs, const char *name)
{
    for (uint32_t i = 0; i < attrs->count; i++) {
        if (strcmp(attrs->list[i].name, name) == 0)
            return &attrs->list[i];
    }
    return NULL;
}

/* Name and value share one allocation, the name first: it is what free is given. */
static void
attr_free(const struct bd_attr *attr)
{
    free((void *)(uintptr_t)attr->name);
}

bool
attr_value_is_storable(const void *value, size_t value_bytes)
{
    const unsigned char *text = value;

    if (value == NULL || value_bytes == 0)
        return false;
    for (size_t i = 0; i < value_bytes; i++) {
        if (text[i] < ' ' || text[i] > '~')
            return false;
    }
    return text[0] != ' ' && text[value_bytes - 1] != ' ';
}

int
attrs_add(struct attrs *attrs, const char *name, const void *value, size_t value_bytes)
{
    const struct bd_attr *old;
    size_t name_bytes, bytes;
    char *copy;

    if (name == NULL || name[0] == '\0' || (value == NULL && value_bytes > 0))
        return -EINVAL;
    name_bytes = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-");
    if (name[name_bytes] != '\0')
        return -EINVAL;
    if (value_bytes > BD_ATTR_VALUE_BYTES_MAX || name_bytes > BD_ATTRS_BYTES_MAX)
        return -E2BIG;
    old = attrs_find(attrs, name);
    bytes = attrs->bytes + name_bytes + value_bytes;
    if (old != NULL)
        bytes -= name_bytes + old->value_bytes;
    if (bytes > BD_ATTRS_BYTES_MAX)
        return -E2BIG;

    if (old == NULL && attrs->count == attrs->room) {
        uint32_t room = attrs->room == 0 ? 4 : attrs->room * 2;
        struct bd_attr *list = realloc(attrs->list, room * sizeof *list);

        if (list == NULL)
            return -ENOMEM;
        attrs->list = list;
        attrs->room = room;
    }
    copy = malloc(name_bytes + value_bytes + 2);
    if (copy == NULL)
        return -ENOMEM;
    memcpy(copy, name, name_bytes + 1);
    if (value_bytes > 0)
        memcpy(copy + name_bytes + 1, value, value_bytes);
    copy[name_bytes + 1 + value_bytes] = '\0';

    {
        struct bd_attr *slot =
            &attrs->list[old != NULL ? (size_t)(old - attrs->list) : attrs->count++];

        if (old != NULL)
            attr_free(slot);
        *slot = (struct bd_attr){ copy, copy + name_bytes + 1, value_bytes };
    }
    attrs->bytes = bytes;
    return 0;
}

void
attrs_clear(struct attrs *attrs)
{
    for (uint32_t i = 0; i < attrs->count; i++)
        attr_free(&attrs->list[i]);
    free(attrs->list);
    *attrs = (struct attrs){ 0 };
}
