/* SPDX-License-Identifier: Apache-2.0 */
/* core/stack.c: what a mount finds and claims, over backend-memory; hosts that mount one volume share it. */
#include "backends.h"
#include "fake_crypto.h"

#include "base/util.h"
#include "keyslots.h"
#include "stack.h"
#include "token.h"

#include <errno.h>

#define DESCRIPTION "v/bucketdisk-volume"
#define BLOCK 512u
#define SIZES "--size=64K", "--block-size=512"
#define NEW SIZES, "--format=2"
#define SECRET NEW, "--codec=wax", "--password=secret"

/* One host with a command line; the store is the test's. */
static void
host_open(struct stack *stack, struct test_store *store, const char *const *options)
{
    char *argv[16] = { strdup("bucketdisk"), strdup("--prefix=v/") }, *words[16];
    struct error why = { "" };
    int argc = 2, count;

    memset(stack, 0, sizeof *stack);
    for (; *options != NULL; options++)
        argv[argc++] = strdup(*options);
    assert_int_equal(options_new(&stack->options), 0);
    assert_int_equal(options_add(stack->options, "", settings_rows, settings_row_count,
                                 sizeof settings_rows[0], &stack->settings, &why),
                     0);
    if (options_parse(stack->options, argc, argv, SETTINGS_SHORTS, words, &count, &why) != 0)
        fail_msg("%s", why.text);
    while (argc > 0)
        free(argv[--argc]);
    stack->plugins = fake_plugins;
    stack->backend = store->backend;
    stack->pool = store->pool;
    stack->stats = store->stats;
}

static void
host_close(struct stack *stack)
{
    memset(&stack->plugins, 0, sizeof stack->plugins);
    stack->backend = NULL;
    stack->pool = NULL;
    stack->stats = NULL;
    stack_close(stack);
}

#define HOST(stack, store, ...) host_open(stack, store, (const char *const[]){ __VA_ARGS__, NULL })

static void
detect(struct stack *stack)
{
    struct error why = { "" };

    if (stack_detect(stack, &why) != 0)
        fail_msg("%s", why.text);
}

/* Under the token of what was found. */
static int
try_claim(struct stack *stack, struct error *why)
{
    const struct token token = { .is_format_2 = stack->layout.is_format_2 };

    return stack_claim(stack, &token, why);
}

static void
claim(struct stack *stack)
{
    struct error why = { "" };

    if (try_claim(stack, &why) != 0)
        fail_msg("%s", why.text);
}

static void
expect_refused(struct stack *stack, int rc, const char *reason)
{
    struct error why = { "" };

    assert_int_equal(stack_detect(stack, &why), rc);
    if (strstr(why.text, reason) == NULL)
        fail_msg("\"%s\" instead of \"%s\"", why.text, reason);
}

/* A mount that finds, claims and ends. */
static void
mount_once(struct test_store *store, const char *const *options)
{
    struct stack stack;

    host_open(&stack, store, options);
    detect(&stack);
    claim(&stack);
    host_close(&stack);
}

#define MOUNT(store, ...) mount_once(store, (const char *const[]){ __VA_ARGS__, NULL })

static struct stored_manifest
stored(struct test_store *store)
{
    const struct layout layout = { .prefix = "v/" };
    struct stored_manifest found = { .is_there = false };
    struct error why = { "" };

    if (volume_manifest_read(store->backend, &layout, &found, &why) != 0)
        fail_msg("%s", why.text);
    return found;
}

static unsigned
stored_epoch(struct test_store *store)
{
    struct stored_manifest found = stored(store);
    unsigned epoch = found.manifest.epoch;

    assert_true(found.is_there);
    manifest_clear(&found.manifest);
    return epoch;
}

static unsigned
object_count(struct test_store *store)
{
    struct seen seen = { .count = 0 };
    unsigned pages, count;

    assert_int_equal(list(store, "", NULL, 1000, &seen, &pages), BD_OK);
    count = (unsigned)seen.count;
    seen_free(&seen);
    return count;
}

static int
setup(void **state)
{
    (void)state;
    memset(&fake_crypto, 0, sizeof fake_crypto);
    return 0;
}

/* ---- volumes of format 2 */

