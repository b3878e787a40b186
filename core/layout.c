/* SPDX-License-Identifier: Apache-2.0 */
/* Which object holds which block. */
#include "layout.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* s3backer's --blockHashPrefix: spreads neighbouring blocks over the store's key space. */
static uint32_t
block_hash(uint32_t number)
{
    uint32_t hash = number;

    for (uint32_t k = 12; k >= 1; k--)
        hash = ((hash >> 8) ^ hash) * 0x6b + k;
    return hash;
}

void
layout_block_name(const struct layout *layout, uint64_t block, object_name name)
{
    uint32_t number = (uint32_t)block;

    if (layout->is_hashed)
        snprintf(name, sizeof(object_name), "%s%08x-%08x", layout->prefix, block_hash(number),
                 number);
    else
        snprintf(name, sizeof(object_name), "%s%08x", layout->prefix, number);
}

void
layout_control_name(const struct layout *layout, const char *what, object_name name)
{
    snprintf(name, sizeof(object_name), "%s%s", layout->prefix, what);
}

uint64_t
layout_key(const struct layout *layout, uint64_t block)
{
    return layout->is_hashed ? block_hash((uint32_t)block) : block;
}

uint64_t
layout_key_count(const struct layout *layout)
{
    return layout->is_hashed ? 1ull << 32 : layout->block_count;
}

void
layout_name_before(const struct layout *layout, uint64_t key, object_name name)
{
    assert(key <= layout_key_count(layout));
    name[0] = '\0';
    if (key == 0)
        return;
    if (layout->is_hashed && key > UINT32_MAX)
        snprintf(name, sizeof(object_name), "%sg", layout->prefix); /* behind all digits */
    else if (layout->is_hashed)
        snprintf(name, sizeof(object_name), "%s%08x", layout->prefix, (uint32_t)key);
    else
        layout_block_name(layout, key - 1, name);
}

static bool
parse_hex8(const char *text, uint32_t *number)
{
    *number = 0;
    for (int i = 0; i < 8; i++) {
        char c = text[i];

        if (c >= '0' && c <= '9')
            *number = *number << 4 | (uint32_t)(c - '0');
        else if (c >= 'a' && c <= 'f')
            *number = *number << 4 | (uint32_t)(c - 'a' + 10);
        else
            return false;
    }
    return true;
}

bool
layout_parse(const struct layout *layout, const char *name, uint64_t *block)
{
    size_t prefix_len = strlen(layout->prefix);
    uint32_t number, hash = 0;

    if (strncmp(name, layout->prefix, prefix_len) != 0)
        return false;
    name += prefix_len;
    if (layout->is_hashed) {
        if (!parse_hex8(name, &hash) || name[8] != '-')
            return false;
        name += 9;
    }
    if (!parse_hex8(name, &number) || name[8] != '\0' || number >= layout->block_count)
        return false;
    if (layout->is_hashed && hash != block_hash(number))
        return false;
    *block = number;
    return true;
}

static int
add_number(struct attrs *attrs, const char *name, uint64_t number)
{
    char text[24];
    int len = snprintf(text, sizeof text, "%" PRIu64, number);

    return attrs_add(attrs, name, text, (size_t)len);
}

int
layout_add_sizes(const struct layout *layout, struct attrs *attrs)
{
    int rc = add_number(attrs, ATTR_BLOCK_BYTES, layout->block_bytes);

    if (rc == 0)
        rc = add_number(attrs, ATTR_DISK_BYTES, layout->block_bytes * layout->block_count);
    return rc;
}
