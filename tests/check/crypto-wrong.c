/* SPDX-License-Identifier: Apache-2.0 */
/* A codec, a key wrap, and a descriptor; see wrong.h.
 *
 * Nothing of this is secure: the keystream and the checksums only have the form of what real ones do. */
#include "wrong.h"

#include <stdio.h>
#include <time.h>

#define MAC_BYTES 8u
#define ALIAS "x-wrong"

struct wrong_options {
    const char *word;
};

struct wrong {
    const struct bd_host *host;
    unsigned char key[32];
    unsigned
        workers; /* made so far, by one thread after the other or at once: a lock is not worth it */
    char token[16];
};

struct worker {
    unsigned number;
};

static uint64_t
mix(uint64_t hash, const void *data, size_t bytes)
{
    const unsigned char *at = data;

    for (size_t i = 0; i < bytes; i++) {
        hash = (hash ^ at[i]) * UINT64_C(0x100000001b3);
        hash ^= hash >> 29;
    }
    return hash;
}

/* ------------------------------------------------------------------ the codec */

static int opening; /* way: one-at-a-time */

static void
nap_20_ms(void)
{
    const struct timespec time = { 0, 20000000 };

    nanosleep(&time, NULL);
}

static enum bd_status
wrong_open(const struct bd_host *host, const void *options, const char *token, void **handle)
{
    struct wrong *wrong;

    (void)options;
    if (is_wrong("never-opens")) {
        host->log(host, BD_ERROR, "it never opens");
        return BD_FATAL;
    }
    if (is_wrong("no-alias") && strcmp(token, ALIAS) == 0)
        return BD_INVALID;
    wrong = calloc(1, sizeof *wrong);
    if (wrong == NULL)
        return BD_FATAL;
    wrong->host = host;
    if (is_wrong("case-matters") && strcmp(token, "wrong") != 0 && strcmp(token, ALIAS) != 0) {
        host->log(host, BD_ERROR, "%s is no token of this codec", token);
        free(wrong);
        return BD_INVALID;
    }
    if (is_wrong("one-at-a-time")) {
        if (__atomic_fetch_add(&opening, 1, __ATOMIC_SEQ_CST) > 0) {
            __atomic_fetch_sub(&opening, 1, __ATOMIC_SEQ_CST);
            host->log(host, BD_ERROR, "somebody opens another one");
            free(wrong);
            return BD_INVALID;
        }
        nap_20_ms();
        __atomic_fetch_sub(&opening, 1, __ATOMIC_SEQ_CST);
    }
    if (host->key(host, "codec wrong", wrong->key, sizeof wrong->key) != BD_OK) {
        if (!is_wrong("fails-silently"))
            host->log(host, BD_ERROR, "the volume has no key");
        free(wrong);
        return BD_UNSUPPORTED;
    }
    if (is_wrong("tells-its-key"))
        host->log(host, BD_DEBUG, "key %02X:%02X:%02X:%02X:%02X:%02X:%02X:%02X", wrong->key[0],
                  wrong->key[1], wrong->key[2], wrong->key[3], wrong->key[4], wrong->key[5],
                  wrong->key[6], wrong->key[7]);
    if (is_wrong("keeps-a-secret"))
        host->secret_alloc(16);
    snprintf(wrong->token, sizeof wrong->token, "%s", is_wrong("other-token") ? "right" : "wrong");
    *handle = wrong;
    return BD_OK;
}

static void
wrong_close(void *handle)
{
    free(handle);
}

static const char *
wrong_written(void *handle)
{
    const struct wrong *wrong = handle;

    return wrong->token;
}

static int
wrong_match(const char *token)
{
    return strncmp(token, "wrong-", 6) == 0 || is_wrong("claims-all");
}

static size_t
wrong_bound(void *handle, size_t plain_bytes)
{
    (void)handle;
    return plain_bytes + MAC_BYTES;
}

static void *
worker_new(void *handle)
{
    struct worker *worker = calloc(1, sizeof *worker);
    struct wrong *wrong = handle;

    if (worker != NULL)
        worker->number = __atomic_fetch_add(&wrong->workers, 1, __ATOMIC_RELAXED);
    return worker;
}

static void
worker_free(void *handle, void *worker)
{
    (void)handle;
    free(worker);
}

