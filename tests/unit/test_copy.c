/* SPDX-License-Identifier: Apache-2.0 */
/* core/copy.c over two stores in memory: what is copied, what is not, what goes on, and what is told of what went wrong. */
#include "backends.h"

#include "base/util.h"
#include "chain.h"
#include "consistency.h"
#include "copy.h"
#include "copymark.h"

#include <errno.h>
#include <stdatomic.h>

#define BYTES 512u
#define BLOCKS 64u
#define NOBODY UINT64_MAX

/* A volume in memory.  Its layers are seen through `store`, which can be told to misbehave. */
struct side {
    struct test_store objects_store;
    struct plugins plugins; /* none */
    struct chain *chain;
    struct layout layout;
    struct objects *objects;
    struct store *below, store;
    uint64_t fail_block;    /* a write of it fails */
    uint64_t twist_block;   /* another byte is written of it */
    uint64_t lost_block;    /* reads find no object of it, whatever was listed */
    struct copy *stop_copy; /* stopped by the read of this block */
    uint64_t stop_block;
    atomic_uint reads, writes, there_now, there_peak;
};

struct passed {
    struct store_req req;
    struct store_req *of;
    struct side *side;
    unsigned char data[BYTES];
};

static void
passed_done(struct store_req *req)
{
    struct passed *passed = container_of(req, struct passed, req);
    struct store_req *of = passed->of;

    of->is_same = req->is_same;
    of->is_damaged = req->is_damaged;
    of->rc = req->rc;
    atomic_fetch_sub(&passed->side->there_now, 1);
    free(passed);
    of->done(of);
}

static void
side_submit(struct store *store, struct store_req *req)
{
    struct side *side = container_of(store, struct side, store);
    struct passed *passed = malloc(sizeof *passed);
    unsigned now = atomic_fetch_add(&side->there_now, 1) + 1;

    if (now > atomic_load(&side->there_peak))
        atomic_store(&side->there_peak, now);
    passed->side = side;
    passed->of = req;
    passed->req = *req;
    passed->req.done = passed_done;
    if (req->op == STORE_READ) {
        atomic_fetch_add(&side->reads, 1);
        if (side->stop_copy != NULL && req->block == side->stop_block)
            copy_stop(side->stop_copy);
        if (req->block == side->lost_block) {
            memset(req->data, 0, BYTES);
            req->version->is = VERSION_ABSENT;
            passed->req.rc = 0;
            passed_done(&passed->req);
            return;
        }
    }
    if (req->op == STORE_WRITE) {
        atomic_fetch_add(&side->writes, 1);
        memcpy(passed->data, req->data, BYTES);
        passed->req.data = passed->data;
        passed->data[7] ^= req->block == side->twist_block;
        if (req->block == side->fail_block) {
            passed->req.rc = -EIO;
            passed_done(&passed->req);
            return;
        }
    }
    store_submit(side->below, &passed->req);
}

static void
side_open(struct side *side, const char *prefix, uint64_t block_count)
{
    const struct chain_config chain = { .plugins = &side->plugins,
                                        .write_list = "",
                                        .block_bytes = BYTES };
    struct error why;

    memset(side, 0, sizeof *side);
    side->fail_block = side->twist_block = side->lost_block = NOBODY;
    side->store.submit = side_submit;
    side->layout =
        (struct layout){ .prefix = prefix, .block_bytes = BYTES, .block_count = block_count };
    memory_open(&side->objects_store, NULL);
    assert_int_equal(
        chain_open(&chain, side->objects_store.pool, side->objects_store.stats, &why, &side->chain),
        0);
    {
        const struct objects_config objects = { .layout = &side->layout,
                                                .attempt_ns = 30 * NS_PER_S,
                                                .retry_pause_ns = NS_PER_MS,
                                                .stall_read_ns = 120 * NS_PER_S,
                                                .stall_write_ns = 600 * NS_PER_S,
                                                .in_flight_max = 8 };
        const struct consistency_config consistency = { .layout = &side->layout, .listers_max = 2 };

        assert_int_equal(objects_new(&objects, side->objects_store.backend, side->chain,
                                     side->objects_store.pool, side->objects_store.stats,
                                     &side->objects),
                         0);
        assert_int_equal(consistency_new(&consistency, side->objects, side->objects_store.pool,
                                         side->objects_store.stats, &side->below),
                         0);
    }
}

