/* SPDX-License-Identifier: Apache-2.0 */
/* core/chain.c with the example codec of the build tree and three small ones made here:
 *
 *   squeeze   compresses: drops the trailing bytes that are equal to the last; declines when there are none
 *   seal      encrypts, of a kind: XOR with the block number, a check byte in front
 *   liar      claims to encode and fails */
#include "fake_backend.h"
#include "module.h"

#include "chain.h"

#include <bucketdisk/sdk.h>

#include <errno.h>

#define BLOCK 64u

static const struct bd_host *the_host;
static char seen_inner[80];

static enum bd_status
codec_open(const struct bd_host *host, const void *options, const char *token, void **handle)
{
    (void)options, (void)token;
    the_host = host;
    *handle = NULL;
    return BD_OK;
}

static size_t
codec_bound(void *handle, size_t plain_bytes)
{
    (void)handle;
    return plain_bytes + 2;
}

static enum bd_status
squeeze_encode(void *handle, void *worker, struct bd_coding *coding, struct bd_bytes in,
               struct bd_buf *out)
{
    const unsigned char *data = in.data;
    size_t kept = in.len;

    (void)handle, (void)worker, (void)coding;
    while (kept > 1 && data[kept - 2] == data[in.len - 1])
        kept--;
    if (kept == in.len)
        return BD_DECLINED;
    memcpy(out->data, data, kept);
    out->len = kept;
    return BD_OK;
}

static enum bd_status
squeeze_decode(void *handle, void *worker, struct bd_coding *coding, struct bd_bytes in,
               struct bd_buf *out)
{
    (void)handle, (void)worker, (void)coding;
    if (in.len == 0 || in.len > out->cap)
        return BD_CORRUPT;
    memset(out->data, ((const unsigned char *)in.data)[in.len - 1], out->cap);
    memcpy(out->data, in.data, in.len);
    out->len = out->cap;
    return BD_OK;
}

static enum bd_status
seal_encode(void *handle, void *worker, struct bd_coding *coding, struct bd_bytes in,
            struct bd_buf *out)
{
    unsigned char *to = out->data;

    (void)handle, (void)worker;
    snprintf(seen_inner, sizeof seen_inner, "%s", coding->inner);
    to[0] = 0x5e;
    for (size_t i = 0; i < in.len; i++)
        to[i + 1] = ((const unsigned char *)in.data)[i] ^ (unsigned char)(coding->block + 0x80);
    out->len = in.len + 1;
    return BD_OK;
}

static enum bd_status
seal_decode(void *handle, void *worker, struct bd_coding *coding, struct bd_bytes in,
            struct bd_buf *out)
{
    const unsigned char *from = in.data;

    (void)handle, (void)worker;
    snprintf(seen_inner, sizeof seen_inner, "%s", coding->inner);
    if (in.len == 0 || from[0] != 0x5e || in.len - 1 > out->cap) {
        the_host->coding_error(coding, "the seal is broken");
        return BD_CORRUPT;
    }
    for (size_t i = 1; i < in.len; i++)
        ((unsigned char *)out->data)[i - 1] = from[i] ^ (unsigned char)(coding->block + 0x80);
    out->len = in.len - 1;
    return BD_OK;
}

static enum bd_status
liar_encode(void *handle, void *worker, struct bd_coding *coding, struct bd_bytes in,
            struct bd_buf *out)
{
    (void)handle, (void)worker, (void)coding, (void)in, (void)out;
    return BD_DECLINED; /* which it may not */
}

/* A family that is opened under one name and written under another. */
static int
family_match(const char *token)
{
    return strncmp(token, "family", 6) == 0;
}

static const char *
family_written(void *handle)
{
    (void)handle;
    return "Family-One";
}

static struct bd_codec codecs[] = {
    { .head = BD_HEAD(CODEC, struct bd_codec),
      .token = "squeeze",
      .open = codec_open,
      .bound = codec_bound,
      .encode = squeeze_encode,
      .decode = squeeze_decode,
      .traits = BD_CODEC_COMPRESSES | BD_CODEC_MAY_DECLINE },
    { .head = BD_HEAD(CODEC, struct bd_codec),
      .token = "seal",
      .open = codec_open,
      .bound = codec_bound,
      .encode = seal_encode,
      .decode = seal_decode,
      .traits = BD_CODEC_ENCRYPTS | BD_CODEC_AUTHENTICATES },
    { .head = BD_HEAD(CODEC, struct bd_codec),
      .token = "liar",
      .open = codec_open,
      .bound = codec_bound,
      .encode = liar_encode,
      .decode = seal_decode,
      .traits = BD_CODEC_ENCRYPTS },
    { .head = BD_HEAD(CODEC, struct bd_codec),
      .token = "old",
      .open = codec_open,
      .bound = codec_bound,
      .decode = squeeze_decode,
      .traits = BD_CODEC_COMPRESSES | BD_CODEC_DECODE_ONLY },
    { .head = BD_HEAD(CODEC, struct bd_codec),
      .token = "family",
      .match = family_match,
      .open = codec_open,
      .bound = codec_bound,
      .encode = seal_encode,
      .decode = seal_decode,
      .written = family_written,
      .traits = BD_CODEC_ENCRYPTS | BD_CODEC_AUTHENTICATES },
};