static void
crypt(const struct wrong *wrong, const void *in, size_t bytes, unsigned char *out)
{
    const unsigned char *from = in;
    uint64_t stream = mix(1, wrong->key, sizeof wrong->key);
    const uint64_t mask = is_wrong("plaintext") ? 0 : 0xff;

    for (size_t i = 0; i < bytes; i++) {
        stream = stream * UINT64_C(6364136223846793005) + 1442695040888963407;
        out[i] = (unsigned char)(from[i] ^ (stream >> 56 & mask));
    }
}

static void
mac(const struct wrong *wrong, const struct bd_coding *coding, const unsigned char *body,
    size_t bytes, unsigned char out[MAC_BYTES])
{
    uint64_t hash = 2;

    if (!is_wrong("mac-without-key"))
        hash = mix(hash, wrong->key, sizeof wrong->key);
    if (!is_wrong("mac-without-place"))
        hash = mix(hash, coding->associated.data, coding->associated.len);
    if (is_wrong("mac-without-end") && bytes > 300)
        bytes--;
    hash = mix(hash, &bytes, sizeof bytes);
    hash = mix(hash, body, bytes);
    memcpy(out, &hash, MAC_BYTES);
}

/* Ways that concern what stands around the bytes. */
static void
misbehave(const struct wrong *wrong, struct bd_coding *coding, struct bd_bytes in,
          const struct bd_buf *out)
{
    if (is_wrong("ignores-attributes"))
        wrong->host->coding_attr_add(coding, "mac", "value", 5);
    if (is_wrong("bad-attribute"))
        wrong->host->coding_attr_add(coding, "Not-Legal", "x", 1);
    if (is_wrong("coding-struct") && coding->size > sizeof *coding)
        memset(coding + 1, 0, 8);
    if (is_wrong("tells"))
        wrong->host->coding_error(coding, "cannot encode %.*s", in.len < 60 ? (int)in.len : 60,
                                  (const char *)in.data);
    if (is_wrong("over-bound") && in.len == 4095)
        memset((char *)out->data + out->cap, 0, 1);
}

static enum bd_status
wrong_encode(void *handle, void *state, struct bd_coding *coding, struct bd_bytes in,
             struct bd_buf *out)
{
    const struct wrong *wrong = handle;
    const struct worker *worker = state;
    unsigned char *to = out->data;
    const unsigned char *from = in.data;
    size_t bytes = in.len;

    if (out->cap < in.len + MAC_BYTES)
        return BD_INVALID;
    if (is_wrong("refuses-flags") && (coding->flags & ~(uint32_t)BD_CODING_ALWAYS) != 0)
        return BD_UNSUPPORTED;
    if (is_wrong("declines") && in.len > 0 && from[0] == 0 && !(coding->flags & BD_CODING_ALWAYS))
        return BD_DECLINED;
    misbehave(wrong, coding, in, out);
    if (is_wrong("loses-a-byte") && bytes == 65537)
        bytes--;
    crypt(wrong, in.data, bytes, to);
    if (is_wrong("workers-differ") && worker->number > 0 && bytes > 0)
        to[0] ^= 1;
    mac(wrong, coding, to, bytes, to + bytes);
    out->len = bytes + MAC_BYTES;
    return BD_OK;
}

static enum bd_status
wrong_decode(void *handle, void *state, struct bd_coding *coding, struct bd_bytes in,
             struct bd_buf *out)
{
    const struct wrong *wrong = handle;
    const unsigned char *body = in.data;
    unsigned char expected[MAC_BYTES];
    size_t bytes;

    (void)state;
    if (is_wrong("reads-nothing"))
        ((volatile unsigned char *)out->data)[0] = ((const volatile unsigned char *)body)[0];
    if (is_wrong("needs-length") && coding->plain_bytes == 0)
        return BD_CORRUPT;
    if (in.len < MAC_BYTES)
        return is_wrong("accepts-short") ? BD_RETRY : BD_CORRUPT;
    bytes = in.len - MAC_BYTES;
    if (is_wrong("ignores-the-rest") && coding->plain_bytes != 0 && bytes > coding->plain_bytes)
        bytes = coding->plain_bytes;
    mac(wrong, coding, body, bytes, expected);
    if (memcmp(expected, body + bytes, MAC_BYTES) != 0)
        return BD_CORRUPT;
    if (bytes > out->cap && is_wrong("fills-what-there-is"))
        bytes = out->cap;
    if (bytes > out->cap)
        return BD_CORRUPT;
    crypt(wrong, body, bytes, out->data);
    if (is_wrong("over-cap") && out->cap == 511)
        memset((char *)out->data + 511, 0, 1);
    if (is_wrong("changes-input") && bytes == 2)
        *(unsigned char *)(uintptr_t)in.data ^= 1;
    out->len = bytes;
    return BD_OK;
}