/* A new daemon: what it knew of the store is gone. */
static void
side_forget(struct side *side)
{
    const struct consistency_config consistency = { .layout = &side->layout, .listers_max = 2 };

    consistency_free(side->below);
    assert_int_equal(consistency_new(&consistency, side->objects, side->objects_store.pool,
                                     side->objects_store.stats, &side->below),
                     0);
    atomic_store(&side->reads, 0);
    atomic_store(&side->writes, 0);
    side->fail_block = side->twist_block = side->lost_block = NOBODY;
}

static void
side_close(struct side *side)
{
    consistency_free(side->below);
    objects_free(side->objects);
    chain_close(side->chain);
    store_close(&side->objects_store);
}

/* ---- blocks as objects */

static void
object_put(struct side *side, uint64_t block, unsigned char fill, size_t bytes)
{
    unsigned char body[BYTES];
    object_name name;

    memset(body, fill, sizeof body);
    layout_block_name(&side->layout, block, name);
    assert_int_equal(put(&side->objects_store, name, body, bytes), BD_OK);
}

static void
object_delete(struct side *side, uint64_t block)
{
    object_name name;

    layout_block_name(&side->layout, block, name);
    assert_int_equal(delete_if(&side->objects_store, name, NULL), BD_OK);
}

/* The object of this block is full of this byte; -1: there is none. */
static void
expect_object(struct side *side, uint64_t block, int fill)
{
    unsigned char body[BYTES] = { 0 }, wanted[BYTES];
    size_t bytes = 0;
    object_name name;
    enum bd_status status;

    layout_block_name(&side->layout, block, name);
    status = get(&side->objects_store, name, body, sizeof body, &bytes);
    assert_int_equal(status, fill == -1 ? BD_ABSENT : BD_OK);
    if (fill == -1)
        return;
    memset(wanted, fill, sizeof wanted);
    assert_int_equal(bytes, BYTES);
    assert_memory_equal(body, wanted, BYTES);
}

static size_t
object_count(struct side *side)
{
    struct seen seen = { .count = 0 };
    unsigned pages;
    size_t count;

    assert_int_equal(list(&side->objects_store, side->layout.prefix, NULL, 1000, &seen, &pages),
                     BD_OK);
    count = seen.count;
    seen_free(&seen);
    return count;
}

/* ---- copies */

struct pair {
    struct side from, to;
    struct copy_config config;
    struct copy_counts counts;
    uint64_t named[4];
    unsigned named_count;
};

static void
pair_open(struct pair *pair, uint64_t from_count, uint64_t to_count)
{
    memset(pair, 0, sizeof *pair);
    side_open(&pair->from, "", from_count);
    side_open(&pair->to, "copy/", to_count);
    pair->to.layout.is_hashed = true;
    pair->config = (struct copy_config){
        .from = { &pair->from.store, pair->from.objects, &pair->from.layout, 2 },
        .to = { &pair->to.store, pair->to.objects, &pair->to.layout, 2 },
        .pool = pair->to.objects_store.pool,
        .blocks_max = 8,
    };
}

static void
pair_close(struct pair *pair)
{
    side_close(&pair->from);
    side_close(&pair->to);
}

static int
pair_copy(struct pair *pair)
{
    const uint64_t *named;
    struct copy *copy;
    int rc;

    assert_int_equal(copy_new(&pair->config, &copy), 0);
    if (pair->from.stop_block != 0)
        pair->from.stop_copy = copy;
    copy_start(copy);
    assert_true(copy_wait(copy, 20000, &rc));
    copy_counts(copy, &pair->counts);
    named = copy_named(copy, &pair->named_count);
    for (unsigned i = 0; i < pair->named_count && i < 4; i++)
        pair->named[i] = named[i];
    copy_free(copy);
    pair->from.stop_copy = NULL;
    pair->from.stop_block = 0;
    return rc;
}

