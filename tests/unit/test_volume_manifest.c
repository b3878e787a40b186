/* SPDX-License-Identifier: Apache-2.0 */
/* core/volume_manifest.c over backend-memory: the description of a volume in the store, and the fence for s3backer; and
 * core/volume_erase.c, the end of both. */
#include "variant_store.h"

#include "base/clock.h"
#include "base/util.h"
#include "token.h"
#include "volume_erase.h"
#include "volume_manifest.h"

#include <errno.h>
#include <poll.h>
#include <time.h>

#define DESCRIPTION "v/bucketdisk-volume"
#define FENCE_OWNER "bucketdisk volume of format 2"

static const struct layout layout = { .prefix = "v/", .is_format_2 = true };

/* Pauses are not made. */
int
nanosleep(const struct timespec *time, struct timespec *rest)
{
    (void)time, (void)rest;
    return 0;
}

/* ---- descriptions */

static struct stored_manifest
new_manifest(void)
{
    return (struct stored_manifest){ .manifest = { .id = "0123456789abcde",
                                                   .disk_bytes = 1 << 20,
                                                   .block_bytes = 4096,
                                                   .epoch = 1,
                                                   .codec = "zstd" } };
}

static void
read_it(struct test_store *store, struct stored_manifest *stored)
{
    struct error why = { "" };

    memset(stored, 0, sizeof *stored);
    if (volume_manifest_read(store->backend, &layout, stored, &why) != 0)
        fail_msg("%s", why.text);
}

static int
write_it(struct test_store *store, struct stored_manifest *stored, struct error *why)
{
    why->text[0] = '\0';
    return volume_manifest_write(store->backend, &layout, stored, why);
}

static void
write_well(struct test_store *store, struct stored_manifest *stored)
{
    struct error why = { "" };

    if (write_it(store, stored, &why) != 0 || why.text[0] != '\0')
        fail_msg("%s", why.text);
}

static void
expect_epoch(struct test_store *store, unsigned epoch)
{
    struct stored_manifest stored;

    read_it(store, &stored);
    assert_true(stored.is_there);
    assert_int_equal(stored.manifest.epoch, epoch);
    manifest_clear(&stored.manifest);
}

TEST(volume_manifest, what_is_not_there_is_not_there)
{
    struct stored_manifest stored;
    struct test_store store;

    memory_open(&store, NULL);
    put_text(&store, "w/bucketdisk-volume", "another volume's");
    read_it(&store, &stored);
    assert_false(stored.is_there);
    assert_string_equal(stored.tag, "");
    store_close(&store);
}

TEST(volume_manifest, what_is_written_is_read_and_what_was_read_before_is_replaced)
{
    struct stored_manifest stored = new_manifest(), other;
    struct error why = { "" };
    struct test_store store;

    memory_open(&store, NULL);
    write_well(&store, &stored);
    assert_true(stored.is_there);
    read_it(&store, &other);
    assert_true(other.is_there);
    assert_string_equal(other.tag, stored.tag);
    assert_memory_equal(&other.manifest, &stored.manifest, sizeof other.manifest);
    /* Reading again frees what a read before has given. */
    other.manifest.slots[0].blob = strdup("blob");
    assert_int_equal(volume_manifest_read(store.backend, &layout, &other, &why), 0);
    assert_null(other.manifest.slots[0].blob);
    assert_int_equal(delete_if(&store, DESCRIPTION, NULL), BD_OK);
    assert_int_equal(volume_manifest_read(store.backend, &layout, &other, &why), 0);
    assert_false(other.is_there);
    assert_int_equal(other.manifest.epoch, 0);
    store_close(&store);
}

TEST(volume_manifest, a_damaged_or_oversized_one_is_there_and_no_good)
{
    static char huge[MANIFEST_BYTES_MAX + 1];
    static const struct {
        const char *text;
        size_t bytes;
        const char *reason;
    } rows[] = {
        { "", 0, "not JSON" },
        { "{\"format\":2", 11, "not JSON" },
        { "{\"format\":9}", 12, "format 9" },
        { huge, sizeof huge, "262145 bytes" },
        { huge, sizeof huge - 1, "not JSON" },
    };

    memset(huge, ' ', sizeof huge);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct stored_manifest stored = new_manifest();
        struct error why = { "" };
        struct test_store store;

        memory_open(&store, NULL);
        assert_int_equal(put(&store, DESCRIPTION, rows[i].text, rows[i].bytes), BD_OK);
        assert_int_equal(volume_manifest_read(store.backend, &layout, &stored, &why), -EBADMSG);
        if (strstr(why.text, DESCRIPTION) == NULL || strstr(why.text, rows[i].reason) == NULL)
            fail_msg("%s", why.text);
        assert_true(stored.is_there);
        manifest_clear(&stored.manifest);
        store_close(&store);
    }
}

