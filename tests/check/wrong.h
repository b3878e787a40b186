/* SPDX-License-Identifier: Apache-2.0 */
/* Plugins that are right, until the variable WRONG names a way to be wrong: for what must notice each of them. */
#ifndef CHECK_WRONG_H
#define CHECK_WRONG_H

#include <bucketdisk/sdk.h>

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static inline bool
is_wrong(const char *way)
{
    const char *wrong = getenv("WRONG");

    return wrong != NULL && strcmp(wrong, way) == 0;
}

#endif
