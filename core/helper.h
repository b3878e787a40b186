/* SPDX-License-Identifier: Apache-2.0 */
/* What mount(8) hands to its helpers, in our own words. */
#ifndef CORE_HELPER_H
#define CORE_HELPER_H

#include "base/error.h"

#include <stdbool.h>

struct helper_call {
    const char *source, *directory;
    /* all that is behind -o, as our options; NULL: nothing.  Wiped and freed by helper_clear */
    char *list;
    bool is_fake;  /* only look whether it could be done */
    bool wants_up; /* a filesystem on the directory, not the disk */
};

/* SOURCE DIRECTORY [-sfnv] [-o LIST] [-t TYPE], -o more than once, too.  Borrows the words.  End it with helper_clear, also when it
 * fails. */
int helper_parse(int argc, const char *const *argv, struct helper_call *out, struct error *why);
void helper_clear(struct helper_call *call);

#endif
