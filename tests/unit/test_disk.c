/* SPDX-License-Identifier: Apache-2.0 */
/* core/disk.c: which parts a range of bytes becomes, and how their ends become one. */
#include "test.h"

#include "base/util.h"
#include "disk.h"

#include <errno.h>
#include <stdlib.h>

#define BLOCK 1024u
#define PARTS_MAX 16

/* A store that keeps what comes, and answers when told. */
static struct {
    struct store store;
    struct store_req *parts[PARTS_MAX];
    unsigned count;
} below;

static void
keep(struct store *store, struct store_req *req)
{
    (void)store;
    assert_true(below.count < PARTS_MAX);
    below.parts[below.count++] = req;
}

static const struct disk disk = { .next = &below.store,
                                  .block_bytes = BLOCK,
                                  .bytes = 1000 * BLOCK };
static unsigned done_count;

static void
disk_done(struct disk_req *req)
{
    (void)req;
    done_count++;
}

static void
start(struct disk_req *req, enum disk_op op, uint64_t offset, uint64_t bytes, void *data)
{
    below.store.submit = keep;
    below.count = done_count = 0;
    *req = (struct disk_req){
        .op = op, .offset = offset, .bytes = bytes, .data = data, .rc = 99, .done = disk_done
    };
    disk_submit(&disk, req);
}

static void
finish(unsigned first_failing, int rc)
{
    for (unsigned i = 0; i < below.count; i++) {
        assert_int_equal(done_count, 0);
        store_done(below.parts[i], i >= first_failing ? rc - (int)(i - first_failing) : 0);
    }
    assert_int_equal(done_count, 1);
}

static void
expect_part(unsigned i, enum store_op op, uint64_t block, uint32_t offset, uint32_t bytes,
            const void *data)
{
    assert_true(i < below.count);
    assert_int_equal(below.parts[i]->op, op);
    assert_int_equal(below.parts[i]->block, block);
    assert_int_equal(below.parts[i]->offset, offset);
    assert_int_equal(below.parts[i]->bytes, bytes);
    assert_ptr_equal(below.parts[i]->data, data);
}

TEST(disk, a_range_inside_one_block_is_one_part)
{
    struct disk_req req;
    char data[8];

    start(&req, DISK_READ, 5 * BLOCK + 3, 8, data);
    assert_int_equal(below.count, 1);
    expect_part(0, STORE_READ, 5, 3, 8, data);
    finish(1, 0);
    assert_int_equal(req.rc, 0);
}

TEST(disk, a_torn_range_is_split_at_block_borders)
{
    static char data[3 * BLOCK];
    struct disk_req req;

    start(&req, DISK_WRITE, 6 * BLOCK - 10, 2 * BLOCK + 15, data);
    assert_int_equal(below.count, 4);
    expect_part(0, STORE_WRITE, 5, BLOCK - 10, 10, data);
    expect_part(1, STORE_WRITE, 6, 0, BLOCK, data + 10);
    expect_part(2, STORE_WRITE, 7, 0, BLOCK, data + 10 + BLOCK);
    expect_part(3, STORE_WRITE, 8, 0, 5, data + 10 + 2 * BLOCK);
    finish(4, 0);
    assert_int_equal(req.rc, 0);
}

TEST(disk, the_first_failure_is_the_answer_and_comes_when_all_parts_have_ended)
{
    static char data[4 * BLOCK];
    struct disk_req req;

    start(&req, DISK_WRITE, 0, 4 * BLOCK, data);
    finish(2, -EIO);
    assert_int_equal(req.rc, -EIO);
}

TEST(disk, the_last_byte_of_the_disk_can_be_read)
{
    struct disk_req req;
    char data;

    start(&req, DISK_READ, disk.bytes - 1, 1, &data);
    assert_int_equal(below.count, 1);
    expect_part(0, STORE_READ, 999, BLOCK - 1, 1, &data);
    finish(1, 0);
    start(&req, DISK_READ, disk.bytes, 0, &data);
    assert_int_equal(below.count, 0);
    assert_int_equal(done_count, 1);
    assert_int_equal(req.rc, 0);
}

