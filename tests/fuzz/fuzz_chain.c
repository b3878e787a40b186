/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzz the chain with all codecs that are built: bodies that anybody stored, under any Content-Encoding; and bodies of
 * our own, of which a bit is changed.
 *
 * The input: a byte that chooses the chain; a length, and a Content-Encoding so long; a length, and s3backer's MAC;
 * the body. */
#include "built.h"
#include "chain.h"
#include "keyring.h"
#include "loader.h"

#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

#define BLOCK 512u

static enum bd_status
subkey(struct bd_bytes key, const char *purpose, struct bd_buf *out)
{
    (void)key, (void)purpose;
    memset(out->data, 0x5a, out->cap);
    out->len = out->cap;
    return BD_OK;
}

static const struct bd_keywrap keywrap = { .subkey = subkey };
static struct keyring keyring;
static struct plugins plugins;
static struct stats *stats;

static struct chain_row {
    bool is_format_2, accepts_plain;
    const char *list;
    struct chain *chain; /* NULL: a codec is not built */
} chains[] = {
    { false, false, "" },
    { true, false, "" },
    { true, false, "zstd" },
    { true, false, "zstd,xaes-256-gcm" },
    { true, false, "deflate,xchacha20-poly1305" },
    { true, true, "xchacha20-poly1305" },
    { false, false, "deflate,encrypt-AES-128-CBC" },
    { false, true, "zstd,encrypt-AES-256-CBC" },
};
#define CHAIN_COUNT (sizeof chains / sizeof chains[0])

static void
end(void)
{
    for (size_t i = 0; i < CHAIN_COUNT; i++)
        chain_close(chains[i].chain);
    keyring_clear(&keyring);
    stats_free(stats);
    plugins_free(&plugins);
}

static void
begin(void)
{
    static const struct plugin_search search = { .extra = TEST_PLUGINS };
    static const uint8_t key[VOLUME_KEY_BYTES];
    struct error why;

    if (plugins_load(&plugins, &search, &why) != 0 || stats_new(&stats) != 0
        || keyring_set_passphrase(&keyring, passphrase_text("password"), "bucket/") != 0
        || keyring_set_volume_key(&keyring, &keywrap, key) != 0 || atexit(end) != 0)
        abort();
    for (size_t i = 0; i < CHAIN_COUNT; i++) {
        const struct chain_config config = { .plugins = &plugins,
                                             .keyring = &keyring,
                                             .block_bytes = BLOCK,
                                             .write_list = chains[i].list,
                                             .accepts_plain = chains[i].accepts_plain,
                                             .is_format_2 = chains[i].is_format_2,
                                             .volume_id = "0123456789abcde",
                                             .key_id = 1 };

        if (!built_reads(TEST_PLUGINS_BUILT, chains[i].list, false)) {
            chains[i].chain = NULL;
        } else if (chain_open(&config, NULL, stats, &why, &chains[i].chain) != 0) {
            fprintf(stderr, "\"%s\": %s\n", chains[i].list, why.text);
            abort();
        }
    }
}

/* ---- calls, with memory that ends where it should */

static int
decode(struct chain *chain, uint64_t block, const char *encoding, struct bd_bytes body,
       const struct attrs *attrs, uint8_t *out)
{
    uint8_t *exact = malloc(body.len + (body.len == 0)), *plain = malloc(BLOCK);
    struct bd_bytes in = { exact, body.len };
    struct error why = { "" };
    uint64_t measured;
    int rc;

    assert(exact != NULL && plain != NULL);
    if (body.len > 0)
        memcpy(exact, body.data, body.len);
    rc = chain_decode(chain, block, encoding, in, attrs, plain, &why);
    if (rc == 0) {
        memcpy(out, plain, BLOCK);
        assert(chain_measure(chain, block, encoding, in, attrs, &measured, &why) == 0);
        assert(measured == BLOCK);
    } else {
        assert(rc == -EBADMSG || rc == -ENOTSUP || rc == -EINVAL || rc == -EIO);
        assert(why.text[0] != '\0');
        chain_measure(chain, block, encoding, in, attrs, &measured, &why);
        assert(measured <= chain_body_bytes_max(chain) || measured == body.len);
    }
    free(plain);
    free(exact);
    return rc;
}

/* What anybody stored. */
static void
read_foreign(const struct chain_row *row, const char *encoding, const struct attrs *attrs,
             struct bd_bytes body)
{
    uint8_t out[BLOCK];
    int rc = decode(row->chain, 7, encoding, body, attrs, out);

    /* Whoever does not have the key makes nothing that is believed. */
    if (chain_authenticates(row->chain) && !row->accepts_plain)
        assert(rc != 0);
}

/* What we stored, as it is, and with a bit changed. */
static void
read_own(const struct chain_row *row, const char *encoding, struct bd_bytes input)
{
    uint8_t plain[BLOCK] = { 1 }, kept[BLOCK], out[BLOCK];
    struct encoded encoded;
    struct error why;
    uint8_t *body;
    size_t bit = 0;

    memcpy(plain, input.data, input.len < BLOCK ? input.len : BLOCK);
    memcpy(kept, plain, BLOCK);
    for (size_t i = 0; i < 4 && i < input.len; i++)
        bit = bit << 8 | ((const uint8_t *)input.data)[i];
    if (chain_encode(row->chain, 7, plain, &encoded, &why) != 0)
        abort();
    assert(encoded.body_bytes <= chain_body_bytes_max(row->chain));
    body = malloc(encoded.body_bytes);
    memcpy(body, encoded.body, encoded.body_bytes);
    assert(decode(row->chain, 7, encoded.encoding, (struct bd_bytes){ body, encoded.body_bytes },
                  &encoded.attrs, out)
           == 0);
    assert(memcmp(out, kept, BLOCK) == 0);
    if (chain_authenticates(row->chain)) {
        /* Of format 2 the body says how it is encoded. */
        if (row->is_format_2)
            assert(decode(row->chain, 7, encoding, (struct bd_bytes){ body, encoded.body_bytes },
                          &encoded.attrs, out)
                   == 0);
        assert(decode(row->chain, 8, encoded.encoding,
                      (struct bd_bytes){ body, encoded.body_bytes }, &encoded.attrs, out)
               != 0);
        bit %= 8 * encoded.body_bytes;
        body[bit / 8] ^= (uint8_t)(1u << bit % 8);
        /* A list without what encrypts is plain for whoever accepts that. */
        if (!row->accepts_plain)
            assert(decode(row->chain, 7, encoded.encoding,
                          (struct bd_bytes){ body, encoded.body_bytes }, &encoded.attrs, out)
                   != 0);
    }
    free(body);
    encoded_free(&encoded);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    const struct chain_row *row;
    struct attrs attrs = { 0 };
    char *encoding;
    size_t len;

    if (stats == NULL)
        begin();
    if (bytes < 3)
        return 0;
    row = &chains[data[0] % CHAIN_COUNT];
    len = data[1] < bytes - 3 ? data[1] : bytes - 3;
    encoding = strndup((const char *)data + 3, len);
    len += 3;
    if (data[2] != 0 && data[2] <= bytes - len) {
        assert(attrs_add(&attrs, "s3backer-hmac", data + len, data[2]) == 0);
        len += data[2];
    }
    if (row->chain != NULL) {
        read_foreign(row, data[1] == 0 ? NULL : encoding, &attrs,
                     (struct bd_bytes){ data + len, bytes - len });
        read_own(row, encoding, (struct bd_bytes){ data + len, bytes - len });
    }
    attrs_clear(&attrs);
    free(encoding);
    return 0;
}
