/* SPDX-License-Identifier: Apache-2.0 */
/* Ask the store and wait for its answer, again while that may help: what starts and ends a mount. */
#ifndef CORE_ASK_H
#define CORE_ASK_H

#include "backend.h"
#include "base/clock.h"
#include "base/error.h"

#include <signal.h>
#include <stdbool.h>

#define ASK_PAUSE_FIRST_NS (200 * NS_PER_MS)

/* Submit and wait; a store that cannot answer now is asked again for half a minute, and the user is told of the
 * wait.  Sets *was_unknown (NULL: nobody wants to know) when an attempt may have been carried out although it was
 * not answered.  Never on a pool worker. */
enum bd_status ask(struct backend_io *io, bool *was_unknown);

/* The same, but nothing is sent after until_ns (clock.h; UINT64_MAX: never mind), nor again after BD_UNKNOWN: what cannot be
 * repeated, for when a lost attempt is carried out late it may meet what somebody else has put. */
enum bd_status ask_until(struct backend_io *io, uint64_t until_ns);

/* As ask(), but nothing is sent after until_ns: what may be repeated, as long as the volume is ours. */
enum bd_status ask_before(struct backend_io *io, uint64_t until_ns, bool *was_unknown);

/* List all objects whose names begin so, page by page; `entry` as that of a backend_io: false ends it. */
int ask_list(struct backend *backend, const char *prefix,
             bool (*entry)(void *arg, const char *name, uint64_t object_bytes, const char *tag),
             void *arg, const char *what, struct error *why);

/* Sleep so long, whatever signal comes. */
void ask_sleep(uint64_t ns);

/* The same; -EINTR: one of these signals came, which all threads have blocked. */
int ask_sleep_or(uint64_t ns, const sigset_t *signals);

/* Sleep until then, and say so: somebody else may write when what had no answer cannot be carried out any more. */
void ask_wait_settled(uint64_t at_ns);
/* The same; -EINTR as above. */
int ask_wait_settled_or(uint64_t at_ns, const sigset_t *signals);

/* Sleep before `io` is asked again, at least as long as the store says, but never more than 10 s; a signal ends
 * it.  *pause_ns doubles. */
void ask_pause(const struct backend_io *io, uint64_t *pause_ns);

/* A tag of the right form that the object with `tag` does not have, nor any other. */
void ask_other_tag(const char *tag, char other[BD_TAG_BYTES_MAX + 1]);

/* "cannot WHAT: " and the reason; returns the errno of the failure. */
int ask_failed(const struct backend_io *io, const char *what, struct error *why);

#endif