TEST(disk, a_zeroed_range_is_three_parts_at_most)
{
    struct disk_req req;

    start(&req, DISK_ZERO, 10, disk.bytes - 20, NULL);
    assert_int_equal(below.count, 3);
    expect_part(0, STORE_WRITE, 0, 10, BLOCK - 10, NULL);
    expect_part(1, STORE_ZERO, 1, 0, 0, NULL);
    assert_int_equal(below.parts[1]->count, 998);
    expect_part(2, STORE_WRITE, 999, 0, BLOCK - 10, NULL);
    finish(3, 0);

    start(&req, DISK_ZERO, 0, disk.bytes, NULL);
    assert_int_equal(below.count, 1);
    expect_part(0, STORE_ZERO, 0, 0, 0, NULL);
    assert_int_equal(below.parts[0]->count, 1000);
    finish(1, 0);

    start(&req, DISK_ZERO, BLOCK, BLOCK + 1, NULL);
    assert_int_equal(below.count, 2);
    expect_part(0, STORE_ZERO, 1, 0, 0, NULL);
    expect_part(1, STORE_WRITE, 2, 0, 1, NULL);
    finish(2, 0);
}

TEST(disk, a_zeroed_range_without_a_whole_block_is_written)
{
    struct disk_req req;

    start(&req, DISK_ZERO, 10, 20, NULL);
    assert_int_equal(below.count, 1);
    expect_part(0, STORE_WRITE, 0, 10, 20, NULL);
    finish(1, 0);
    start(&req, DISK_ZERO, BLOCK - 1, 2, NULL);
    assert_int_equal(below.count, 2);
    expect_part(0, STORE_WRITE, 0, BLOCK - 1, 1, NULL);
    expect_part(1, STORE_WRITE, 1, 0, 1, NULL);
    finish(2, 0);
    start(&req, DISK_ZERO, 5, 0, NULL);
    assert_int_equal(done_count, 1);
    assert_int_equal(below.count, 0);
}

TEST(disk, a_flush_is_passed_on_with_its_answer)
{
    struct disk_req req;

    start(&req, DISK_FLUSH, 0, 0, NULL);
    assert_int_equal(below.count, 1);
    expect_part(0, STORE_FLUSH, 0, 0, 0, NULL);
    finish(0, -EIO);
    assert_int_equal(req.rc, -EIO);
}

/* Seek from `offset`; the store answers `rc` and `block`. */
static int
seek(enum disk_op op, uint64_t offset, int rc, uint64_t block, uint64_t *found)
{
    struct disk_req req;

    start(&req, op, offset, 0, NULL);
    assert_int_equal(below.count, 1);
    expect_part(0, STORE_SEEK, offset / BLOCK, 0, 0, NULL);
    assert_int_equal(below.parts[0]->count, 1000);
    assert_int_equal(below.parts[0]->want_data, op == DISK_SEEK_DATA);
    below.parts[0]->block = block;
    store_done(below.parts[0], rc);
    assert_int_equal(done_count, 1);
    *found = req.offset;
    return req.rc;
}

TEST(disk, a_seek_stays_where_it_is_or_goes_to_the_start_of_a_block)
{
    uint64_t found;

    assert_int_equal(seek(DISK_SEEK_DATA, 3 * BLOCK + 7, 0, 3, &found), 0);
    assert_int_equal(found, 3 * BLOCK + 7);
    assert_int_equal(seek(DISK_SEEK_HOLE, 3 * BLOCK + 7, 0, 5, &found), 0);
    assert_int_equal(found, 5 * BLOCK);
    assert_int_equal(seek(DISK_SEEK_DATA, 3 * BLOCK, -ENXIO, 0, &found), -ENXIO);
    assert_int_equal(seek(DISK_SEEK_DATA, 3 * BLOCK, -EIO, 0, &found), -EIO);
}

TEST(disk, the_end_of_the_disk_is_a_hole)
{
    struct disk_req req;
    uint64_t found;

    assert_int_equal(seek(DISK_SEEK_HOLE, 7, -ENXIO, 0, &found), 0);
    assert_int_equal(found, disk.bytes);
    for (unsigned i = 0; i < 2; i++) {
        start(&req, i == 0 ? DISK_SEEK_DATA : DISK_SEEK_HOLE, disk.bytes, 0, NULL);
        assert_int_equal(below.count, 0);
        assert_int_equal(req.rc, -ENXIO);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        RUN(disk, a_range_inside_one_block_is_one_part),
        RUN(disk, a_torn_range_is_split_at_block_borders),
        RUN(disk, the_first_failure_is_the_answer_and_comes_when_all_parts_have_ended),
        RUN(disk, the_last_byte_of_the_disk_can_be_read),
        RUN(disk, a_zeroed_range_is_three_parts_at_most),
        RUN(disk, a_zeroed_range_without_a_whole_block_is_written),
        RUN(disk, a_flush_is_passed_on_with_its_answer),
        RUN(disk, a_seek_stays_where_it_is_or_goes_to_the_start_of_a_block),
        RUN(disk, the_end_of_the_disk_is_a_hole),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