TEST(volume_manifest, a_store_that_refuses_is_no_store_without_a_description)
{
    const char *const options[] = { "denied", "1000000", NULL };
    struct stored_manifest stored = new_manifest();
    struct error why = { "" };
    struct test_store store;

    memory_open(&store, options);
    assert_int_equal(volume_manifest_read(store.backend, &layout, &stored, &why), -EACCES);
    assert_false(stored.is_there);
    stored = new_manifest();
    assert_int_equal(write_it(&store, &stored, &why), -EACCES);
    assert_true(why.text[0] != '\0');
    assert_false(stored.is_there);
    store_close(&store);
}

TEST(volume_manifest, somebody_elses_change_is_not_lost)
{
    struct stored_manifest ours, theirs = new_manifest(), second = new_manifest();
    struct error why;
    struct test_store store;

    memory_open(&store, NULL);
    write_well(&store, &theirs);
    /* who thinks that there is none */
    assert_int_equal(write_it(&store, &second, &why), -EBUSY);
    assert_non_null(strstr(why.text, "somebody else"));
    /* who has read another */
    read_it(&store, &ours);
    theirs.manifest.epoch = 2;
    write_well(&store, &theirs);
    ours.manifest.epoch = 7;
    assert_int_equal(write_it(&store, &ours, &why), -EBUSY);
    expect_epoch(&store, 2);
    /* who has seen it taken away */
    read_it(&store, &ours);
    assert_int_equal(delete_if(&store, DESCRIPTION, NULL), BD_OK);
    assert_int_equal(write_it(&store, &ours, &why), -EBUSY);
    store_close(&store);
}

/* Two that begin the same epoch would write the same bytes; only one of them has begun it. */
TEST(volume_manifest, somebody_elses_same_change_is_not_taken_for_ours)
{
    struct stored_manifest ours, theirs = new_manifest();
    struct error why;
    struct test_store store;

    memory_open(&store, NULL);
    write_well(&store, &theirs);
    read_it(&store, &ours);
    theirs.manifest.epoch = 2;
    write_well(&store, &theirs);
    ours.manifest.epoch = 2;
    assert_int_equal(write_it(&store, &ours, &why), -EBUSY);
    store_close(&store);
}

TEST(volume_manifest, a_write_whose_answer_was_lost_is_found_to_be_ours)
{
    struct stored_manifest stored = new_manifest(), other;
    struct error why;
    struct test_store store;

    variant_fresh(&store);
    write_well(&store, &stored);
    assert_int_equal(stored.unknown_at_ns, 0);
    for (unsigned epoch = 2; epoch <= 4; epoch++) {
        variant.lost_puts = 1;
        stored.manifest.epoch = epoch;
        write_well(&store, &stored);
        expect_epoch(&store, epoch);
        assert_true(stored.unknown_at_ns != 0 && stored.unknown_at_ns <= clock_now_ns());
    }
    /* lost, and then somebody else's */
    read_it(&store, &other);
    variant.dropped_puts = 1;
    other.manifest.epoch = 5;
    write_well(&store, &other);
    stored.manifest.epoch = 6;
    variant.dropped_puts = 1;
    assert_int_equal(write_it(&store, &stored, &why), -EBUSY);
    expect_epoch(&store, 5);
    store_close(&store);
}

TEST(volume_manifest, conditions_are_used_where_they_can_be)
{
    static const struct {
        enum treatment conditions;
        bool has_no_tags;
        unsigned puts, conditioned; /* of one that makes it and one that changes it */
    } rows[] = {
        { HONOURS, false, 2, 2 },
        { IGNORES, false, 2, 2 },
        { REFUSES, false, 4, 2 },
        { HONOURS, true, 2, 1 }, /* without a tag there is nothing to hold on to */
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct stored_manifest stored = new_manifest();
        struct test_store store;

        variant_fresh(&store);
        variant.if_absent = variant.if_match = rows[i].conditions;
        variant.has_no_tags = rows[i].has_no_tags;
        write_well(&store, &stored);
        stored.manifest.epoch = 2;
        write_well(&store, &stored);
        expect_epoch(&store, 2);
        if (variant.puts != rows[i].puts || variant.puts_conditioned != rows[i].conditioned)
            fail_msg("row %zu: %u puts, %u", i, variant.puts, variant.puts_conditioned);
        store_close(&store);
    }
}

