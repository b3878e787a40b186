/* SPDX-License-Identifier: Apache-2.0 */
/* backend-s3: objects in a bucket of Amazon S3 or of a store that speaks its language.
 *
 * Here: options, opening and closing, the plugin's table.  What is asked of the store is in operation.c,
 * how it gets there in transfer.c. */
#include "s3.h"

#include "look.h"
#include "operation.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REGION_DEFAULT "us-east-1"
#define FIELD(member) BD_FIELD(struct s3_options, member)

static const char *const auth_versions[] = { "aws4", "aws2", NULL };
static const char *const payload_choices[] = { "yes", "no", "auto", NULL };
/* "default": no such header is sent, and the bucket's own rule holds. */
static const char *const acls[] = {
    "default",
    "private",
    "public-read",
    "public-read-write",
    "authenticated-read",
    "aws-exec-read",
    "bucket-owner-read",
    "bucket-owner-full-control",
    NULL,
};

/* clang-format off */
static const struct bd_option s3_rows[] = {
    { .name = "bucket", .type = BD_OPT_STRING, .flags = BD_OPTF_REQUIRED | BD_OPTF_LOCATION, FIELD(location),
      .metavar = "BUCKET[/PREFIX]", .help = "the bucket, and in it a directory for all objects" },
    { .name = "base-url", .alias = "base-url", .type = BD_OPT_STRING, FIELD(base_url), .metavar = "URL",
      .help = "where the store is; without it, Amazon's for the region" },
    { .name = "region", .alias = "region", .type = BD_OPT_STRING, FIELD(region),
      .help = "region of the bucket; AWS_REGION, the profile's, or us-east-1" },
    { .name = "vhost", .alias = "vhost", .type = BD_OPT_BOOL, FIELD(vhost),
      .help = "the bucket's name is in the host name; usual for Amazon" },
    { .name = "no-vhost", .alias = "no-vhost", .type = BD_OPT_BOOL, FIELD(no_vhost),
      .help = "the bucket's name is in the path; usual for all others" },
    { .name = "store", .type = BD_OPT_ENUM, FIELD(store), .def = "auto", .choices = profile_names,
      .help = "whose S3 it is, where the host name does not tell" },

    { .name = "ssl", .alias = "ssl", .type = BD_OPT_BOOL, FIELD(ssl), .def = "yes",
      .help = "TLS, where --base-url does not say http:// or https://" },
    { .name = "insecure", .alias = "insecure", .type = BD_OPT_BOOL, FIELD(insecure),
      .help = "do not check who the server is: anybody on the way can read and change the disk" },
    { .name = "cacert", .alias = "cacert", .type = BD_OPT_PATH, FIELD(cacert),
      .help = "certificates to check the server by, instead of the system's" },
    { .name = "http11", .alias = "http11", .type = BD_OPT_BOOL, FIELD(http11), .def = "yes",
      .help = "HTTP/1.1 on many connections; no allows HTTP/2, which is slower here" },
    { .name = "no-curl-cache", .alias = "no-curl-cache", .type = BD_OPT_BOOL, FIELD(no_curl_cache),
      .help = "open a connection for each request, and use it once" },
    { .name = "ip-tos", .alias = "ip-tos", .type = BD_OPT_UINT, FIELD(ip_tos), .max = 255, .metavar = "N",
      .help = "the type of service in all that is sent, for the network to know it by; 0: the system's" },
    { .name = "progress-timeout", .type = BD_OPT_DURATION, .flags = BD_OPTF_SECONDS, FIELD(progress_timeout_ms),
      .def = "20", .min = 1000, .help = "give up an attempt that stands still for so long" },
    { .name = "max-upload-speed", .alias = "max-upload-speed", .type = BD_OPT_SIZE, FIELD(max_upload_speed),
      .metavar = "BITS/S", .help = "of each transfer; 0 for no limit" },
    { .name = "max-download-speed", .alias = "max-download-speed", .type = BD_OPT_SIZE, FIELD(max_download_speed),
      .metavar = "BITS/S", .help = "of each transfer; 0 for no limit" },
    { .name = "debug-http", .alias = "debug-http", .type = BD_OPT_BOOL, FIELD(debug_http),
      .help = "log requests and headers, with credentials masked" },

    { .name = "access-id", .alias = "access-id", .type = BD_OPT_STRING, .flags = BD_OPTF_BARE, FIELD(access_id),
      .help = "access key ID; empty for anonymous access" },
    { .name = "access-key", .alias = "access-key", .type = BD_OPT_SECRET, FIELD(access_key),
      .help = "secret access key; better @FILE, env:NAME or --accessFile than the key itself" },
    { .name = "access-key-env", .alias = "access-key-env", .type = BD_OPT_STRING, FIELD(access_key_env),
      .metavar = "NAME", .help = "environment variable that holds the secret access key" },
    { .name = "access-file", .alias = "access-file", .type = BD_OPT_PATH, FIELD(access_file),
      .help = "file with lines of ID:SECRET; ~/.s3backer_passwd if there is one" },
    { .name = "profile", .alias = "profile", .type = BD_OPT_STRING, FIELD(profile),
      .help = "of ~/.aws/credentials and ~/.aws/config; AWS_PROFILE, or default" },
    { .name = "access-ec2-iam", .alias = "access-ec2-iam", .type = BD_OPT_STRING, .flags = BD_OPTF_BARE, FIELD(ec2_role),
      .metavar = "ROLE", .help = "credentials of this EC2 instance's role" },
    { .name = "access-ec2-iam-imdsv2", .alias = "access-ec2-iam-imdsv2", .type = BD_OPT_BOOL, FIELD(imds_v2), .def = "yes",
      .help = "by version 2 of the metadata service; always tried first" },
    { .name = "imds-v1", .type = BD_OPT_BOOL, FIELD(imds_v1),
      .help = "version 1 too, if the service has no version 2" },
    { .name = "auth-version", .alias = "auth-version", .type = BD_OPT_ENUM, FIELD(auth_version), .def = "aws4",
      .choices = auth_versions, .help = "how requests are signed; aws2 for old stores" },
    { .name = "sign-payload", .alias = "sign-payload", .type = BD_OPT_ENUM, .flags = BD_OPTF_BARE, FIELD(sign_payload),
      .def = "auto", .choices = payload_choices,
      .help = "sign what is written, too; auto: without TLS only" },

    { .name = "access-type", .alias = "access-type", .type = BD_OPT_ENUM, FIELD(access_type), .def = "default",
      .choices = acls, .help = "canned ACL of new objects" },
    { .name = "storage-class", .alias = "storage-class", .type = BD_OPT_STRING, FIELD(storage_class),
      .help = "storage class of new objects, STANDARD_IA say" },
    { .name = "rrs", .alias = "rrs", .type = BD_OPT_BOOL, FIELD(rrs),
      .help = "the storage class REDUCED_REDUNDANCY" },
    { .name = "sse", .alias = "sse", .type = BD_OPT_STRING, FIELD(sse),
      .help = "the store encrypts new objects: AES256, aws:kms, aws:kms:dsse" },
    { .name = "sse-key-id", .alias = "sse-key-id", .type = BD_OPT_STRING, FIELD(sse_key_id), .metavar = "ID",
      .help = "with this key of KMS" },
};
/* clang-format on */

