/* SPDX-License-Identifier: Apache-2.0 */
/* What tells a volume that somebody copies to from one that is whole: the object "bucketdisk-copy".
 *
 * It is there from before the first block until after the last one, and no force goes over it: half a copy reads as zeros where
 * blocks are missing.  It says what the volume is a copy of, so that the copying can go on.
 *
 *   {"copy":1, "source":"<what tells it from all others>", "called":"<what people say>", "volume":"<32 hex, or nothing>",
 *    "encryption":"<token>", "disk_bytes":N, "block_bytes":N}
 *
 * Names need not be UTF-8, which JSON is: what is not is written %XX, and so is %.
 *
 * These functions wait for the store; of the layout they need the prefix alone. */
#ifndef CORE_COPYMARK_H
#define CORE_COPYMARK_H

#include "backend.h"
#include "base/error.h"
#include "layout.h"

#include <stdbool.h>

#define COPYMARK_OBJECT "bucketdisk-copy"

/* From zeros on; ended by copymark_clear. */
struct copymark {
    bool is_there;
    char *source, *called; /* NULL: it is damaged */
    char *volume;          /* the id of the source, of format 2; "": it has none */
    char *encryption;      /* of the copy: what encrypts its blocks, a token; "": nothing does */
    uint64_t disk_bytes;   /* this and the next: of the copy */
    uint64_t block_bytes;
};

/* Replaces *mark.  One that is damaged is there all the same. */
int copymark_read(struct backend *backend, const struct layout *layout, struct copymark *mark,
                  struct error *why);
/* -EINVAL: there is one, and how to go on. */
int copymark_refuse(struct backend *backend, const struct layout *layout, struct error *why);
/* Nothing is sent after until_ns (as of lease_await).  Sets *was_unknown, also when it fails: such a put may still be carried out. */
int copymark_put(struct backend *backend, const struct layout *layout, const struct copymark *mark,
                 uint64_t until_ns, bool *was_unknown, struct error *why);
/* The same.  From then on the volume is whole. */
int copymark_remove(struct backend *backend, const struct layout *layout, uint64_t until_ns,
                    bool *was_unknown, struct error *why);
void copymark_clear(struct copymark *mark);

#endif
