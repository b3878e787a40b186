/* SPDX-License-Identifier: Apache-2.0 */
/* From what a server answered to what it means for the request. */
#include "status.h"

#include <string.h>

#define NOT_S3 "it does not look like an answer of S3; check --baseURL, and what is on the way"
#define NOT_ALLOWED                                                                                \
    "the credentials must allow s3:GetObject, s3:PutObject, s3:DeleteObject, and "                 \
    "s3:ListBucket, without which a missing object looks forbidden"

/* clang-format off */
static const struct {
    const char *code;
    struct s3_verdict verdict;
} codes[] = {
    { "NoSuchKey",                    { BD_ABSENT, REMEDY_NONE, "" } },
    { "PreconditionFailed",           { BD_CONDITION, REMEDY_NONE, "" } },

    { "SlowDown",                     { BD_BUSY, REMEDY_NONE, "" } },
    { "ServiceUnavailable",           { BD_BUSY, REMEDY_NONE, "" } },
    { "ServerBusy",                   { BD_BUSY, REMEDY_NONE, "" } },
    { "Throttling",                   { BD_BUSY, REMEDY_NONE, "" } },
    { "ThrottlingException",          { BD_BUSY, REMEDY_NONE, "" } },
    { "TooManyRequests",              { BD_BUSY, REMEDY_NONE, "" } },
    { "RequestLimitExceeded",         { BD_BUSY, REMEDY_NONE, "" } },
    { "BandwidthLimitExceeded",       { BD_BUSY, REMEDY_NONE, "" } },

    { "InternalError",                { BD_RETRY, REMEDY_NONE, "" } },
    { "RequestTimeout",               { BD_RETRY, REMEDY_NONE, "" } },
    { "IncompleteBody",               { BD_RETRY, REMEDY_NONE, "" } },
    { "BadDigest",                    { BD_RETRY, REMEDY_NONE, "" } },
    { "XAmzContentSHA256Mismatch",    { BD_RETRY, REMEDY_NONE, "" } },
    { "OperationAborted",             { BD_RETRY, REMEDY_NONE, "" } },
    { "ConditionalRequestConflict",   { BD_RETRY, REMEDY_NONE, "" } },

    { "RequestTimeTooSkewed",         { BD_RETRY, REMEDY_CLOCK, "set this machine's clock" } },
    { "ExpiredToken",                 { BD_RETRY, REMEDY_CREDENTIALS, "get new credentials" } },
    { "ExpiredTokenException",        { BD_RETRY, REMEDY_CREDENTIALS, "get new credentials" } },
    { "TokenRefreshRequired",         { BD_RETRY, REMEDY_CREDENTIALS, "get new credentials" } },
    { "InvalidToken",                 { BD_RETRY, REMEDY_CREDENTIALS, "get new credentials" } },
    { "InvalidAccessKeyId",           { BD_RETRY, REMEDY_CREDENTIALS, "check --accessId, and that the keys are this store's" } },
    { "AuthorizationHeaderMalformed", { BD_RETRY, REMEDY_REGION, "check --region" } },
    { "PermanentRedirect",            { BD_RETRY, REMEDY_REGION, "check --region and --baseURL" } },
    { "TemporaryRedirect",            { BD_RETRY, REMEDY_REGION, "check --region and --baseURL" } },
    { "IllegalLocationConstraintException", { BD_RETRY, REMEDY_REGION, "check --region" } },

    { "AccessDenied",                 { BD_DENIED, REMEDY_NONE, NOT_ALLOWED } },
    { "SignatureDoesNotMatch",        { BD_DENIED, REMEDY_NONE, "check --accessKey; old stores may want --authVersion=aws2" } },
    { "InvalidObjectState",           { BD_DENIED, REMEDY_NONE, "it is archived: restore it, or use another --storageClass" } },
    { "RequestExpired",               { BD_DENIED, REMEDY_NONE, "set this machine's clock" } },

    { "NoSuchBucket",                 { BD_INVALID, REMEDY_NONE, "create the bucket, or check its name and --baseURL" } },
    { "InvalidBucketName",            { BD_INVALID, REMEDY_NONE, "check the bucket's name" } },
    { "InvalidStorageClass",          { BD_INVALID, REMEDY_NONE, "leave --storageClass out" } },
    { "AccessControlListNotSupported", { BD_INVALID, REMEDY_NONE, "leave --accessType out" } },
    { "EntityTooLarge",               { BD_INVALID, REMEDY_NONE, "use a smaller --blockSize" } },
    { "MethodNotAllowed",             { BD_UNSUPPORTED, REMEDY_NONE, "" } },
    { "NotImplemented",               { BD_UNSUPPORTED, REMEDY_NONE, "" } },

    { "QuotaExceeded",                { BD_FULL, REMEDY_NONE, "" } },
    { "InsufficientStorage",          { BD_FULL, REMEDY_NONE, "" } },
    { "XMinioStorageFull",            { BD_FULL, REMEDY_NONE, "" } },
};

