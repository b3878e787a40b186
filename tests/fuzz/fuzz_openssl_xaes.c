/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzz xaes-256-gcm: bodies that nobody encoded are refused, within their bounds; those that were come back. */
#include "fuzz_codec.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static struct fuzz_codec codec;
    struct input input = { data, bytes };
    struct fuzz_place place = { 0 };
    struct bd_buf out = { .cap = (size_t)input_byte(&input) * 4 };

    if (codec.codec == NULL)
        codec = fuzz_open("xaes-256-gcm");
    place.associated = input_bytes(&input, input_byte(&input));
    /* Nobody makes 128 bits of a tag up. */
    if (fuzz_decode(&codec, place, NULL, (struct bd_bytes){ input.data, input.bytes }, &out)
        == BD_OK)
        abort();
    free(out.data);
    fuzz_round_trip(&codec, place, input);
    return 0;
}
