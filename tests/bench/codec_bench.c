/* SPDX-License-Identifier: Apache-2.0 */
/* How much of what the libraries can do do core/chain.c and the codecs keep?
 *
 *   codec_bench [OPTIONS of bucketdisk] [seconds=N] [format=2] CHAIN…     a chain is what --codec takes
 *
 * One thread encodes and decodes the same blocks in turns through a chain and by the libraries' own calls, which keep
 * their contexts and buffers.  Counted is the thread's CPU time, so that other work on the machine matters less.
 * A codec is measured against its library when it is in `bare_codecs`; without that its own figures are printed alone. */
#include "base/secret.h"
#include "keyring.h"
#include "stack.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#define ZLIB_CONST
#include <zlib.h>
#include <zstd.h>

#define DATA_BYTES ((size_t)32 << 20)
#define ROUNDS 7u
#define GOAL 0.9

static _Noreturn void
fail(const char *what, const char *why)
{
    fprintf(stderr, "codec_bench: %s: %s\n", what, why);
    exit(2);
}

static void *
room_for(size_t bytes)
{
    void *room = malloc(bytes);

    if (room == NULL)
        fail("memory", "there is not enough");
    return room;
}

static double
cpu_seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* ---- the libraries' own calls, by token */

typedef size_t bare_code(void *state, const void *in, size_t in_bytes, void *out, size_t room);

struct bare_codec {
    const char *token;
    void *(*state_new)(int level);
    size_t (*bound)(size_t bytes);
    bare_code *encode, *decode; /* return how many bytes; 0: it failed */
};

struct zlib_state {
    z_stream deflater, inflater;
};

static void *
zlib_new(int level)
{
    struct zlib_state *state = calloc(1, sizeof *state);

    if (state == NULL || deflateInit(&state->deflater, level) != Z_OK
        || inflateInit(&state->inflater) != Z_OK)
        fail("zlib", "does not start");
    return state;
}

static size_t
zlib_bound(size_t bytes)
{
    return compressBound(bytes);
}

static void
zlib_point(z_stream *stream, const void *in, size_t in_bytes, void *out, size_t room)
{
    stream->next_in = in;
    stream->avail_in = (uInt)in_bytes;
    stream->next_out = out;
    stream->avail_out = (uInt)room;
}

static size_t
zlib_encode(void *state, const void *in, size_t in_bytes, void *out, size_t room)
{
    z_stream *stream = &((struct zlib_state *)state)->deflater;

    deflateReset(stream);
    zlib_point(stream, in, in_bytes, out, room);
    return deflate(stream, Z_FINISH) == Z_STREAM_END ? stream->total_out : 0;
}

static size_t
zlib_decode(void *state, const void *in, size_t in_bytes, void *out, size_t room)
{
    z_stream *stream = &((struct zlib_state *)state)->inflater;

    inflateReset(stream);
    zlib_point(stream, in, in_bytes, out, room);
    return inflate(stream, Z_FINISH) == Z_STREAM_END ? stream->total_out : 0;
}

struct zstd_state {
    ZSTD_CCtx *compressor;
    ZSTD_DCtx *decompressor;
    int level;
};

static void *
zstd_new(int level)
{
    struct zstd_state *state = room_for(sizeof *state);

    *state = (struct zstd_state){ ZSTD_createCCtx(), ZSTD_createDCtx(), level };
    return state;
}

static size_t
zstd_encode(void *state, const void *in, size_t in_bytes, void *out, size_t room)
{
    struct zstd_state *zstd = state;
    size_t bytes = ZSTD_compressCCtx(zstd->compressor, out, room, in, in_bytes, zstd->level);

    return ZSTD_isError(bytes) ? 0 : bytes;
}

static size_t
zstd_decode(void *state, const void *in, size_t in_bytes, void *out, size_t room)
{
    struct zstd_state *zstd = state;
    size_t bytes = ZSTD_decompressDCtx(zstd->decompressor, out, room, in, in_bytes);

    return ZSTD_isError(bytes) ? 0 : bytes;
}

/* The ciphers with one key for all blocks: nonces cost them a few random bytes, as they must, and no more. */
static const unsigned char bare_key[32] = "a key of 32 bytes, for measuring";
#define NONCE_BYTES 24u
#define TAG_BYTES 16u

