/* SPDX-License-Identifier: Apache-2.0 */
/* A question that is answered with yes or no. */
#ifndef CORE_CONFIRM_H
#define CORE_CONFIRM_H

#include "base/error.h"

#include <stdbool.h>

/* Ask who sits at standard input; whatever is not a yes is a no.  -ENOTTY: nobody does.  -EINTR: a signal came that the
 * caller has blocked. */
int confirm(const char *question, bool *is_yes, struct error *why);

#endif
