/* SPDX-License-Identifier: Apache-2.0 */
/* core/chain.c where blocks must be authenticated, and in format 2, with codecs made here:
 *
 *   squeeze   compresses: drops the trailing zeros; declines when there are none; counts its decodings
 *   wax       encrypts, of a kind, and authenticates: a check sum over data, block number and associated data
 *
 * and two for what goes wrong: `broken` gives back something else, `twice` keeps an attribute. */
#include "fake_backend.h"

#include "chain.h"

#include <bucketdisk/sdk.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK 512u

static unsigned squeeze_decodings;

static enum bd_status
codec_open(const struct bd_host *host, const void *options, const char *token, void **handle)
{
    (void)host, (void)options, (void)token;
    *handle = NULL;
    return BD_OK;
}

static size_t
codec_bound(void *handle, size_t plain_bytes)
{
    (void)handle;
    return plain_bytes + 8;
}

static enum bd_status
squeeze_encode(void *handle, void *worker, struct bd_coding *coding, struct bd_bytes in,
               struct bd_buf *out)
{
    size_t kept = in.len;

    (void)handle, (void)worker, (void)coding;
    while (kept > 0 && ((const char *)in.data)[kept - 1] == '\0')
        kept--;
    if (kept == in.len)
        return BD_DECLINED;
    memcpy(out->data, in.data, kept);
    out->len = kept;
    return BD_OK;
}

static enum bd_status
squeeze_decode(void *handle, void *worker, struct bd_coding *coding, struct bd_bytes in,
               struct bd_buf *out)
{
    (void)handle, (void)worker, (void)coding;
    squeeze_decodings++;
    if (in.len > out->cap)
        return BD_CORRUPT;
    memset(out->data, 0, out->cap);
    memcpy(out->data, in.data, in.len);
    out->len = out->cap;
    return BD_OK;
}

static uint64_t
sum_more(uint64_t sum, const void *data, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        sum = (sum ^ ((const unsigned char *)data)[i]) * 0x100000001b3u;
    return (sum ^ bytes) * 0x100000001b3u;
}

static uint64_t
wax_sum(const struct bd_coding *coding, const void *data, size_t bytes)
{
    uint64_t sum = sum_more(0xcbf29ce484222325u, data, bytes);

    sum = sum_more(sum, &coding->block, sizeof coding->block);
    return sum_more(sum, coding->associated.data, coding->associated.len);
}

static enum bd_status
wax_encode(void *handle, void *worker, struct bd_coding *coding, struct bd_bytes in,
           struct bd_buf *out)
{
    unsigned char *to = out->data;
    uint64_t sum;

    (void)handle, (void)worker;
    for (size_t i = 0; i < in.len; i++)
        to[8 + i] = ((const unsigned char *)in.data)[i] ^ 0x55;
    sum = wax_sum(coding, to + 8, in.len);
    memcpy(to, &sum, 8);
    out->len = in.len + 8;
    return BD_OK;
}

static enum bd_status
wax_decode(void *handle, void *worker, struct bd_coding *coding, struct bd_bytes in,
           struct bd_buf *out)
{
    const unsigned char *from = in.data;
    uint64_t sum;

    (void)handle, (void)worker;
    if (in.len < 8 || in.len - 8 > out->cap)
        return BD_CORRUPT;
    sum = wax_sum(coding, from + 8, in.len - 8);
    if (memcmp(&sum, from, 8) != 0)
        return BD_CORRUPT;
    for (size_t i = 8; i < in.len; i++)
        ((unsigned char *)out->data)[i - 8] = from[i] ^ 0x55;
    out->len = in.len - 8;
    return BD_OK;
}

static enum bd_status
broken_decode(void *handle, void *worker, struct bd_coding *coding, struct bd_bytes in,
              struct bd_buf *out)
{
    enum bd_status status = wax_decode(handle, worker, coding, in, out);

    ((unsigned char *)out->data)[out->len - 1] ^= 1;
    return status;
}

static enum bd_status
twice_open(const struct bd_host *host, const void *options, const char *token, void **handle)
{
    (void)options, (void)token;
    *handle = (void *)(uintptr_t)host;
    return BD_OK;
}