static size_t
sealed_bound(size_t bytes)
{
    return bytes + NONCE_BYTES + TAG_BYTES;
}

struct openssl_state {
    EVP_CIPHER_CTX *encrypt, *decrypt;
};

static void *
openssl_new(const EVP_CIPHER *cipher)
{
    struct openssl_state *state = room_for(sizeof *state);

    *state = (struct openssl_state){ EVP_CIPHER_CTX_new(), EVP_CIPHER_CTX_new() };
    if (EVP_EncryptInit_ex2(state->encrypt, cipher, bare_key, bare_key, NULL) != 1
        || EVP_DecryptInit_ex2(state->decrypt, cipher, bare_key, bare_key, NULL) != 1)
        fail("OpenSSL", "does not start");
    return state;
}

static void *
gcm_new(int level)
{
    (void)level;
    return openssl_new(EVP_aes_256_gcm());
}

static size_t
gcm_encode(void *state, const void *in, size_t in_bytes, void *out, size_t room)
{
    EVP_CIPHER_CTX *gcm = ((struct openssl_state *)state)->encrypt;
    unsigned char *body = out, *text = body + NONCE_BYTES;
    int len;

    (void)room;
    random_fill(body, NONCE_BYTES);
    return EVP_EncryptInit_ex2(gcm, NULL, NULL, body, NULL) == 1
                   && EVP_EncryptUpdate(gcm, text, &len, in, (int)in_bytes) == 1
                   && EVP_EncryptFinal_ex(gcm, text + in_bytes, &len) == 1
                   && EVP_CIPHER_CTX_ctrl(gcm, EVP_CTRL_AEAD_GET_TAG, TAG_BYTES, text + in_bytes)
                          == 1
               ? sealed_bound(in_bytes)
               : 0;
}

static size_t
gcm_decode(void *state, const void *in, size_t in_bytes, void *out, size_t room)
{
    EVP_CIPHER_CTX *gcm = ((struct openssl_state *)state)->decrypt;
    const unsigned char *body = in;
    size_t bytes = in_bytes - NONCE_BYTES - TAG_BYTES;
    unsigned char tag[TAG_BYTES];
    int len;

    (void)room;
    memcpy(tag, body + in_bytes - TAG_BYTES, TAG_BYTES);
    return EVP_DecryptInit_ex2(gcm, NULL, NULL, body, NULL) == 1
                   && EVP_DecryptUpdate(gcm, out, &len, body + NONCE_BYTES, (int)bytes) == 1
                   && EVP_CIPHER_CTX_ctrl(gcm, EVP_CTRL_AEAD_SET_TAG, TAG_BYTES, tag) == 1
                   && EVP_DecryptFinal_ex(gcm, tag, &len) == 1
               ? bytes
               : 0;
}

/* CBC, and HMAC-SHA1 over it. */
static void *
cbc_new(int level)
{
    (void)level;
    return openssl_new(EVP_aes_128_cbc());
}

static size_t
cbc_bound(size_t bytes)
{
    return (bytes / 16 + 1) * 16;
}

static size_t
cbc_encode(void *state, const void *in, size_t in_bytes, void *out, size_t room)
{
    EVP_CIPHER_CTX *cbc = ((struct openssl_state *)state)->encrypt;
    unsigned char tag[EVP_MAX_MD_SIZE];
    int first, last;

    (void)room;
    if (EVP_EncryptInit_ex2(cbc, NULL, NULL, bare_key, NULL) != 1
        || EVP_EncryptUpdate(cbc, out, &first, in, (int)in_bytes) != 1
        || EVP_EncryptFinal_ex(cbc, (unsigned char *)out + first, &last) != 1
        || HMAC(EVP_sha1(), bare_key, 16, out, (size_t)(first + last), tag, NULL) == NULL)
        return 0;
    return (size_t)(first + last);
}

static size_t
cbc_decode(void *state, const void *in, size_t in_bytes, void *out, size_t room)
{
    EVP_CIPHER_CTX *cbc = ((struct openssl_state *)state)->decrypt;
    unsigned char tag[EVP_MAX_MD_SIZE], rest[32];
    int first, last;

    (void)room;
    if (HMAC(EVP_sha1(), bare_key, 16, in, in_bytes, tag, NULL) == NULL
        || EVP_DecryptInit_ex2(cbc, NULL, NULL, bare_key, NULL) != 1
        || EVP_DecryptUpdate(cbc, out, &first, in, (int)in_bytes) != 1
        || EVP_DecryptFinal_ex(cbc, rest, &last) != 1)
        return 0;
    memcpy((unsigned char *)out + first, rest, (size_t)last);
    return (size_t)(first + last);
}

