/* SPDX-License-Identifier: Apache-2.0 */
/* For tests of core/consistency.c: what they are set up with, and small steps. */
#ifndef UNIT_CONSISTENCY_STEPS_H
#define UNIT_CONSISTENCY_STEPS_H

#include "fake_backend.h"

extern const struct rig_config rig_plain;    /* nothing settles, no tag is remembered */
extern const struct rig_config rig_settling; /* within 30 seconds */
extern const struct rig_config rig_tags;     /* of 8 blocks, for a minute */

/* A block becomes known to have an object with this content. */
void store_block(struct rig *rig, uint64_t block, unsigned char fill, const char *tag);
/* A write whose first attempt gets no answer, and whose second one is done. */
void store_with_lost_answer(struct rig *rig, uint64_t block, unsigned char fill);
/* A block becomes known to have no object. */
void learn_zero(struct rig *rig, uint64_t block);
/* A read that asks nobody. */
void expect_zeros_without_request(struct rig *rig, uint64_t block);
/* A read that asks the store, which has this. */
void expect_read_asks(struct rig *rig, uint64_t block, unsigned char fill, const char *tag);
/* `call` has just been started, and is held until 30 seconds after what was lost before. */
void expect_held(struct rig *rig, struct call *call);

#endif
