/* SPDX-License-Identifier: Apache-2.0 */
/* From what a server answered to what it means for the request.  Pure.
 *
 * Source of the codes: "Error responses" of the S3 API reference, and the servers of tests/servers. */
#ifndef S3_STATUS_H
#define S3_STATUS_H

#include "answer.h"
#include "xml.h"

/* What else to do about it, before the request is tried again. */
enum s3_remedy {
    REMEDY_NONE,
    REMEDY_REGION,      /* the answer names another region */
    REMEDY_CLOCK,       /* correct our clock by the answer's date */
    REMEDY_CREDENTIALS, /* ask their source for new ones */
};

struct s3_verdict {
    enum bd_status status;
    enum s3_remedy remedy;
    const char *advice; /* what the user may do, or "" */
};

/* `is_write`: it changes something; `has_condition`: and only if. `error` is all empty when the body was none.  A status
 * of 2xx with an <Error> inside is as bad as another. */
struct s3_verdict status_of(const struct answer *answer, const struct s3_error *error,
                            bool is_write, bool has_condition);

#endif
