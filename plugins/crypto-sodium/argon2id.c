/* SPDX-License-Identifier: Apache-2.0 */
/* The key wrap argon2id. */
#include "argon2id.h"

#include "slot.h"

#include <errno.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#define MIB (UINT64_C(1) << 20)
#define SMALL_MACHINE_BYTES (1024 * MIB)
#define LOWERED_BYTES_MIN (16 * MIB)
#define DERIVED_BYTES crypto_aead_xchacha20poly1305_ietf_KEYBYTES

/* Of every message that subkey ever MACs; another way to make subkeys gets another number. */
#define SUBKEY_DOMAIN "bucketdisk subkey 1"

/* ---- costs */

struct size_text {
    char text[32];
};

static struct size_text
size_text(uint64_t bytes)
{
    struct size_text out;

    if (bytes % MIB == 0)
        snprintf(out.text, sizeof out.text, "%" PRIu64 " MiB", bytes / MIB);
    else
        snprintf(out.text, sizeof out.text, "%" PRIu64 " KiB", bytes / 1024);
    return out;
}

/* Of a machine nobody wants to know more. */
static struct size_text
size_text_rounded(uint64_t bytes)
{
    return size_text(bytes / MIB * MIB);
}

static uint64_t
memory_bytes(const struct slot *slot)
{
    return slot->memory_kib * UINT64_C(1024);
}

/* What a new slot on this machine costs. */
static void
cost_choose(const struct machine *machine, const struct bd_host *host,
            const struct argon2id_options *options, struct slot *slot)
{
    uint64_t bytes = options->memory_bytes, most = machine->available_bytes / 4 / MIB * MIB;

    if (most < LOWERED_BYTES_MIN)
        most = LOWERED_BYTES_MIN;
    if (machine->available_bytes < SMALL_MACHINE_BYTES && bytes > most) {
        bytes = most;
        host->log(
            host, BD_WARNING,
            "only %s of memory are available: the passphrase is protected by Argon2id with %s "
            "instead of %s, so that guessing it costs less",
            size_text_rounded(machine->available_bytes).text, size_text(bytes).text,
            size_text(options->memory_bytes).text);
    }
    slot->memory_kib = (uint32_t)(bytes / 1024);
    slot->passes = options->passes;
}

/* A stored cost may have been written by anybody, and a new one must not be one that is refused later. */
static enum bd_status
cost_bound(const struct bd_host *host, const struct argon2id_options *options,
           const struct slot *slot)
{
    if (memory_bytes(slot) > options->memory_bytes_max) {
        host->log(host, BD_ERROR,
                  "%s of memory are asked for Argon2id, at most %s are allowed "
                  "(--argon2id-memory-max)",
                  size_text(memory_bytes(slot)).text, size_text(options->memory_bytes_max).text);
        return BD_INVALID;
    }
    if (slot->passes > options->passes_max) {
        host->log(host, BD_ERROR,
                  "%" PRIu32 " passes of Argon2id are asked for, at most %" PRIu32
                  " are allowed (--argon2id-passes-max)",
                  slot->passes, options->passes_max);
        return BD_INVALID;
    }
    return BD_OK;
}

/* More than the machine has ends at the hands of the kernel's OOM killer.  More than is available may
 * still work, with swapping: the warning stands in the log if it does not. */
static enum bd_status
cost_fits(const struct machine *machine, const struct bd_host *host, const struct slot *slot)
{
    uint64_t bytes = memory_bytes(slot);

    if (bytes > machine->memory_bytes || bytes > crypto_pwhash_argon2id_memlimit_max()) {
        host->log(host, BD_ERROR, "Argon2id would need %s of memory, and this machine has %s",
                  size_text(bytes).text, size_text_rounded(machine->memory_bytes).text);
        return BD_INVALID;
    }
    if (bytes > machine->available_bytes)
        host->log(host, BD_WARNING, "Argon2id needs %s of memory, and only %s are available",
                  size_text(bytes).text, size_text_rounded(machine->available_bytes).text);
    return BD_OK;
}

/* ---- from passphrase to key */