/* Once more, by another process. */
static int
pair_again(struct pair *pair)
{
    side_forget(&pair->from);
    side_forget(&pair->to);
    pair->config.is_begun = true;
    return pair_copy(pair);
}

static void
expect_counts(const struct pair *pair, uint64_t copied, uint64_t present, uint64_t damaged,
              uint64_t differing)
{
    assert_int_equal(pair->counts.copied, copied);
    assert_int_equal(pair->counts.present, present);
    assert_int_equal(pair->counts.damaged, damaged);
    assert_int_equal(pair->counts.differing, differing);
}

static const uint64_t some[] = { 0, 3, 7, 8, 40, 63 };
#define SOME (sizeof some / sizeof some[0])

static void
pair_open_with_some(struct pair *pair)
{
    pair_open(pair, BLOCKS, BLOCKS);
    for (size_t i = 0; i < SOME; i++)
        object_put(&pair->from, some[i], (unsigned char)(some[i] + 1), BYTES);
}

static void
expect_some(struct pair *pair)
{
    for (size_t i = 0; i < SOME; i++)
        expect_object(&pair->to, some[i], (int)some[i] + 1);
}

TEST(copy, what_exists_is_copied_and_nothing_else_is_looked_at)
{
    struct pair pair;

    pair_open_with_some(&pair);
    assert_int_equal(pair_copy(&pair), 0);
    expect_counts(&pair, SOME, 0, 0, 0);
    assert_int_equal(pair.counts.total, SOME);
    assert_int_equal(pair.from.reads, SOME);
    expect_some(&pair);
    assert_int_equal(object_count(&pair.to), SOME);
    pair_close(&pair);
}

TEST(copy, zeros_that_are_an_object_become_none)
{
    struct pair pair;

    pair_open(&pair, BLOCKS, BLOCKS);
    object_put(&pair.from, 0, 0, BYTES);
    object_put(&pair.from, 5, 0, BYTES);
    assert_int_equal(pair_copy(&pair), 0);
    expect_object(&pair.to, 0, 0);
    expect_object(&pair.to, 5, -1);
    pair_close(&pair);
}

TEST(copy, block_0_is_an_object_of_the_copy_whatever_the_source_has)
{
    struct pair pair;

    pair_open(&pair, BLOCKS, BLOCKS);
    object_put(&pair.from, 5, 6, BYTES);
    assert_int_equal(pair_copy(&pair), 0);
    expect_object(&pair.to, 0, 0);
    expect_object(&pair.to, 5, 6);
    pair_close(&pair);
}

TEST(copy, what_is_there_already_costs_no_body)
{
    struct pair pair;

    pair_open_with_some(&pair);
    assert_int_equal(pair_copy(&pair), 0);
    assert_int_equal(pair_again(&pair), 0);
    expect_counts(&pair, 0, SOME, 0, 0);
    assert_int_equal(pair.from.reads, 0);
    assert_int_equal(pair.to.reads + pair.to.writes, 0);
    pair_close(&pair);
}

TEST(copy, what_has_changed_at_the_source_since_is_copied_again_and_what_is_gone_goes)
{
    struct pair pair;

    pair_open_with_some(&pair);
    assert_int_equal(pair_copy(&pair), 0);
    object_put(&pair.from, 7, 99, BYTES);
    object_put(&pair.from, 9, 98, BYTES);
    object_delete(&pair.from, 40);
    assert_int_equal(pair_again(&pair), 0);
    expect_counts(&pair, 3, SOME - 2, 0, 0);
    expect_object(&pair.to, 7, 99);
    expect_object(&pair.to, 9, 98);
    expect_object(&pair.to, 40, -1);
    assert_int_equal(object_count(&pair.to), SOME);
    pair_close(&pair);
}

