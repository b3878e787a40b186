/* SPDX-License-Identifier: Apache-2.0 */
/* What a volume of format 2 says of itself. */
#include "manifest.h"

#include "base/secret.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FORMAT 2
#define FORMAT_ERASED 0 /* to programs that do not know it, a format that they do not know */
#define MAC_PURPOSE "manifest"
#define COVERED_BYTES (512 + 2 * ENCODING_JOINED_BYTES)

/* ---- hexadecimal */

static void
hex_print(const uint8_t *bytes, size_t count, char *out)
{
    for (size_t i = 0; i < count; i++)
        snprintf(out + 2 * i, 3, "%02x", bytes[i]);
}

static bool
hex_parse(const char *text, uint8_t *out, size_t count)
{
    static const char digits[] = "0123456789abcdef";

    if (strlen(text) != 2 * count || strspn(text, digits) != 2 * count)
        return false;
    for (size_t i = 0; i < count; i++)
        out[i] = (uint8_t)((strchr(digits, text[2 * i]) - digits) << 4
                           | (strchr(digits, text[2 * i + 1]) - digits));
    return true;
}

/* ---- from text */

/* A member that must be there, of this type; else NULL, and why. */
static json_t *
member(const json_t *object, const char *name, json_type type, struct error *why)
{
    json_t *value = json_object_get(object, name);

    if (value != NULL
        && (json_typeof(value) == type || (type == JSON_FALSE && json_is_boolean(value))))
        return value;
    error_set(why, -EBADMSG, "\"%s\" is %s", name, value == NULL ? "missing" : "of a wrong kind");
    return NULL;
}

static bool
member_number(const json_t *object, const char *name, uint64_t max, uint64_t *out,
              struct error *why)
{
    const json_t *value = member(object, name, JSON_INTEGER, why);

    if (value == NULL)
        return false;
    if (json_integer_value(value) < 0 || (uint64_t)json_integer_value(value) > max) {
        error_set(why, -EBADMSG, "\"%s\" is out of range", name);
        return false;
    }
    *out = (uint64_t)json_integer_value(value);
    return true;
}

/* What is shown at a terminal does nothing there.  (JSON is UTF-8; its control characters are one byte, or 0xc2 and
 * one below 0xa0.) */
static bool
is_printable(const char *text)
{
    for (const unsigned char *at = (const unsigned char *)text; *at != '\0'; at++) {
        if (*at < ' ' || *at == 0x7f || (*at == 0xc2 && at[1] < 0xa0))
            return false;
    }
    return true;
}

/* Printable, and of at most bytes_max; else NULL, and why. */
static const char *
member_text(const json_t *object, const char *name, size_t bytes_max, struct error *why)
{
    const json_t *value = member(object, name, JSON_STRING, why);
    const char *text = json_string_value(value);

    if (value == NULL)
        return NULL;
    if (json_string_length(value) > bytes_max || strlen(text) != json_string_length(value)) {
        error_set(why, -EBADMSG, "\"%s\" is too long", name);
        return NULL;
    }
    if (!is_printable(text)) {
        error_set(why, -EBADMSG, "\"%s\" holds control characters", name);
        return NULL;
    }
    return text;
}

/* One slot as it was read, and the number that it gives itself; MANIFEST_SLOTS: none. */
struct read_slot {
    struct key_slot slot;
    unsigned number;
    bool is_placed;
};

static void
slot_damage(struct read_slot *read, json_t *object, const char *damage)
{
    snprintf(read->slot.damage, sizeof read->slot.damage, "%s", damage);
    read->slot.kept = json_incref(object);
}

static int
slot_read(json_t *object, struct read_slot *out)
{
    struct error damage = { "" };
    const char *blob = NULL, *label;
    uint64_t number;

    *out = (struct read_slot){ .number = MANIFEST_SLOTS };
    if (!json_is_object(object)) {
        error_set(&damage, -EBADMSG, "it is of a wrong kind");
    } else {
        if (member_number(object, "slot", MANIFEST_SLOTS - 1, &number, &damage))
            out->number = (unsigned)number;
        label = member_text(object, "label", MANIFEST_LABEL_BYTES_MAX, &damage);
        strcpy(out->slot.label, label != NULL ? label : "");
        blob = member_text(object, "blob", MANIFEST_BLOB_BYTES_MAX, &damage);
    }
    if (damage.text[0] != '\0')
        slot_damage(out, object, damage.text);
    if (blob == NULL)
        return 0;
    out->slot.blob = strdup(blob);
    return out->slot.blob != NULL ? 0 : -ENOMEM;
}

