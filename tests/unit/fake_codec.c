/* SPDX-License-Identifier: Apache-2.0 */
/* A host for codecs under test. */
#include "fake_codec.h"

#include "module.h"

#include <strings.h>

#define GUARD_BYTES 16u
#define GUARD 0xa5

static unsigned char default_key[FAKE_KEY_BYTES];

/* ---- the host */

static struct fake_codec_host *
host_of(const struct bd_host *table)
{
    return (struct fake_codec_host *)(uintptr_t)table;
}

/* secret_alloc, secret_free and random do not say whose they are; a thread works with one host at a time. */
static _Thread_local struct fake_codec_host *current;
static const struct bd_host *core_table;

static void fake_log(const struct bd_host *table, enum bd_log_level level, const char *format, ...)
    BD_PRINTF(3, 4);

static void
fake_log(const struct bd_host *table, enum bd_log_level level, const char *format, ...)
{
    struct fake_codec_host *host = host_of(table);
    va_list args;

    if (level != BD_ERROR || host->error[0] != '\0')
        return;
    va_start(args, format);
    vsnprintf(host->error, sizeof host->error, format, args);
    va_end(args);
}

static void
fake_random(void *out, size_t bytes)
{
    if (current == NULL || current->random == NULL) {
        core_table->random(out, bytes);
        return;
    }
    memcpy(out, current->random, bytes);
    current->random += bytes;
}

static void *
fake_secret_alloc(size_t bytes)
{
    void *secret;

    if (current == NULL)
        return core_table->secret_alloc(bytes);
    if (current->secrets_left == 0)
        return NULL;
    if (current->secrets_left > 0)
        current->secrets_left--;
    secret = core_table->secret_alloc(bytes);
    if (secret != NULL)
        atomic_fetch_add(&current->secrets, 1);
    return secret;
}

static void
fake_secret_free(void *secret)
{
    if (secret != NULL && current != NULL)
        atomic_fetch_sub(&current->secrets, 1);
    core_table->secret_free(secret);
}

static enum bd_status
fake_key(const struct bd_host *table, const char *purpose, void *out, size_t bytes)
{
    struct fake_codec_host *host = host_of(table);

    snprintf(host->purpose, sizeof host->purpose, "%s", purpose);
    host->key_bytes = bytes;
    if (host->key == NULL)
        return BD_UNSUPPORTED;
    if (bytes > FAKE_KEY_BYTES)
        return BD_INVALID;
    memcpy(out, host->key, bytes);
    return BD_OK;
}

static enum bd_status
fake_passphrase(const struct bd_host *table, char **out, size_t *bytes, const char **salt)
{
    struct fake_codec_host *host = host_of(table);
    size_t len;

    atomic_fetch_add(&host->passwords, 1);
    if (host->passphrase == NULL)
        return BD_UNSUPPORTED;
    len = strlen(host->passphrase);
    *out = fake_secret_alloc(len + 1);
    if (*out == NULL)
        return BD_FATAL;
    memcpy(*out, host->passphrase, len + 1);
    *bytes = len;
    *salt = host->salt;
    return BD_OK;
}

static struct bd_counter *
fake_counter(const struct bd_host *table, const char *name, const char *help)
{
    (void)table, (void)name, (void)help;
    return NULL;
}

static void
host_init(struct fake_codec_host *host)
{
    static struct host *core;

    if (core == NULL) {
        assert_int_equal(host_new("codec-test", NULL, NULL, &core), 0);
        core_table = host_table(core);
        for (unsigned i = 0; i < sizeof default_key; i++)
            default_key[i] = (unsigned char)(i + 1);
    }
    memset(host, 0, sizeof *host);
    host->table = (struct bd_host){
        .head = BD_HEAD(HOST, struct bd_host),
        .abi_minor = BD_ABI_MINOR,
        .log = fake_log,
        .counter = fake_counter,
        .counter_add = core_table->counter_add,
        .random = fake_random,
        .secret_alloc = fake_secret_alloc,
        .secret_free = fake_secret_free,
        .key = fake_key,
        .passphrase = fake_passphrase,
        .coding_error = core_table->coding_error,
        .coding_attr_add = core_table->coding_attr_add,
        .coding_attr_get = core_table->coding_attr_get,
    };
    host->key = default_key;
    host->passphrase = "correct horse battery staple";
    host->salt = "bucket/";
    host->secrets_left = -1;
}

/* ---- the codec */

