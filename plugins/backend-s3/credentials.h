/* SPDX-License-Identifier: Apache-2.0 */
/* Who we are to the store: a key pair, where it comes from, and its renewal.
 *
 * Sources, the first that has something wins (design.md, "Defaults"): options (--accessId with
 * --accessKey or --accessKeyEnv), --accessFile, ~/.s3backer_passwd, AWS_ACCESS_KEY_ID and its
 * companions, ~/.aws (--profile), web identity, container, instance role, none (anonymous).
 * A source that was asked for by an option and has nothing is an error, not a reason to go on.
 *
 * Temporary credentials are renewed by a thread of their own well before they end.  A failed renewal
 * is tried again until it succeeds; what is still valid is used meanwhile. */
#ifndef S3_CREDENTIALS_H
#define S3_CREDENTIALS_H

#include <bucketdisk/plugin.h>

#include <stdbool.h>
#include <time.h>

struct credential_options {
    const char *access_id;      /* "" asks for anonymous access; NULL: not given */
    const char *access_key;     /* the secret; NULL: not given */
    const char *access_key_env; /* the environment variable with the secret, or NULL */
    const char *access_file;    /* lines of ID:SECRET; NULL: not given */
    const char *profile;        /* of ~/.aws; NULL: AWS_PROFILE, or "default" */
    const char *ec2_role;       /* NULL: not asked for; "": the instance's only one */
    bool allow_imds_v1;         /* if version 2 is not there */
    const char *region;         /* for STS; NULL: unknown */
    const char *ca_file;        /* for STS; NULL: the system's */
};

/* Immutable, shared, in memory that is locked and not dumped.  An ID may hold colons. */
struct credentials {
    const char *access_id; /* NULL: anonymous, sign nothing */
    const char *secret;
    const char *token;  /* session token, or NULL */
    const char *source; /* for people: "~/.s3backer_passwd" */
    time_t expires;     /* CLOCK_REALTIME seconds; 0: never */
};

struct credential_store;

/* Blocks (files, and metadata services with short limits).  On failure logs one sentence.
 * Borrows host and options until close. */
enum bd_status credentials_open(const struct bd_host *host,
                                const struct credential_options *options,
                                struct credential_store **out);
void credentials_close(struct credential_store *store);

/* The present ones.  Never blocks; any thread.  Shares: give them back with credentials_release. */
const struct credentials *credentials_get(struct credential_store *store);
void credentials_release(struct credential_store *store, const struct credentials *credentials);

/* The store refused `credentials` as expired or unknown: renew now, if these are still the present ones
 * and their source can give others.  Returns false if it can't (a fixed key pair).  Never blocks. */
bool credentials_refused(struct credential_store *store, const struct credentials *credentials);

/* A region that the chosen profile or the environment (AWS_REGION, AWS_DEFAULT_REGION) names, or NULL.
 * For use before credentials_open.  Gives. */
char *credentials_region(const char *profile);

#endif