/* First come those that are as they should be, then those that have at least a number of their own; the others get the
 * places that are left.  slots_print keeps this order, so that the places stay the same. */
static void
slots_place(struct read_slot *read, size_t count, const json_t *array, struct manifest *out)
{
    unsigned next = 0;

    for (unsigned round = 0; round < 3; round++) {
        for (size_t i = 0; i < count; i++) {
            struct key_slot *slot = &read[i].slot;
            unsigned at = read[i].number;
            bool is_own = at < MANIFEST_SLOTS && key_slot_is_free(&out->slots[at]);

            if (read[i].is_placed || (round < 2 && !is_own)
                || (round == 0 && slot->damage[0] != '\0'))
                continue;
            if (round == 2 && slot->damage[0] == '\0')
                slot_damage(&read[i], json_array_get(array, i), "its number is there twice");
            slot->is_displaced = round == 2;
            while (round == 2 && !key_slot_is_free(&out->slots[next]))
                next++;
            out->slots[round == 2 ? next : at] = *slot;
            read[i].is_placed = true;
        }
    }
}

static int
slots_parse(const json_t *array, struct manifest *out, struct error *why)
{
    struct read_slot read[MANIFEST_SLOTS];
    size_t count = json_array_size(array);
    int rc = 0;

    if (count > MANIFEST_SLOTS)
        return error_set(why, -EBADMSG, "it has more than %u key slots", MANIFEST_SLOTS);
    for (size_t i = 0; i < count; i++)
        rc |= slot_read(json_array_get(array, i), &read[i]);
    slots_place(read, count, array, out);
    return rc == 0 ? 0 : error_set(why, rc, "out of memory");
}

static int
accepts_parse(const json_t *array, struct manifest *out, struct error *why)
{
    for (size_t i = 0; i < json_array_size(array); i++) {
        const char *token = json_string_value(json_array_get(array, i));
        struct encoding one;

        if (token == NULL || encoding_parse(token, &one, NULL) != 0 || one.count != 1
            || strcmp(one.tokens[0], token) != 0 || out->accepts.count == ENCODING_LAYERS_MAX)
            return error_set(why, -EBADMSG, "\"accepts\" is not a list of encodings");
        encoding_add(&out->accepts, token);
    }
    return 0;
}

/* Of a volume that is being erased. */
static int
erased_parse(const json_t *object, struct manifest *out, struct error *why)
{
    const json_t *hashed = member(object, "hashed", JSON_FALSE, why);
    uint64_t was;

    if (hashed == NULL || !member_number(object, "was", FORMAT, &was, why))
        return -EBADMSG;
    out->is_hashed = json_is_true(hashed);
    out->was_format_2 = was == FORMAT;
    return error_set(why, -EIDRM, "the volume is being erased");
}

static int
object_parse(const json_t *object, struct manifest *out, struct error *why)
{
    uint64_t format, disk_bytes, block_bytes, epoch, key = 0;
    const json_t *hashed, *accepts, *slots;
    const char *id, *codec, *wrap, *mac;
    int rc;

    if (!member_number(object, "format", UINT32_MAX, &format, why))
        return -EBADMSG;
    if (format == FORMAT_ERASED)
        return erased_parse(object, out, why);
    if (format != FORMAT)
        return error_set(why, -EBADMSG, "it is of format %" PRIu64 "; this program knows %d",
                         format, FORMAT);
    if ((id = member_text(object, "volume", 2 * VOLUME_ID_BYTES, why)) == NULL
        || !member_number(object, "disk_bytes", INT64_MAX, &disk_bytes, why)
        || !member_number(object, "block_bytes", UINT32_MAX, &block_bytes, why)
        || !member_number(object, "epoch", MANIFEST_EPOCH_MAX, &epoch, why)
        || (codec = member_text(object, "codec", ENCODING_JOINED_BYTES - 1, why)) == NULL
        || (hashed = member(object, "hashed", JSON_FALSE, why)) == NULL
        || (accepts = member(object, "accepts", JSON_ARRAY, why)) == NULL
        || (slots = member(object, "slots", JSON_ARRAY, why)) == NULL)
        return -EBADMSG;
    if (!hex_parse(id, out->id, VOLUME_ID_BYTES))
        return error_set(why, -EBADMSG, "\"volume\" is not 32 hexadecimal digits");
    out->disk_bytes = disk_bytes;
    out->block_bytes = (uint32_t)block_bytes;
    out->is_hashed = json_is_true(hashed);
    out->epoch = (uint32_t)epoch;
    strcpy(out->codec, codec);
    rc = accepts_parse(accepts, out, why);
    if (rc == 0)
        rc = slots_parse(slots, out, why);
    if (rc != 0 || !manifest_is_encrypted(out))
        return rc;
    if (!member_number(object, "key", UINT16_MAX, &key, why)
        || (wrap = member_text(object, "wrap", BD_TOKEN_BYTES_MAX, why)) == NULL
        || (mac = member_text(object, "mac", 2 * sizeof out->mac, why)) == NULL)
        return -EBADMSG;
    out->key_id = (uint16_t)key;
    strcpy(out->wrap, wrap);
    if (!hex_parse(mac, out->mac, sizeof out->mac))
        return error_set(why, -EBADMSG, "\"mac\" is not 64 hexadecimal digits");
    return 0;
}