TEST(copy, a_block_that_does_not_say_what_it_is_a_copy_of_is_copied_again)
{
    struct pair pair;

    pair_open_with_some(&pair);
    object_put(&pair.to, 7, 55, BYTES);
    object_put(&pair.to, 20, 55, BYTES);
    assert_int_equal(pair_again(&pair), 0);
    expect_some(&pair);
    expect_object(&pair.to, 20, -1);
    pair_close(&pair);
}

TEST(copy, blocks_behind_the_end_of_a_source_that_was_larger_go)
{
    struct pair pair;

    pair_open(&pair, 16, BLOCKS);
    object_put(&pair.from, 15, 1, BYTES);
    object_put(&pair.to, 16, 55, BYTES);
    object_put(&pair.to, 63, 55, BYTES);
    assert_int_equal(pair_again(&pair), 0);
    expect_object(&pair.to, 15, 1);
    assert_int_equal(object_count(&pair.to), 2); /* and block 0 */
    pair_close(&pair);
}

TEST(copy, a_damaged_block_is_named_and_left_out)
{
    struct pair pair;

    pair_open_with_some(&pair);
    object_put(&pair.from, 7, 8, BYTES - 1);
    assert_int_equal(pair_copy(&pair), 0);
    expect_counts(&pair, SOME - 1, 0, 1, 0);
    assert_int_equal(pair.named_count, 1);
    assert_int_equal(pair.named[0], 7);
    expect_object(&pair.to, 7, -1);
    expect_object(&pair.to, 8, 9);
    pair_close(&pair);
}

TEST(copy, a_block_that_was_copied_stays_when_the_source_is_damaged_since)
{
    struct pair pair;

    pair_open_with_some(&pair);
    assert_int_equal(pair_copy(&pair), 0);
    object_put(&pair.from, 7, 8, BYTES - 1);
    assert_int_equal(pair_again(&pair), 0);
    expect_counts(&pair, 0, SOME - 1, 1, 0);
    expect_some(&pair);
    pair_close(&pair);
}

TEST(copy, a_damaged_block_becomes_zeros_if_that_is_asked_for)
{
    struct pair pair;

    pair_open_with_some(&pair);
    assert_int_equal(pair_copy(&pair), 0);
    object_put(&pair.from, 7, 8, BYTES - 1);
    pair.config.zeros_damaged = true;
    assert_int_equal(pair_again(&pair), 0);
    expect_counts(&pair, 0, SOME - 1, 1, 0);
    assert_int_equal(pair.named[0], 7);
    expect_object(&pair.to, 7, -1);
    pair_close(&pair);
}

TEST(copy, a_look_writes_nothing_and_counts_what_is_different)
{
    struct pair pair;

    pair_open_with_some(&pair);
    object_put(&pair.from, 9, 0, BYTES);
    assert_int_equal(pair_copy(&pair), 0);
    pair.config.is_look = true;
    assert_int_equal(pair_again(&pair), 0);
    expect_counts(&pair, 0, SOME + 1, 0, 0); /* zeros that are an object have none in the copy */
    object_put(&pair.from, 7, 8, BYTES);     /* another object, with the same bytes */
    assert_int_equal(pair_again(&pair), 0);
    expect_counts(&pair, 0, SOME + 1, 0, 0);
    object_put(&pair.from, 7, 99, BYTES);
    object_delete(&pair.to, 40);
    assert_int_equal(pair_again(&pair), 0);
    expect_counts(&pair, 0, SOME - 1, 0, 2);
    assert_int_equal(pair.named_count, 2);
    assert_int_equal(pair.to.writes, 0);
    expect_object(&pair.to, 7, 8);
    expect_object(&pair.to, 40, -1);
    pair_close(&pair);
}

