/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzz the header of a body of format 2: what is read, written again, has the same bytes; so what is authenticated is
 * what is done. */
#include "envelope.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static const uint8_t volume_id[VOLUME_ID_BYTES] = "0123456789abcde";
    uint8_t again[ENVELOPE_BYTES_MAX], associated[ASSOCIATED_BYTES_MAX];
    struct envelope envelope;
    struct error why = { "" };
    size_t header_bytes, again_bytes;

    if (envelope_read(data, bytes, &envelope, &header_bytes, &why) != 0) {
        assert(why.text[0] != '\0');
        return 0;
    }
    assert(header_bytes <= bytes && header_bytes <= ENVELOPE_BYTES_MAX);
    assert(envelope_write(&envelope, again, &again_bytes) == 0);
    assert(again_bytes == header_bytes && memcmp(again, data, header_bytes) == 0);
    assert(envelope_associated(volume_id, 7, 4096, again, again_bytes, associated)
           == ASSOCIATED_FIXED_BYTES + header_bytes);
    assert(memcmp(associated + ASSOCIATED_FIXED_BYTES, data, header_bytes) == 0);
    return 0;
}