int
manifest_parse(const char *text, size_t bytes, struct manifest *out, struct error *why)
{
    json_error_t error;
    json_t *root;
    int rc;

    memset(out, 0, sizeof *out);
    root = json_loadb(text, bytes, JSON_REJECT_DUPLICATES, &error);
    if (root == NULL)
        return error_set(why, -EBADMSG, "it is not JSON: %s", error.text);
    rc = json_is_object(root) ? object_parse(root, out, why)
                              : error_set(why, -EBADMSG, "it is not a JSON object");
    json_decref(root);
    return rc;
}

int
manifest_check_label(const char *label, struct error *why)
{
    json_t *text = json_string(label);
    bool is_text = text != NULL && is_printable(label);

    json_decref(text);
    if (strlen(label) > MANIFEST_LABEL_BYTES_MAX)
        return error_set(why, -EINVAL, "--label is longer than %u bytes", MANIFEST_LABEL_BYTES_MAX);
    return is_text ? 0 : error_set(why, -EINVAL, "--label is not text in UTF-8");
}

/* ---- to text */

/* NULL when one cannot be printed: what is left out here is lost. */
static json_t *
accepts_print(const struct manifest *manifest)
{
    json_t *accepts = json_array();
    int rc = 0;

    for (unsigned i = 0; i < manifest->accepts.count; i++)
        rc |= json_array_append_new(accepts, json_string(manifest->accepts.tokens[i]));
    if (rc == 0)
        return accepts;
    json_decref(accepts);
    return NULL;
}

static int
slot_print(const struct key_slot *slot, unsigned number, json_t *slots)
{
    if (slot->kept != NULL)
        return json_array_append(slots, slot->kept);
    return json_array_append_new(slots, json_pack("{s:i,s:s,s:s}", "slot", (int)number, "blob",
                                                  slot->blob, "label", slot->label));
}

/* In the order of slots_place. */
static json_t *
slots_print(const struct manifest *manifest)
{
    json_t *slots = json_array();
    int rc = 0;

    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = 0; i < MANIFEST_SLOTS; i++) {
            const struct key_slot *slot = &manifest->slots[i];

            if (!key_slot_is_free(slot) && round == (slot->is_displaced ? 2 : slot->kept != NULL))
                rc |= slot_print(slot, i, slots);
        }
    }
    if (rc == 0)
        return slots;
    json_decref(slots);
    return NULL;
}

char *
manifest_print_erased(bool was_format_2, bool is_hashed)
{
    json_t *root = json_pack("{s:i,s:i,s:b}", "format", FORMAT_ERASED, "was",
                             was_format_2 ? FORMAT : 1, "hashed", is_hashed);
    char *text = json_dumps(root, JSON_COMPACT | JSON_PRESERVE_ORDER);

    json_decref(root);
    return text;
}

char *
manifest_print(const struct manifest *manifest)
{
    char id[2 * VOLUME_ID_BYTES + 1], mac[2 * sizeof manifest->mac + 1];
    json_t *root;
    char *text;

    hex_print(manifest->id, VOLUME_ID_BYTES, id);
    hex_print(manifest->mac, sizeof manifest->mac, mac);
    root = json_pack("{s:i,s:s,s:I,s:I,s:b,s:I,s:s,s:o,s:o}", "format", FORMAT, "volume", id,
                     "disk_bytes", (json_int_t)manifest->disk_bytes, "block_bytes",
                     (json_int_t)manifest->block_bytes, "hashed", (int)manifest->is_hashed, "epoch",
                     (json_int_t)manifest->epoch, "codec", manifest->codec, "accepts",
                     accepts_print(manifest), "slots", slots_print(manifest));
    if (root != NULL && manifest_is_encrypted(manifest)
        && (json_object_set_new(root, "key", json_integer(manifest->key_id)) != 0
            || json_object_set_new(root, "wrap", json_string(manifest->wrap)) != 0
            || json_object_set_new(root, "mac", json_string(mac)) != 0)) {
        json_decref(root);
        root = NULL;
    }
    text = json_dumps(root, JSON_INDENT(1));
    json_decref(root);
    return text;
}

