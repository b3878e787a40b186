/* SPDX-License-Identifier: Apache-2.0 */
/* What a volume of format 2 says of itself: the object "bucketdisk-volume".  Text to struct and back; pure, but for
 * the key wrap that it is given.
 *
 *   {"format":2, "volume":"<32 hex>", "disk_bytes":N, "block_bytes":N, "hashed":false, "epoch":N,
 *    "codec":"zstd,xaes-256-gcm", "accepts":["xaes-256-gcm"], "key":1, "wrap":"argon2id",
 *    "mac":"<64 hex>", "slots":[{"slot":0, "blob":"...", "label":"..."}]}
 *
 * The volume key is random; each slot holds it wrapped by one passphrase, so that passphrases come and go without a
 * block being written again.  All but the slots is covered by the MAC, whose key is a subkey of the volume key; a
 * volume that is not encrypted has neither key nor slots.
 *
 * While a volume of either format is erased, and until that is complete, another text stands in this one's place, so that nobody takes
 * what is left for a volume: {"format":0, "was":2, "hashed":false}.  Programs that do not know it take it for damage. */
#ifndef CORE_MANIFEST_H
#define CORE_MANIFEST_H

#include "base/error.h"
#include "encoding.h"
#include "envelope.h"
#include "keyring.h"

#include <stdbool.h>

#define MANIFEST_OBJECT "bucketdisk-volume"
#define MANIFEST_BYTES_MAX (256u << 10)
#define MANIFEST_SLOTS 32u
#define MANIFEST_BLOB_BYTES_MAX 4096u
#define MANIFEST_LABEL_BYTES_MAX 63u
#define MANIFEST_EPOCH_MAX ((1u << 24) - 1) /* generations have so many bits for it */

#define MANIFEST_DAMAGE_BYTES_MAX 63u

struct json_t;

/* One that is not as it should be harms no other: what can be read of it is used, and it is written as it was. */
struct key_slot {
    char *blob; /* the key wrap's own text; NULL: the slot is free, or its text cannot be read */
    char label[MANIFEST_LABEL_BYTES_MAX + 1];   /* the user's word for it */
    char damage[MANIFEST_DAMAGE_BYTES_MAX + 1]; /* what is wrong with it; "" */
    struct json_t *kept;                        /* then: all of it */
    bool is_displaced; /* it has no number, or another slot's: its place is any */
};

struct manifest {
    uint8_t id[VOLUME_ID_BYTES];
    uint64_t disk_bytes;
    uint32_t block_bytes;
    bool is_hashed;
    bool was_format_2; /* of one that is being erased */
    uint32_t epoch;    /* of the latest mount that may have written, or change of keys */
    char codec[ENCODING_JOINED_BYTES]; /* what is written when --codec says nothing */
    struct encoding
        accepts; /* outermost tokens that blocks may have; none: the volume is not encrypted */
    uint16_t key_id;
    char wrap[BD_TOKEN_BYTES_MAX + 1]; /* the key wrap of all slots, and of subkeys */
    uint8_t mac[VOLUME_KEY_BYTES];
    struct key_slot slots[MANIFEST_SLOTS];
};

/* -EBADMSG: it is no manifest that we understand; says why.  -EIDRM: it says that the volume is being erased; of *out
 * is_hashed and was_format_2 count then.  End *out with manifest_clear, also then. */
int manifest_parse(const char *text, size_t bytes, struct manifest *out, struct error *why);
/* malloc'ed; NULL when out of memory, or when a text in it is not UTF-8. */
char *manifest_print(const struct manifest *manifest);
char *manifest_print_erased(bool was_format_2, bool is_hashed);
void manifest_clear(struct manifest *manifest);
bool key_slot_is_free(const struct key_slot *slot);
void key_slot_clear(struct key_slot *slot);
/* Are the slots of both alike, damaged ones, too? */
bool manifest_has_slots_of(const struct manifest *manifest, const struct manifest *other);
/* May a slot be called so?  -EINVAL, and why. */
int manifest_check_label(const char *label, struct error *why);

bool manifest_is_encrypted(const struct manifest *manifest);

/* The MAC over everything but the slots, by the volume key of `keyring`.  -EIO: the key wrap fails. */
int manifest_seal(struct manifest *manifest, const struct keyring *keyring, struct error *why);
/* Seal it anew after a change of its slots, with an epoch of its own: no text, and so no tag of it, comes twice, and a
 * put that the store carries out late finds another tag than it expects.  (The last epoch is left for a mount.) */
int manifest_renew(struct manifest *manifest, const struct keyring *keyring, struct error *why);
/* -EKEYREJECTED: something that is covered was changed by somebody without the key. */
int manifest_verify(const struct manifest *manifest, const struct keyring *keyring,
                    struct error *why);

#endif