/* Keeps something beside the block, of which there can be one. */
static enum bd_status
twice_encode(void *handle, void *worker, struct bd_coding *coding, struct bd_bytes in,
             struct bd_buf *out)
{
    const struct bd_host *host = handle;

    host->coding_attr_add(coding, "test-mark", "mark", 4);
    return wax_encode(handle, worker, coding, in, out);
}
#define LONG_TOKEN "squeeze-under-a-name-that-is-as-long-as-that-of-any-codec-may-b"
#define LONG_4 LONG_TOKEN "," LONG_TOKEN "," LONG_TOKEN "," LONG_TOKEN

static struct bd_codec codecs[] = {
    { .head = BD_HEAD(CODEC, struct bd_codec),
      .token = "squeeze",
      .open = codec_open,
      .bound = codec_bound,
      .encode = squeeze_encode,
      .decode = squeeze_decode,
      .traits = BD_CODEC_COMPRESSES | BD_CODEC_MAY_DECLINE },
    { .head = BD_HEAD(CODEC, struct bd_codec),
      .token = "wax",
      .open = codec_open,
      .bound = codec_bound,
      .encode = wax_encode,
      .decode = wax_decode,
      .traits = BD_CODEC_ENCRYPTS | BD_CODEC_AUTHENTICATES | BD_CODEC_BINDS },
    { .head = BD_HEAD(CODEC, struct bd_codec),
      .token = LONG_TOKEN,
      .open = codec_open,
      .bound = codec_bound,
      .encode = squeeze_encode,
      .decode = squeeze_decode,
      .traits = BD_CODEC_COMPRESSES },
    { .head = BD_HEAD(CODEC, struct bd_codec),
      .token = "waxy", /* binds nothing */
      .open = codec_open,
      .bound = codec_bound,
      .encode = wax_encode,
      .decode = wax_decode,
      .traits = BD_CODEC_ENCRYPTS | BD_CODEC_AUTHENTICATES },
    { .head = BD_HEAD(CODEC, struct bd_codec),
      .token = "wax-with-a-long-name-x86", /* with "squeeze," in front: 32 bytes */
      .open = codec_open,
      .bound = codec_bound,
      .encode = wax_encode,
      .decode = wax_decode,
      .traits = BD_CODEC_ENCRYPTS | BD_CODEC_AUTHENTICATES },
    { .head = BD_HEAD(CODEC, struct bd_codec),
      .token = "broken",
      .open = codec_open,
      .bound = codec_bound,
      .encode = wax_encode,
      .decode = broken_decode,
      .traits = BD_CODEC_TRANSFORMS },
    { .head = BD_HEAD(CODEC, struct bd_codec),
      .token = "twice",
      .open = twice_open,
      .bound = codec_bound,
      .encode = twice_encode,
      .decode = wax_decode,
      .traits = BD_CODEC_TRANSFORMS },
};

static char plugin_name[] = "codec-test";
static struct plugin all[] = { { .name = plugin_name,
                                 .codecs = codecs,
                                 .desc = { .codecs = codecs, .codec_count = ARRAY_LEN(codecs) } } };
static struct plugins plugins = { .all = all, .count = 1 };
static struct pool *pool;
static struct stats *stats;