TEST(stack, a_volume_of_format_2_is_made_by_the_claim_and_not_before)
{
    struct stored_manifest found;
    struct stack stack;
    struct test_store store;

    memory_open(&store, NULL);
    HOST(&stack, &store, SECRET);
    detect(&stack);
    detect(&stack);
    assert_true(stack.is_new && stack.layout.is_format_2);
    assert_int_equal(object_count(&store), 0);
    assert_int_equal(fake_crypto.wraps, 0); /* which takes a second when it is a real one */
    claim(&stack);
    assert_int_equal(fake_crypto.wraps, 1);
    found = stored(&store);
    assert_int_equal(found.manifest.epoch, 1);
    assert_int_equal(found.manifest.disk_bytes, 65536);
    assert_int_equal(found.manifest.block_bytes, 512);
    assert_string_equal(found.manifest.codec, "wax");
    assert_int_equal(found.manifest.accepts.count, 1);
    assert_string_equal(found.manifest.accepts.tokens[0], "wax");
    assert_int_equal(found.manifest.key_id, 1);
    assert_non_null(found.manifest.slots[0].blob);
    manifest_clear(&found.manifest);
    assert_int_equal(object_count(&store), 2); /* with the fence */
    host_close(&stack);

    HOST(&stack, &store, "--password=secret");
    detect(&stack);
    assert_false(stack.is_new);
    assert_int_equal(stack.layout.block_count, 128);
    assert_string_equal(chain_written(stack.chain), "wax");
    host_close(&stack);
    store_close(&store);
}

static void
encode(struct stack *stack, struct encoded *out)
{
    static unsigned char plain[BLOCK];
    struct error why = { "" };

    memset(plain, 'p', sizeof plain);
    if (chain_encode(stack->chain, 5, plain, out, &why) != 0)
        fail_msg("%s", why.text);
}

static int
decode(struct stack *stack, const struct encoded *in)
{
    unsigned char plain[BLOCK];
    struct error why = { "" };

    return chain_decode(stack->chain, 5, in->encoding,
                        (struct bd_bytes){ in->body, in->body_bytes }, &in->attrs, plain, &why);
}

TEST(stack, each_mount_that_may_write_begins_an_epoch_and_a_reader_none)
{
    struct test_store store;

    memory_open(&store, NULL);
    MOUNT(&store, SECRET);
    for (unsigned epoch = 2; epoch < 5; epoch++) {
        struct envelope envelope;
        struct encoded encoded;
        struct error why;
        struct stack stack;
        size_t bytes;

        HOST(&stack, &store, "--password=secret", "--read-only");
        detect(&stack); /* which is all that a reader does */
        host_close(&stack);
        assert_int_equal(stored_epoch(&store), epoch - 1);

        HOST(&stack, &store, "--password=secret");
        detect(&stack);
        detect(&stack);
        claim(&stack);
        assert_int_equal(stored_epoch(&store), epoch);
        for (unsigned i = 0; i < 3; i++) {
            encode(&stack, &encoded);
            assert_int_equal(
                envelope_read(encoded.body, encoded.body_bytes, &envelope, &bytes, &why), 0);
            assert_int_equal(envelope.generation, (uint64_t)epoch << GENERATION_COUNTER_BITS | i);
            assert_int_equal(envelope.key_id, 1);
            encoded_free(&encoded);
        }
        host_close(&stack);
    }
    store_close(&store);
}

TEST(stack, after_the_last_epoch_no_mount_writes)
{
    struct stored_manifest found;
    struct keyring keyring = { .salt = NULL };
    const struct layout layout = { .prefix = "v/" };
    struct error why = { "" };
    struct stack stack;
    struct test_store store;
    unsigned slot;

    memory_open(&store, NULL);
    MOUNT(&store, SECRET);
    found = stored(&store);
    assert_int_equal(keyslots_open(&found.manifest, &fake_plugins, passphrase_text("secret"),
                                   &keyring, &slot, &why),
                     0);
    found.manifest.epoch = MANIFEST_EPOCH_MAX - 1;
    assert_int_equal(manifest_seal(&found.manifest, &keyring, &why), 0);
    assert_int_equal(volume_manifest_write(store.backend, &layout, &found, &why), 0);
    keyring_clear(&keyring);
    manifest_clear(&found.manifest);

    MOUNT(&store, "--password=secret");
    assert_int_equal(stored_epoch(&store), MANIFEST_EPOCH_MAX);
    HOST(&stack, &store, "--password=secret");
    detect(&stack); /* a reader still can */
    assert_int_equal(try_claim(&stack, &why), -EINVAL);
    assert_non_null(strstr(why.text, "16777215"));
    assert_int_equal(stored_epoch(&store), MANIFEST_EPOCH_MAX);
    host_close(&stack);
    store_close(&store);
}

