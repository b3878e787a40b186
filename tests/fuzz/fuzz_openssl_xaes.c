/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzz xaes-256-gcm: bodies that nobody encoded are refused, within their bounds; those that were come back. */
#include "fuzz_codec.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    fuzz_aead("xaes-256-gcm", data, bytes);
    return 0;
}
