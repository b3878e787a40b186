/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of a check on a codec that is given what is damaged, foreign or made up.
 *
 * One that authenticates answers CORRUPT, always.  Another may not notice, but does not overrun its buffers, gives the
 * length that is asked for or CORRUPT, and is as good as before. */
#include "coder.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PLAIN_BYTES = 700, BOMB_BYTES = 300000 };

/* A block, encoded, and what it is from. */
struct block {
    struct coder coder;
    struct bd_bytes plain;
    struct coded coded;
};

static struct bd_bytes
body_of(const struct block *block)
{
    return (struct bd_bytes){ block->coded.data, block->coded.len };
}

/* False: the row has failed, or is skipped; nothing is to be ended. */
static bool
begin(struct check *check, struct block *block, size_t bytes, enum check_content content)
{
    unsigned char *plain = check_alloc(check, bytes);

    memset(block, 0, sizeof *block);
    if (!coder_encodes(check) || !coder_open(check, &block->coder))
        return false;
    check_fill(plain, bytes, content, 3);
    block->plain = (struct bd_bytes){ plain, bytes };
    if (coder_must_encode(&block->coder, coding_anywhere, block->plain, &block->coded))
        return true;
    coded_clear(&block->coded);
    coder_close(&block->coder);
    return false;
}

static void
end(struct block *block)
{
    if (!block->coder.check->is_failed)
        coder_gives_back(&block->coder, coding_anywhere, &block->coded, block->plain,
                         "the good block, after that");
    coded_clear(&block->coded);
    coder_close(&block->coder);
}

/* What a damaged block may be answered with.  False: the row has failed. */
static bool
expect_noticed(struct check *check, const struct coded *back, size_t plain_bytes, const char *what)
{
    const bool must = coder_has(check, BD_CODEC_AUTHENTICATES);

    if (back->status == BD_CORRUPT
        || (!must && back->status == BD_OK && (plain_bytes == 0 || back->len == plain_bytes)))
        return true;
    if (!must && back->status == BD_OK)
        check_fail(check, "%s: expected CORRUPT, or %zu bytes, came OK with %zu", what, plain_bytes,
                   back->len);
    else
        check_fail(check, "%s: expected CORRUPT, came %s", what, status_word(back->status));
    return false;
}

static bool
try_body(struct block *block, struct bd_bytes body, const char *what)
{
    struct coded back = coder_decode(&block->coder, coding_anywhere, body, &block->coded.attrs,
                                     block->plain.len, block->plain.len, true);

    return expect_noticed(block->coder.check, &back, block->plain.len, what);
}

static void
truncated_blocks_are_corrupt(struct check *check)
{
    struct block block;
    char what[96];

    if (!begin(check, &block, PLAIN_BYTES, CONTENT_TEXT))
        return;
    for (size_t len = 0; len < block.coded.len;
         len += len < 40 || len + 40 > block.coded.len ? 1 : 17) {
        snprintf(what, sizeof what, "%zu of %zu bytes", len, block.coded.len);
        if (!try_body(&block, (struct bd_bytes){ block.coded.data, len }, what))
            break;
    }
    end(&block);
}

static void
flipped_bits_are_corrupt(struct check *check)
{
    struct block block;
    char what[96];

    if (!begin(check, &block, PLAIN_BYTES, CONTENT_TEXT))
        return;
    for (size_t at = 0; at < block.coded.len; at++) {
        unsigned char *byte = &block.coded.data[at];
        const unsigned char bit = (unsigned char)(1u << at % 8);
        bool is_good;

        snprintf(what, sizeof what, "a bit of byte %zu of %zu flipped", at, block.coded.len);
        *byte ^= bit;
        is_good = try_body(&block, body_of(&block), what);
        *byte ^= bit;
        if (!is_good)
            break;
    }
    end(&block);
}

static void
longer_blocks_are_corrupt(struct check *check)
{
    struct block block;
    unsigned char *longer;

    if (!begin(check, &block, PLAIN_BYTES, CONTENT_TEXT))
        return;
    longer = check_alloc(check, block.coded.len + 16);
    memcpy(longer, block.coded.data, block.coded.len);
    try_body(&block, (struct bd_bytes){ longer, block.coded.len + 1 }, "one byte more");
    try_body(&block, (struct bd_bytes){ longer, block.coded.len + 16 }, "16 bytes more");
    end(&block);
}

static void
noise_is_corrupt(struct check *check)
{
    static const size_t sizes[] = { 0, 1, 2, 12, 24, 40, 64, 300, 5000 };
    struct block block;
    char what[96];

    if (!begin(check, &block, PLAIN_BYTES, CONTENT_TEXT))
        return;
    for (unsigned i = 0; i < 4 * ARRAY_LEN(sizes); i++) {
        const size_t bytes = sizes[i % ARRAY_LEN(sizes)];
        unsigned char *noise = check_alloc(check, bytes + 1);

        check_fill(noise, bytes, i % 7 == 6 ? CONTENT_ZEROS : CONTENT_NOISE, i);
        snprintf(what, sizeof what, "%zu bytes of noise", bytes);
        if (!try_body(&block, (struct bd_bytes){ noise, bytes }, what))
            break;
    }
    end(&block);
}

