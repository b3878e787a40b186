/* SPDX-License-Identifier: Apache-2.0 */
/* The text of a wrapped key, as a key slot of the volume keeps it:
 *
 *   argon2id v=1 m=262144 t=3 p=1 salt=BASE64 nonce=BASE64 key=BASE64
 *
 * m is Argon2id's memory in KiB, t its passes, p its lanes; salt has 16 bytes, nonce 24, and key is
 * the wrapped key with its tag.  There is one text for each slot: the order of the fields is fixed,
 * numbers have no zeros in front, base64 is RFC 4648's with padding.  What stands in front of
 * " key=" is authenticated with the key. */
#ifndef SODIUM_SLOT_H
#define SODIUM_SLOT_H

#include <bucketdisk/plugin.h>

#include <stdbool.h>

#define SLOT_SALT_BYTES 16u
#define SLOT_NONCE_BYTES 24u
#define SLOT_TAG_BYTES 16u
#define SLOT_KEY_BYTES_MIN 16u /* of the key inside: what keyed BLAKE2b takes */
#define SLOT_KEY_BYTES_MAX 64u
#define SLOT_TEXT_BYTES 320u /* enough for any slot and a NUL */

struct slot {
    uint32_t memory_kib;
    uint32_t passes;
    unsigned char salt[SLOT_SALT_BYTES];
    unsigned char nonce[SLOT_NONCE_BYTES];
    unsigned char sealed[SLOT_KEY_BYTES_MAX + SLOT_TAG_BYTES]; /* the key, encrypted, and the tag */
    size_t sealed_bytes;
};

/* The part that is authenticated, for which `sealed` is not needed; then all of it.  Both return the
 * length. */
size_t slot_print_associated(const struct slot *slot, char out[SLOT_TEXT_BYTES]);
size_t slot_print(const struct slot *slot, char out[SLOT_TEXT_BYTES]);

/* False, and `why` says what is wrong, unless `text` is exactly what slot_print gives for some slot.
 * The cost is any that the format can name: it is the caller who must bound it. */
bool slot_parse(struct bd_bytes text, struct slot *out, char *why, size_t why_bytes);

#endif