TEST(volume_manifest, sizes_and_names_are_the_volumes_and_the_user_may_only_agree)
{
    static const struct {
        uint64_t disk_bytes, block_bytes; /* the user's */
        uint64_t stored_disk_bytes;
        uint32_t stored_block_bytes;
        const char *reason; /* NULL: right */
    } rows[] = {
        { 0, 0, 1 << 20, 4096, NULL },
        { 1 << 20, 4096, 1 << 20, 4096, NULL },
        { 1 << 21, 0, 1 << 20, 4096, "leave --size" },
        { 0, 8192, 1 << 20, 4096, "leave --size" },
        { 0, 0, 1 << 20, 0, "power of two" },
        { 0, 0, 1 << 20, 4095, "power of two" },
        { 0, 0, 0, 4096, "multiple" },
        { 0, 0, 4097, 4096, "multiple" },
        { 0, 0, 512ull << 32, 512, "2^32" },
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct manifest manifest = { .disk_bytes = rows[i].stored_disk_bytes,
                                           .block_bytes = rows[i].stored_block_bytes,
                                           .is_hashed = true };
        const struct volume_wish wish = { .prefix = "v/",
                                          .disk_bytes = rows[i].disk_bytes,
                                          .block_bytes = rows[i].block_bytes };
        struct error why = { "" };
        struct layout found;
        int rc = volume_manifest_layout(&manifest, &wish, &found, &why);

        if (rows[i].reason != NULL) {
            if (rc != -EINVAL || strstr(why.text, rows[i].reason) == NULL)
                fail_msg("row %zu: %d, %s", i, rc, why.text);
            continue;
        }
        assert_int_equal(rc, 0);
        assert_true(found.is_hashed && found.is_format_2);
        assert_string_equal(found.prefix, "v/");
        assert_int_equal(found.block_bytes, 4096);
        assert_int_equal(found.block_count, 256);
    }
}

TEST(volume_manifest, a_hash_that_names_do_not_have_is_refused)
{
    for (unsigned i = 0; i < 4; i++) {
        const struct manifest manifest = { .disk_bytes = 1 << 20,
                                           .block_bytes = 4096,
                                           .is_hashed = i & 1 };
        const struct volume_wish wish = { .prefix = "v/", .is_hashed = i & 2 };
        struct error why = { "" };
        struct layout found;
        int rc = volume_manifest_layout(&manifest, &wish, &found, &why);

        assert_int_equal(rc, wish.is_hashed && !manifest.is_hashed ? -EINVAL : 0);
        if (rc == 0)
            assert_int_equal(found.is_hashed, manifest.is_hashed);
        else
            assert_non_null(strstr(why.text, "leave --blockHashPrefix out"));
    }
}

/* ---- the fence */

static int
fence(struct test_store *store, struct error *why)
{
    why->text[0] = '\0';
    return volume_fence_s3backer(store->backend, &layout, why);
}

static void
expect_fence(struct test_store *store)
{
    struct backend_io *io = request(store, BD_HEAD_OBJECT, TOKEN);
    const char *value, *owner;

    backend_submit_wait(io);
    assert_int_equal(io->status, BD_OK);
    value = backend_io_attr(io, "s3backer-mount-token", NULL);
    owner = backend_io_attr(io, "bucketdisk-owner", NULL);
    assert_true(value != NULL && owner != NULL);
    /* Neither no token nor the one of s3backer's shared disks: every s3backer keeps away. */
    assert_true(strtoul(value, NULL, 16) != 0 && strtoul(value, NULL, 16) != 0x7fffffff);
    assert_string_equal(owner, FENCE_OWNER);
    backend_io_free(io);
}

TEST(volume_fence, it_is_put_once_and_stays)
{
    struct error why;
    struct test_store store;

    variant_fresh(&store);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(fence(&store, &why), 0);
        expect_fence(&store);
    }
    assert_int_equal(variant.puts, 1);
    store_close(&store);
}

