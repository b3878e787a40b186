/* SPDX-License-Identifier: Apache-2.0 */
/* For fuzzers of codecs: a plugin that is linked in, a host whose key and password are known, calls with buffers of
 * exactly the size that the codec is told, and what every codec that compresses, and every authenticated cipher of
 * format 2, must do with any input. */
#ifndef FUZZ_CODEC_H
#define FUZZ_CODEC_H

#include "coding.h"
#include "host.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);
BD_EXPORT const struct bd_plugin *bd_plugin_query(const struct bd_host *host);

#define FUZZ_PASSWORD "password"
#define FUZZ_SALT "bucket/"

/* Input that is used up from the front. */
struct input {
    const uint8_t *data;
    size_t bytes;
};

static inline uint8_t
input_byte(struct input *input)
{
    if (input->bytes == 0)
        return 0;
    input->bytes--;
    return *input->data++;
}

static inline struct bd_bytes
input_bytes(struct input *input, size_t bytes)
{
    struct bd_bytes taken = { input->data, bytes < input->bytes ? bytes : input->bytes };

    input->data += taken.len;
    input->bytes -= taken.len;
    return taken;
}

/* ---- a codec */

struct fuzz_codec {
    const struct bd_codec *codec;
    void *handle, *worker;
};

static struct bd_host fuzz_host;

static void fuzz_log(const struct bd_host *host, enum bd_log_level level, const char *format, ...)
    BD_PRINTF(3, 4);

static inline void
fuzz_log(const struct bd_host *host, enum bd_log_level level, const char *format, ...)
{
    (void)host, (void)level, (void)format;
}

static inline enum bd_status
fuzz_key(const struct bd_host *host, const char *purpose, void *out, size_t bytes)
{
    (void)host, (void)purpose;
    memset(out, 0x5a, bytes);
    return BD_OK;
}

static inline enum bd_status
fuzz_passphrase(const struct bd_host *host, char **out, size_t *bytes, const char **salt)
{
    *bytes = strlen(FUZZ_PASSWORD);
    *out = host->secret_alloc(*bytes + 1);
    assert(*out != NULL);
    strcpy(*out, FUZZ_PASSWORD);
    *salt = FUZZ_SALT;
    return BD_OK;
}

static struct fuzz_codec fuzz_opened[8];
static unsigned fuzz_opened_count;
static struct host *fuzz_core;
static void *fuzz_zeros; /* options */

/* What is left at the end would be called a leak. */
static inline void
fuzz_close_all(void)
{
    while (fuzz_opened_count > 0) {
        struct fuzz_codec *opened = &fuzz_opened[--fuzz_opened_count];

        if (opened->worker != NULL)
            opened->codec->worker_free(opened->handle, opened->worker);
        opened->codec->close(opened->handle);
    }
    free(fuzz_zeros);
    host_free(fuzz_core);
}

static inline void
fuzz_host_init(const struct bd_plugin *plugin)
{
    if (host_new("codec-fuzz", NULL, NULL, &fuzz_core) != 0)
        abort();
    fuzz_host = *host_table(fuzz_core);
    fuzz_host.log = fuzz_log;
    fuzz_host.key = fuzz_key;
    fuzz_host.passphrase = fuzz_passphrase;
    fuzz_zeros = calloc(1, plugin->options_bytes + 1);
    if (fuzz_zeros == NULL || atexit(fuzz_close_all) != 0)
        abort();
}

/* `options` is the struct of the plugin's rows; NULL: all zero.  Stays open until the end. */
static inline struct fuzz_codec
fuzz_open(const char *token, const void *options)
{
    const struct bd_plugin *plugin = bd_plugin_query(NULL);
    struct fuzz_codec opened = { 0 };

    if (fuzz_core == NULL)
        fuzz_host_init(plugin);
    for (uint32_t i = 0; i < plugin->codec_count; i++) {
        const struct bd_codec *row = &plugin->codecs[i];

        if (strcasecmp(row->token, token) == 0 || (row->match != NULL && row->match(token)))
            opened.codec = row;
    }
    assert(opened.codec != NULL);
    if (opened.codec->open(&fuzz_host, options != NULL ? options : fuzz_zeros, token,
                           &opened.handle)
        != BD_OK)
        abort();
    if (opened.codec->worker_new != NULL) {
        opened.worker = opened.codec->worker_new(opened.handle);
        assert(opened.worker != NULL);
    }
    assert(fuzz_opened_count < sizeof fuzz_opened / sizeof fuzz_opened[0]);
    fuzz_opened[fuzz_opened_count++] = opened;
    return opened;
}

/* ---- calls */

struct fuzz_place {
    uint64_t block;
    struct bd_bytes associated;
    size_t plain_bytes; /* what it must decode to; 0: whatever fits */
};

typedef enum bd_status fuzz_code(void *handle, void *worker, struct bd_coding *coding,
                                 struct bd_bytes in, struct bd_buf *out);

/* `out->cap` is the room; free out->data. */
static inline enum bd_status
fuzz_run(const struct fuzz_codec *codec, fuzz_code *code, struct fuzz_place place,
         struct coding *state, struct bd_bytes in, struct bd_buf *out)
{
    struct bd_coding coding = { .size = sizeof coding,
                                .block_bytes = 4096,
                                .block = place.block,
                                .plain_bytes = place.plain_bytes,
                                .inner = "",
                                .associated = place.associated,
                                .host_private = state };
    void *exact = malloc(in.len);
    enum bd_status status;