/* Gives secret memory in *derived. */
static enum bd_status
derive(const struct bd_host *host, const struct slot *slot, struct bd_bytes passphrase,
       unsigned char **derived)
{
    *derived = host->secret_alloc(DERIVED_BYTES);
    if (*derived == NULL) {
        host->log(host, BD_ERROR, "out of memory");
        return BD_FATAL;
    }
    errno = 0;
    if (crypto_pwhash_argon2id(*derived, DERIVED_BYTES, passphrase.data, passphrase.len, slot->salt,
                               slot->passes, (size_t)memory_bytes(slot),
                               crypto_pwhash_argon2id_ALG_ARGON2ID13)
        == 0)
        return BD_OK;
    if (errno == ENOMEM)
        host->log(host, BD_ERROR, "out of memory: Argon2id needs %s at once",
                  size_text(memory_bytes(slot)).text);
    else
        host->log(host, BD_ERROR, "Argon2id failed: %s", strerror(errno));
    host->secret_free(*derived);
    *derived = NULL;
    return BD_FATAL;
}

/* Any number of times, from any thread. */
static enum bd_status
start(const struct bd_host *host)
{
    if (sodium_init() >= 0)
        return BD_OK;
    host->log(host, BD_ERROR, "libsodium does not start");
    return BD_FATAL;
}

/* ---- operations */

enum bd_status
argon2id_wrap_on(const struct machine *machine, const struct bd_host *host,
                 const struct argon2id_options *options, struct bd_bytes passphrase,
                 struct bd_bytes key, struct bd_buf *out)
{
    char text[SLOT_TEXT_BYTES];
    unsigned char *derived;
    struct slot slot = { 0 };
    unsigned long long sealed_bytes;
    size_t text_bytes;
    enum bd_status status = start(host);

    if (status != BD_OK)
        return status;
    if (passphrase.len == 0) {
        host->log(host, BD_ERROR, "an empty passphrase protects nothing");
        return BD_INVALID;
    }
    if (key.len < SLOT_KEY_BYTES_MIN || key.len > SLOT_KEY_BYTES_MAX) {
        host->log(host, BD_ERROR, "a key of %zu bytes cannot be wrapped: %u to %u are possible",
                  key.len, SLOT_KEY_BYTES_MIN, SLOT_KEY_BYTES_MAX);
        return BD_INVALID;
    }
    cost_choose(machine, host, options, &slot);
    host->random(slot.salt, sizeof slot.salt);
    host->random(slot.nonce, sizeof slot.nonce);
    slot.sealed_bytes = key.len + SLOT_TAG_BYTES;
    text_bytes = slot_print(&slot, text);
    if (text_bytes > out->cap) {
        host->log(host, BD_ERROR, "a wrapped key takes %zu bytes, and there is room for %zu",
                  text_bytes, out->cap);
        return BD_INVALID;
    }
    status = cost_bound(host, options, &slot);
    if (status == BD_OK)
        status = cost_fits(machine, host, &slot);
    if (status == BD_OK)
        status = derive(host, &slot, passphrase, &derived);
    if (status != BD_OK)
        return status;
    crypto_aead_xchacha20poly1305_ietf_encrypt(
        slot.sealed, &sealed_bytes, key.data, key.len, (const unsigned char *)text,
        slot_print_associated(&slot, text), NULL, slot.nonce, derived);
    host->secret_free(derived);
    out->len = slot_print(&slot, text);
    memcpy(out->data, text, out->len);
    return BD_OK;
}

enum bd_status
argon2id_unwrap_on(const struct machine *machine, const struct bd_host *host,
                   const struct argon2id_options *options, struct bd_bytes passphrase,
                   struct bd_bytes text, struct bd_buf *key)
{
    char associated[SLOT_TEXT_BYTES], why[128];
    unsigned char *derived;
    struct slot slot;
    unsigned long long key_bytes;
    enum bd_status status = start(host);