static bool
serves(const struct bd_codec *codec, const char *token)
{
    if (strcasecmp(codec->token, token) == 0)
        return true;
    for (unsigned i = 0; codec->aliases != NULL && codec->aliases[i] != NULL; i++) {
        if (strcasecmp(codec->aliases[i], token) == 0)
            return true;
    }
    return codec->match != NULL && codec->match(token);
}

void
fake_codec_init(struct fake_codec *codec, const char *plugin, const char *token)
{
    const struct bd_plugin *module = plugin_of(plugin);

    memset(codec, 0, sizeof *codec);
    host_init(&codec->host);
    for (uint32_t i = 0; i < module->codec_count; i++) {
        const struct bd_codec *row =
            (const struct bd_codec *)(const void *)((const char *)module->codecs
                                                    + (size_t)i * module->codec_stride);

        if (serves(row, token))
            codec->codec = row;
    }
    if (codec->codec == NULL)
        fail_msg("%s serves no %s", plugin, token);
    codec->options = calloc(1, module->options_bytes + 1);
    assert_non_null(codec->options);
}

void
fake_codec_option(struct fake_codec *codec, const char *plugin, const char *name, const char *value)
{
    field_set(plugin_of(plugin), codec->options, name, value);
}

enum bd_status
fake_codec_try(struct fake_codec *codec, const char *token)
{
    enum bd_status status;

    assert_null(codec->handle);
    current = &codec->host;
    codec->host.error[0] = '\0';
    status = codec->codec->open(&codec->host.table, codec->options, token, &codec->handle);
    if (status != BD_OK) {
        codec->handle = NULL;
        assert_int_equal(codec->host.secrets, 0);
        return status;
    }
    codec->worker = fake_worker_new(codec);
    if (codec->worker == NULL && codec->codec->worker_new != NULL) {
        fake_codec_close(codec);
        return BD_FATAL;
    }
    return BD_OK;
}

void
fake_codec_open(struct fake_codec *codec, const char *token)
{
    enum bd_status status = fake_codec_try(codec, token);

    if (status != BD_OK)
        fail_msg("%s: status %d, %s", token, (int)status, codec->host.error);
}

void
fake_codec_refused(struct fake_codec *codec, const char *token, enum bd_status status,
                   const char *reason)
{
    assert_int_equal(fake_codec_try(codec, token), status);
    if (strstr(codec->host.error, reason) == NULL)
        fail_msg("%s: \"%s\" instead of \"%s\"", token, codec->host.error, reason);
}

void
fake_codec_close(struct fake_codec *codec)
{
    current = &codec->host;
    fake_worker_free(codec, codec->worker);
    if (codec->handle != NULL)
        codec->codec->close(codec->handle);
    codec->worker = NULL;
    codec->handle = NULL;
    assert_int_equal(codec->host.secrets, 0);
}

void
fake_codec_free(struct fake_codec *codec)
{
    fake_codec_close(codec);
    free(codec->options);
    current = NULL;
}

void *
fake_worker_new(struct fake_codec *codec)
{
    current = &codec->host;
    return codec->codec->worker_new != NULL ? codec->codec->worker_new(codec->handle) : NULL;
}

void
fake_worker_free(struct fake_codec *codec, void *worker)
{
    current = &codec->host;
    if (worker != NULL)
        codec->codec->worker_free(codec->handle, worker);
}

/* ---- at work */

typedef enum bd_status code_fn(void *handle, void *worker, struct bd_coding *coding,
                               struct bd_bytes in, struct bd_buf *out);

/* What a codec did that it must not; it was given the copy of `in`.  NULL: nothing. */
static const char *
misdeed(const unsigned char *copy, struct bd_bytes in, const struct bd_buf *out,
        enum bd_status status)
{
    if (in.len > 0 && memcmp(copy, in.data, in.len) != 0)
        return "it changed its input";
    for (unsigned i = 0; i < GUARD_BYTES; i++) {
        if (((const unsigned char *)out->data)[out->cap + i] != GUARD)
            return "it wrote behind the room that it had";
    }
    return status == BD_OK && out->len > out->cap ? "it says that it wrote more than fits" : NULL;
}

/* Any thread, so there are no assertions. */
static struct fake_coded
run(struct fake_codec *codec, code_fn *code, void *worker, struct fake_place place,
    struct bd_bytes in, const struct attrs *stored, size_t cap, size_t plain_bytes)
{
    struct fake_coded coded = { .status = BD_FATAL };
    struct coding coding = { .added = &coded.attrs, .stored = stored };
    struct bd_coding public = { .size = sizeof public,
                                .block_bytes = 4096,
                                .block = place.block,
                                .plain_bytes = plain_bytes,
                                .inner = "",
                                .associated = place.associated,
                                .host_private = &coding };
    unsigned char *exact = malloc(in.len + 1);
    struct bd_buf out = { .data = malloc(cap + GUARD_BYTES), .cap = cap };
    const char *wrong;