void
manifest_clear(struct manifest *manifest)
{
    for (unsigned i = 0; i < MANIFEST_SLOTS; i++)
        key_slot_clear(&manifest->slots[i]);
    memset(manifest, 0, sizeof *manifest);
}

bool
key_slot_is_free(const struct key_slot *slot)
{
    return slot->blob == NULL && slot->kept == NULL;
}

void
key_slot_clear(struct key_slot *slot)
{
    free(slot->blob);
    json_decref(slot->kept);
    *slot = (struct key_slot){ NULL };
}

bool
manifest_has_slots_of(const struct manifest *manifest, const struct manifest *other)
{
    json_t *slots = slots_print(manifest), *others = slots_print(other);
    bool is_same = json_equal(slots, others) == 1;

    json_decref(slots);
    json_decref(others);
    return is_same;
}

bool
manifest_is_encrypted(const struct manifest *manifest)
{
    return manifest->accepts.count > 0;
}

/* ---- the MAC */

/* One line, each member in its place, so that no two manifests have the same. */
static int
covered_text(const struct manifest *manifest, char out[COVERED_BYTES])
{
    char id[2 * VOLUME_ID_BYTES + 1], accepts[ENCODING_JOINED_BYTES];
    int len;

    hex_print(manifest->id, VOLUME_ID_BYTES, id);
    if (encoding_join(&manifest->accepts, manifest->accepts.count, accepts, sizeof accepts) != 0)
        return -E2BIG;
    len = snprintf(out, COVERED_BYTES,
                   "format=%d volume=%s disk_bytes=%" PRIu64
                   " block_bytes=%u hashed=%d epoch=%u key=%u wrap=%s accepts=%s codec=%s",
                   FORMAT, id, manifest->disk_bytes, manifest->block_bytes, manifest->is_hashed,
                   manifest->epoch, manifest->key_id, manifest->wrap, accepts, manifest->codec);
    return len < (int)COVERED_BYTES ? 0 : -E2BIG;
}

static int
mac_of(const struct manifest *manifest, const struct keyring *keyring,
       uint8_t out[VOLUME_KEY_BYTES], struct error *why)
{
    uint8_t *key = secret_alloc(VOLUME_KEY_BYTES);
    struct bd_buf mac = { .data = out, .cap = VOLUME_KEY_BYTES };
    char text[COVERED_BYTES];
    int rc = 0;

    if (key == NULL)
        return error_set(why, -ENOMEM, "out of memory");
    if (covered_text(manifest, text) != 0
        || keyring_subkey(keyring, MAC_PURPOSE, key, VOLUME_KEY_BYTES) != BD_OK
        || keyring->keywrap->subkey((struct bd_bytes){ key, VOLUME_KEY_BYTES }, text, &mac) != BD_OK
        || mac.len != VOLUME_KEY_BYTES)
        rc = error_set(why, -EIO, "the MAC of the volume's description cannot be computed");
    secret_free(key);
    return rc;
}

int
manifest_seal(struct manifest *manifest, const struct keyring *keyring, struct error *why)
{
    return manifest_is_encrypted(manifest) ? mac_of(manifest, keyring, manifest->mac, why) : 0;
}

int
manifest_renew(struct manifest *manifest, const struct keyring *keyring, struct error *why)
{
    if (manifest->epoch + 1 < MANIFEST_EPOCH_MAX)
        manifest->epoch++;
    return manifest_seal(manifest, keyring, why);
}

int
manifest_verify(const struct manifest *manifest, const struct keyring *keyring, struct error *why)
{
    uint8_t mac[VOLUME_KEY_BYTES], difference = 0;
    int rc;

    if (!manifest_is_encrypted(manifest))
        return 0;
    rc = mac_of(manifest, keyring, mac, why);
    if (rc != 0)
        return rc;
    /* In constant time. */
    for (size_t i = 0; i < sizeof mac; i++)
        difference |= mac[i] ^ manifest->mac[i];
    return difference == 0
               ? 0
               : error_set(why, -EKEYREJECTED,
                           "the volume's description was changed by somebody without its key");
}
