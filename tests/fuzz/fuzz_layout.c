/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzz the names of objects: a name that is taken for a block's is that block's name, byte for byte. */
#include "layout.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct layout layout = { .prefix = "", .block_bytes = 4096, .block_count = LAYOUT_BLOCKS_MAX };
    object_name again;
    uint64_t block;
    char *name;

    if (bytes < 2 || bytes > BD_NAME_BYTES_MAX)
        return 0;
    layout.is_hashed = data[0] & 1;
    layout.prefix = data[0] & 2 ? "some/prefix-" : "";
    name = strndup((const char *)data + 1, bytes - 1);
    if (name == NULL)
        abort();
    if (layout_parse(&layout, name, &block)) {
        assert(block < layout.block_count);
        layout_block_name(&layout, block, again);
        assert(strcmp(name, again) == 0);
    }
    free(name);
    return 0;
}
