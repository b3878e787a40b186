/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzz codec-deflate: whatever the body, it fits, and what was decoded goes there and back. */
#include "fuzz_codec.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static const uint32_t level = 6; /* all of the plugin's options */
    static struct fuzz_codec codec;

    if (codec.codec == NULL)
        codec = fuzz_open("deflate", &level);
    fuzz_compressor(&codec, data, bytes);
    return 0;
}