TEST(volume_fence, a_token_of_somebody_else_is_left_alone)
{
    static const char *const tokens[][4] = {
        { "s3backer-mount-token", "00001234", NULL, NULL }, /* s3backer's */
        { "s3backer-mount-token", "00001234", "bucketdisk-owner", "machine boot 1:2 host" },
        { NULL, NULL, NULL, NULL },
    };

    for (size_t i = 0; i < ARRAY_LEN(tokens); i++) {
        struct error why;
        struct test_store store;

        variant_fresh(&store);
        put_with(&store, TOKEN, 4, NULL, tokens[i]);
        variant.puts = 0;
        assert_int_equal(fence(&store, &why), -EBUSY);
        assert_non_null(strstr(why.text, "--reset-mounted-flag"));
        /* which came just now */
        variant.blind_heads = 1;
        assert_int_equal(fence(&store, &why), -EBUSY);
        assert_int_equal(variant.puts, 1);
        store_close(&store);
    }
}

TEST(volume_fence, one_that_somebody_else_has_just_put_is_as_good)
{
    struct error why;
    struct test_store store;

    variant_fresh(&store);
    assert_int_equal(fence(&store, &why), 0);
    variant.blind_heads = 1;
    assert_int_equal(fence(&store, &why), 0);
    variant.lost_puts = 1;
    assert_int_equal(delete_if(&store, TOKEN, NULL), BD_OK);
    assert_int_equal(fence(&store, &why), 0);
    expect_fence(&store);
    store_close(&store);
}

TEST(volume_fence, no_fence_is_no_success)
{
    struct error why;
    struct test_store store;

    /* A token is in the way, and gone when it is looked at. */
    variant_fresh(&store);
    put_text(&store, TOKEN, "s3backer's");
    variant.blind_heads = 2;
    assert_int_equal(fence(&store, &why), -EBUSY);
    assert_true(why.text[0] != '\0');
    store_close(&store);

    variant_fresh(&store);
    variant.first_denied_put = 1;
    assert_int_equal(fence(&store, &why), -EACCES);
    assert_true(why.text[0] != '\0');
    store_close(&store);
}

TEST(volume_fence, a_store_without_conditions_gets_it_without)
{
    struct error why;
    struct test_store store;

    variant_fresh(&store);
    variant.if_absent = REFUSES;
    assert_int_equal(fence(&store, &why), 0);
    expect_fence(&store);
    assert_int_equal(variant.puts, 2);
    store_close(&store);
}

/* ---- the end */

static bool
is_there(struct test_store *store, const char *name)
{
    return run(request(store, BD_HEAD_OBJECT, name), NULL) == BD_OK;
}

TEST(volume_erase, from_the_begin_on_it_is_no_volume_and_its_format_and_names_are_known_to_the_end)
{
    for (unsigned i = 0; i < 4; i++) {
        const struct layout erased = { .prefix = "v/", .is_format_2 = i & 1, .is_hashed = i & 2 };
        struct layout found = { .prefix = "v/" };
        struct stored_manifest stored = new_manifest();
        struct error why = { "" };
        struct test_store store;
        struct volume_erase erase;

        memory_open(&store, NULL);
        erase = (struct volume_erase){ .backend = store.backend, .layout = &erased };
        if (erased.is_format_2) {
            assert_int_equal(fence(&store, &why), 0);
            write_well(&store, &stored);
        }
        assert_int_equal(volume_erase_begin(&erase, &why), 0);
        assert_int_equal(volume_manifest_read(store.backend, &erased, &stored, &why), -EIDRM);
        assert_non_null(strstr(why.text, "bucketdisk erase"));
        assert_int_equal(volume_lock_format(store.backend, &found, &stored, &why), 0);
        assert_string_equal(why.text, "");
        assert_int_equal(found.is_format_2, erased.is_format_2);
        assert_int_equal(stored.manifest.is_hashed, erased.is_hashed);
        assert_int_equal(is_there(&store, TOKEN), erased.is_format_2);
        manifest_clear(&stored.manifest);

        if (!erased.is_format_2)
            put_text(&store, TOKEN, "the lock");
        assert_int_equal(volume_erase_end(&erase, &why), 0);
        assert_int_equal(is_there(&store, TOKEN), !erased.is_format_2);
        assert_false(is_there(&store, DESCRIPTION));
        assert_int_equal(erase.unknown_at_ns, 0);
        store_close(&store);
    }
}