/* Both have looked, and found nothing; the other one is faster. */
TEST(stack, a_volume_that_another_host_has_made_meanwhile_is_the_volume)
{
    struct encoded encoded;
    struct stack late;
    struct test_store store;

    memory_open(&store, NULL);
    HOST(&late, &store, SECRET);
    detect(&late);
    assert_true(late.is_new);

    MOUNT(&store, SECRET);
    detect(&late);
    assert_false(late.is_new);
    claim(&late);
    assert_int_equal(stored_epoch(&store), 2);
    encode(&late, &encoded);
    host_close(&late);

    /* It has written with the volume's key, not with the one that it had made up. */
    HOST(&late, &store, "--password=secret");
    detect(&late);
    assert_int_equal(decode(&late, &encoded), 0);
    encoded_free(&encoded);
    host_close(&late);
    store_close(&store);
}

TEST(stack, of_two_that_claim_at_once_one_has_the_volume)
{
    struct encoded encoded;
    struct stack first, second;
    struct error why = { "" };
    struct test_store store;

    memory_open(&store, NULL);
    for (unsigned i = 0; i < 2; i++) { /* new, and then an old one */
        HOST(&first, &store, SECRET);
        HOST(&second, &store, SECRET);
        detect(&first);
        detect(&second);
        claim(&first);
        assert_int_equal(try_claim(&second, &why), -EBUSY);
        assert_int_equal(stored_epoch(&store), i + 1);
        host_close(&second);
        encode(&first, &encoded);
        host_close(&first);
        HOST(&first, &store, "--password=secret");
        detect(&first);
        assert_int_equal(decode(&first, &encoded), 0);
        encoded_free(&encoded);
        host_close(&first);
    }
    store_close(&store);
}

/* The volume was made with another password meanwhile. */
TEST(stack, the_key_that_was_made_up_opens_nothing_that_somebody_else_made)
{
    struct stack late;
    struct test_store store;

    memory_open(&store, NULL);
    HOST(&late, &store, SECRET);
    detect(&late);
    MOUNT(&store, NEW, "--codec=wax", "--password=other");
    expect_refused(&late, -EKEYREJECTED, "the volume's only key slot");
    host_close(&late);
    store_close(&store);
}

/* Each step of the making of a volume is the last one of some daemon. */
TEST(stack, a_volume_that_was_only_begun_is_made_by_the_next_mount)
{
    static const struct layout layout = { .prefix = "v/", .is_format_2 = true };
    struct error why = { "" };
    struct test_store store;

    for (unsigned steps = 0; steps < 3; steps++) {
        struct stack stack;

        memory_open(&store, NULL);
        if (steps > 0)
            assert_int_equal(volume_fence_s3backer(store.backend, &layout, &why), 0);
        if (steps > 1)
            MOUNT(&store, SECRET);
        MOUNT(&store, SECRET);
        assert_int_equal(stored_epoch(&store), steps > 1 ? 2 : 1);
        HOST(&stack, &store, "--password=secret");
        detect(&stack);
        host_close(&stack);
        store_close(&store);
    }
}

TEST(stack, a_token_of_s3backer_keeps_format_2_off)
{
    struct error why = { "" };
    struct stack stack;
    struct test_store store;

    memory_open(&store, NULL);
    HOST(&stack, &store, SECRET);
    detect(&stack);
    put_with(&store, "v/s3backer-mounted", 4, NULL,
             (const char *const[4]){ "s3backer-mount-token", "00001234", NULL, NULL });
    assert_int_equal(try_claim(&stack, &why), -EBUSY);
    assert_int_equal(object_count(&store), 1);
    host_close(&stack);
    store_close(&store);
}

