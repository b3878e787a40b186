/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of a check on key wraps.  Each call may take a second: that is what they are for. */
#include "impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { KEY_BYTES = 32, BLOB_BYTES_MAX = 4096, FLIPS = 12 };

struct wrapped {
    struct check_host *host;
    unsigned char key[KEY_BYTES];
    struct bd_buf blob;
};

static struct bd_bytes
text_bytes(const char *text)
{
    return (struct bd_bytes){ text, strlen(text) };
}

/* False: the row has failed. */
static bool
wrap(struct check *check, struct wrapped *wrapped)
{
    enum bd_status status;

    wrapped->host = check_host_new(check, 0);
    for (unsigned i = 0; i < KEY_BYTES; i++)
        wrapped->key[i] = (unsigned char)(3 * i + 1);
    wrapped->blob = (struct bd_buf){ check_guarded(check, BLOB_BYTES_MAX), BLOB_BYTES_MAX, 0 };
    status = check->keywrap->wrap(&wrapped->host->table, check->plugin->option_fields,
                                  text_bytes(CHECK_PASSPHRASE),
                                  (struct bd_bytes){ wrapped->key, KEY_BYTES }, &wrapped->blob);
    if (status != BD_OK)
        check_fail(check, "wrap: expected OK, came %s", status_word(status));
    else if (wrapped->blob.len == 0 || wrapped->blob.len > BLOB_BYTES_MAX)
        check_fail(check, "wrap: expected 1 to %d bytes, came %zu", BLOB_BYTES_MAX,
                   wrapped->blob.len);
    else
        return true;
    return false;
}

static enum bd_status
unwrap(struct check *check, struct wrapped *wrapped, const char *passphrase, struct bd_bytes blob,
       struct bd_buf *key)
{
    return check->keywrap->unwrap(&wrapped->host->table, check->plugin->option_fields,
                                  text_bytes(passphrase), blob, key);
}

static struct bd_bytes
blob_of(const struct wrapped *wrapped)
{
    return (struct bd_bytes){ wrapped->blob.data, wrapped->blob.len };
}

static void
keys_come_back(struct check *check)
{
    struct bd_buf key = { check_guarded(check, KEY_BYTES), KEY_BYTES, 0 };
    struct wrapped wrapped;
    enum bd_status status;

    if (!wrap(check, &wrapped))
        return;
    status = unwrap(check, &wrapped, CHECK_PASSPHRASE, blob_of(&wrapped), &key);
    if (status != BD_OK)
        check_fail(check, "unwrap: expected OK, came %s", status_word(status));
    else if (key.len != KEY_BYTES || memcmp(key.data, wrapped.key, KEY_BYTES) != 0)
        check_fail(check, "another key came back, of %zu bytes", key.len);
}

/* The shortest and the longest, and the shortest passphrase. */
static void
keys_of_all_lengths_come_back(struct check *check)
{
    static const size_t lengths[] = { 16, 64 };
    struct check_host *host = check_host_new(check, 0);
    const void *options = check->plugin->option_fields;
    unsigned char one[64];

    for (unsigned i = 0; i < sizeof one; i++)
        one[i] = (unsigned char)(5 * i + 1);
    for (size_t i = 0; i < ARRAY_LEN(lengths); i++) {
        const size_t bytes = lengths[i];
        struct bd_buf blob = { check_guarded(check, BLOB_BYTES_MAX), BLOB_BYTES_MAX, 0 };
        struct bd_buf key = { check_guarded(check, bytes), bytes, 0 };
        enum bd_status status = check->keywrap->wrap(&host->table, options, text_bytes("p"),
                                                     (struct bd_bytes){ one, bytes }, &blob);

        if (status == BD_OK)
            status = check->keywrap->unwrap(&host->table, options, text_bytes("p"),
                                            (struct bd_bytes){ blob.data, blob.len }, &key);
        if (status != BD_OK)
            check_fail(check, "a key of %zu bytes, a passphrase of one: expected OK, came %s",
                       bytes, status_word(status));
        else if (key.len != bytes || memcmp(key.data, one, bytes) != 0)
            check_fail(check, "another key came back for one of %zu bytes", bytes);
    }
}

static void
blobs_are_plain_text(struct check *check)
{
    struct wrapped wrapped;
    const unsigned char *text;

    if (!wrap(check, &wrapped))
        return;
    text = wrapped.blob.data;
    for (size_t i = 0; i < wrapped.blob.len; i++) {
        if (text[i] < ' ' || text[i] > '~' || text[i] == '"' || text[i] == '\\') {
            check_fail(check,
                       "byte %zu is 0x%02x: expected printable ASCII without quotes and "
                       "backslashes",
                       i, text[i]);
            return;
        }
    }
    for (size_t i = 0; i + 8 <= wrapped.blob.len; i++) {
        if (memcmp(text + i, wrapped.key, 8) == 0)
            check_fail(check, "the key stands in it");
    }
}

