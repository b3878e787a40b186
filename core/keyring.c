/* SPDX-License-Identifier: Apache-2.0 */
/* What the codecs of a volume get their keys from. */
#include "keyring.h"

#include "base/secret.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static char *
secret_copy(const void *data, size_t bytes)
{
    char *copy = secret_alloc(bytes + 1);

    if (copy != NULL)
        memcpy(copy, data, bytes);
    return copy;
}

int
keyring_set_passphrase(struct keyring *keyring, struct bd_bytes passphrase, const char *salt)
{
    keyring->passphrase.data = secret_copy(passphrase.data, passphrase.len);
    keyring->passphrase.bytes = passphrase.len;
    keyring->salt = strdup(salt);
    return keyring->passphrase.data != NULL && keyring->salt != NULL ? 0 : -ENOMEM;
}

int
keyring_set_volume_key(struct keyring *keyring, const struct bd_keywrap *keywrap,
                       const uint8_t key[VOLUME_KEY_BYTES])
{
    keyring->volume_key = (uint8_t *)secret_copy(key, VOLUME_KEY_BYTES);
    keyring->keywrap = keywrap;
    return keyring->volume_key != NULL ? 0 : -ENOMEM;
}

void
keyring_drop_passphrase(struct keyring *keyring)
{
    passphrase_clear(&keyring->passphrase);
}

void
keyring_drop_volume_key(struct keyring *keyring)
{
    secret_free(keyring->volume_key);
    keyring->volume_key = NULL;
}

void
keyring_clear(struct keyring *keyring)
{
    passphrase_clear(&keyring->passphrase);
    secret_free(keyring->volume_key);
    free(keyring->salt);
    memset(keyring, 0, sizeof *keyring);
}

enum bd_status
keyring_passphrase(const struct keyring *keyring, char **out, size_t *bytes, const char **salt)
{
    if (keyring == NULL || keyring->passphrase.data == NULL)
        return BD_UNSUPPORTED;
    *out = secret_copy(keyring->passphrase.data, keyring->passphrase.bytes);
    if (*out == NULL)
        return BD_FATAL;
    *bytes = keyring->passphrase.bytes;
    *salt = keyring->salt;
    return BD_OK;
}

enum bd_status
keyring_subkey(const struct keyring *keyring, const char *purpose, void *out, size_t bytes)
{
    struct bd_buf buf = { .data = out, .cap = bytes };
    enum bd_status status;

    if (keyring == NULL || keyring->volume_key == NULL)
        return BD_UNSUPPORTED;
    status = keyring->keywrap->subkey((struct bd_bytes){ keyring->volume_key, VOLUME_KEY_BYTES },
                                      purpose, &buf);
    return status == BD_OK && buf.len != bytes ? BD_FATAL : status;
}