    if (exact == NULL || out.data == NULL)
        abort();
    /* The last byte of `exact` is what a sanitizer watches over the end of; the first makes it unaligned. */
    if (in.len > 0)
        memcpy(exact + 1, in.data, in.len);
    memset(out.data, GUARD, cap + GUARD_BYTES);
    current = &codec->host;
    coded.status =
        code(codec->handle, worker, &public, (struct bd_bytes){ exact + 1, in.len }, &out);
    coded.why = coding.why;
    out.cap = cap;
    wrong = misdeed(exact + 1, in, &out, coded.status);
    if (wrong == NULL && coding.rc != 0)
        wrong = "its attributes are not what an object can have";
    if (wrong != NULL)
        coded.status = error_set(&coded.why, BD_FATAL, "%s", wrong);
    free(exact);
    coded.data = out.data;
    coded.len = out.len;
    return coded;
}

struct fake_coded
fake_encode_in(struct fake_codec *codec, void *worker, struct fake_place place,
               struct bd_bytes plain, size_t cap)
{
    if (cap == 0)
        cap = codec->codec->bound(codec->handle, plain.len);
    return run(codec, codec->codec->encode, worker != NULL ? worker : codec->worker, place, plain,
               NULL, cap, plain.len);
}

struct fake_coded
fake_decode_in(struct fake_codec *codec, void *worker, struct fake_place place,
               struct bd_bytes body, const struct attrs *attrs, size_t cap)
{
    return run(codec, codec->codec->decode, worker != NULL ? worker : codec->worker, place, body,
               attrs, cap, 0);
}

struct fake_coded
fake_decode_plain_in(struct fake_codec *codec, void *worker, struct bd_bytes body, size_t cap,
                     size_t plain_bytes)
{
    return run(codec, codec->codec->decode, worker != NULL ? worker : codec->worker,
               (struct fake_place){ 0 }, body, NULL, cap, plain_bytes);
}

void
fake_coded_clear(struct fake_coded *coded)
{
    free(coded->data);
    attrs_clear(&coded->attrs);
    memset(coded, 0, sizeof *coded);
}

struct fake_coded
fake_encode(struct fake_codec *codec, struct fake_place place, const void *plain, size_t bytes)
{
    struct fake_coded coded =
        fake_encode_in(codec, NULL, place, (struct bd_bytes){ plain, bytes }, 0);

    if (coded.status != BD_OK)
        fail_msg("%zu bytes: status %d, %s", bytes, (int)coded.status, coded.why.text);
    return coded;
}

void
fake_decodes_to(struct fake_codec *codec, struct fake_place place, struct bd_bytes body,
                const struct attrs *attrs, const void *plain, size_t bytes)
{
    struct fake_coded coded = fake_decode_in(codec, NULL, place, body, attrs, bytes);

    if (coded.status != BD_OK)
        fail_msg("%zu bytes: status %d, %s", body.len, (int)coded.status, coded.why.text);
    assert_int_equal(coded.len, bytes);
    assert_memory_equal(coded.data, plain, bytes);
    fake_coded_clear(&coded);
}

void
fake_corrupt(struct fake_codec *codec, struct fake_place place, struct bd_bytes body,
             const struct attrs *attrs, size_t cap, const char *reason)
{
    struct fake_coded coded = fake_decode_in(codec, NULL, place, body, attrs, cap);

    if (coded.status != BD_CORRUPT)
        fail_msg("%zu bytes: status %d instead of BD_CORRUPT (%s)", body.len, (int)coded.status,
                 coded.why.text);
    if (strstr(coded.why.text, reason) == NULL)
        fail_msg("\"%s\" instead of \"%s\"", coded.why.text, reason);
    fake_coded_clear(&coded);
}

size_t
fake_unhex(const char *digits, unsigned char *out, size_t out_bytes)
{
    size_t len = strlen(digits) / 2;

    assert_true(len <= out_bytes);
    for (size_t i = 0; i < len; i++) {
        unsigned byte;

        assert_int_equal(sscanf(digits + 2 * i, "%2x", &byte), 1);
        out[i] = (unsigned char)byte;
    }
    return len;
}
