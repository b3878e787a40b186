/* SPDX-License-Identifier: Apache-2.0 */
/* A list of attributes: small named byte strings stored beside an object, held to the ABI's limits.
 *
 * `list` can be given to a request as it is: io.attrs = attrs.list, io.attr_count = attrs.count,
 * io.attr_stride = sizeof *attrs.list.  One thread at a time. */
#ifndef CORE_ATTRS_H
#define CORE_ATTRS_H

#include <bucketdisk/plugin.h>

#include <stdbool.h>

struct attrs {
    struct bd_attr *list; /* names and values are ours; behind each value is a NUL */
    uint32_t count, room;
    size_t bytes; /* of all names and values */
};

/* Add or replace.  Copies both.  0; -EINVAL (the name is not of [a-z0-9-]), -E2BIG (a limit of
 * plugin.h would be passed) or -ENOMEM, and then nothing has changed. */
int attrs_add(struct attrs *attrs, const char *name, const void *value, size_t value_bytes);
/* Can a store that keeps attributes as headers of HTTP hold this value?  What is put must be of that kind. */
bool attr_value_is_storable(const void *value, size_t value_bytes);
/* NULL when there is none.  Borrowed until the list changes. */
const struct bd_attr *attrs_find(const struct attrs *attrs, const char *name);
/* Back to empty; frees everything. */
void attrs_clear(struct attrs *attrs);

#endif
