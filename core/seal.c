/* SPDX-License-Identifier: Apache-2.0 */
/* Blocks of an encrypted volume on local disk.
 *
 * A sealed block is what the object would be: its body, then its Content-Encoding and attributes as words that end in NUL
 * (an attribute is two: name, value), an empty word, zeros, and in the last four bytes how long the body is. */
#include "seal.h"

#include "base/log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static bool
put_word(char **at, const char *end, const void *word, size_t bytes)
{
    if ((size_t)(end - *at) < bytes + 1 || memchr(word, 0, bytes) != NULL)
        return false;
    memcpy(*at, word, bytes);
    (*at)[bytes] = '\0';
    *at += bytes + 1;
    return true;
}

/* NULL: there is none any more. */
static const char *
take_word(const char **at, const char *end)
{
    const char *word = *at, *nul = memchr(word, 0, (size_t)(end - word));

    *at = nul != NULL ? nul + 1 : end;
    return nul != NULL && word < end ? word : NULL;
}

static bool
is_put(const struct encoded *encoded, char *sealed, size_t sealed_bytes)
{
    uint32_t body_bytes = (uint32_t)encoded->body_bytes;
    char *at = sealed + encoded->body_bytes, *end = sealed + sealed_bytes - sizeof body_bytes;
    bool fits = encoded->body_bytes < (size_t)(end - sealed);

    if (!fits)
        return false;
    memcpy(sealed, encoded->body, encoded->body_bytes);
    memset(at, 0, sealed_bytes - encoded->body_bytes);
    fits = put_word(&at, end, encoded->encoding, strlen(encoded->encoding));
    for (uint32_t i = 0; fits && i < encoded->attrs.count; i++) {
        const struct bd_attr *attr = &encoded->attrs.list[i];

        fits = put_word(&at, end, attr->name, strlen(attr->name))
               && put_word(&at, end, attr->value, attr->value_bytes);
    }
    memcpy(end, &body_bytes, sizeof body_bytes);
    return fits && at < end;
}

int
seal_block(void *arg, uint64_t block, const void *plain, size_t bytes, void *sealed)
{
    void *copy = malloc(bytes); /* a codec may work where the block is */
    struct encoded encoded = { NULL };
    struct error why;
    int rc = -ENOMEM;

    if (copy != NULL) {
        memcpy(copy, plain, bytes);
        rc = chain_encode(arg, block, copy, &encoded, &why);
    }
    if (rc == 0 && !is_put(&encoded, sealed, bytes + SEAL_BYTES))
        rc = -E2BIG;
    encoded_free(&encoded);
    free(copy);
    return rc;
}

int
seal_open(void *arg, uint64_t block, const void *sealed, size_t bytes, void *plain)
{
    const size_t sealed_bytes = bytes + SEAL_BYTES;
    const char *end = (const char *)sealed + sealed_bytes - sizeof(uint32_t), *at, *encoding, *name;
    struct attrs attrs = { NULL };
    struct error why;
    uint32_t body_bytes;
    int rc = 0;

    memcpy(&body_bytes, end, sizeof body_bytes);
    if (body_bytes >= sealed_bytes - sizeof body_bytes)
        return -EBADMSG;
    at = (const char *)sealed + body_bytes;
    encoding = take_word(&at, end);
    while (rc == 0 && encoding != NULL && (name = take_word(&at, end)) != NULL && name[0] != '\0') {
        const char *value = take_word(&at, end);

        rc = value != NULL ? attrs_add(&attrs, name, value, strlen(value)) : -EBADMSG;
    }
    if (rc == 0)
        rc = encoding == NULL ? -EBADMSG
                              : chain_decode(arg, block, encoding,
                                             (struct bd_bytes){ .data = sealed, .len = body_bytes },
                                             &attrs, plain, &why);
    attrs_clear(&attrs);
    return rc;
}