static void *
sodium_new(int level)
{
    static char nothing;

    (void)level;
    if (sodium_init() < 0)
        fail("libsodium", "does not start");
    return &nothing;
}

static size_t
sodium_encode(void *state, const void *in, size_t in_bytes, void *out, size_t room)
{
    unsigned char *nonce = out;
    unsigned long long bytes = 0;

    (void)state, (void)room;
    random_fill(nonce, NONCE_BYTES);
    crypto_aead_xchacha20poly1305_ietf_encrypt(nonce + NONCE_BYTES, &bytes, in, in_bytes, NULL, 0,
                                               NULL, nonce, bare_key);
    return (size_t)bytes + NONCE_BYTES;
}

static size_t
sodium_decode(void *state, const void *in, size_t in_bytes, void *out, size_t room)
{
    const unsigned char *nonce = in;
    unsigned long long bytes = 0;

    (void)state, (void)room;
    return crypto_aead_xchacha20poly1305_ietf_decrypt(out, &bytes, NULL, nonce + NONCE_BYTES,
                                                      in_bytes - NONCE_BYTES, NULL, 0, nonce,
                                                      bare_key)
                   == 0
               ? (size_t)bytes
               : 0;
}

/* A new codec adds a row here. */
static const struct bare_codec bare_codecs[] = {
    { "deflate", zlib_new, zlib_bound, zlib_encode, zlib_decode },
    { "zstd", zstd_new, ZSTD_compressBound, zstd_encode, zstd_decode },
    { "aes", cbc_new, cbc_bound, cbc_encode, cbc_decode },
    { "xaes-256-gcm", gcm_new, sealed_bound, gcm_encode, gcm_decode },
    { "xchacha20-poly1305", sodium_new, sealed_bound, sodium_encode, sodium_decode },
};

/* A chain of them. */
struct bare {
    unsigned count; /* 0: one of the chain's codecs is not in the table */
    const struct bare_codec *codecs[ENCODING_LAYERS_MAX];
    void *states[ENCODING_LAYERS_MAX];
    uint8_t *between[2];
    size_t room;
};

/* The option "level" of the plugin that has the token; 0: it has none. */
static int
level_of(const struct plugins *plugins, const char *token)
{
    const struct plugin *owner;

    if (plugins_codec(plugins, token, &owner) == NULL)
        return 0;
    for (uint32_t i = 0; i < owner->desc.option_count; i++) {
        uint32_t level;

        if (strcmp(owner->options[i].name, "level") != 0)
            continue;
        memcpy(&level, (const char *)owner->option_fields + owner->options[i].offset, sizeof level);
        return (int)level;
    }
    return 0;
}

static void
bare_init(struct bare *bare, const struct stack *stack, const char *list, size_t block_bytes)
{
    struct encoding encoding;

    memset(bare, 0, sizeof *bare);
    bare->room = block_bytes;
    if (encoding_parse(list, &encoding, NULL) != 0)
        return;
    for (unsigned i = 0; i < encoding.count; i++) {
        const struct bare_codec *found = NULL;

        for (unsigned j = 0; j < sizeof bare_codecs / sizeof bare_codecs[0]; j++) {
            if (strcasecmp(bare_codecs[j].token, encoding.tokens[i]) == 0)
                found = &bare_codecs[j];
        }
        if (found == NULL) {
            bare->count = 0;
            return;
        }
        bare->codecs[bare->count] = found;
        bare->states[bare->count++] =
            found->state_new(level_of(&stack->plugins, encoding.tokens[i]));
        bare->room = found->bound(bare->room);
    }
    for (unsigned i = 0; i < 2; i++) {
        bare->between[i] = room_for(bare->room);
        memset(bare->between[i], 1, bare->room);
    }
}

/* ---- the contenders, each over all blocks */

struct load {
    size_t block_bytes, block_count;
    uint8_t *plain;         /* of all blocks */
    struct encoded *stored; /* what the chain made of each */
    uint8_t *out;           /* one decoded block */
    struct chain *chain;
    struct bare bare;
};