static void
wrong_passphrases_are_denied(struct check *check)
{
    struct bd_buf key = { check_guarded(check, KEY_BYTES), KEY_BYTES, 0 };
    struct wrapped wrapped;
    enum bd_status status;
    unsigned errors;

    if (!wrap(check, &wrapped))
        return;
    errors = atomic_load(&wrapped.host->errors);
    status = unwrap(check, &wrapped, "another passphrase", blob_of(&wrapped), &key);
    if (status != BD_DENIED)
        check_fail(check, "expected DENIED, came %s", status_word(status));
    if (atomic_load(&wrapped.host->errors) != errors)
        check_fail(check, "expected nothing in the log: the host may have other slots to try");
}

/* Fails the row unless it is refused as it should be, or what is wrong with it does not matter: the key comes back. */
static void
expect_no_other_key(struct check *check, struct wrapped *wrapped, struct bd_bytes blob,
                    const char *what)
{
    struct bd_buf key = { check_guarded(check, KEY_BYTES), KEY_BYTES, 0 };
    const unsigned before = atomic_load(&wrapped->host->errors);
    const enum bd_status status = unwrap(check, wrapped, CHECK_PASSPHRASE, blob, &key);
    const unsigned errors = atomic_load(&wrapped->host->errors) - before;

    if (status == BD_OK) {
        if (key.len != KEY_BYTES || memcmp(key.data, wrapped->key, KEY_BYTES) != 0)
            check_fail(check, "%s: expected a failure, came OK and another key", what);
    } else if (status != BD_DENIED && errors != 1) {
        check_fail(check, "%s: what is not DENIED is logged as one sentence; came %s and %u", what,
                   status_word(status), errors);
    }
}

static void
damaged_blobs_give_no_other_key(struct check *check)
{
    struct wrapped wrapped;
    char what[96];

    if (!wrap(check, &wrapped))
        return;
    for (unsigned i = 0; i < FLIPS && !check->is_failed; i++) {
        const size_t at = (wrapped.blob.len - 1) * i / (FLIPS - 1);
        unsigned char *blob = check_guarded(check, wrapped.blob.len);

        memcpy(blob, wrapped.blob.data, wrapped.blob.len);
        blob[at] ^= 1;
        snprintf(what, sizeof what, "a bit of byte %zu of %zu flipped", at, wrapped.blob.len);
        expect_no_other_key(check, &wrapped, (struct bd_bytes){ blob, wrapped.blob.len }, what);
    }
}

static void
truncated_blobs_give_no_other_key(struct check *check)
{
    struct wrapped wrapped;
    char what[96];

    if (!wrap(check, &wrapped))
        return;
    for (unsigned i = 0; i < FLIPS && !check->is_failed; i++) {
        const size_t len = wrapped.blob.len * i / FLIPS;
        unsigned char *blob = check_guarded(check, len);

        if (len > 0)
            memcpy(blob, wrapped.blob.data, len);
        snprintf(what, sizeof what, "%zu of %zu bytes", len, wrapped.blob.len);
        expect_no_other_key(check, &wrapped, (struct bd_bytes){ blob, len }, what);
    }
}

static void
room_is_kept_to(struct check *check)
{
    struct wrapped wrapped;
    struct bd_buf small = { check_guarded(check, 8), 8, 0 };

    if (!wrap(check, &wrapped))
        return;
    if (unwrap(check, &wrapped, CHECK_PASSPHRASE, blob_of(&wrapped), &small) == BD_OK)
        check_fail(check, "unwrap with room for 8 bytes: expected a failure, came OK");
    small = (struct bd_buf){ check_guarded(check, 8), 8, 0 };
    if (check->keywrap->wrap(&wrapped.host->table, check->plugin->option_fields,
                             text_bytes(CHECK_PASSPHRASE),
                             (struct bd_bytes){ wrapped.key, KEY_BYTES }, &small)
        == BD_OK)
        check_fail(check, "wrap with room for 8 bytes: expected a failure, came OK");
}

/* ------------------------------------------------------------------ subkeys */

static bool
subkey(struct check *check, const unsigned char key[KEY_BYTES], const char *purpose, size_t bytes,
       unsigned char *out)
{
    struct bd_buf buf = { check_guarded(check, bytes), bytes, 0 };
    const enum bd_status status =
        check->keywrap->subkey((struct bd_bytes){ key, KEY_BYTES }, purpose, &buf);

    if (status != BD_OK || buf.len != bytes) {
        check_fail(check, "a subkey of %zu bytes: expected OK and as many, came %s and %zu", bytes,
                   status_word(status), buf.len);
        return false;
    }
    memcpy(out, buf.data, bytes);
    return true;
}