    if (status != BD_OK)
        return status;
    if (!slot_parse(text, &slot, why, sizeof why)) {
        host->log(host, BD_ERROR, "the wrapped key is not one of argon2id: %s", why);
        return BD_INVALID;
    }
    if (slot.sealed_bytes - SLOT_TAG_BYTES > key->cap) {
        host->log(host, BD_ERROR, "the wrapped key has %zu bytes, at most %zu are expected",
                  slot.sealed_bytes - SLOT_TAG_BYTES, key->cap);
        return BD_INVALID;
    }
    status = cost_bound(host, options, &slot);
    if (status == BD_OK)
        status = cost_fits(machine, host, &slot);
    if (status == BD_OK)
        status = derive(host, &slot, passphrase, &derived);
    if (status != BD_OK)
        return status;
    if (crypto_aead_xchacha20poly1305_ietf_decrypt(
            key->data, &key_bytes, NULL, slot.sealed, slot.sealed_bytes,
            (const unsigned char *)associated, slot_print_associated(&slot, associated), slot.nonce,
            derived)
        == 0)
        key->len = (size_t)key_bytes;
    else
        status = BD_DENIED;
    host->secret_free(derived);
    return status;
}

static enum bd_status
argon2id_wrap(const struct bd_host *host, const void *options, struct bd_bytes passphrase,
              struct bd_bytes key, struct bd_buf *out)
{
    struct machine machine;

    machine_look("", &machine);
    return argon2id_wrap_on(&machine, host, options, passphrase, key, out);
}

static enum bd_status
argon2id_unwrap(const struct bd_host *host, const void *options, struct bd_bytes passphrase,
                struct bd_bytes text, struct bd_buf *key)
{
    struct machine machine;

    machine_look("", &machine);
    return argon2id_unwrap_on(&machine, host, options, passphrase, text, key);
}

/* BLAKE2b keyed with `key` over domain, NUL, length of the purpose (8 bytes, lowest first), purpose.
 * The length of the result is one of its parameters, so a shorter one is no part of a longer one. */
static enum bd_status
argon2id_subkey(struct bd_bytes key, const char *purpose, struct bd_buf *out)
{
    crypto_generichash_state state;
    unsigned char length[8];
    size_t purpose_bytes = strlen(purpose);
    int rc;

    if (key.len < crypto_generichash_KEYBYTES_MIN || key.len > crypto_generichash_KEYBYTES_MAX
        || out->cap < crypto_generichash_BYTES_MIN || out->cap > crypto_generichash_BYTES_MAX)
        return BD_INVALID;
    if (sodium_init() < 0)
        return BD_FATAL;
    for (unsigned i = 0; i < sizeof length; i++)
        length[i] = (unsigned char)((uint64_t)purpose_bytes >> (8 * i));
    rc = crypto_generichash_init(&state, key.data, key.len, out->cap);
    rc |= crypto_generichash_update(&state, (const unsigned char *)SUBKEY_DOMAIN,
                                    sizeof SUBKEY_DOMAIN);
    rc |= crypto_generichash_update(&state, length, sizeof length);
    rc |= crypto_generichash_update(&state, (const unsigned char *)purpose, purpose_bytes);
    rc |= crypto_generichash_final(&state, out->data, out->cap);
    sodium_memzero(&state, sizeof state);
    if (rc != 0)
        return BD_FATAL;
    out->len = out->cap;
    return BD_OK;
}

/* ---- options and table */

enum bd_status
argon2id_check(const void *fields, char *why, size_t why_bytes)
{
    const struct argon2id_options *options = fields;

    if (options->memory_bytes > options->memory_bytes_max) {
        snprintf(why, why_bytes, "--argon2id-memory is more than --argon2id-memory-max");
        return BD_INVALID;
    }
    if (options->passes > options->passes_max) {
        snprintf(why, why_bytes, "--argon2id-passes is more than --argon2id-passes-max");
        return BD_INVALID;
    }
    return BD_OK;
}

const struct bd_keywrap argon2id_keywrap = {
    .head = BD_HEAD(KEYWRAP, struct bd_keywrap),
    .name = "argon2id",
    .summary = "Argon2id, and XChaCha20-Poly1305 around the key",
    .wrap = argon2id_wrap,
    .unwrap = argon2id_unwrap,
    .subkey = argon2id_subkey,
};