/* Of a good store only somebody else can take it away. */
TEST(copy, a_block_that_is_listed_and_then_not_given_is_damaged)
{
    struct pair pair;

    pair_open_with_some(&pair);
    pair.from.lost_block = 7;
    assert_int_equal(pair_copy(&pair), 0);
    expect_counts(&pair, SOME - 1, 0, 1, 0);
    assert_int_equal(pair.named_count, 1);
    assert_int_equal(pair.named[0], 7);
    expect_object(&pair.to, 7, -1);
    expect_object(&pair.to, 8, 9);
    assert_int_equal(pair_again(&pair), 0); /* it was a moment's lie */
    expect_counts(&pair, 1, SOME - 1, 0, 0);
    expect_some(&pair);
    pair_close(&pair);
}

TEST(copy, block_0_that_is_listed_and_then_not_given_is_damaged)
{
    struct pair pair;

    pair_open_with_some(&pair);
    pair.from.lost_block = 0;
    assert_int_equal(pair_copy(&pair), 0);
    expect_counts(&pair, SOME - 1, 0, 1, 0);
    expect_object(&pair.to, 0, -1);
    pair_close(&pair);
}

TEST(copy, no_zeros_go_over_a_good_block_that_the_source_does_not_give_any_more)
{
    struct pair pair;

    pair_open_with_some(&pair);
    assert_int_equal(pair_copy(&pair), 0);
    side_forget(&pair.from);
    side_forget(&pair.to);
    pair.config.is_begun = pair.config.verifies = true;
    pair.from.lost_block = 7;
    assert_int_equal(pair_copy(&pair), 0);
    expect_counts(&pair, 0, SOME - 1, 1, 0);
    expect_some(&pair);
    pair.config.zeros_damaged = true;
    assert_int_equal(pair_copy(&pair), 0);
    expect_counts(&pair, 0, SOME - 1, 1, 0);
    assert_int_equal(pair.named[0], 7);
    expect_object(&pair.to, 7, -1);
    pair_close(&pair);
}

TEST(copy, a_block_may_go_while_somebody_writes_to_the_source)
{
    struct pair pair;

    pair_open_with_some(&pair);
    pair.config.is_changing = true;
    pair.from.lost_block = 7;
    assert_int_equal(pair_copy(&pair), 0);
    expect_counts(&pair, SOME, 0, 0, 0);
    expect_object(&pair.to, 7, -1);
    pair_close(&pair);
}

TEST(copy, what_reads_back_otherwise_than_it_was_written_is_told)
{
    struct pair pair;

    pair_open_with_some(&pair);
    pair.to.twist_block = 8;
    assert_int_equal(pair_copy(&pair), 0); /* nobody looks */
    expect_counts(&pair, SOME, 0, 0, 0);
    pair.config.verifies = true;
    assert_int_equal(pair_again(&pair), 0); /* mended */
    expect_counts(&pair, 1, SOME - 1, 0, 0);
    expect_some(&pair);
    object_delete(&pair.to, 8);
    side_forget(&pair.from);
    side_forget(&pair.to);
    pair.to.twist_block = 8;
    assert_int_equal(pair_copy(&pair), 0);
    expect_counts(&pair, 0, SOME - 1, 0, 1);
    assert_int_equal(pair.named_count, 1);
    assert_int_equal(pair.named[0], 8);
    pair_close(&pair);
}

TEST(copy, verifying_believes_no_origin)
{
    struct pair pair;
    struct backend_io *io;
    struct attrs attrs = { 0 };
    unsigned char body[BYTES] = { 77 };
    object_name name;
    char tag[BD_TAG_BYTES_MAX + 1];

    pair_open_with_some(&pair);
    assert_int_equal(pair_copy(&pair), 0);
    /* Somebody has replaced the object, and kept what it says of itself. */
    layout_block_name(&pair.from.layout, 8, name);
    assert_int_equal(run(request(&pair.from.objects_store, BD_HEAD_OBJECT, name), tag), BD_OK);
    assert_int_equal(attrs_add(&attrs, ATTR_ORIGIN, tag, strlen(tag)), 0);
    layout_block_name(&pair.to.layout, 8, name);
    io = request(&pair.to.objects_store, BD_PUT, name);
    io->io.body = body;
    io->io.body_bytes = sizeof body;
    io->io.attrs = attrs.list;
    io->io.attr_count = attrs.count;
    io->io.attr_stride = sizeof *attrs.list;
    assert_int_equal(run(io, NULL), BD_OK);
    attrs_clear(&attrs);
    assert_int_equal(pair_again(&pair), 0);
    expect_counts(&pair, 0, SOME, 0, 0);
    pair.config.verifies = true;
    assert_int_equal(pair_again(&pair), 0);
    expect_counts(&pair, 1, SOME - 1, 0, 0);
    expect_some(&pair);
    pair_close(&pair);
}