TEST(stack, a_description_that_was_changed_or_does_not_open_is_refused)
{
    struct stored_manifest found;
    const struct layout layout = { .prefix = "v/" };
    struct error why = { "" };
    struct stack stack;
    struct test_store store;

    memory_open(&store, NULL);
    MOUNT(&store, SECRET);
    HOST(&stack, &store, "--password=wrong");
    expect_refused(&stack, -EKEYREJECTED, "the volume's only key slot");
    host_close(&stack);
    HOST(&stack, &store, "--password=secret", "--format=1");
    expect_refused(&stack, -EINVAL, "--format=1");
    host_close(&stack);
    HOST(&stack, &store, "--password=secret", "--size=1M");
    expect_refused(&stack, -EINVAL, "--size");
    host_close(&stack);
    HOST(&stack, &store, "--password=secret", "--codec=");
    expect_refused(&stack, -EINVAL, "encrypted");
    host_close(&stack);

    found = stored(&store);
    found.manifest.disk_bytes *= 2;
    assert_int_equal(volume_manifest_write(store.backend, &layout, &found, &why), 0);
    HOST(&stack, &store, "--password=secret");
    expect_refused(&stack, -EKEYREJECTED, "without its key");
    host_close(&stack);
    found.manifest.accepts.count = 0; /* as if it were not encrypted */
    assert_int_equal(volume_manifest_write(store.backend, &layout, &found, &why), 0);
    HOST(&stack, &store, "--password=secret");
    expect_refused(&stack, -EINVAL, "not encrypted");
    host_close(&stack);
    manifest_clear(&found.manifest);
    assert_int_equal(put_text(&store, DESCRIPTION, "damaged"), BD_OK);
    HOST(&stack, &store, "--password=secret");
    expect_refused(&stack, -EBADMSG, "damaged");
    host_close(&stack);
    store_close(&store);
}

TEST(stack, a_passphrase_is_dropped_once_the_volume_key_is_there)
{
    struct stack stack;
    struct test_store store;

    memory_open(&store, NULL);
    HOST(&stack, &store, SECRET);
    detect(&stack);
    detect(&stack);
    assert_memory_equal(stack.keyring.passphrase.data, "secret", 6); /* for the first slot */
    assert_null(stack.settings.password);
    claim(&stack);
    assert_null(stack.keyring.passphrase.data);
    host_close(&stack);
    /* Found once, the volume must be the same under the token, and nobody is asked again. */
    for (unsigned i = 0; i < 3; i++) {
        HOST(&stack, &store, "--password=secret");
        detect(&stack);
        assert_null(stack.keyring.passphrase.data);
        assert_null(stack.settings.password);
        fake_crypto.unwraps = 0;
        if (i == 0) {
            detect(&stack);
            claim(&stack);
        } else if (i == 1) {
            struct stored_manifest found = stored(&store);
            char *text;

            found.manifest.accepts.count = 0;
            text = manifest_print(&found.manifest);
            assert_int_equal(put_text(&store, DESCRIPTION, text), BD_OK);
            free(text);
            manifest_clear(&found.manifest);
            expect_refused(&stack, -EINVAL, "says that it is not encrypted");
            host_close(&stack);
            assert_int_equal(delete_if(&store, DESCRIPTION, NULL), BD_OK);
            MOUNT(&store, SECRET);
            continue;
        } else {
            assert_int_equal(delete_if(&store, DESCRIPTION, NULL), BD_OK);
            expect_refused(&stack, -EBUSY, "is gone");
        }
        assert_int_equal(fake_crypto.unwraps, 0);
        host_close(&stack);
    }
    store_close(&store);
}

TEST(stack, format_2_without_a_password_is_not_encrypted)
{
    struct stored_manifest found;
    struct stack stack;
    struct test_store store;

    memory_open(&store, NULL);
    MOUNT(&store, NEW, "--codec=");
    found = stored(&store);
    assert_false(manifest_is_encrypted(&found.manifest));
    assert_null(found.manifest.slots[0].blob);
    assert_int_equal(found.manifest.key_id, 0);
    manifest_clear(&found.manifest);
    MOUNT(&store, "--codec=");
    assert_int_equal(stored_epoch(&store), 2);
    HOST(&stack, &store, "--password=secret");
    expect_refused(&stack, -EINVAL, "not encrypted");
    host_close(&stack);
    store_close(&store);
}

/* ---- formats */