TEST(volume_erase, who_may_not_delete_changes_nothing)
{
    struct stored_manifest stored = new_manifest();
    struct error why = { "" };
    struct test_store store;
    struct volume_erase erase;

    variant_fresh(&store);
    erase = (struct volume_erase){ .backend = store.backend, .layout = &layout };
    write_well(&store, &stored);
    variant.deletes_are_denied = true;
    assert_int_equal(volume_erase_begin(&erase, &why), -EACCES);
    assert_int_equal(erase.unknown_at_ns, 0);
    expect_epoch(&store, 1);
    manifest_clear(&stored.manifest);
    store_close(&store);
}

TEST(volume_erase, what_may_still_be_carried_out_is_told)
{
    struct error why = { "" };
    struct test_store store;
    struct volume_erase erase;

    variant_fresh(&store);
    erase = (struct volume_erase){ .backend = store.backend, .layout = &layout };
    variant.dropped_deletes = 1; /* the trial's, which means nothing */
    assert_int_equal(volume_erase_begin(&erase, &why), 0);
    assert_int_equal(erase.unknown_at_ns, 0);
    variant.dropped_puts = 1;
    assert_int_equal(volume_erase_begin(&erase, &why), 0);
    assert_int_not_equal(erase.unknown_at_ns, 0);
    erase.unknown_at_ns = 0;
    variant.dropped_deletes = 1;
    assert_int_equal(volume_erase_end(&erase, &why), 0);
    assert_int_not_equal(erase.unknown_at_ns, 0);
    store_close(&store);
}

/* ---- the end, with others about */

#define VOLUME_LOCK "v/bucketdisk-lock"
#define COPYMARK "v/bucketdisk-copy"
#define OURS "machine boot 1:2 here"

static const char *const our_lock[4] = { "s3backer-mount-token", "00000042", "bucketdisk-owner",
                                         OURS };
static const char *const other_lock[4] = { "s3backer-mount-token", "00000043", "bucketdisk-owner",
                                           "machine2 boot 1:2 there" };

/* A volume that is ours, with its description read. */
static void
hold(struct test_store *store, struct stored_manifest *stored, struct volume_erase *erase,
     uint64_t lease_ms)
{
    struct lease_config config = { .prefix = "v/",
                                   .is_format_2 = true,
                                   .lock = { .is_there = true,
                                             .value = 0x42,
                                             .owner = OURS,
                                             .lease = { .epoch = 1, .lease_ms = lease_ms } },
                                   .when = "20260101T000000Z" };
    struct error why = { "" };

    variant_fresh(store);
    *stored = new_manifest();
    assert_int_equal(fence(store, &why), 0);
    put_text(store, COPYMARK, "half a copy");
    write_well(store, stored);
    *erase =
        (struct volume_erase){ .backend = store->backend, .layout = &layout, .is_there = true };
    memcpy(erase->tag, stored->tag, sizeof erase->tag);
    config.backend = store->backend;
    config.pool = store->pool;
    config.since_ns = clock_now_ns();
    put_with(store, VOLUME_LOCK, 4, NULL, our_lock);
    if (lease_begin(&config, store->stats, &erase->lease, &why) != 0)
        fail_msg("%s", why.text);
}

static void
let_go(struct test_store *store, struct stored_manifest *stored, struct volume_erase *erase)
{
    lease_free(erase->lease);
    manifest_clear(&stored->manifest);
    store_close(store);
}

TEST(volume_erase, nothing_is_sent_by_who_may_have_lost_the_volume)
{
    for (unsigned is_taken = 0; is_taken < 2; is_taken++) {
        struct error why = { "" };
        struct stored_manifest stored;
        struct volume_erase erase;
        struct test_store store;
        uint64_t until_ns;

        hold(&store, &stored, &erase, 1000);
        if (is_taken)
            put_with(&store, VOLUME_LOCK, 8, NULL, other_lock);
        else /* nor does anybody tell */
            lease_stop(erase.lease);
        while (lease_check(erase.lease, &until_ns) == LEASE_HELD)
            poll(NULL, 0, 1);
        assert_int_equal(volume_erase_begin(&erase, &why), -EROFS);
        assert_non_null(strstr(why.text, "somebody else may have the volume by now: "));
        assert_int_equal(erase.unknown_at_ns, 0);
        assert_int_equal(volume_erase_end(&erase, &why), -EROFS);
        assert_non_null(strstr(why.text, "somebody else may have the volume by now: "));
        expect_epoch(&store, 1);
        expect_fence(&store);
        assert_true(is_there(&store, COPYMARK));
        let_go(&store, &stored, &erase);
    }
}

