/* SPDX-License-Identifier: Apache-2.0 */
/* Small steps that tests of core/consistency.c are made of. */
#include "consistency_steps.h"

const struct rig_config rig_plain = { .settle_ns = 0 };
const struct rig_config rig_settling = { .settle_ns = 30 * NS_PER_S };
const struct rig_config rig_tags = { .tag_keep_ns = 60 * NS_PER_S, .tag_count_max = 8 };

void
store_block(struct rig *rig, uint64_t block, unsigned char fill, const char *tag)
{
    struct call call;

    call_write(rig, &call, block, fill);
    fake_answer_tag(fake_expect_block(&rig->fake, BD_PUT, block), BD_OK, tag);
    assert_int_equal(call_end(&call), 0);
}

void
store_with_lost_answer(struct rig *rig, uint64_t block, unsigned char fill)
{
    struct call call;

    call_write(rig, &call, block, fill);
    fake_answer(fake_expect_block(&rig->fake, BD_PUT, block), BD_UNKNOWN);
    fake_answer_tag(fake_expect_block(&rig->fake, BD_PUT, block), BD_OK, "second");
    assert_int_equal(call_end(&call), 0);
}

void
expect_zeros_without_request(struct rig *rig, uint64_t block)
{
    struct call call;

    call_read(rig, &call, block);
    call_expect_block(&call, 0);
    fake_expect_quiet(&rig->fake);
}

void
expect_read_asks(struct rig *rig, uint64_t block, unsigned char fill, const char *tag)
{
    struct call call;

    call_read(rig, &call, block);
    fake_give_block(fake_expect_block(&rig->fake, BD_GET, block), fill, tag);
    call_expect_block(&call, fill);
}

void
learn_zero(struct rig *rig, uint64_t block)
{
    struct call call;

    call_read(rig, &call, block);
    fake_answer(fake_expect_block(&rig->fake, BD_GET, block), BD_ABSENT);
    call_expect_block(&call, 0);
}

void
expect_held(struct rig *rig, struct call *call)
{
    rig_wait_held(rig, 1);
    clock_jump(rig->pool, 20 * NS_PER_S);
    fake_expect_quiet(&rig->fake);
    assert_false(call_is_done(call));
    clock_jump(rig->pool, 10 * NS_PER_S);
}