static int
setup(void **state)
{
    (void)state;
    squeeze_decodings = 0;
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

static const struct chain_config format_1 = { .plugins = &plugins, .block_bytes = BLOCK };
static const struct chain_config format_2 = { .plugins = &plugins,
                                              .block_bytes = BLOCK,
                                              .is_format_2 = true,
                                              .volume_id = "0123456789abcde",
                                              .key_id = 3 };

static struct chain *
chain_of(struct chain_config config, const char *write_list)
{
    struct error why = { "" };
    struct chain *chain = NULL;

    config.write_list = write_list;
    if (chain_open(&config, pool, stats, &why, &chain) != 0)
        fail_msg("%s", why.text);
    return chain;
}

static void
fill(unsigned char *plain, bool is_full)
{
    memset(plain, is_full ? 'x' : 0, BLOCK);
    memcpy(plain, "some text", 9);
}

static int
decode(struct chain *chain, uint64_t block, const char *encoding, const void *body, size_t bytes,
       unsigned char *out, struct error *why)
{
    return chain_decode(chain, block, encoding, (struct bd_bytes){ body, bytes }, NULL, out, why);
}

/* What is refused gives the reason, and nothing of it is decompressed. */
static void
expect_refused(struct chain *chain, uint64_t block, const char *encoding, const void *body,
               size_t bytes, const char *reason)
{
    unsigned char out[BLOCK];
    unsigned before = squeeze_decodings;
    struct error why = { "" };
    int rc = decode(chain, block, encoding, body, bytes, out, &why);

    if (rc != -EBADMSG && rc != -ENOTSUP)
        fail_msg("%d %s", rc, why.text);
    if (strstr(why.text, reason) == NULL)
        fail_msg("%s", why.text);
    assert_int_equal(squeeze_decodings, before);
}

TEST(chain, format_2_gives_each_body_a_header_and_reads_it_back)
{
    static const struct {
        const char *list;
        bool is_full;
        const char *encoding, *joined;
    } rows[] = {
        { "", true, "", "" },
        { "squeeze", false, "squeeze", "squeeze" },
        { "squeeze", true, "", "" }, /* it declines */
        { "wax", true, "wax", "wax" },
        { "squeeze,wax", false, "squeeze, wax", "squeeze,wax" },
        { "squeeze,wax", true, "wax", "wax" },
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct chain *chain = chain_of(format_2, rows[i].list), *reader = chain_of(format_2, "");
        unsigned char plain[BLOCK], out[BLOCK];
        const unsigned char *body;
        struct encoded encoded;
        struct error why = { "" };

        fill(plain, rows[i].is_full);
        chain_set_epoch(chain, 5);
        for (unsigned n = 0; n < 2; n++) {
            assert_int_equal(chain_encode(chain, 7, plain, &encoded, &why), 0);
            assert_string_equal(encoded.encoding, rows[i].encoding);
            body = encoded.body;
            assert_memory_equal(body, "bkd2\x01", 5);
            assert_int_equal(body[5], strlen(rows[i].joined));
            assert_memory_equal(body + 6, "\x03\x00", 2);
            assert_int_equal(body[8], n);     /* the counter of writes */
            assert_int_equal(body[8 + 5], 5); /* the epoch, from bit 40 on */
            assert_memory_equal(body + 16, rows[i].joined, strlen(rows[i].joined));
            assert_true(encoded.body_bytes <= chain_body_bytes_max(chain));
            memset(out, 0xee, BLOCK);
            assert_int_equal(
                decode(reader, 7, encoded.encoding, body, encoded.body_bytes, out, &why), 0);
            assert_memory_equal(out, plain, BLOCK);
            encoded_free(&encoded);
        }
        chain_close(chain);
        chain_close(reader);
    }
}

TEST(chain, a_store_that_drops_or_changes_content_encoding_does_no_harm_to_authentic_bodies)
{
    static const char *const others[] = { NULL, "", "identity", "squeeze", "gzip, wax", "\x01" };
    struct chain *chain = chain_of(format_2, "squeeze,wax"), *loose = chain_of(format_2, "squeeze");
    unsigned char plain[BLOCK], out[BLOCK];
    struct encoded sealed, open;
    struct error why = { "" };

    fill(plain, false);
    assert_int_equal(chain_encode(chain, 7, plain, &sealed, &why), 0);
    assert_int_equal(chain_encode(loose, 7, plain, &open, &why), 0);
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        memset(out, 0xee, BLOCK);
        assert_int_equal(decode(chain, 7, others[i], sealed.body, sealed.body_bytes, out, &why), 0);
        assert_memory_equal(out, plain, BLOCK);
        if (others[i] == NULL || strcmp(others[i], "squeeze") != 0)
            expect_refused(loose, 7, others[i], open.body, open.body_bytes, "nothing vouches");
    }
    encoded_free(&sealed);
    encoded_free(&open);
    chain_close(chain);
    chain_close(loose);
}

