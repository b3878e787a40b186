/* SPDX-License-Identifier: Apache-2.0 */
/* core/seal.c, over a chain of the ciphers of fake_crypto.h: one of format 2, and s3backer's, which keeps an attribute. */
#include "fake_crypto.h"

#include "base/stats.h"
#include "chain.h"
#include "seal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK 4096u

struct sealing {
    struct pool *pool;
    struct stats *stats;
    struct keyring keyring;
    struct chain *chain;
    unsigned char plain[BLOCK], sealed[BLOCK + SEAL_BYTES], opened[BLOCK];
};

static struct sealing *
sealing_new(const char *list, bool is_format_2)
{
    struct sealing *sealing = calloc(1, sizeof *sealing);
    struct chain_config config = { .plugins = &fake_plugins,
                                   .keyring = &sealing->keyring,
                                   .block_bytes = BLOCK,
                                   .write_list = list,
                                   .must_authenticate = true,
                                   .is_format_2 = is_format_2,
                                   .key_id = 1 };
    struct error why = { "" };

    assert_int_equal(pool_new(1, &sealing->pool), 0);
    assert_int_equal(stats_new(&sealing->stats), 0);
    fake_keyring(&sealing->keyring, 1);
    if (!is_format_2)
        assert_int_equal(
            keyring_set_passphrase(&sealing->keyring, (struct bd_bytes){ "secret", 6 }, "salt"), 0);
    if (chain_open(&config, sealing->pool, sealing->stats, &why, &sealing->chain) != 0)
        fail_msg("%s", why.text);
    for (unsigned i = 0; i < BLOCK; i++)
        sealing->plain[i] = (unsigned char)(i * 7 + i / 256);
    return sealing;
}

static void
sealing_free(struct sealing *sealing)
{
    chain_close(sealing->chain);
    keyring_clear(&sealing->keyring);
    pool_free(sealing->pool);
    stats_free(sealing->stats);
    free(sealing);
}

static void
expect_round(const char *list, bool is_format_2)
{
    struct sealing *sealing = sealing_new(list, is_format_2);

    assert_int_equal(seal_block(sealing->chain, 5, sealing->plain, BLOCK, sealing->sealed), 0);
    assert_null(memmem(sealing->sealed, sizeof sealing->sealed, sealing->plain, 32));
    assert_int_equal(seal_open(sealing->chain, 5, sealing->sealed, BLOCK, sealing->opened), 0);
    assert_memory_equal(sealing->opened, sealing->plain, BLOCK);
    sealing_free(sealing);
}

TEST(seal, what_was_sealed_can_be_opened)
{
    expect_round(FAKE_CODEC, true);
    expect_round("encrypt-aes-128-cbc", false);
}

TEST(seal, no_changed_byte_gives_another_block)
{
    struct sealing *sealing = sealing_new(FAKE_CODEC, true);
    unsigned silent = 0;

    assert_int_equal(seal_block(sealing->chain, 5, sealing->plain, BLOCK, sealing->sealed), 0);
    for (unsigned i = 0; i < sizeof sealing->sealed; i++) {
        sealing->sealed[i] ^= 1;
        if (seal_open(sealing->chain, 5, sealing->sealed, BLOCK, sealing->opened) == 0) {
            /* What is padding may change: it says nothing. */
            assert_memory_equal(sealing->opened, sealing->plain, BLOCK);
            silent++;
        }
        sealing->sealed[i] ^= 1;
    }
    assert_true(silent < SEAL_BYTES);
    sealing_free(sealing);
}

TEST(seal, it_is_bound_to_its_block)
{
    struct sealing *sealing = sealing_new(FAKE_CODEC, true);

    assert_int_equal(seal_block(sealing->chain, 5, sealing->plain, BLOCK, sealing->sealed), 0);
    assert_int_equal(seal_open(sealing->chain, 6, sealing->sealed, BLOCK, sealing->opened),
                     -EBADMSG);
    sealing_free(sealing);
}

TEST(seal, lengths_that_lie_are_found)
{
    static const uint32_t lengths[] = {
        0, 1, BLOCK, BLOCK + SEAL_BYTES - 5, BLOCK + SEAL_BYTES - 4, BLOCK + SEAL_BYTES, UINT32_MAX
    };
    struct sealing *sealing = sealing_new(FAKE_CODEC, true);

    assert_int_equal(seal_block(sealing->chain, 5, sealing->plain, BLOCK, sealing->sealed), 0);
    for (unsigned i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        memcpy(sealing->sealed + sizeof sealing->sealed - 4, &lengths[i], 4);
        assert_int_not_equal(seal_open(sealing->chain, 5, sealing->sealed, BLOCK, sealing->opened),
                             0);
    }
    memset(sealing->sealed, 'x', sizeof sealing->sealed - 4); /* no word has an end */
    memcpy(sealing->sealed + sizeof sealing->sealed - 4, &(uint32_t){ BLOCK }, 4);
    assert_int_equal(seal_open(sealing->chain, 5, sealing->sealed, BLOCK, sealing->opened),
                     -EBADMSG);
    sealing_free(sealing);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        RUN(seal, what_was_sealed_can_be_opened),
        RUN(seal, no_changed_byte_gives_another_block),
        RUN(seal, it_is_bound_to_its_block),
        RUN(seal, lengths_that_lie_are_found),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