/* What a status means with no code that is known, from `first` to `last`. */
static const struct {
    unsigned first, last;
    struct s3_verdict verdict;
} statuses[] = {
    /* S3 says why it fails.  What does not is a proxy's page or a wrong path's: neither proof that an object
     * is absent, nor a reason to give up at once. */
    { 200, 303, { BD_RETRY, REMEDY_NONE, NOT_S3 } },
    { 304, 304, { BD_CONDITION, REMEDY_NONE, "" } },
    { 307, 308, { BD_RETRY, REMEDY_NONE, NOT_S3 } },
    { 400, 400, { BD_RETRY, REMEDY_NONE, NOT_S3 } },
    { 401, 401, { BD_DENIED, REMEDY_NONE, "check the credentials" } },
    { 403, 404, { BD_RETRY, REMEDY_NONE, NOT_S3 } },
    { 405, 405, { BD_UNSUPPORTED, REMEDY_NONE, "" } },
    { 407, 407, { BD_DENIED, REMEDY_NONE, "the proxy wants a password: see http_proxy, https_proxy" } },
    { 408, 409, { BD_RETRY, REMEDY_NONE, "" } },
    { 412, 412, { BD_CONDITION, REMEDY_NONE, "" } },
    { 425, 425, { BD_RETRY, REMEDY_NONE, "" } },
    { 429, 429, { BD_BUSY, REMEDY_NONE, "" } },
    { 400, 499, { BD_INVALID, REMEDY_NONE, "" } },
    { 501, 501, { BD_UNSUPPORTED, REMEDY_NONE, "" } },
    /* A proxy that lost sight of the store: what it passed on may still be carried out. */
    { 502, 502, { BD_UNKNOWN, REMEDY_NONE, "" } },
    { 503, 503, { BD_BUSY, REMEDY_NONE, "" } },
    { 504, 504, { BD_UNKNOWN, REMEDY_NONE, "" } },
    { 507, 507, { BD_FULL, REMEDY_NONE, "" } },
    { 509, 509, { BD_BUSY, REMEDY_NONE, "" } },
    { 520, 530, { BD_UNKNOWN, REMEDY_NONE, "" } },
    { 500, 599, { BD_RETRY, REMEDY_NONE, "" } },
};
/* clang-format on */

static struct s3_verdict
look_up(const struct answer *answer, const struct s3_error *error)
{
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        if (strcmp(codes[i].code, error->code) == 0)
            return codes[i].verdict;
    }
    /* A code that we do not know is the store's word all the same. */
    if (error->code[0] != '\0' && answer->http_status == 403)
        return (struct s3_verdict){ BD_DENIED, REMEDY_NONE, NOT_ALLOWED };
    if (error->code[0] != '\0' && answer->http_status == 400)
        return (struct s3_verdict){ BD_INVALID, REMEDY_NONE, "" };
    for (size_t i = 0; i < sizeof statuses / sizeof statuses[0]; i++) {
        if (answer->http_status >= statuses[i].first && answer->http_status <= statuses[i].last)
            return statuses[i].verdict;
    }
    return (struct s3_verdict){ BD_RETRY, REMEDY_NONE, "" };
}

struct s3_verdict
status_of(const struct answer *answer, const struct s3_error *error, bool is_write,
          bool has_condition)
{
    struct s3_verdict verdict = look_up(answer, error);

    /* Swift refuses conditions with 501, others with 400: an answer, not to be asked for again. */
    if (is_write && has_condition && verdict.status == BD_INVALID
        && (strcmp(error->code, "InvalidRequest") == 0
            || strcmp(error->code, "InvalidArgument") == 0))
        verdict.status = BD_UNSUPPORTED;
    /* Without a body there is no code (HEAD), but there may be a region. */
    if (error->code[0] == '\0' && answer->region[0] != '\0'
        && (answer->http_status == 400 || answer->http_status / 100 == 3)
        && answer->http_status != 304)
        verdict = (struct s3_verdict){ BD_RETRY, REMEDY_REGION, "check --region" };
    /* Somebody took the request, and who knows what for. */
    if (is_write && error->code[0] == '\0' && answer->http_status / 100 == 2)
        verdict.status = BD_UNKNOWN;
    if (!is_write && verdict.status == BD_UNKNOWN)
        verdict.status = BD_RETRY;
    /* What failed inside may have been done: then its own repetition would find the condition broken, which
     * must be read as "mine". */
    if (is_write && has_condition && answer->http_status >= 500
        && (verdict.status == BD_RETRY || verdict.status == BD_BUSY))
        verdict.status = BD_UNKNOWN;
    return verdict;
}
