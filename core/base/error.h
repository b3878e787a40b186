/* SPDX-License-Identifier: Apache-2.0 */
/* One sentence for a person, carried beside a status. */
#ifndef BASE_ERROR_H
#define BASE_ERROR_H

struct error {
    char text[480]; /* "" when nothing went wrong; cut at the end when longer */
};

/* Say why; `why` may be NULL.  Returns `rc`, so that `return error_set(why, -EINVAL, …)` reads well. */
int error_set(struct error *why, int rc, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
