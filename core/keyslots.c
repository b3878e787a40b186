/* SPDX-License-Identifier: Apache-2.0 */
/* The key slots of a manifest. */
#include "keyslots.h"

#include "base/log.h"
#include "base/secret.h"
#include "host.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A key wrap with the host that it is called with. */
struct wrapper {
    const struct bd_keywrap *keywrap;
    const struct plugin *owner;
    struct host *host;
};

/* NULL, and why: there is none, or more than one. */
static const struct bd_keywrap *
keywrap_of(const struct manifest *manifest, const struct plugins *plugins,
           const struct plugin **owner, struct error *why)
{
    const struct bd_keywrap *keywrap = plugins_keywrap(plugins, manifest->wrap, owner);

    if (keywrap == NULL)
        error_set(why, 0, "no plugin provides the key wrap \"%s\"", manifest->wrap);
    else if (plugins_check_keywrap(plugins, manifest->wrap, why) != 0)
        keywrap = NULL;
    return keywrap;
}

static int
wrapper_open(struct wrapper *wrapper, const struct manifest *manifest,
             const struct plugins *plugins, struct error *why)
{
    wrapper->keywrap = keywrap_of(manifest, plugins, &wrapper->owner, why);
    if (wrapper->keywrap == NULL)
        return -ENOTSUP;
    if (plugin_check(wrapper->owner, why) != 0)
        return -EINVAL;
    if (host_new(wrapper->owner->name, NULL, NULL, &wrapper->host) != 0)
        return error_set(why, -ENOMEM, "out of memory");
    return 0;
}

static void
wrapper_close(struct wrapper *wrapper)
{
    host_free(wrapper->host);
}

static struct bd_bytes
bytes_of(const char *text)
{
    return (struct bd_bytes){ text, strlen(text) };
}

/* Printable ASCII without quotes and backslashes: what plugins promise to give. */
static bool
is_blob(const struct bd_buf *blob)
{
    const unsigned char *text = blob->data;

    if (blob->len == 0 || blob->len > blob->cap)
        return false;
    for (size_t i = 0; i < blob->len; i++) {
        if (text[i] < ' ' || text[i] > '~' || text[i] == '"' || text[i] == '\\')
            return false;
    }
    return true;
}

static enum bd_status
unwrap(const struct wrapper *wrapper, const struct key_slot *slot, struct bd_bytes passphrase,
       struct bd_buf *key, struct error *said)
{
    enum bd_status status;

    host_capture_error(said);
    status = wrapper->keywrap->unwrap(host_table(wrapper->host), wrapper->owner->option_fields,
                                      passphrase, bytes_of(slot->blob), key);
    host_capture_error(NULL);
    return status == BD_OK && key->len != key->cap ? BD_INVALID : status;
}

/* What is wrong with each slot, as far as it is known; "" for nothing. */
typedef char damage_texts[MANIFEST_SLOTS][160];

static int
open_one(const struct manifest *manifest, const struct wrapper *wrapper, struct bd_bytes passphrase,
         uint8_t *key, unsigned *slot, damage_texts damage)
{
    for (unsigned i = 0; i < MANIFEST_SLOTS; i++)
        strcpy(damage[i], manifest->slots[i].damage);
    for (unsigned i = 0; i < MANIFEST_SLOTS; i++) {
        struct bd_buf buf = { .data = key, .cap = VOLUME_KEY_BYTES };
        struct error said = { "" };
        enum bd_status status;

        if (manifest->slots[i].blob == NULL)
            continue;
        status = unwrap(wrapper, &manifest->slots[i], passphrase, &buf, &said);
        *slot = i;
        if (status == BD_OK)
            return 0;
        if (status != BD_DENIED)
            snprintf(damage[i], sizeof damage[i], "%.*s", (int)sizeof damage[i] - 1,
                     said.text[0] != '\0' ? said.text : "it is damaged");
    }
    return -EKEYREJECTED;
}

/* What hinders nobody is a warning; what may be the reason that nothing opens is that reason. */
static int
tell_damage(damage_texts damage, int rc, struct error *why)
{
    for (unsigned i = 0; i < MANIFEST_SLOTS; i++) {
        if (damage[i][0] == '\0')
            continue;
        if (rc != 0)
            return error_set(why, rc, "%s; key slot %u cannot be tried: %s", strdupa(why->text), i,
                             damage[i]);
        log_line(BD_WARNING, "key slot %u of the volume is damaged: %s", i, damage[i]);
    }
    return rc;
}

int
keyslots_open(const struct manifest *manifest, const struct plugins *plugins,
              struct bd_bytes passphrase, struct keyring *keyring, unsigned *slot,
              struct error *why)
{
    uint8_t *key = secret_alloc(VOLUME_KEY_BYTES);
    struct wrapper wrapper = { NULL };
    damage_texts damage;
    int rc = key == NULL ? error_set(why, -ENOMEM, "out of memory")
                         : wrapper_open(&wrapper, manifest, plugins, why);