TEST(chain, every_changed_byte_of_an_authenticated_body_is_found_before_anything_is_decompressed)
{
    struct chain *chain = chain_of(format_2, "squeeze,wax");
    unsigned char plain[BLOCK];
    struct encoded encoded;
    struct error why = { "" };
    unsigned char *body;

    fill(plain, false);
    assert_int_equal(chain_encode(chain, 7, plain, &encoded, &why), 0);
    body = encoded.body;
    for (size_t i = 0; i < encoded.body_bytes; i++) {
        for (unsigned bit = 0; bit < 8; bit++) {
            body[i] ^= (unsigned char)(1u << bit);
            expect_refused(chain, 7, encoded.encoding, body, encoded.body_bytes, "");
            body[i] ^= (unsigned char)(1u << bit);
        }
        expect_refused(chain, 7, encoded.encoding, body, i, "");
    }
    encoded_free(&encoded);
    chain_close(chain);
}

static void
expect_not_written(struct chain_config config, const char *write_list, const char *reason)
{
    struct error why = { "" };
    struct chain *chain;

    config.write_list = write_list;
    if (chain_open(&config, pool, stats, &why, &chain) != -EINVAL
        || strstr(why.text, reason) == NULL)
        fail_msg("%s: \"%s\" instead of \"%s\"", write_list, why.text, reason);
}

TEST(chain, what_a_header_of_format_2_cannot_carry_is_refused_before_anything_is_written)
{
    static const char foreign[] = "bkd2\x01\x04\x03\0\0\0\0\0\0\0\0\0waxy and data";
    struct chain *chain = chain_of(format_2, LONG_4);

    assert_int_equal(strlen(chain_written(chain)), 255);
    chain_close(chain);
    expect_not_written(format_2, LONG_4 ",wax", "more than 255 characters");
    chain_close(chain_of(format_1, LONG_4 ",wax"));
    chain = chain_of(format_2, "wax");
    expect_refused(chain, 7, "waxy", foreign, sizeof foreign, "not authenticated");
    chain_close(chain);
}

TEST(chain, a_block_of_another_place_or_volume_is_refused)
{
    struct chain_config other_id = format_2, other_size = format_2;
    struct chain *chain = chain_of(format_2, "wax"), *others[2];
    unsigned char plain[BLOCK];
    struct encoded encoded;
    struct error why = { "" };

    other_id.volume_id[15] = 1;
    other_size.block_bytes = 2 * BLOCK;
    others[0] = chain_of(other_id, "wax");
    others[1] = chain_of(other_size, "wax");
    fill(plain, true);
    assert_int_equal(chain_encode(chain, 7, plain, &encoded, &why), 0);
    expect_refused(chain, 8, encoded.encoding, encoded.body, encoded.body_bytes, "wax");
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        expect_refused(others[i], 7, encoded.encoding, encoded.body, encoded.body_bytes, "wax");
        chain_close(others[i]);
    }
    encoded_free(&encoded);
    chain_close(chain);
}

TEST(chain, a_chain_that_encrypts_demands_it_of_what_it_reads)
{
    struct chain *chain = chain_of(format_1, "squeeze,wax");
    unsigned char plain[BLOCK];

    fill(plain, false);
    assert_true(chain_authenticates(chain));
    expect_refused(chain, 7, NULL, plain, BLOCK, "--accept-plain");
    expect_refused(chain, 7, "squeeze", plain, 9, "--accept-plain");
    expect_refused(chain, 7, "wax, squeeze", plain, 9, "not authenticated");
    chain_close(chain);
    chain = chain_of(format_2, "wax");
    expect_refused(chain, 7, "squeeze", "bkd2\x01\x07\0\0\0\0\0\0\0\0\0\0squeezetext", 27,
                   "not authenticated");
    chain_close(chain);
}

TEST(chain, plain_blocks_are_read_where_the_user_accepts_them_and_counted)
{
    struct chain_config config = format_1;
    unsigned char plain[BLOCK], out[BLOCK];
    struct chain *chain;
    struct error why = { "" };
    char *text;

    config.accepts_plain = true;
    chain = chain_of(config, "wax");
    fill(plain, false);
    assert_int_equal(decode(chain, 7, NULL, plain, BLOCK, out, &why), 0);
    assert_int_equal(decode(chain, 8, "squeeze", plain, 9, out, &why), 0);
    assert_memory_equal(out, plain, BLOCK);
    expect_refused(chain, 7, "wax, squeeze", plain, 9, "not authenticated");
    text = stats_text(stats);
    assert_non_null(text);
    assert_non_null(strstr(text, "plain_blocks_accepted"));
    free(text);
    chain_close(chain);
}