static uint8_t *
block_of(const struct load *load, size_t i)
{
    return load->plain + i * load->block_bytes;
}

static void
chain_encodes(struct load *load)
{
    struct error why;

    for (size_t i = 0; i < load->block_count; i++) {
        struct encoded encoded;

        if (chain_encode(load->chain, i, block_of(load, i), &encoded, &why) != 0)
            fail("encode", why.text);
        encoded_free(&encoded);
    }
}

static void
chain_decodes(struct load *load)
{
    struct error why;

    for (size_t i = 0; i < load->block_count; i++) {
        const struct encoded *stored = &load->stored[i];

        if (chain_decode(load->chain, i, stored->encoding,
                         (struct bd_bytes){ stored->body, stored->body_bytes }, &stored->attrs,
                         load->out, &why)
            != 0)
            fail("decode", why.text);
    }
}

/* What the libraries make of a block; it stands in one of the buffers between. */
static const uint8_t *
bare_encode(struct load *load, size_t i, size_t *bytes)
{
    const struct bare *bare = &load->bare;
    const uint8_t *from = block_of(load, i);

    *bytes = load->block_bytes;
    for (unsigned j = 0; j < bare->count; j++) {
        uint8_t *to = bare->between[j % 2];

        *bytes = bare->codecs[j]->encode(bare->states[j], from, *bytes, to, bare->room);
        if (*bytes == 0)
            fail(bare->codecs[j]->token, "the library fails to encode");
        from = to;
    }
    return from;
}

static void
bare_encodes(struct load *load)
{
    size_t bytes;

    for (size_t i = 0; i < load->block_count; i++)
        bare_encode(load, i, &bytes);
}

struct bare_body {
    uint8_t *data;
    size_t bytes;
};

static struct bare_body *bare_bodies; /* of each block */

static void
bare_decodes(struct load *load)
{
    const struct bare *bare = &load->bare;

    for (size_t i = 0; i < load->block_count; i++) {
        const uint8_t *from = bare_bodies[i].data;
        size_t bytes = bare_bodies[i].bytes;

        for (unsigned j = bare->count; j-- > 0;) {
            uint8_t *to = j > 0 ? bare->between[j % 2] : load->out;

            bytes = bare->codecs[j]->decode(bare->states[j], from, bytes, to,
                                            j > 0 ? bare->room : load->block_bytes);
            if (bytes == 0)
                fail(bare->codecs[j]->token, "the library fails to decode");
            from = to;
        }
    }
}

/* ---- measuring */

typedef void contender(struct load *load);

static double seconds_each = 0.5;

static double
mib_per_second(struct load *load, contender *run)
{
    double begin = cpu_seconds(), now;
    unsigned times = 0;

    do {
        run(load);
        times++;
        now = cpu_seconds();
    } while (now - begin < seconds_each);
    return times * (double)(load->block_count * load->block_bytes) / (1 << 20) / (now - begin);
}

static int
compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static double
median(double *values)
{
    qsort(values, ROUNDS, sizeof values[0], compare);
    return values[ROUNDS / 2];
}

/* Prints the figures of one direction; the median ratio, or 1 if there is nothing to compare with. */
static double
measure(struct load *load, contender *ours, contender *theirs)
{
    double mine[ROUNDS], bare[ROUNDS], ratio[ROUNDS];

    for (unsigned i = 0; i < ROUNDS; i++) {
        if (i % 2 == 0)
            mine[i] = mib_per_second(load, ours);
        bare[i] = load->bare.count > 0 ? mib_per_second(load, theirs) : 0;
        if (i % 2 == 1)
            mine[i] = mib_per_second(load, ours);
        ratio[i] = bare[i] > 0 ? mine[i] / bare[i] : 0;
    }
    if (load->bare.count == 0) {
        printf(" %7.0f       -     -", median(mine));
        return 1;
    }
    printf(" %7.0f %7.0f %5.2f", median(mine), median(bare), median(ratio));
    return ratio[ROUNDS / 2];
}