static char codec_names[2][16] = { "codec-reverse", "codec-test" };
static struct plugin all[2];
static struct bd_codec reverse;
static struct plugins plugins = { .all = all, .count = 2 };
static struct pool *pool;
static struct stats *stats;

static int
setup(void **state)
{
    const struct bd_plugin *module = plugin_of("codec-reverse");

    (void)state;
    reverse = module->codecs[0];
    all[0] = (struct plugin){ .name = codec_names[0], .desc = *module, .codecs = &reverse };
    all[1] = (struct plugin){ .name = codec_names[1],
                              .codecs = codecs,
                              .desc = { .codecs = codecs, .codec_count = ARRAY_LEN(codecs) } };
    return pool_new(1, &pool) | stats_new(&stats);
}

static int
teardown(void **state)
{
    (void)state;
    pool_free(pool);
    stats_free(stats);
    return 0;
}

static struct chain *
chain_of(const char *write_list, const char *read_default)
{
    struct error why = { "" };
    struct chain *chain = NULL;

    if (chain_open(&(struct chain_config){ .plugins = &plugins,
                                           .write_list = write_list,
                                           .read_default = read_default,
                                           .block_bytes = BLOCK },
                   pool, stats, &why, &chain)
        != 0)
        fail_msg("%s", why.text);
    return chain;
}

static void
expect_refused(const char *write_list, const char *reason)
{
    struct error why = { "" };
    struct chain *chain;

    assert_int_not_equal(chain_open(&(struct chain_config){ .plugins = &plugins,
                                                            .write_list = write_list,
                                                            .read_default = NULL,
                                                            .block_bytes = BLOCK },
                                    pool, stats, &why, &chain),
                         0);
    if (strstr(why.text, reason) == NULL)
        fail_msg("%s: %s", write_list, why.text);
}

static const unsigned char mixed[BLOCK] = "no palindrome, and zeros at the end";

static void
there_and_back(const char *write_list, const char *encoding, const char *inner)
{
    struct chain *chain = chain_of(write_list, NULL), *reader = chain_of("", NULL);
    unsigned char plain[BLOCK], out[BLOCK];
    struct encoded encoded;
    struct error why = { "" };

    memcpy(plain, mixed, BLOCK);
    seen_inner[0] = '\0';
    assert_int_equal(chain_encode(chain, 7, plain, &encoded, &why), 0);
    assert_string_equal(encoded.encoding, encoding);
    assert_true(encoded.body_bytes <= chain_body_bytes_max(chain));
    assert_string_equal(seen_inner, inner);
    seen_inner[0] = '\0';
    /* Whoever reads does not need to write so. */
    assert_int_equal(chain_decode(reader, 7, encoded.encoding,
                                  (struct bd_bytes){ encoded.body, encoded.body_bytes },
                                  &encoded.attrs, out, &why),
                     0);
    assert_memory_equal(out, mixed, BLOCK);
    assert_string_equal(seen_inner, inner);
    assert_memory_equal(plain, mixed, BLOCK);
    encoded_free(&encoded);
    chain_close(chain);
    chain_close(reader);
}

TEST(chain, blocks_go_there_and_back_through_every_chain)
{
    there_and_back("", "", "");
    there_and_back("reverse", "reverse", "");
    there_and_back("x-reverse", "reverse", ""); /* an alias is written as the codec's own token */
    there_and_back("squeeze", "squeeze", "");
    there_and_back("SQUEEZE , seal", "squeeze, seal", "squeeze");
    there_and_back("reverse,seal", "reverse, seal", "reverse");
    there_and_back("family-1", "Family-One", ""); /* a family says itself what is written */
}

TEST(chain, what_a_codec_declines_is_left_out_of_the_list)
{
    struct chain *chain = chain_of("squeeze,seal", NULL), *plain_chain = chain_of("squeeze", NULL);
    unsigned char plain[BLOCK], out[BLOCK];
    struct encoded encoded;
    struct error why = { "" };

    for (unsigned i = 0; i < BLOCK; i++)
        plain[i] = (unsigned char)i;
    assert_int_equal(chain_encode(chain, 1, plain, &encoded, &why), 0);
    assert_string_equal(encoded.encoding, "seal");
    assert_string_equal(seen_inner, "");
    assert_int_equal(chain_decode(chain, 1, encoded.encoding,
                                  (struct bd_bytes){ encoded.body, encoded.body_bytes }, NULL, out,
                                  &why),
                     0);
    assert_memory_equal(out, plain, BLOCK);
    encoded_free(&encoded);
    assert_int_equal(chain_encode(plain_chain, 1, plain, &encoded, &why), 0);
    assert_string_equal(encoded.encoding, "");
    assert_ptr_equal(encoded.body, plain);
    encoded_free(&encoded);
    chain_close(chain);
    chain_close(plain_chain);
}

