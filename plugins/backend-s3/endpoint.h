/* SPDX-License-Identifier: Apache-2.0 */
/* Where requests go: scheme, host and path of a bucket, in path style or with the bucket in the host name.
 *
 * Made from --baseURL, or for Amazon from the region.  Pure. */
#ifndef S3_ENDPOINT_H
#define S3_ENDPOINT_H

#include "uri.h"

#include <bucketdisk/plugin.h>

#define BUCKET_BYTES_MAX 255u

struct endpoint_config {
    const char *base_url; /* NULL: Amazon's, for the region */
    const char *region;
    const char *bucket;
    bool is_tls;      /* where base_url has no scheme, and for Amazon */
    bool wants_vhost; /* the user's word, or the profile's */
    bool must_vhost;  /* the user's word: a bucket that can't be in a host name is an error */
};

struct endpoint {
    char scheme[6]; /* "https" */
    char server
        [264]; /* host and port without the bucket, in lower case, the scheme's own port left out */
    char host[BUCKET_BYTES_MAX + 1 + 264];                /* as it is sent */
    char path[256 + URI_ENCODED_BYTES(BUCKET_BYTES_MAX)]; /* to the bucket, encoded, ends in '/' */
    bool is_vhost;
    bool is_derived; /* from the region, so that another region changes it */
};

/* Returns false with one sentence in `why`. */
bool endpoint_make(const struct endpoint_config *config, struct endpoint *endpoint, char *why,
                   size_t why_bytes);
/* Only the server that base_url or the region names: to find the profile by. */
bool endpoint_server(const struct endpoint_config *config, struct endpoint *endpoint, char *why,
                     size_t why_bytes);

#endif
