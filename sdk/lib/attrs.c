/* SPDX-License-Identifier: Apache-2.0 */
/* Helpers for attributes, tags and conditions. */
#include <bucketdisk/sdk.h>

#include <string.h>

const struct bd_attr *
bd_io_attr(const struct bd_io *io, uint32_t i)
{
    /* The host may know a longer struct bd_attr than we do. */
    return (const struct bd_attr *)(const void *)((const char *)io->attrs
                                                  + (size_t)i * io->attr_stride);
}

static int
matches(const char *condition, const char *tag)
{
    return tag != NULL && (strcmp(condition, "*") == 0 || strcmp(condition, tag) == 0);
}

int
bd_conditions_hold(const struct bd_io *io, const char *tag)
{
    if (io->if_match != NULL && !matches(io->if_match, tag))
        return 0;
    return io->if_none_match == NULL || !matches(io->if_none_match, tag);
}

void
bd_hex(const void *in, size_t bytes, char *out)
{
    static const char digits[] = "0123456789abcdef";
    const unsigned char *next = in;

    for (size_t i = 0; i < bytes; i++) {
        *out++ = digits[next[i] >> 4];
        *out++ = digits[next[i] & 15];
    }
    *out = '\0';
}
