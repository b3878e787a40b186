/* SPDX-License-Identifier: Apache-2.0 */
/* A question that is answered with yes or no. */
#ifndef CORE_CONFIRM_H
#define CORE_CONFIRM_H

#include "base/error.h"

#include <stdbool.h>

enum confirm_by {
    CONFIRM_BY_TERMINAL,
    CONFIRM_BY_PIPE_TOO, /* as in `echo y | ...` */
};
/* Ask who sits at standard input; whatever is not a yes is a no.  -ENOTTY: nobody does, and nothing comes from there.  -EINTR: a
 * signal came that the caller has blocked. */
int confirm(const char *question, enum confirm_by by, bool *is_yes, struct error *why);

#endif
