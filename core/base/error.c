/* SPDX-License-Identifier: Apache-2.0 */
/* One sentence for a person, carried beside a status. */
#include "error.h"

#include <stdarg.h>
#include <stdio.h>

int
error_set(struct error *why, int rc, const char *format, ...)
{
    va_list args;

    if (why == NULL)
        return rc;
    va_start(args, format);
    vsnprintf(why->text, sizeof why->text, format, args);
    va_end(args);
    return rc;
}
