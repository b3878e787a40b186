/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzz xchacha20-poly1305: bodies that nobody encoded are refused, within their bounds; those that were come back. */
#include "fuzz_codec.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    fuzz_aead("xchacha20-poly1305", data, bytes);
    return 0;
}
