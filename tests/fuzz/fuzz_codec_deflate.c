/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzz codec-deflate, see codec.h. */
#include "codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static const uint32_t level = 6; /* all of the plugin's options */
    static struct fuzz_codec fuzz;

    if (fuzz.codec == NULL)
        fuzz_codec_open(&fuzz, &level);
    fuzz_codec_run(&fuzz, data, bytes);
    return 0;
}
