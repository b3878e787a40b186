/* SPDX-License-Identifier: Apache-2.0 */
/* One open bucket. */
#ifndef S3_S3_H
#define S3_S3_H

#include "credentials.h"
#include "endpoint.h"
#include "profile.h"
#include "sigv4.h"
#include "transfer.h"

#define OBJECT_BYTES_MAX (5ull << 30) /* of one PUT */
#define NAMES_MAX 1000u               /* of one DeleteObjects, or listing */

struct s3_options {
    const char *location, *base_url, *region, *cacert;
    uint8_t vhost, no_vhost, ssl, insecure, http11, no_curl_cache, debug_http;
    uint32_t store, ip_tos;
    uint64_t progress_timeout_ms, max_upload_speed, max_download_speed;

    const char *access_id, *access_key, *access_key_env, *access_file, *profile, *ec2_role;
    uint8_t imds_v1, imds_v2;
    uint32_t auth_version, sign_payload;

    uint32_t access_type;
    const char *storage_class, *sse, *sse_key_id;
    uint8_t rrs;
};

enum { AUTH_AWS4, AUTH_AWS2 };
enum { SIGN_PAYLOAD_YES, SIGN_PAYLOAD_NO, SIGN_PAYLOAD_AUTO };

struct s3 {
    const struct bd_host *host;
    const struct s3_options *options;
    char bucket[BUCKET_BYTES_MAX + 1];
    char prefix[BD_NAME_BYTES_MAX + 1]; /* of all keys; "" or ends in '/' */
    char identity[3072];
    char display[1400];
    char container[1400];
    const struct s3_profile *profile;
    bool signs_payload;
    const char *acl;                  /* NULL: not sent */
    struct credential_options wanted; /* borrowed by `credentials`, whose thread reads it */
    char sts_region[64];              /* `region` as it was at the start */
    struct credential_store *credentials;
    struct transfers *transfers;

    /* The loop's thread only, from here on. */
    struct endpoint endpoint;
    char region[64];
    int64_t skew_s; /* the store's clock minus ours */
    unsigned era;   /* raised by each of the two lessons: what was signed before is out of date */
    struct sigv4_key *signing_key;
    bool etag_bare, is_etag_style_known;
    bool list_v1, delete_single;
};

#endif
