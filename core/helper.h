/* SPDX-License-Identifier: Apache-2.0 */
/* What mount(8) hands to its helpers, in our own words. */
#ifndef CORE_HELPER_H
#define CORE_HELPER_H

#include "base/error.h"

#include <stdbool.h>

struct helper_call {
    const char *source, *directory;
    const char *given; /* the list behind -o, as it stands in the words; NULL: none */
    char *list;        /* the same for us; freed by the caller */
    bool is_fake;      /* only look whether it could be done */
    bool wants_up;     /* a filesystem on the directory, not the disk */
};

/* SOURCE DIRECTORY [-sfnv] [-N NAMESPACE] [-o LIST] [-t TYPE].  Borrows the words. */
int helper_parse(int argc, const char *const *argv, struct helper_call *out, struct error *why);

#endif
