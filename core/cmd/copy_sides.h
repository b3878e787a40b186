/* SPDX-License-Identifier: Apache-2.0 */
/* The two volumes of `bucketdisk copy`: opened, held against each other, the destination taken and given back. */
#ifndef CORE_CMD_COPY_SIDES_H
#define CORE_CMD_COPY_SIDES_H

#include "copy.h"
#include "copymark.h"
#include "locallock.h"
#include "progress.h"
#include "stack.h"
#include "token.h"

#include <signal.h>

/* What has become of the destination. */
enum copy_outcome {
    COPY_REFUSED,    /* nothing was written */
    COPY_INCOMPLETE, /* it is marked, or may be */
    COPY_COMPLETE,
    COPY_WAS_COMPLETE, /* and still is: it was looked at, and nothing was written */
};

struct copy_settings {
    uint8_t verify, while_mounted, zero_damaged, json;
};

/* One command at work. */
struct copying {
    struct stack from, to;
    struct copy_settings settings,
        ignored; /* said of the destination, which is both or neither; of the source */
    char *from_identity, *from_volume, *to_identity, *to_volume;
    struct copymark mark; /* of the destination */
    struct locallock *lock;
    struct token token;
    bool is_repeated; /* the destination is a complete copy already */
    bool has_token;
    bool is_mark_unknown; /* a put or removal of the mark may still be carried out */
    struct copy *copy;
    struct copy_counts counts;
    struct progress progress;
    uint64_t began_ns, ended_ns; /* of the copying */
    sigset_t held, before;       /* signals */
    bool is_interrupted;
    enum copy_outcome outcome;
};

/* As a reader; -EBUSY: somebody may write to it. */
int copy_open_source(struct copying *copying, const char *location, struct error *why);
/* Whoever has the source mounted may write to it. */
int copy_refuse_mounted(const struct copying *copying, struct error *why);
/* The same, and nobody has had it mounted since it was opened, as far as it tells. */
int copy_refuse_changed(const struct copying *copying, struct error *why);
/* After the source: it is empty, or a copy of that, begun or complete, and fits.  Nothing is stored. */
int copy_open_destination(struct copying *copying, const char *location, struct error *why);
/* From here on nobody else writes to the destination, and it is marked.  With signals held; -EINTR: one came. */
int copy_take_destination(struct copying *copying, struct error *why);
/* The volume goes back, the mark stays unless the copy is complete.  Also after failures of all of these. */
int copy_give_back(struct copying *copying, struct error *why);

#endif
