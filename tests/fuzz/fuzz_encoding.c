/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzz the Content-Encoding list: what is read, printed and read again is the same. */
#include "encoding.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    char *text = strndup((const char *)data, bytes);
    struct encoding first, second;
    char printed[1025];
    struct error why;

    if (text == NULL)
        abort();
    if (encoding_parse(text, &first, &why) == 0
        && encoding_format(&first, printed, sizeof printed) == 0) {
        assert(encoding_parse(printed, &second, &why) == 0);
        assert(memcmp(&first, &second, sizeof first) == 0);
    }
    free(text);
    return 0;
}