    out->data = malloc(out->cap);
    assert((exact != NULL || in.len == 0) && (out->data != NULL || out->cap == 0));
    if (in.len > 0)
        memcpy(exact, in.data, in.len);
    status = code(codec->handle, codec->worker, &coding, (struct bd_bytes){ exact, in.len }, out);
    assert(in.len == 0 || memcmp(exact, in.data, in.len) == 0);
    free(exact);
    assert(status != BD_OK || out->len <= out->cap);
    return status;
}

static inline enum bd_status
fuzz_decode(const struct fuzz_codec *codec, struct fuzz_place place, const struct attrs *attrs,
            struct bd_bytes body, struct bd_buf *out)
{
    struct coding state = { .stored = attrs };
    enum bd_status status = fuzz_run(codec, codec->codec->decode, place, &state, body, out);

    assert(status == BD_OK || (status == BD_CORRUPT && state.why.text[0] != '\0'));
    assert(status != BD_OK || place.plain_bytes == 0 || out->len == place.plain_bytes);
    return status;
}

static inline void
fuzz_refused(const struct fuzz_codec *codec, struct fuzz_place place, const struct attrs *attrs,
             struct bd_bytes body, size_t cap)
{
    struct bd_buf out = { .cap = cap };

    if (fuzz_decode(codec, place, attrs, body, &out) == BD_OK)
        abort();
    free(out.data);
}

/* What is encoded comes back.  From a codec that authenticates it does not with one bit changed, or cut: `bit` says
 * where. */
static inline void
fuzz_there_and_back(const struct fuzz_codec *codec, struct fuzz_place place, struct bd_bytes plain,
                    size_t bit)
{
    struct attrs attrs = { 0 };
    struct coding state = { .added = &attrs };
    struct bd_buf body = { .cap = codec->codec->bound(codec->handle, plain.len) };
    struct bd_buf back = { .cap = plain.len };
    enum bd_status status;

    place.plain_bytes = plain.len;
    status = fuzz_run(codec, codec->codec->encode, place, &state, plain, &body);
    if (status == BD_DECLINED && codec->codec->traits & BD_CODEC_MAY_DECLINE) {
        free(body.data);
        return;
    }
    assert(status == BD_OK);
    if (fuzz_decode(codec, place, &attrs, (struct bd_bytes){ body.data, body.len }, &back) != BD_OK)
        abort();
    assert(back.len == plain.len);
    assert(back.len == 0 || memcmp(back.data, plain.data, back.len) == 0);
    free(back.data);
    if (codec->codec->traits & BD_CODEC_AUTHENTICATES) {
        bit %= 8 * body.len;
        place.plain_bytes = 0;
        fuzz_refused(codec, place, &attrs, (struct bd_bytes){ body.data, bit / 8 }, plain.len + 64);
        ((uint8_t *)body.data)[bit / 8] ^= (uint8_t)(1u << bit % 8);
        fuzz_refused(codec, place, &attrs, (struct bd_bytes){ body.data, body.len },
                     plain.len + 64);
    }
    free(body.data);
    attrs_clear(&attrs);
}

/* The rest of the input, of which two bytes say which bit is changed. */
static inline void
fuzz_round_trip(const struct fuzz_codec *codec, struct fuzz_place place, struct input input)
{
    size_t bit = (size_t)input_byte(&input) << 8;

    bit |= input_byte(&input);
    fuzz_there_and_back(codec, place, (struct bd_bytes){ input.data, input.bytes }, bit);
}

/* ---- what all of a kind must do */

/* The input of one that compresses: a byte that chooses the room, a byte that chooses how long the result must be, then
 * the body, which is a block, too.  The same body gives the same. */
static inline void
fuzz_compressor(const struct fuzz_codec *codec, const uint8_t *data, size_t bytes)
{
    static const size_t caps[] = { 4096, 512, 1, 4095, 65536, 100, 1 << 20, 3000 };
    struct input input = { data, bytes };
    struct bd_buf first = { .cap = caps[input_byte(&input) % 8] }, second = { .cap = first.cap };
    const uint8_t wanted = input_byte(&input);
    struct fuzz_place place = { .plain_bytes = wanted % 3 == 0   ? 0
                                               : wanted % 3 == 1 ? first.cap
                                                                 : wanted };
    const struct bd_bytes body = { input.data, input.bytes };

    if (fuzz_decode(codec, place, NULL, body, &first) == BD_OK) {
        place.plain_bytes = first.len;
        if (fuzz_decode(codec, place, NULL, body, &second) != BD_OK)
            abort();
        assert(second.len == first.len && memcmp(first.data, second.data, first.len) == 0);
        free(second.data);
        fuzz_there_and_back(codec, place, (struct bd_bytes){ first.data, first.len }, 0);
    }
    free(first.data);
    fuzz_there_and_back(codec, place, body, 0);
}

/* The input of an authenticated cipher: a byte for the room, a length and associated data so long, then a body.  Nobody
 * makes 128 bits of a tag up. */
static inline void
fuzz_aead(const char *token, const uint8_t *data, size_t bytes)
{
    static struct fuzz_codec codec;
    struct input input = { data, bytes };
    size_t cap = (size_t)input_byte(&input) * 4;
    struct fuzz_place place = { 0 };

    if (codec.codec == NULL)
        codec = fuzz_open(token, NULL);
    place.associated = input_bytes(&input, input_byte(&input));
    fuzz_refused(&codec, place, NULL, (struct bd_bytes){ input.data, input.bytes }, cap);
    fuzz_round_trip(&codec, place, input);
}

#endif