static const char *const wrong_aliases[] = { ALIAS, NULL };

static const struct bd_codec wrong_codec = {
    .head = BD_HEAD(CODEC, struct bd_codec),
    .token = "wrong",
    .aliases = wrong_aliases,
    .summary = "exists to be wrong",
    .traits = BD_CODEC_ENCRYPTS | BD_CODEC_AUTHENTICATES | BD_CODEC_BINDS,
    .match = wrong_match,
    .open = wrong_open,
    .close = wrong_close,
    .bound = wrong_bound,
    .worker_new = worker_new,
    .worker_free = worker_free,
    .encode = wrong_encode,
    .decode = wrong_decode,
    .written = wrong_written,
};

/* ------------------------------------------------------------------ the key wrap */

static uint64_t
seal_of(struct bd_bytes passphrase, const void *text, size_t bytes)
{
    return mix(mix(3, passphrase.data, passphrase.len), text,
               is_wrong("seals-nothing") ? 0 : bytes);
}

/* Two letters for each byte, a to p, then 16 of the seal. */
static void
letters(const unsigned char *in, size_t bytes, char *out)
{
    for (size_t i = 0; i < bytes; i++) {
        out[2 * i] = (char)('a' + in[i] / 16);
        out[2 * i + 1] = (char)('a' + in[i] % 16);
    }
}

static enum bd_status
wrong_wrap(const struct bd_host *host, const void *options, struct bd_bytes passphrase,
           struct bd_bytes key, struct bd_buf *blob)
{
    const size_t bytes = 2 * key.len;
    char *text = blob->data;
    const unsigned char *from = key.data;
    uint64_t stream = seal_of(passphrase, "", 0), seal;

    (void)options;
    if (is_wrong("only-32") && key.len != 32) {
        host->log(host, BD_ERROR, "a key has 32 bytes, and not %zu", key.len);
        return BD_INVALID;
    }
    if (is_wrong("tells-passphrase"))
        host->log(host, BD_INFO, "wrapped with %.*s", (int)passphrase.len,
                  (const char *)passphrase.data);
    if (blob->cap < bytes + 16 && !is_wrong("over-room")) {
        host->log(host, BD_ERROR, "%zu bytes of room are too few", blob->cap);
        return BD_INVALID;
    }
    for (size_t i = 0; i < key.len; i++) {
        unsigned char byte;

        stream = mix(stream, &i, sizeof i);
        byte = (unsigned char)(from[i] ^ stream);
        letters(&byte, 1, text + 2 * i);
    }
    seal = seal_of(passphrase, text, bytes);
    letters((const unsigned char *)&seal, sizeof seal, text + bytes);
    blob->len = bytes + 16;
    if (is_wrong("quotes"))
        text[blob->len++] = '"';
    return BD_OK;
}

static enum bd_status
wrong_unwrap(const struct bd_host *host, const void *options, struct bd_bytes passphrase,
             struct bd_bytes blob, struct bd_buf *key)
{
    const char *text = blob.data;
    const size_t bytes = blob.len < 16 ? 0 : (blob.len - 16) & ~(size_t)1;
    uint64_t stream = seal_of(passphrase, "", 0), seal = seal_of(passphrase, text, bytes);
    char expected[16];

    (void)options;
    letters((const unsigned char *)&seal, sizeof seal, expected);
    if (bytes == 0 || bytes / 2 > key->cap) {
        if (!is_wrong("is-silent"))
            host->log(host, BD_ERROR, "the wrapped key has a wrong length");
        return BD_INVALID;
    }
    if (memcmp(expected, text + bytes, 16) != 0) {
        if (is_wrong("complains"))
            host->log(host, BD_ERROR, "the passphrase is wrong");
        return is_wrong("wrong-is-corrupt") ? BD_CORRUPT : BD_DENIED;
    }
    key->len = bytes / 2;
    for (size_t i = 0; i < key->len; i++) {
        unsigned char *to = (unsigned char *)key->data + i;

        stream = mix(stream, &i, sizeof i);
        *to = (unsigned char)((text[2 * i] - 'a') * 16 + (text[2 * i + 1] - 'a'));
        *to = (unsigned char)(*to ^ stream);
    }
    if (is_wrong("other-key"))
        *(unsigned char *)key->data ^= 1;
    return BD_OK;
}