/* Words of a vocabulary of 4096, as text and source code repeat theirs, with numbers between them. */
static void
data_fill(uint8_t *out, size_t bytes)
{
    uint64_t state = 1;

    for (size_t at = 0; at < bytes;) {
        char word[32];
        unsigned number, len;

        state = state * 6364136223846793005u + 1442695040888963407u;
        number = (unsigned)((state >> 40) % 4096 * ((state >> 33) % 128) / 128);
        len =
            (unsigned)snprintf(word, sizeof word, number % 16 == 0 ? "%x " : "w%03o_%u ",
                               number % 16 == 0 ? (unsigned)(state >> 20) : number, number * 7919u);
        for (unsigned i = 0; i < len && at < bytes; i++)
            out[at++] = (uint8_t)word[i];
    }
}

static bool
bench(struct load *load, const struct stack *stack, const char *list)
{
    size_t stored_bytes = 0;
    struct error why;
    double encoded, decoded;

    bare_init(&load->bare, stack, list, load->block_bytes);
    for (size_t i = 0; i < load->block_count; i++) {
        if (chain_encode(load->chain, i, block_of(load, i), &load->stored[i], &why) != 0)
            fail(list, why.text);
        stored_bytes += load->stored[i].body_bytes;
        if (load->bare.count > 0) {
            const uint8_t *body = bare_encode(load, i, &bare_bodies[i].bytes);

            bare_bodies[i].data = room_for(bare_bodies[i].bytes);
            memcpy(bare_bodies[i].data, body, bare_bodies[i].bytes);
        }
    }
    printf("%-24s %5.1f%% ", list,
           100.0 * (double)stored_bytes / (double)(load->block_count * load->block_bytes));
    encoded = measure(load, chain_encodes, bare_encodes);
    decoded = measure(load, chain_decodes, bare_decodes);
    printf("\n");
    fflush(stdout);
    for (size_t i = 0; i < load->block_count; i++)
        encoded_free(&load->stored[i]);
    return encoded >= GOAL && decoded >= GOAL;
}

int
main(int argc, char **argv)
{
    static const uint8_t volume_key[VOLUME_KEY_BYTES] = "a key for measuring, and no more";
    struct stack stack = { 0 };
    struct keyring keyring = { 0 };
    struct load load = { 0 };
    struct pool *pool;
    struct stats *stats;
    struct error why;
    char **words = calloc((size_t)argc + 1, sizeof *words);
    bool is_format_2 = false, is_good = true;
    int count;

    if (words == NULL || pool_new(1, &pool) != 0 || stats_new(&stats) != 0
        || keyring_set_passphrase(&keyring, passphrase_text("for measuring"), "bucket/") != 0)
        fail("start", "out of memory");
    if (stack_parse(&stack, NULL, argc, argv, words, &count, &why) != 0)
        fail("options", why.text);
    for (unsigned i = 0; i < stack.plugins.count; i++) {
        if (stack.plugins.all[i].desc.keywrap_count > 0 && keyring.volume_key == NULL)
            keyring_set_volume_key(&keyring, stack.plugins.all[i].keywraps, volume_key);
    }
    load.block_bytes = stack.settings.block_size != 0 ? stack.settings.block_size : 65536;
    load.block_count = DATA_BYTES / load.block_bytes > 0 ? DATA_BYTES / load.block_bytes : 1;
    load.plain = room_for(load.block_count * load.block_bytes);
    load.stored = room_for(load.block_count * sizeof *load.stored);
    load.out = room_for(load.block_bytes);
    bare_bodies = room_for(load.block_count * sizeof *bare_bodies);
    data_fill(load.plain, load.block_count * load.block_bytes);
    printf("blocks of %zu bytes, MiB/s of a core   encode    bare ratio  decode    bare ratio\n",
           load.block_bytes);
    for (int i = 0; i < count; i++) {
        const struct chain_config config = {
            .plugins = &stack.plugins,
            .keyring = &keyring,
            .block_bytes = (uint32_t)load.block_bytes,
            .write_list = words[i],
            .is_format_2 = is_format_2,
        };

        if (sscanf(words[i], "seconds=%lf", &seconds_each) == 1) {
            seconds_each /= 2 * 2 * ROUNDS;
            continue;
        }
        if (strcmp(words[i], "format=2") == 0) {
            is_format_2 = true;
            continue;
        }
        if (chain_open(&config, pool, stats, &why, &load.chain) != 0)
            fail(words[i], why.text);
        chain_set_epoch(load.chain, 1);
        is_good = bench(&load, &stack, words[i]) && is_good;
        chain_close(load.chain);
    }
    return is_good ? 0 : 1;
}