TEST(chain, a_volume_that_is_encrypted_is_not_written_without)
{
    struct chain_config config = format_1;
    struct error why = { "" };
    struct chain *chain;

    config.must_authenticate = true;
    config.write_list = "squeeze";
    assert_int_equal(chain_open(&config, pool, stats, &why, &chain), -EINVAL);
    assert_non_null(strstr(why.text, "the volume is encrypted"));
    config.write_list = "";
    assert_int_equal(chain_open(&config, pool, stats, &why, &chain), -EINVAL);
}

TEST(chain, compression_is_left_out_where_s3backer_could_not_read_the_list)
{
    struct chain_config config = format_1;
    struct chain *chain;

    config.list_bytes_max = CHAIN_S3BACKER_LIST_BYTES_MAX;
    chain = chain_of(config, "squeeze,wax-with-a-long-name-x86");
    assert_string_equal(chain_written(chain), "wax-with-a-long-name-x86");
    chain_close(chain);
    chain = chain_of(config, "squeeze,wax");
    assert_string_equal(chain_written(chain), "squeeze,wax");
    chain_close(chain);
}

TEST(chain, nothing_is_written_that_s3backer_could_not_read)
{
    struct chain_config config = format_1;

    config.list_bytes_max = CHAIN_S3BACKER_LIST_BYTES_MAX;
    expect_not_written(config, "squeeze,squeeze", "one codec that compresses");
    expect_not_written(config, "wax,wax-with-a-long-name-x86", "one that encrypts");
    config.list_bytes_max = 20;
    expect_not_written(config, "squeeze,wax-with-a-long-name-x86", "more than 20 characters");
    expect_not_written(config, "wax-with-a-long-name-x86", "more than 20 characters");
    chain_close(chain_of(format_2, "squeeze,squeeze,wax"));
}

TEST(chain, format_2_is_encrypted_only_by_what_binds)
{
    expect_not_written(format_2, "waxy", "format 2 demands");
    expect_not_written(format_2, "waxy,wax", "format 2 demands");
    expect_not_written(format_2, "wax,waxy", "format 2 demands");
    chain_close(chain_of(format_1, "waxy"));
}

TEST(chain, what_cannot_be_read_again_is_found_before_anything_is_written)
{
    static const char *const good[] = { "", "squeeze", "wax", "squeeze,wax", "twice" };
    static const char *const bad[] = { "broken", "twice,twice" };
    struct error why = { "" };

    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        struct chain *chain = chain_of(format_1, good[i]);

        if (chain_prove(chain, &why) != 0)
            fail_msg("%s: %s", good[i], why.text);
        chain_close(chain);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct chain *chain = chain_of(format_1, bad[i]);

        assert_int_equal(chain_prove(chain, &why), -EINVAL);
        assert_non_null(strstr(why.text, bad[i]));
        chain_close(chain);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        RUN(chain, format_2_gives_each_body_a_header_and_reads_it_back),
        RUN(chain, a_store_that_drops_or_changes_content_encoding_does_no_harm_to_authentic_bodies),
        RUN(chain,
            every_changed_byte_of_an_authenticated_body_is_found_before_anything_is_decompressed),
        RUN(chain, what_a_header_of_format_2_cannot_carry_is_refused_before_anything_is_written),
        RUN(chain, a_block_of_another_place_or_volume_is_refused),
        RUN(chain, a_chain_that_encrypts_demands_it_of_what_it_reads),
        RUN(chain, plain_blocks_are_read_where_the_user_accepts_them_and_counted),
        RUN(chain, a_volume_that_is_encrypted_is_not_written_without),
        RUN(chain, compression_is_left_out_where_s3backer_could_not_read_the_list),
        RUN(chain, nothing_is_written_that_s3backer_could_not_read),
        RUN(chain, format_2_is_encrypted_only_by_what_binds),
        RUN(chain, what_cannot_be_read_again_is_found_before_anything_is_written),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