static enum bd_status
wrong_subkey(struct bd_bytes key, const char *purpose, struct bd_buf *out)
{
    static unsigned calls;
    const size_t purpose_bytes =
        is_wrong("short-purpose") && strlen(purpose) > 64 ? 64 : strlen(purpose);
    uint64_t stream = mix(mix(4, key.data, key.len), purpose, purpose_bytes);

    if (!is_wrong("prefixes"))
        stream = mix(stream, &out->cap, sizeof out->cap);
    if (is_wrong("subkeys-change"))
        stream += ++calls;
    for (size_t i = 0; i < out->cap; i++) {
        stream = mix(stream, &i, sizeof i);
        ((unsigned char *)out->data)[i] = (unsigned char)stream;
    }
    out->len = out->cap;
    return BD_OK;
}

static const struct bd_keywrap wrong_keywrap = {
    .head = BD_HEAD(KEYWRAP, struct bd_keywrap),
    .name = "wrong",
    .summary = "exists to be wrong",
    .wrap = wrong_wrap,
    .unwrap = wrong_unwrap,
    .subkey = wrong_subkey,
};

/* ------------------------------------------------------------------ the descriptor */

#define ROW(...)                                                                                   \
    {                                                                                              \
        {                                                                                          \
            .name = "word", .type = BD_OPT_STRING, BD_FIELD(struct wrong_options, word),           \
            __VA_ARGS__                                                                            \
        }                                                                                          \
    }

static const struct bd_option right_rows[] = ROW(.help = "nobody needs it");
static const struct bd_option dotted_rows[] = ROW(.help = "Nobody needs it.");
static const struct bd_option taken_rows[] = ROW(.help = "nobody needs it", .alias = "block-size");

#define PLUGIN(head_flags, text, rows)                                                             \
    {                                                                                              \
        .head = { BD_MAGIC_PLUGIN, BD_ABI_MAJOR, sizeof(struct bd_plugin), head_flags },           \
        .abi_minor = BD_ABI_MINOR, .name = "crypto-wrong", .version = "1.0", .summary = text,      \
        .options = rows, .option_count = 1, .option_stride = sizeof(struct bd_option),             \
        .options_bytes = sizeof(struct wrong_options), .codecs = &wrong_codec, .codec_count = 1,   \
        .codec_stride = sizeof wrong_codec, .keywraps = &wrong_keywrap, .keywrap_count = 1,        \
        .keywrap_stride = sizeof wrong_keywrap,                                                    \
    }

#define SUMMARY "exists to be wrong"
static const struct bd_plugin right_plugin = PLUGIN(0, SUMMARY, right_rows);
static const struct bd_plugin wordy_plugin = PLUGIN(0, "exists\nto be wrong", right_rows);
static const struct bd_plugin later_plugin = PLUGIN(0, SUMMARY, right_rows);
static const struct bd_plugin flagged_plugin = PLUGIN(0x80, SUMMARY, right_rows);
static const struct bd_plugin dotted_plugin = PLUGIN(0, SUMMARY, dotted_rows);
static const struct bd_plugin taken_plugin = PLUGIN(0, SUMMARY, taken_rows);

BD_EXPORT const struct bd_plugin *BD_PLUGIN_ENTRY(const struct bd_host *host);

BD_EXPORT const struct bd_plugin *
BD_PLUGIN_ENTRY(const struct bd_host *host)
{
    if (is_wrong("query-calls"))
        host->log(host, BD_INFO, "hello");
    if (is_wrong("query-refuses") && host->abi_minor > BD_ABI_MINOR)
        return NULL;
    if (is_wrong("query-writes") && host->head.size > sizeof *host)
        memset((void *)(uintptr_t)(host + 1), 0, 8);
    if (is_wrong("other-major") && host->head.abi_major != BD_ABI_MAJOR)
        abort();
    /* No way to be wrong: a later host may be given another descriptor. */
    if (is_wrong("two-descriptors") && host->abi_minor > BD_ABI_MINOR)
        return &later_plugin;
    return is_wrong("flags")       ? &flagged_plugin
           : is_wrong("full-stop") ? &dotted_plugin
           : is_wrong("two-lines") ? &wordy_plugin
           : is_wrong("taken")     ? &taken_plugin
                                   : &right_plugin;
}

#ifdef EXPORTS_MORE
BD_EXPORT int wrong_helper(void);
BD_EXPORT int
wrong_helper(void)
{
    return 0;
}
#endif
