/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzz the description of a volume: what is read, printed and read again is the same, and its MAC is; any other one
 * has another MAC. */
#include "manifest.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

/* As good as a MAC where nobody means harm. */
static enum bd_status
subkey(struct bd_bytes key, const char *purpose, struct bd_buf *out)
{
    uint64_t sum = 0xcbf29ce484222325u;

    for (size_t i = 0; i < key.len; i++)
        sum = (sum ^ ((const uint8_t *)key.data)[i]) * 0x100000001b3u;
    for (; *purpose != '\0'; purpose++)
        sum = (sum ^ (uint8_t)*purpose) * 0x100000001b3u;
    for (out->len = 0; out->len < out->cap; out->len++) {
        sum = (sum ^ 0x55) * 0x100000001b3u;
        ((uint8_t *)out->data)[out->len] = (uint8_t)(sum >> 56);
    }
    return BD_OK;
}

static const struct bd_keywrap keywrap = { .subkey = subkey };
static uint8_t volume_key[VOLUME_KEY_BYTES] = "a volume key";
static const struct keyring keyring = { .volume_key = volume_key, .keywrap = &keywrap };

static void
expect_same(const struct manifest *a, const struct manifest *b)
{
    assert(memcmp(a->id, b->id, sizeof a->id) == 0);
    assert(a->disk_bytes == b->disk_bytes && a->block_bytes == b->block_bytes);
    assert(a->is_hashed == b->is_hashed && a->epoch == b->epoch && a->key_id == b->key_id);
    assert(strcmp(a->codec, b->codec) == 0 && strcmp(a->wrap, b->wrap) == 0);
    assert(memcmp(&a->accepts, &b->accepts, sizeof a->accepts) == 0);
    for (unsigned i = 0; i < MANIFEST_SLOTS; i++) {
        assert((a->slots[i].blob == NULL) == (b->slots[i].blob == NULL));
        assert(a->slots[i].blob == NULL || strcmp(a->slots[i].blob, b->slots[i].blob) == 0);
        assert(strcmp(a->slots[i].label, b->slots[i].label) == 0);
        assert(strcmp(a->slots[i].damage, b->slots[i].damage) == 0);
        assert((a->slots[i].kept == NULL) == (b->slots[i].kept == NULL));
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct manifest first, second;
    struct error why = { "" };
    char *text;

    if (manifest_parse((const char *)data, bytes, &first, &why) != 0) {
        assert(why.text[0] != '\0');
        manifest_clear(&first);
        return 0;
    }
    for (unsigned i = 0; i < MANIFEST_SLOTS; i++)
        assert(first.slots[i].blob == NULL
               || manifest_check_label(first.slots[i].label, &why) == 0);
    assert(manifest_seal(&first, &keyring, &why) == 0);
    text = manifest_print(&first);
    assert(text != NULL);
    assert(manifest_parse(text, strlen(text), &second, &why) == 0);
    expect_same(&first, &second);
    assert(manifest_verify(&second, &keyring, &why) == 0);
    if (manifest_is_encrypted(&second)) {
        second.epoch ^= 1;
        assert(manifest_verify(&second, &keyring, &why) != 0);
    }
    free(text);
    manifest_clear(&second);
    manifest_clear(&first);
    return 0;
}
