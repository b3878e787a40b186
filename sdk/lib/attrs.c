/* SPDX-License-Identifier: Apache-2.0 */
/* Helpers for what requests say: deadlines, attributes, tags and conditions. */
#include <bucketdisk/sdk.h>

#include <limits.h>
#include <string.h>

int
bd_left_ms(const struct bd_host *host, const struct bd_io *io)
{
    const uint64_t now = host->now_ns(), ns_per_ms = 1000000;
    uint64_t left;

    if (io->deadline_ns <= now)
        return 0;
    left = (io->deadline_ns - now - 1) / ns_per_ms + 1;
    return left < INT_MAX ? (int)left : INT_MAX;
}

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
