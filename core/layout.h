/* SPDX-License-Identifier: Apache-2.0 */
/* Which object holds which block: names as s3backer gives them.  Pure.
 *
 * name = prefix, [8 hex digits of the number's hash, "-",] 8 hex digits of the number; all lower case.
 * Everything else in the store is foreign. */
#ifndef CORE_LAYOUT_H
#define CORE_LAYOUT_H

#include "attrs.h"

#include <stdbool.h>
#include <stdint.h>

#define LAYOUT_PREFIX_BYTES_MAX (BD_NAME_BYTES_MAX - 32)
#define LAYOUT_BLOCKS_MAX UINT32_MAX /* numbers are 32 bits; the last one is never used */
#define LAYOUT_BLOCK_BYTES_MIN 512u
#define LAYOUT_BLOCK_BYTES_MAX (64u << 20)

struct layout {
    const char *prefix;
    bool is_hashed;
    bool is_format_2; /* names of blocks are the same; control objects differ */
    uint32_t block_bytes;
    uint64_t block_count; /* at most LAYOUT_BLOCKS_MAX */
};

typedef char object_name[BD_NAME_BYTES_MAX + 1];

void layout_block_name(const struct layout *layout, uint64_t block, object_name name);
/* The control object `what`, e.g. "s3backer-mounted". */
void layout_control_name(const struct layout *layout, const char *what, object_name name);
/* Where a block stands in the store's order of names: its key, its number's hash in a hashed layout (several
 * blocks may have one), else its number; below layout_key_count. */
uint64_t layout_key(const struct layout *layout, uint64_t block);
uint64_t layout_key_count(const struct layout *layout);
/* A name that stands behind all blocks of lower keys and before all others, to list from there on; "" for 0: from the
 * prefix on.  key <= layout_key_count. */
void layout_name_before(const struct layout *layout, uint64_t key, object_name name);
/* The block of a name; false for a foreign one, or a block behind the end. */
bool layout_parse(const struct layout *layout, const char *name, uint64_t *block);

/* The attributes of block 0: s3backer's way to keep the sizes of a volume. */
#define ATTR_BLOCK_BYTES "s3backer-blocksize"
#define ATTR_DISK_BYTES "s3backer-filesize"
#define ATTR_HMAC "s3backer-hmac" /* beside each block that s3backer encrypts */
int layout_add_sizes(const struct layout *layout, struct attrs *attrs);

#endif
