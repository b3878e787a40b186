/* SPDX-License-Identifier: Apache-2.0 */
/* What a codec at work can say and ask: the core's half of struct bd_coding.
 *
 * The chain puts one of these behind bd_coding.host_private for one block, calls the codecs, and
 * reads it.  `added` is for encode and `stored` for decode; both are borrowed and may be NULL.  One
 * thread. */
#ifndef CORE_CODING_H
#define CORE_CODING_H

#include "attrs.h"
#include "base/error.h"

struct coding {
    struct error why;           /* the codec's last sentence; "" when it gave none */
    struct attrs *added;        /* encode: what codecs want stored beside the object */
    const struct attrs *stored; /* decode: what came with the object */
    int rc; /* the first failure of an add, as of attrs_add: then the object must not be written */
};

/* The functions of the host table. */
void coding_error(struct bd_coding *coding, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void coding_attr_add(struct bd_coding *coding, const char *name, const void *value,
                     size_t value_bytes);
const void *coding_attr_get(const struct bd_coding *coding, const char *name, size_t *value_bytes);

#endif