TEST(copy, a_write_that_fails_ends_it_and_the_rest_follows_later)
{
    struct pair pair;

    pair_open_with_some(&pair);
    pair.to.fail_block = 8;
    assert_int_equal(pair_copy(&pair), -EIO);
    assert_true(pair.counts.copied < SOME);
    assert_int_equal(pair_again(&pair), 0);
    assert_int_equal(pair.counts.copied + pair.counts.present, SOME);
    expect_some(&pair);
    pair_close(&pair);
}

TEST(copy, stopped_in_the_middle_it_goes_on_where_it_was)
{
    enum { MANY = 2000, MIDDLE = 1000 };
    struct pair pair;

    pair_open(&pair, MANY, MANY);
    for (unsigned i = 0; i < MANY; i++)
        object_put(&pair.from, i, (unsigned char)(i % 250 + 1), BYTES);
    pair.from.stop_block = MIDDLE;
    assert_int_equal(pair_copy(&pair), -ECANCELED);
    assert_in_range(pair.counts.copied, MIDDLE - 2 * pair.config.blocks_max, MIDDLE);
    assert_int_equal(object_count(&pair.to), pair.counts.copied);
    assert_int_equal(pair_again(&pair), 0);
    assert_in_range(pair.counts.present, MIDDLE - 2 * pair.config.blocks_max, MIDDLE);
    assert_int_equal(pair.counts.copied + pair.counts.present, MANY);
    for (unsigned i = 0; i < MANY; i++)
        expect_object(&pair.to, i, (int)(i % 250 + 1));
    pair_close(&pair);
}

TEST(copy, many_are_on_their_way_and_no_more_than_was_said)
{
    struct pair pair;

    pair_open(&pair, 500, 500);
    for (unsigned i = 0; i < 500; i++)
        object_put(&pair.from, i, 1, BYTES);
    assert_int_equal(pair_copy(&pair), 0);
    assert_in_range(pair.from.there_peak, 2, pair.config.blocks_max);
    assert_in_range(pair.to.there_peak, 1, pair.config.blocks_max);
    pair_close(&pair);
}

TEST(copymark, says_what_is_copied_until_it_is_removed)
{
    const struct copymark wish = { .source = (char[]){ "where \"it\" is, 100%\xff" },
                                   .called = (char[]){ "\xc3\xa4%41" },
                                   .volume = (char[]){ "0123" },
                                   .encryption = (char[]){ "aes" },
                                   .disk_bytes = 1ull << 40,
                                   .block_bytes = 65536 };
    struct copymark mark = { .is_there = false };
    struct error why = { "" };
    bool was_unknown = false;
    struct side side;

    side_open(&side, "a/", 1);
    assert_int_equal(copymark_read(side.objects_store.backend, &side.layout, &mark, &why), 0);
    assert_false(mark.is_there);
    assert_int_equal(copymark_refuse(side.objects_store.backend, &side.layout, &why), 0);
    assert_int_equal(copymark_put(side.objects_store.backend, &side.layout, &wish, UINT64_MAX,
                                  &was_unknown, &why),
                     0);
    assert_int_equal(copymark_read(side.objects_store.backend, &side.layout, &mark, &why), 0);
    assert_true(mark.is_there);
    assert_string_equal(mark.source, wish.source);
    assert_string_equal(mark.called, wish.called);
    assert_string_equal(mark.volume, "0123");
    assert_string_equal(mark.encryption, "aes");
    assert_int_equal(mark.disk_bytes, wish.disk_bytes);
    assert_int_equal(mark.block_bytes, 65536);
    assert_int_equal(copymark_refuse(side.objects_store.backend, &side.layout, &why), -EINVAL);
    assert_non_null(strstr(why.text, "a copy of \xc3\xa4%41 that is not complete"));
    assert_int_equal(
        copymark_remove(side.objects_store.backend, &side.layout, UINT64_MAX, &was_unknown, &why),
        0);
    assert_int_equal(copymark_refuse(side.objects_store.backend, &side.layout, &why), 0);
    copymark_clear(&mark);
    side_close(&side);
}

