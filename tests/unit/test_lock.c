/* SPDX-License-Identifier: Apache-2.0 */
/* core/lock.c: what a lock says. */
#include "tokens.h"

TEST(lock, a_lock_is_read_as_it_was_written)
{
    struct error why = { "" };
    struct lock lock;
    struct test_store store;

    memory_open(&store, NULL);
    put_beating(&store, rival_owner, 5);
    assert_int_equal(holder_look(store.backend, &token_layout, &lock, &why), 0);
    assert_true(lock_is_of(&lock, 0x42, rival_owner));
    assert_string_equal(lock_host(&lock), "rival");
    assert_int_equal(lock.lease.beat, 5);
    assert_int_equal(lock.lease.epoch, 4);
    assert_int_equal(lock.lease.lease_ms, 60000);
    assert_int_equal(lock.lease.settle_ms, 30000);
    assert_int_equal(lock.lease.at_s, 1700000000);
    assert_true(lock.tag[0] != '\0');
    store_close(&store);
}

TEST(lock, what_is_no_lease_of_ours_is_none)
{
    static const char *const leases[] = {
        "",
        "garbage",
        "beat=0 epoch=1 lease=60000 settle=30000 at=1",
        "beat=1 epoch=1 lease=0 settle=30000 at=1",
        "beat=1 epoch=1 lease=86400001 settle=30000 at=1",
        "beat=1 epoch=1 lease=60000 settle=86400001 at=1",
        "beat=1 epoch=1 lease=60000 settle=30000 at=9223372036854775807",
        "beat=1 epoch=1 lease=60000 settle=30000",
        "beat=1 epoch=1 lease=60000 settle=30000 at=1 and=more",
        "beat=01 epoch=1 lease=60000 settle=30000 at=1",
        "beat=-1 epoch=1 lease=60000 settle=30000 at=1",
        "beat=99999999999999999999999 epoch=1 lease=60000 settle=30000 at=1",
        " beat=1 epoch=1 lease=60000 settle=30000 at=1",
    };

    for (size_t i = 0; i < ARRAY_LEN(leases); i++) {
        struct error why = { "" };
        struct lock lock;
        struct test_store store;

        memory_open(&store, NULL);
        put_with(
            &store, TOKEN, 4, NULL,
            (const char *const[4]){ "bucketdisk-owner", "a b c d", "bucketdisk-lease", leases[i] });
        assert_int_equal(holder_look(store.backend, &token_layout, &lock, &why), 0);
        if (lock.lease.beat != 0 || lock.lease.lease_ms != 0)
            fail_msg("\"%s\" is a lease", leases[i]);
        store_close(&store);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        RUN(lock, a_lock_is_read_as_it_was_written),
        RUN(lock, what_is_no_lease_of_ours_is_none),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