TEST(chain, a_codec_that_must_not_decline_fails_the_block_instead)
{
    struct chain *chain = chain_of("liar", NULL);
    unsigned char plain[BLOCK] = { 1 };
    struct encoded encoded;
    struct error why = { "" };

    assert_int_equal(chain_encode(chain, 1, plain, &encoded, &why), -EIO);
    assert_non_null(strstr(why.text, "liar"));
    encoded_free(&encoded);
    chain_close(chain);
}

TEST(chain, a_list_that_cannot_be_written_is_refused)
{
    expect_refused("nobody", "no plugin provides the encoding \"nobody\"");
    expect_refused("zstd",
                   "\"zstd\"; codec-zstd would: see bucketdisk plugins, or say with --plugin-path");
    expect_refused("encrypt-DES-CBC", "crypto-openssl would");
    expect_refused("seal,squeeze", "must come before");
    expect_refused("seal,reverse", "must come before");
    expect_refused("old", "can be read, but not written");
    expect_refused("reverse,reverse,reverse,reverse,reverse,reverse", "more than 5 layers");
}

static void
expect_damaged(const char *encoding, const void *body, size_t bytes, int rc, const char *reason)
{
    struct chain *chain = chain_of("", NULL);
    unsigned char out[BLOCK];
    struct error why = { "" };

    assert_int_equal(
        chain_decode(chain, 1, encoding, (struct bd_bytes){ body, bytes }, NULL, out, &why), rc);
    if (strstr(why.text, reason) == NULL)
        fail_msg("%s: %s", encoding, why.text);
    chain_close(chain);
}

TEST(chain, damaged_objects_are_told_from_unknown_ones)
{
    unsigned char body[3 * BLOCK] = { 0x5e };

    expect_damaged(NULL, body, BLOCK - 1, -EBADMSG, "63 bytes where a block has 64");
    expect_damaged("", body, BLOCK + 1, -EBADMSG, "65 bytes");
    expect_damaged("identity", body, 0, -EBADMSG, "0 bytes");
    expect_damaged("gzip", body, BLOCK, -ENOTSUP, "\"gzip\"");
    expect_damaged("squeeze, gzip", body, BLOCK, -ENOTSUP, "\"gzip\"");
    expect_damaged("reverse", body, BLOCK, -EBADMSG, "reverse: the body does not begin");
    expect_damaged("seal", "broken", 6, -EBADMSG, "seal: the seal is broken");
    expect_damaged("seal", body, BLOCK, -EBADMSG, "63 bytes where");
    expect_damaged("seal", body, 2 * BLOCK, -EBADMSG, "seal");
    expect_damaged("squeeze", body, 0, -EBADMSG, "squeeze: the data is damaged");
    expect_damaged("a,b,c,d,e,f", body, BLOCK, -EBADMSG, "more than 5 layers");
}

TEST(chain, the_order_of_decoding_is_that_of_the_list)
{
    struct chain *chain = chain_of("squeeze,seal", NULL);
    unsigned char plain[BLOCK] = { 1, 2, 3 }, out[BLOCK];
    struct encoded encoded;
    struct error why = { "" };

    assert_int_equal(chain_encode(chain, 1, plain, &encoded, &why), 0);
    assert_int_equal(chain_decode(chain, 1, "seal, squeeze",
                                  (struct bd_bytes){ encoded.body, encoded.body_bytes }, NULL, out,
                                  &why),
                     -EBADMSG);
    encoded_free(&encoded);
    chain_close(chain);
}

TEST(chain, objects_without_a_list_are_read_by_the_default)
{
    struct chain *chain = chain_of("", "squeeze");
    unsigned char out[BLOCK], expected[BLOCK];
    struct error why = { "" };

    memset(expected, 'b', BLOCK);
    expected[0] = 'a';
    assert_true(chain_applies(chain, NULL));
    assert_false(chain_applies(chain, ""));
    assert_int_equal(chain_decode(chain, 1, NULL, (struct bd_bytes){ "ab", 2 }, NULL, out, &why),
                     0);
    assert_memory_equal(out, expected, BLOCK);
    chain_close(chain);
}

TEST(chain, a_token_that_can_only_be_read_is_read)
{
    struct chain *chain = chain_of("squeeze", NULL);
    unsigned char out[BLOCK];
    struct error why = { "" };

    assert_false(chain_is_plain(chain));
    assert_int_equal(chain_decode(chain, 1, "Old", (struct bd_bytes){ "x", 1 }, NULL, out, &why),
                     0);
    assert_int_equal(out[BLOCK - 1], 'x');
    chain_close(chain);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        RUN(chain, blocks_go_there_and_back_through_every_chain),
        RUN(chain, what_a_codec_declines_is_left_out_of_the_list),
        RUN(chain, a_codec_that_must_not_decline_fails_the_block_instead),
        RUN(chain, a_list_that_cannot_be_written_is_refused),
        RUN(chain, damaged_objects_are_told_from_unknown_ones),
        RUN(chain, the_order_of_decoding_is_that_of_the_list),
        RUN(chain, objects_without_a_list_are_read_by_the_default),
        RUN(chain, a_token_that_can_only_be_read_is_read),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