static enum bd_status
s3_check(const void *options, char *why, size_t why_bytes)
{
    const struct s3_options *opts = options;
    const char *wrong = NULL;

    if (opts->vhost && opts->no_vhost)
        wrong = "--vhost and --no-vhost contradict each other";
    else if (opts->rrs && opts->storage_class != NULL)
        wrong = "--rrs and --storageClass contradict each other";
    else if (opts->sse_key_id != NULL && (opts->sse == NULL || strncmp(opts->sse, "aws:", 4) != 0))
        wrong = "--sse-key-id needs --sse=aws:kms";
    else if (opts->access_key != NULL && opts->access_key_env != NULL)
        wrong = "--accessKey and --accessKeyEnv contradict each other";
    else if (!opts->imds_v2)
        wrong = "version 2 of the metadata service is always tried first; --s3-imds-v1 allows "
                "version 1, too";
    else if (opts->cacert != NULL && opts->insecure)
        wrong = "--cacert and --insecure contradict each other";
    if (wrong == NULL)
        return BD_OK;
    snprintf(why, why_bytes, "%s", wrong);
    return BD_INVALID;
}

/* ------------------------------------------------------------------ opening */

/* BUCKET[/PREFIX], with or without s3:// in front. */
static enum bd_status
parse_location(struct s3 *s3, const char *location)
{
    const char *begin = strncmp(location, "s3://", 5) == 0 ? location + 5 : location;
    size_t bucket_bytes = strcspn(begin, "/");
    const char *prefix = begin + bucket_bytes + strspn(begin + bucket_bytes, "/");
    size_t prefix_bytes = strlen(prefix);

    while (prefix_bytes > 0 && prefix[prefix_bytes - 1] == '/')
        prefix_bytes--;
    if (bucket_bytes == 0 || bucket_bytes > BUCKET_BYTES_MAX
        || strspn(begin, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_")
               < bucket_bytes) {
        s3->host->log(s3->host, BD_ERROR,
                      "\"%s\" does not name a bucket: say BUCKET or BUCKET/PREFIX, with letters, "
                      "digits, '.', '-' and '_' in the bucket's name",
                      location);
        return BD_INVALID;
    }
    /* Room for the names of blocks. */
    if (prefix_bytes > BD_NAME_BYTES_MAX - 128) {
        s3->host->log(s3->host, BD_ERROR, "the prefix behind the bucket is longer than %u bytes",
                      BD_NAME_BYTES_MAX - 128);
        return BD_INVALID;
    }
    memcpy(s3->bucket, begin, bucket_bytes);
    memcpy(s3->prefix, prefix, prefix_bytes);
    if (prefix_bytes > 0)
        s3->prefix[prefix_bytes] = '/';
    return BD_OK;
}

/* As awscli and rclone do. */
static const char *
base_url_of(const struct s3_options *options)
{
    const char *url = options->base_url;

    if (url == NULL)
        url = getenv("AWS_ENDPOINT_URL_S3");
    if (url == NULL)
        url = getenv("AWS_ENDPOINT_URL");
    return url != NULL && url[0] != '\0' ? url : NULL;
}

/* The same bucket by any of its URLs is the same store; the names of Amazon's buckets are unique in each of its
 * partitions. */
static void
name_it(struct s3 *s3)
{
    const char *place = s3->endpoint.server, *path = s3->endpoint.path;

    if (strcmp(profile_of(0, place)->name, "amazon") == 0) {
        place = strstr(place, ".com.cn") != NULL ? "amazon-cn" : "amazon";
        path = "/";
    }
    snprintf(s3->identity, sizeof s3->identity, "s3:%s%s%s/%s", place, path, s3->bucket,
             s3->prefix);
    snprintf(s3->container, sizeof s3->container, "%s/%s", s3->bucket, s3->prefix);
    snprintf(s3->display, sizeof s3->display, "s3://%s/%s", s3->bucket, s3->prefix);
    s3->display[strlen(s3->display) - 1] = '\0';
}

/* What the user says, what the store's host name or kind says, what the environment says. */
static void
choose_region(struct s3 *s3, const char *of_environment)
{
    char of_store[sizeof s3->region] = "";

    profile_region(s3->profile, s3->endpoint.server, of_store, sizeof of_store);
    if (of_store[0] == '\0' && s3->profile->region != NULL)
        strcpy(of_store, s3->profile->region);
    snprintf(s3->region, sizeof s3->region, "%s",
             s3->options->region != NULL ? s3->options->region
             : of_store[0] != '\0'       ? of_store
             : of_environment != NULL    ? of_environment
                                         : REGION_DEFAULT);
}

/* Region and profile depend on each other through the host name. */
static enum bd_status
find_endpoint(struct s3 *s3)
{
    const struct s3_options *options = s3->options;
    char *of_environment = credentials_region(options->profile);
    struct endpoint_config config = {
        .base_url = base_url_of(options),
        .region = options->region != NULL  ? options->region
                  : of_environment != NULL ? of_environment
                                           : REGION_DEFAULT,
        .bucket = s3->bucket,
        .is_tls = options->ssl,
        .must_vhost = options->vhost,
    };
    char why[512];
    bool is_made = endpoint_server(&config, &s3->endpoint, why, sizeof why);

    if (is_made) {
        s3->profile = profile_of(options->store, s3->endpoint.server);
        name_it(s3);
        choose_region(s3, of_environment);
        config.region = s3->region;
        config.wants_vhost = options->vhost || (s3->profile->is_vhost && !options->no_vhost);
        is_made = endpoint_make(&config, &s3->endpoint, why, sizeof why);
    }
    free(of_environment);
    if (!is_made)
        s3->host->log(s3->host, BD_ERROR, "%s", why);
    return is_made ? BD_OK : BD_INVALID;
}

static enum bd_status
open_credentials(struct s3 *s3)
{
    const struct s3_options *options = s3->options;

    snprintf(s3->sts_region, sizeof s3->sts_region, "%s", s3->region);
    s3->wanted = (struct credential_options){
        .access_id = options->access_id,
        .access_key = options->access_key,
        .access_key_env = options->access_key_env,
        .access_file = options->access_file,
        .profile = options->profile,
        .ec2_role = options->ec2_role,
        .allow_imds_v1 = options->imds_v1,
        .region = s3->sts_region,
        .ca_file = options->cacert,
    };
    return credentials_open(s3->host, &s3->wanted, &s3->credentials);
}

static void
s3_close(void *handle)
{
    struct s3 *s3 = handle;

    transfers_free(s3->transfers);
    if (s3->credentials != NULL)
        credentials_close(s3->credentials);
    s3->host->secret_free(s3->signing_key);
    free(s3);
}

static enum bd_status
s3_open(const struct bd_host *host, const void *options, const struct bd_lower *lower,
        void **handle)
{
    const struct s3_options *opts = options;
    struct s3 *s3 = calloc(1, sizeof *s3);
    enum bd_status status;
    struct transfers_config transfers;

    (void)lower;
    if (s3 == NULL || curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        host->log(host, BD_ERROR, "out of memory");
        free(s3);
        return BD_FATAL;
    }
    s3->host = host;
    s3->options = opts;
    s3->acl = opts->access_type > 0 ? acls[opts->access_type] : NULL;
    status = parse_location(s3, opts->location);
    if (status == BD_OK)
        status = find_endpoint(s3);
    if (status != BD_OK)
        goto failed;
    s3->etag_bare = s3->is_etag_style_known = s3->profile->etag_bare;
    s3->delete_single = s3->profile->delete_single;
    s3->signs_payload = opts->auth_version == AUTH_AWS4
                        && (opts->sign_payload == SIGN_PAYLOAD_YES
                            || (opts->sign_payload == SIGN_PAYLOAD_AUTO
                                && strcmp(s3->endpoint.scheme, "http") == 0));
    s3->signing_key = host->secret_alloc(sizeof *s3->signing_key);
    if (s3->signing_key == NULL) {
        host->log(host, BD_ERROR, "out of memory");
        status = BD_FATAL;
        goto failed;
    }
    memset(s3->signing_key, 0, sizeof *s3->signing_key);
    status = open_credentials(s3);
    if (status != BD_OK)
        goto failed;
    transfers = (struct transfers_config){
        .ca_file = opts->cacert,
        .is_insecure = opts->insecure,
        .allows_http2 = !opts->http11,
        .no_reuse = opts->no_curl_cache,
        .tos = opts->ip_tos > 0 ? (int)opts->ip_tos : -1,
        .debug = opts->debug_http,
        .upload_bytes_s = (opts->max_upload_speed + 7) / 8,
        .download_bytes_s = (opts->max_download_speed + 7) / 8,
        .progress_ms = opts->progress_timeout_ms,
        .idle_s = s3->profile->idle_s,
    };
    s3->transfers = transfers_new(host, &transfers);
    if (s3->transfers == NULL) {
        status = BD_FATAL;
        goto failed;
    }
    status = look_at_bucket(s3);
    if (status != BD_OK)
        goto failed;
    *handle = s3;
    return BD_OK;

failed:
    s3_close(s3);
    return status;
}

static void
s3_info(void *handle, struct bd_backend_info *out)
{
    const struct s3 *s3 = handle;

    out->capabilities = BD_CAP_CONDITIONS_GET | BD_CAP_CONSISTENT | BD_CAP_RANGES | BD_CAP_ATTRS;
    if (s3->profile->if_put)
        out->capabilities |= BD_CAP_CONDITIONS_PUT;
    if (s3->profile->if_delete)
        out->capabilities |= BD_CAP_CONDITIONS_DELETE;
    if (!s3->profile->delete_single)
        out->capabilities |= BD_CAP_DELETE_MANY;
    out->object_bytes_max = OBJECT_BYTES_MAX;
    out->delete_many_max = NAMES_MAX;
    out->list_max = NAMES_MAX;
    out->identity = s3->identity;
    out->display = s3->display;
    out->container = s3->container;
}

static void
s3_submit(void *handle, struct bd_io *io)
{
    operation_start(io->scratch, handle, io);
}

/* ------------------------------------------------------------------ tables */

static const struct bd_backend s3_backend = {
    .head = BD_HEAD(BACKEND, struct bd_backend),
    .scratch_bytes = sizeof(struct operation),
    .open = s3_open,
    .info = s3_info,
    .submit = s3_submit,
    .close = s3_close,
};

static const struct bd_plugin s3_plugin = {
    .head = BD_HEAD(PLUGIN, struct bd_plugin),
    .abi_minor = BD_ABI_MINOR,
    .name = "backend-s3",
    .version = "1.0",
    .summary = "objects in a bucket of Amazon S3 or a store like it",
    .options = s3_rows,
    .option_count = sizeof s3_rows / sizeof s3_rows[0],
    .option_stride = sizeof s3_rows[0],
    .options_bytes = sizeof(struct s3_options),
    .check = s3_check,
    .backend = &s3_backend,
};

BD_PLUGIN(s3_plugin)