TEST(stack, a_volume_has_the_format_that_it_was_made_with)
{
    struct stack stack;
    struct test_store store;

    memory_open(&store, NULL);
    /* Nothing but sizes: s3backer's, of which the claim makes nothing. */
    HOST(&stack, &store, SIZES);
    detect(&stack);
    assert_false(stack.layout.is_format_2);
    claim(&stack);
    assert_int_equal(object_count(&store), 0);
    host_close(&stack);
    /* What s3backer does not know. */
    HOST(&stack, &store, SIZES, "--codec=wax", "--password=secret");
    detect(&stack);
    assert_true(stack.layout.is_format_2);
    host_close(&stack);
    HOST(&stack, &store, SIZES, "--codec=wax", "--password=secret", "--format=1");
    expect_refused(&stack, -EINVAL, "\"wax\"");
    host_close(&stack);
    HOST(&stack, &store, NEW, "--codec=", "--password=secret");
    expect_refused(&stack, -EINVAL, "does not encrypt");
    host_close(&stack);
    HOST(&stack, &store, NEW, "--codec=wax");
    expect_refused(&stack, -EINVAL, "needs a password");
    host_close(&stack);
    /* A block without a description is of format 1. */
    put_with(&store, "v/00000000", 512, NULL,
             (const char *const[4]){ "s3backer-blocksize", "512", "s3backer-filesize", "65536" });
    HOST(&stack, &store, "--format=2");
    expect_refused(&stack, -EINVAL, "--format=2");
    host_close(&stack);
    HOST(&stack, &store, "--codec=wax", "--password=secret");
    expect_refused(&stack, -EINVAL, "s3backer does not know");
    host_close(&stack);
    HOST(&stack, &store, "--password=secret");
    expect_refused(&stack, -EINVAL, "not encrypted");
    host_close(&stack);
    store_close(&store);
}

TEST(stack, a_codec_whose_plugin_refuses_its_options_is_refused)
{
    struct stack stack;
    struct test_store store;

    memory_open(&store, NULL);
    fake_crypto.check = BD_INVALID;
    HOST(&stack, &store, SECRET);
    expect_refused(&stack, -EINVAL, "fake says no");
    host_close(&stack);
    /* What is not used is not asked. */
    HOST(&stack, &store, NEW, "--codec=");
    detect(&stack);
    host_close(&stack);
    fake_crypto.check = BD_OK;
    store_close(&store);
}

/* The description was there when the token was taken, and is not shown now; or the other way round. */
TEST(stack, the_token_of_another_format_claims_nothing)
{
    static const struct token lock = { .is_format_2 = true }, mounted = { .is_format_2 = false };
    struct error why = { "" };
    struct stack stack;
    struct test_store store;

    memory_open(&store, NULL);
    HOST(&stack, &store, SIZES);
    detect(&stack);
    assert_int_equal(stack_claim(&stack, &lock, &why), -EBUSY);
    assert_non_null(strstr(why.text, "format 1"));
    host_close(&stack);
    HOST(&stack, &store, SECRET);
    detect(&stack);
    assert_int_equal(stack_claim(&stack, &mounted, &why), -EBUSY);
    assert_non_null(strstr(why.text, "format 2"));
    host_close(&stack);
    assert_int_equal(object_count(&store), 0);
    store_close(&store);
}

/* ---- format 1 without sizes */

/* Block `block` as a host with this chain writes it, but without the sizes. */
static void
put_block(struct test_store *store, const char *name, const char *codec, const char *password,
          const char *block_size)
{
    struct backend_io *io = request(store, BD_PUT, name);
    unsigned char *plain;
    struct encoded encoded;
    struct error why = { "" };
    struct stack stack;

    HOST(&stack, store, "--size=64M", block_size, codec, password);
    detect(&stack);
    plain = calloc(1, stack.layout.block_bytes);
    plain[7] = 7;
    if (chain_encode(stack.chain, strtoull(name + 2, NULL, 16), plain, &encoded, &why) != 0)
        fail_msg("%s", why.text);
    io->io.body = encoded.body;
    io->io.body_bytes = encoded.body_bytes;
    io->io.encoding = encoded.encoding;
    assert_int_equal(run(io, NULL), BD_OK);
    encoded_free(&encoded);
    free(plain);
    host_close(&stack);
}

TEST(stack, the_block_size_of_encoded_blocks_is_found_by_decoding_one)
{
    static const struct {
        const char *codec, *password, *block_size;
        uint32_t block_bytes;
    } rows[] = {
        { "--codec=deflate", "--quiet", "--block-size=512", 512 },
        { "--codec=deflate", "--quiet", "--block-size=64M", 64 << 20 },
        { "--codec=encrypt-FAKE", "--password=secret", "--block-size=4096", 4096 },
        { "--codec=deflate,encrypt-FAKE", "--password=secret", "--block-size=1M", 1 << 20 },
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const char *name =
            i % 2 == 0 && rows[i].block_bytes < 1 << 20 ? "v/00000005" : "v/00000000";
        bool is_encrypted = strcmp(rows[i].password, "--quiet") != 0;
        struct stack stack;
        struct test_store store;

        memory_open(&store, NULL);
        put_block(&store, name, rows[i].codec, rows[i].password, rows[i].block_size);
        for (unsigned said = 0; said < 2; said++) {
            HOST(&stack, &store, "--size=64M", rows[i].password,
                 said ? rows[i].block_size : "--quiet");
            detect(&stack);
            detect(&stack);
            assert_int_equal(stack.layout.block_bytes, rows[i].block_bytes);
            assert_int_equal(stack.layout.block_count * rows[i].block_bytes, 64 << 20);
            assert_int_equal(chain_authenticates(stack.chain), is_encrypted);
            host_close(&stack);
        }
        HOST(&stack, &store, rows[i].password);
        expect_refused(&stack, -EINVAL, "give --size");
        host_close(&stack);
        HOST(&stack, &store, "--password=wrong", "--size=64M");
        if (is_encrypted)
            expect_refused(&stack, -EKEYREJECTED, "the password does not open the volume");
        host_close(&stack);
        store_close(&store);
    }
}