static void
subkeys_are_the_same_for_ever(struct check *check)
{
    static const size_t lengths[] = { 16, 17, 32, 33, 63, 64 };
    const unsigned char key[KEY_BYTES] = { 1, 2, 3 };
    unsigned char one[64], two[64];

    for (size_t i = 0; i < ARRAY_LEN(lengths); i++) {
        if (!subkey(check, key, "codec a", lengths[i], one)
            || !subkey(check, key, "codec a", lengths[i], two))
            return;
        if (memcmp(one, two, lengths[i]) != 0)
            check_fail(check, "of %zu bytes: asked again, another one came", lengths[i]);
    }
}

static void
subkeys_have_nothing_in_common(struct check *check)
{
    const unsigned char key[KEY_BYTES] = { 1, 2, 3 }, other[KEY_BYTES] = { 1, 2, 4 };
    unsigned char all[6][64];
    char *longest = check_alloc(check, 100001), *longer = check_alloc(check, 100002);

    memset(longest, 'x', 100000);
    memset(longer, 'x', 100001);
    if (!subkey(check, key, "codec a", 64, all[0]) || !subkey(check, key, "codec b", 64, all[1])
        || !subkey(check, key, "codec a", 32, all[2])
        || !subkey(check, other, "codec a", 64, all[3]) || !subkey(check, key, longest, 64, all[4])
        || !subkey(check, key, longer, 64, all[5]))
        return;
    for (unsigned i = 0; i < ARRAY_LEN(all); i++) {
        for (unsigned j = 0; j < i; j++) {
            if (memcmp(all[i], all[j], 16) == 0)
                check_fail(check, "another purpose, length or key gave a subkey that begins the "
                                  "same");
        }
    }
    if (memcmp(all[0], key, 16) == 0)
        check_fail(check, "it is the key itself");
}

static void
no_secret_reaches_the_log(struct check *check)
{
    struct wrapped wrapped;
    struct bd_buf key = { check_guarded(check, KEY_BYTES), KEY_BYTES, 0 };
    const int secrets = atomic_load(&check_counts.secrets);

    check_secret("the passphrase", CHECK_PASSPHRASE);
    if (!wrap(check, &wrapped))
        return;
    check_secret_key("the key", wrapped.key, KEY_BYTES);
    unwrap(check, &wrapped, CHECK_PASSPHRASE, blob_of(&wrapped), &key);
    unwrap(check, &wrapped, CHECK_PASSPHRASE, text_bytes("this is no wrapped key"), &key);
    check_expect_no_leak(check, NULL);
    if (atomic_load(&check_counts.secrets) != secrets)
        check_fail(check, "%d secrets were not freed",
                   atomic_load(&check_counts.secrets) - secrets);
}

void
check_keywraps(struct check *check)
{
    static const struct check_row rows[] = {
        { "a wrapped key comes back", keys_come_back,
          "the plugin sets `len`, the key's is what was wrapped" },
        { "keys of 16 to 64 bytes come back", keys_of_all_lengths_come_back,
          "A key has 16 to 64 bytes, a passphrase has at least one" },
        { "a wrapped key is plain text, in which the key is not", blobs_are_plain_text,
          "at most 4096 bytes of printable ASCII without quotes and backslashes" },
        { "a wrong passphrase is DENIED, without a word", wrong_passphrases_are_denied,
          "a wrong passphrase is BD_DENIED, and nothing is logged" },
        { "a wrapped key with a flipped bit gives no other key", damaged_blobs_give_no_other_key,
          "Any other failure of wrap and unwrap is logged as one sentence" },
        { "a truncated wrapped key gives no other key", truncated_blobs_give_no_other_key,
          "Any other failure of wrap and unwrap is logged as one sentence" },
        { "nothing is written past the room there is", room_is_kept_to,
          "set by the callee, never more than cap" },
        { "a subkey is the same each time", subkeys_are_the_same_for_ever,
          "subkey derives out->cap bytes, 16 to 64, from a key that was wrapped; the same for "
          "ever" },
        { "subkeys of other purposes, lengths and keys differ", subkeys_have_nothing_in_common,
          "without the key nothing is known of the result for one text or length" },
        { "no key or passphrase reaches the log", no_secret_reaches_the_log,
          "Never data of blocks, never a secret" },
    };
    char subject[80];

    for (uint32_t i = 0; i < check->plugin->desc.keywrap_count; i++) {
        check->keywrap = &check->plugin->keywraps[i];
        snprintf(subject, sizeof subject, "key wrap %s", check->keywrap->name);
        check_rows(check, subject, rows, ARRAY_LEN(rows));
    }
}