    if (rc == 0) {
        rc = open_one(manifest, &wrapper, passphrase, key, slot, damage);
        if (rc != 0 && keyslots_count(manifest) == 1)
            error_set(why, rc, "this password does not open the volume's only key slot");
        else if (rc != 0)
            error_set(why, rc, "this password opens none of the volume's %u key slots",
                      keyslots_count(manifest));
        rc = tell_damage(damage, rc, why);
        if (rc == 0 && keyring_set_volume_key(keyring, wrapper.keywrap, key) != 0)
            rc = error_set(why, -ENOMEM, "out of memory");
    }
    wrapper_close(&wrapper);
    secret_free(key);
    return rc;
}

int
keyslots_new_key(const struct manifest *manifest, const struct plugins *plugins,
                 struct keyring *keyring, struct error *why)
{
    const struct plugin *owner;
    const struct bd_keywrap *keywrap = keywrap_of(manifest, plugins, &owner, why);
    uint8_t *key;
    int rc;

    if (keywrap == NULL)
        return -ENOTSUP;
    key = secret_alloc(VOLUME_KEY_BYTES);
    if (key == NULL)
        return error_set(why, -ENOMEM, "out of memory");
    random_fill(key, VOLUME_KEY_BYTES);
    rc = keyring_set_volume_key(keyring, keywrap, key);
    secret_free(key);
    return rc != 0 ? error_set(why, rc, "out of memory") : 0;
}

int
keyslots_wrap(const struct manifest *manifest, const struct plugins *plugins,
              const struct keyring *keyring, struct bd_bytes passphrase, const char *label,
              struct key_slot *out, struct error *why)
{
    struct wrapper wrapper = { NULL };
    struct bd_buf blob = { .cap = MANIFEST_BLOB_BYTES_MAX };
    enum bd_status status;
    struct error said;
    int rc = wrapper_open(&wrapper, manifest, plugins, why);

    assert(key_slot_is_free(out) && strlen(label) <= MANIFEST_LABEL_BYTES_MAX);
    if (rc != 0)
        return rc;
    blob.data = calloc(1, blob.cap + 1);
    if (blob.data == NULL) {
        wrapper_close(&wrapper);
        return error_set(why, -ENOMEM, "out of memory");
    }
    host_capture_error(&said);
    status =
        wrapper.keywrap->wrap(host_table(wrapper.host), wrapper.owner->option_fields, passphrase,
                              (struct bd_bytes){ keyring->volume_key, VOLUME_KEY_BYTES }, &blob);
    host_capture_error(NULL);
    wrapper_close(&wrapper);
    if (status != BD_OK || !is_blob(&blob)) {
        free(blob.data);
        return error_set(why, -EIO, "the key cannot be wrapped: %s",
                         said.text[0] != '\0' ? said.text : "the key wrap failed");
    }
    out->blob = blob.data; /* its end was zeroed */
    strcpy(out->label, label);
    return 0;
}

int
keyslots_add(struct manifest *manifest, const struct plugins *plugins,
             const struct keyring *keyring, unsigned slot, struct bd_bytes passphrase,
             const char *label, struct error *why)
{
    assert(slot < MANIFEST_SLOTS);
    return keyslots_wrap(manifest, plugins, keyring, passphrase, label, &manifest->slots[slot],
                         why);
}

void
keyslots_remove(struct manifest *manifest, unsigned slot)
{
    key_slot_clear(&manifest->slots[slot]);
}

unsigned
keyslots_free(const struct manifest *manifest)
{
    unsigned slot = 0;

    while (slot < MANIFEST_SLOTS && !key_slot_is_free(&manifest->slots[slot]))
        slot++;
    return slot;
}

static bool
is_whole(const struct key_slot *slot)
{
    return slot->blob != NULL && slot->damage[0] == '\0';
}

unsigned
keyslots_count(const struct manifest *manifest)
{
    unsigned count = 0;

    for (unsigned i = 0; i < MANIFEST_SLOTS; i++)
        count += is_whole(&manifest->slots[i]);
    return count;
}

bool
keyslots_has_another(const struct manifest *manifest, const struct plugins *plugins,
                     struct bd_bytes passphrase, unsigned slot)
{
    uint8_t *key = secret_alloc(VOLUME_KEY_BYTES);
    struct wrapper wrapper = { NULL };
    struct error said = { "" };
    bool has_another = false;

    if (key != NULL && wrapper_open(&wrapper, manifest, plugins, &said) == 0) {
        for (unsigned i = 0; i < MANIFEST_SLOTS && !has_another; i++) {
            struct bd_buf buf = { .data = key, .cap = VOLUME_KEY_BYTES };
            enum bd_status status;

            if (i == slot || !is_whole(&manifest->slots[i]))
                continue;
            status = unwrap(&wrapper, &manifest->slots[i], passphrase, &buf, &said);
            has_another = status == BD_OK || status == BD_DENIED;
        }
    }
    wrapper_close(&wrapper);
    secret_free(key);
    return has_another;
}