TEST(stack, a_block_that_does_not_decode_tells_no_block_size)
{
    static const struct {
        const char *encoding;
        uint64_t words; /* the body's first; 0: none */
        int rc;
        const char *reason;
    } rows[] = {
        { "deflate", 0, -EBADMSG, "--blockSize can" },
        { "deflate", (64ull << 20) + 1, -EBADMSG, "--blockSize can" },
        { "deflate", 3000, -EINVAL, "power of two" },
        { "nobodys", 0, -ENOTSUP, "nobodys" },
        { "encrypt-fake", 0, -EINVAL, "--password-file" },
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct backend_io *io;
        struct stack stack;
        struct test_store store;

        memory_open(&store, NULL);
        io = request(&store, BD_PUT, "v/00000005");
        io->io.body = &rows[i].words;
        io->io.body_bytes = rows[i].words != 0 ? 8 : 0;
        io->io.encoding = rows[i].encoding;
        assert_int_equal(run(io, NULL), BD_OK);
        HOST(&stack, &store, "--size=96K");
        expect_refused(&stack, rows[i].rc, rows[i].reason);
        host_close(&stack);
        store_close(&store);
    }
}

static void (*memory_info)(void *handle, struct bd_backend_info *out);

static void
small_info(void *handle, struct bd_backend_info *out)
{
    memory_info(handle, out);
    out->object_bytes_max = BLOCK;
}

TEST(stack, blocks_that_may_not_fit_into_an_object_are_refused_before_anything_is_stored)
{
    struct bd_backend small = *plugin_of("backend-memory")->backend;
    struct test_store store;
    struct stack stack;

    memory_info = small.info;
    small.info = small_info;
    store_init(&store);
    store_layer(&store, 0, "backend-memory", NULL);
    store.layers[0].table = &small;
    assert_int_equal(store_open(&store, 1), 0);

    HOST(&stack, &store, SECRET);
    expect_refused(&stack, -EFBIG, "needs a smaller --block-size");
    host_close(&stack);
    HOST(&stack, &store, SIZES);
    detect(&stack);
    host_close(&stack);
    store_close(&store);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        RUN(stack, a_volume_of_format_2_is_made_by_the_claim_and_not_before),
        RUN(stack, each_mount_that_may_write_begins_an_epoch_and_a_reader_none),
        RUN(stack, after_the_last_epoch_no_mount_writes),
        RUN(stack, a_volume_that_another_host_has_made_meanwhile_is_the_volume),
        RUN(stack, of_two_that_claim_at_once_one_has_the_volume),
        RUN(stack, the_key_that_was_made_up_opens_nothing_that_somebody_else_made),
        RUN(stack, a_volume_that_was_only_begun_is_made_by_the_next_mount),
        RUN(stack, a_token_of_s3backer_keeps_format_2_off),
        RUN(stack, a_description_that_was_changed_or_does_not_open_is_refused),
        RUN(stack, a_passphrase_is_dropped_once_the_volume_key_is_there),
        RUN(stack, format_2_without_a_password_is_not_encrypted),
        RUN(stack, a_volume_has_the_format_that_it_was_made_with),
        RUN(stack, the_token_of_another_format_claims_nothing),
        RUN(stack, a_codec_whose_plugin_refuses_its_options_is_refused),
        RUN(stack, the_block_size_of_encoded_blocks_is_found_by_decoding_one),
        RUN(stack, a_block_that_does_not_decode_tells_no_block_size),
        RUN(stack, blocks_that_may_not_fit_into_an_object_are_refused_before_anything_is_stored),
    };

    return cmocka_run_group_tests(tests, setup, NULL);
}