/* As by who took over while this machine was suspended, right after the lease was looked at. */
TEST(volume_erase, a_description_that_has_changed_is_left)
{
    struct error why = { "" };
    struct stored_manifest stored;
    struct volume_erase erase;
    struct test_store store;

    hold(&store, &stored, &erase, 60000);
    stored.manifest.epoch = 2;
    write_well(&store, &stored);
    assert_int_equal(volume_erase_begin(&erase, &why), -EROFS);
    assert_non_null(strstr(why.text, "has changed"));
    expect_epoch(&store, 2);

    /* One where none was. */
    erase.is_there = false;
    assert_int_equal(volume_erase_begin(&erase, &why), -EROFS);
    expect_epoch(&store, 2);

    /* One in the place of the mark. */
    erase.is_there = true;
    memcpy(erase.tag, stored.tag, sizeof erase.tag);
    assert_int_equal(volume_erase_begin(&erase, &why), 0);
    manifest_clear(&stored.manifest);
    stored = new_manifest();
    assert_int_equal(delete_if(&store, DESCRIPTION, NULL), BD_OK);
    write_well(&store, &stored);
    assert_int_equal(volume_erase_end(&erase, &why), -EROFS);
    expect_epoch(&store, 1);
    let_go(&store, &stored, &erase);
}

TEST(volume_erase, an_own_change_whose_answer_was_lost_is_nobody_elses)
{
    struct error why = { "" };
    struct stored_manifest stored;
    struct volume_erase erase;
    struct test_store store;

    hold(&store, &stored, &erase, 60000);
    variant.lost_puts = 1;
    if (volume_erase_begin(&erase, &why) != 0)
        fail_msg("%s", why.text);
    assert_int_not_equal(erase.unknown_at_ns, 0);
    assert_int_equal(volume_erase_end(&erase, &why), 0);
    assert_false(is_there(&store, DESCRIPTION));
    assert_false(is_there(&store, TOKEN));
    assert_false(is_there(&store, COPYMARK));
    let_go(&store, &stored, &erase);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        RUN(volume_manifest, what_is_not_there_is_not_there),
        RUN(volume_manifest, what_is_written_is_read_and_what_was_read_before_is_replaced),
        RUN(volume_manifest, a_damaged_or_oversized_one_is_there_and_no_good),
        RUN(volume_manifest, a_store_that_refuses_is_no_store_without_a_description),
        RUN(volume_manifest, somebody_elses_change_is_not_lost),
        RUN(volume_manifest, somebody_elses_same_change_is_not_taken_for_ours),
        RUN(volume_manifest, a_write_whose_answer_was_lost_is_found_to_be_ours),
        RUN(volume_manifest, conditions_are_used_where_they_can_be),
        RUN(volume_manifest, sizes_and_names_are_the_volumes_and_the_user_may_only_agree),
        RUN(volume_manifest, a_hash_that_names_do_not_have_is_refused),
        RUN(volume_fence, it_is_put_once_and_stays),
        RUN(volume_fence, a_token_of_somebody_else_is_left_alone),
        RUN(volume_fence, one_that_somebody_else_has_just_put_is_as_good),
        RUN(volume_fence, no_fence_is_no_success),
        RUN(volume_fence, a_store_without_conditions_gets_it_without),
        RUN(volume_erase,
            from_the_begin_on_it_is_no_volume_and_its_format_and_names_are_known_to_the_end),
        RUN(volume_erase, who_may_not_delete_changes_nothing),
        RUN(volume_erase, what_may_still_be_carried_out_is_told),
        RUN(volume_erase, nothing_is_sent_by_who_may_have_lost_the_volume),
        RUN(volume_erase, a_description_that_has_changed_is_left),
        RUN(volume_erase, an_own_change_whose_answer_was_lost_is_nobody_elses),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
