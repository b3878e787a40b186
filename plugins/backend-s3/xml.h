/* SPDX-License-Identifier: Apache-2.0 */
/* The XML documents of S3: errors, listings, results of DeleteObjects; and the one we send.
 *
 * Parsed with expat, namespace prefixes ignored, document types (and so entities) refused.  What
 * comes from a server is never trusted: texts are bounded, unknown elements skipped, wrong
 * order harmless.
 * Pure: any thread. */
#ifndef S3_XML_H
#define S3_XML_H

#include <bucketdisk/plugin.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* <Error>, also inside a 200.  Texts that are too long are cut; control characters become
 * blanks. */
struct s3_error {
    char code[64]; /* "" when the document has none */
    char message[256];
    char request_id[128];
    char region[64];    /* <Region>, of AuthorizationHeaderMalformed and PermanentRedirect */
    char endpoint[256]; /* <Endpoint>, of redirects */
};

/* The first of each text counts.  False if it is not XML or its root is not Error (or Error
 * below a root that wraps errors, ErrorResponse of STS); *error then is all empty. */
bool xml_parse_error(const void *xml, size_t bytes, struct s3_error *error);

/* ListBucketResult, of version 1 and 2. */
struct s3_listing {
    bool is_v1;        /* it has a <Marker> and no <KeyCount>: the server does not know version 2 */
    bool is_truncated; /* there is more */
    uint64_t count;    /* entries given to `entry` */

    /* Called for each <Contents> in order, key decoded as encoding-type says; tag without its
     * quotes, or NULL. Borrows.  Returns false for "enough": no more calls. */
    bool (*entry)(void *arg, const char *key, uint64_t bytes, const char *tag);
    void *arg;
};

/* Two passes: is_v1 and is_truncated are set before the first entry, and nothing is given to
 * `entry` unless the whole document is well formed and
 * complete: has the right root, an IsTruncated, and in each Contents a Key (1 to 1024 bytes,
 * decoded) and a Size that is a number.  False otherwise, with a reason in `why`; but should
 * memory run out in the second pass, then after some entries were given. */
bool xml_parse_listing(const void *xml, size_t bytes, struct s3_listing *listing, char *why,
                       size_t why_bytes);

/* DeleteResult.  `result` is called for each <Deleted> with code and message NULL, and for each
 * <Error> with its code and message, which may be "".  Borrows.  Two passes, as for a
 * listing.  Keys come as they are in the document; that all names of the request are answered
 * for is the caller's to see. */
struct s3_delete_result {
    void (*result)(void *arg, const char *key, const char *code, const char *message);
    void *arg;
};
bool xml_parse_delete_result(const void *xml, size_t bytes, struct s3_delete_result *result,
                             char *why, size_t why_bytes);

/* The body of DeleteObjects for prefix + names[i], names escaped (also what XML 1.0 can't hold
 * is an error: NULL).  Not quiet: each key is answered for.  Gives. */
char *xml_delete_request(const char *prefix, const char *const *names, uint32_t count,
                         size_t *bytes);

#endif