TEST(copymark, one_that_is_damaged_is_there_all_the_same)
{
    static const char negative[] =
        "{\"copy\":1,\"source\":\"s\",\"called\":\"c\",\"volume\":\"\",\"encryption\":\"\","
        "\"disk_bytes\":-1,\"block_bytes\":512}";
    static const char unsaid[] = "{\"copy\":1,\"source\":\"s\",\"called\":\"c\","
                                 "\"disk_bytes\":512,\"block_bytes\":512}";
    static const char *const texts[] = { "", "{", "{\"copy\":2,\"source\":\"s\"}", negative,
                                         unsaid };
    struct copymark mark = { .is_there = false };
    struct error why = { "" };
    struct side side;

    side_open(&side, "a/", 1);
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        assert_int_equal(put_text(&side.objects_store, "a/" COPYMARK_OBJECT, texts[i]), BD_OK);
        assert_int_equal(copymark_read(side.objects_store.backend, &side.layout, &mark, &why), 0);
        assert_true(mark.is_there);
        assert_null(mark.source);
        assert_int_equal(copymark_refuse(side.objects_store.backend, &side.layout, &why), -EINVAL);
    }
    copymark_clear(&mark);
    side_close(&side);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        RUN(copy, what_exists_is_copied_and_nothing_else_is_looked_at),
        RUN(copy, zeros_that_are_an_object_become_none),
        RUN(copy, block_0_is_an_object_of_the_copy_whatever_the_source_has),
        RUN(copy, what_is_there_already_costs_no_body),
        RUN(copy, what_has_changed_at_the_source_since_is_copied_again_and_what_is_gone_goes),
        RUN(copy, a_block_that_does_not_say_what_it_is_a_copy_of_is_copied_again),
        RUN(copy, blocks_behind_the_end_of_a_source_that_was_larger_go),
        RUN(copy, a_damaged_block_is_named_and_left_out),
        RUN(copy, a_block_that_was_copied_stays_when_the_source_is_damaged_since),
        RUN(copy, a_damaged_block_becomes_zeros_if_that_is_asked_for),
        RUN(copy, a_look_writes_nothing_and_counts_what_is_different),
        RUN(copy, a_block_that_is_listed_and_then_not_given_is_damaged),
        RUN(copy, block_0_that_is_listed_and_then_not_given_is_damaged),
        RUN(copy, no_zeros_go_over_a_good_block_that_the_source_does_not_give_any_more),
        RUN(copy, a_block_may_go_while_somebody_writes_to_the_source),
        RUN(copy, what_reads_back_otherwise_than_it_was_written_is_told),
        RUN(copy, verifying_believes_no_origin),
        RUN(copy, a_write_that_fails_ends_it_and_the_rest_follows_later),
        RUN(copy, stopped_in_the_middle_it_goes_on_where_it_was),
        RUN(copy, many_are_on_their_way_and_no_more_than_was_said),
        RUN(copymark, says_what_is_copied_until_it_is_removed),
        RUN(copymark, one_that_is_damaged_is_there_all_the_same),
    };

    return cmocka_run_group_tests_name("copy", tests, NULL, NULL);
}