/* Little that says that it is much. */
static void
too_much_is_corrupt(struct check *check)
{
    static const size_t caps[] = { 1, 512, 4096, BOMB_BYTES - 1 };
    struct block block;
    char what[96];

    if (!begin(check, &block, BOMB_BYTES, CONTENT_ZEROS))
        return;
    for (size_t i = 0; i < ARRAY_LEN(caps) && !check->is_failed; i++) {
        struct coded back =
            coder_decode(&block.coder, coding_anywhere, body_of(&block), &block.coded.attrs,
                         caps[i], i % 2 == 0 ? 0 : caps[i], true);

        snprintf(what, sizeof what, "%d bytes with room for %zu", BOMB_BYTES, caps[i]);
        if (back.status != BD_CORRUPT)
            check_fail(check, "%s: expected CORRUPT, came %s", what, status_word(back.status));
    }
    end(&block);
}

static void
changed_attributes_are_corrupt(struct check *check)
{
    struct block block;
    struct coded back;

    if (!begin(check, &block, PLAIN_BYTES, CONTENT_TEXT))
        return;
    if (block.coded.attrs.count == 0) {
        coded_clear(&block.coded);
        coder_close(&block.coder);
        check_skip(check, "it adds none");
        return;
    }
    back = coder_decode(&block.coder, coding_anywhere, body_of(&block), NULL, PLAIN_BYTES,
                        PLAIN_BYTES, true);
    expect_noticed(check, &back, PLAIN_BYTES, "without attributes");
    for (uint32_t i = 0; i < block.coded.attrs.count; i++) {
        const struct bd_attr *attr = &block.coded.attrs.list[i];
        unsigned char *value = (unsigned char *)(uintptr_t)attr->value;

        if (attr->value_bytes == 0)
            continue;
        value[attr->value_bytes / 2] ^= 1;
        back = coder_decode(&block.coder, coding_anywhere, body_of(&block), &block.coded.attrs,
                            PLAIN_BYTES, PLAIN_BYTES, true);
        value[attr->value_bytes / 2] ^= 1;
        expect_noticed(check, &back, PLAIN_BYTES, attr->name);
    }
    end(&block);
}

/* ------------------------------------------------------------------ right bytes in the wrong place */

static void
other_places_are_corrupt(struct check *check)
{
    static const struct {
        struct coding_place place;
        const char *what;
    } others[] = {
        { { 8, "", 1 }, "under another block number" },
        { { 7, "zstd", 1 }, "under other inner tokens" },
        { { 7, "", 2 }, "in another generation" },
    };
    struct block block;

    if (!coder_has(check, BD_CODEC_BINDS)) {
        check_skip(check, "it does not say that it binds a block to its place");
        return;
    }
    if (!begin(check, &block, PLAIN_BYTES, CONTENT_TEXT))
        return;
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        struct coded back = coder_decode(&block.coder, others[i].place, body_of(&block),
                                         &block.coded.attrs, PLAIN_BYTES, PLAIN_BYTES, true);

        expect_noticed(check, &back, PLAIN_BYTES, others[i].what);
    }
    end(&block);
}

static void
other_keys_are_corrupt(struct check *check)
{
    struct check_host *host = check_host_new(check, 0);
    struct block block;
    struct coder other;
    struct coded back;

    if (!coder_has(check, BD_CODEC_AUTHENTICATES)) {
        check_skip(check, "it does not authenticate");
        return;
    }
    if (!begin(check, &block, PLAIN_BYTES, CONTENT_TEXT))
        return;
    host->key[0] ^= 1;
    host->passphrase = "another passphrase";
    if (coder_try(check, &other, host, check->codec->token) != BD_OK) {
        check_fail(check, "open with another key, beside this one: expected OK");
    } else {
        back = coder_decode(&other, coding_anywhere, body_of(&block), &block.coded.attrs,
                            PLAIN_BYTES, PLAIN_BYTES, true);
        expect_noticed(check, &back, PLAIN_BYTES, "under another key");
        coder_close(&other);
    }
    end(&block);
}

/* What only a codec that authenticates must notice. */
#define NOTICED(what) (must ? what " is CORRUPT" : what " is CORRUPT, or has the right length")

void
check_damage(struct check *check)
{
    for (uint32_t i = 0; i < check->plugin->desc.codec_count; i++) {
        const bool must = (check->plugin->codecs[i].traits & BD_CODEC_AUTHENTICATES) != 0;
        const struct check_row rows[] = {
            { NOTICED("a truncated block"), truncated_blocks_are_corrupt,
              "Sizes inside the data are never trusted" },
            { NOTICED("a block with a flipped bit"), flipped_bits_are_corrupt,
              "BD_CORRUPT (decode: what is stored is at fault)" },
            { NOTICED("a block with bytes behind it"), longer_blocks_are_corrupt,
              "BD_CORRUPT (decode: what is stored is at fault)" },
            { NOTICED("noise"), noise_is_corrupt, "Sizes inside the data are never trusted" },
            { "a block that needs more room than there is is CORRUPT", too_much_is_corrupt,
              "needing more is BD_CORRUPT" },
            { NOTICED("a block with changed attributes"), changed_attributes_are_corrupt,
              "BD_CORRUPT (decode: what is stored is at fault)" },
            { "a block from another place is CORRUPT", other_places_are_corrupt,
              "What an authenticating codec covers beside the data" },
            { "a block of another key is CORRUPT", other_keys_are_corrupt,
              "damaged or not authentic" },
        };

        codec_rows_of(check, i, rows, ARRAY_LEN(rows));
    }
}
