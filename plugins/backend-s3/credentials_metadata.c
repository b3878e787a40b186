/* SPDX-License-Identifier: Apache-2.0 */
/* The metadata services beside a container and beside an EC2 instance.
 *
 * Sources: "Container credential provider" of the AWS SDKs and Tools reference
 * (docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html); "Use the
 * Instance Metadata Service to access instance metadata" of the EC2 user guide.
 *
 * Version 2 of the instance's service wants a token, got with a PUT, which a web application
 * that can be tricked into fetching a URL can't make.  Version 1 does without, so it has to
 * be allowed. */
#include "credentials_parts.h"
#include "uri.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <openssl/crypto.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define LIMIT_MS 5000u
/* Nobody asked: a machine that only looks like an instance must not wait long. */
#define LIMIT_DETECTED_MS 1000u

#define CONTAINER_URL "http://169.254.170.2"
#define INSTANCE_URL "http://169.254.169.254"
#define INSTANCE_TOKEN_PATH "/latest/api/token"
#define INSTANCE_ROLE_PATH "/latest/meta-data/iam/security-credentials/"
#define DMI_DIRECTORY "/sys/class/dmi/id"

#define URL_BYTES 2048

/* What the answer of `service` means for a look. */
static enum bd_status
answer_check(struct lookup *lookup, const struct web_answer *answer, const char *service)
{
    if (answer->status == 200)
        return BD_OK;
    return lookup_failed(lookup,
                         answer->status >= 500 || answer->status == 429 ? BD_RETRY : BD_DENIED,
                         "the %s answers with HTTP status %ld", service, answer->status);
}

static enum bd_status
service_failed(struct lookup *lookup, enum bd_status status, const char *service)
{
    char why[sizeof lookup->why];

    snprintf(why, sizeof why, "%s", lookup->why);
    return lookup_failed(lookup, status, "the %s: %s", service, why);
}

static enum bd_status
keys_of(struct lookup *lookup, const struct web_answer *answer, const char *service,
        struct found *found)
{
    char why[128];

    if (!json_parse_keys(answer->body.text, answer->body.bytes, JSON_METADATA, &found->keys, why,
                         sizeof why))
        return lookup_failed(lookup, BD_RETRY, "the %s gave no keys: %s", service, why);
    found->is_renewable = true;
    return BD_OK;
}

/* ------------------------------------------------------------------ container */

#define CONTAINER_SERVICE "container's credential service"

/* Where plain HTTP never leaves the machine, as the SDKs have it. */
static bool
host_is_near(const char *host)
{
    static const char *const near[] = { "localhost", "169.254.170.2", "169.254.170.23",
                                        "[fd00:ec2::23]", "[::1]" };
    struct in_addr address;

    for (size_t i = 0; i < sizeof near / sizeof near[0]; i++) {
        if (strcasecmp(host, near[i]) == 0)
            return true;
    }
    return inet_pton(AF_INET, host, &address) == 1 && ntohl(address.s_addr) >> 24 == 127;
}

bool
container_url(const char *relative, const char *full, char *out, size_t out_bytes, const char **why)
{
    char *scheme = NULL, *host = NULL;
    bool may = false;
    CURLU *url;

    if (relative != NULL) {
        *why = "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI does not begin with /, or is too long";
        return relative[0] == '/'
               && (size_t)snprintf(out, out_bytes, CONTAINER_URL "%s", relative) < out_bytes;
    }
    *why = "AWS_CONTAINER_CREDENTIALS_FULL_URI is not a URL, or is too long";
    url = curl_url();
    if (url == NULL)
        return false;
    if (curl_url_set(url, CURLUPART_URL, full, 0) == CURLUE_OK
        && curl_url_get(url, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK
        && curl_url_get(url, CURLUPART_HOST, &host, 0) == CURLUE_OK
        && (size_t)snprintf(out, out_bytes, "%s", full) < out_bytes) {
        *why = "AWS_CONTAINER_CREDENTIALS_FULL_URI must be https, or http to this machine";
        may = strcasecmp(scheme, "https") == 0
              || (strcasecmp(scheme, "http") == 0 && host_is_near(host));
    }
    curl_free(scheme);
    curl_free(host);
    curl_url_cleanup(url);
    return may;
}

/* The authorization header: the file wins, and is read each time, since it changes. */
static enum bd_status
container_authorize(struct lookup *lookup, struct headers *headers)
{
    const char *path = environment("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE");
    const char *value = environment("AWS_CONTAINER_AUTHORIZATION_TOKEN");
    struct secret text = { 0 };
    int error;

    if (path != NULL) {
        error = secret_read_file(&text, path);
        if (error != 0) {
            secret_clear(&text);
            return lookup_failed(lookup, BD_DENIED, "%s: %s", path, strerror(error));
        }
        value = secret_trim(&text);
    }
    if (value != NULL)
        headers_add(headers, "authorization", value);
    secret_clear(&text);
    return headers->is_overfull ? lookup_failed(
               lookup, BD_INVALID, "the container's authorization token cannot be a header's value")
                                : BD_OK;
}

enum bd_status
container_look(struct lookup *lookup, struct found *found)
{
    const char *relative = environment("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
    const char *full = environment("AWS_CONTAINER_CREDENTIALS_FULL_URI"), *why;
    struct headers headers;
    char url[URL_BYTES];
    struct web_request request = {
        .method = "GET", .url = url, .headers = &headers, .limit_ms = LIMIT_MS, .is_metadata = true
    };
    struct web_answer answer = { 0 };
    enum bd_status status;

    if (relative == NULL && full == NULL)
        return lookup_failed(lookup, BD_INVALID,
                             "this is not a container with keys of its own: neither "
                             "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI nor "
                             "AWS_CONTAINER_CREDENTIALS_FULL_URI is set");
    if (!container_url(relative, full, url, sizeof url, &why))
        return lookup_failed(lookup, BD_INVALID, "%s", why);
    headers_init(&headers);
    status = container_authorize(lookup, &headers);
    if (status != BD_OK)
        goto wipe;
    status = web_exchange(lookup, &request, &answer);
    if (status != BD_OK)
        status = service_failed(lookup, status, CONTAINER_SERVICE);
    else
        status = answer_check(lookup, &answer, CONTAINER_SERVICE);
    if (status == BD_OK)
        status = keys_of(lookup, &answer, CONTAINER_SERVICE, found);
    snprintf(found->source, sizeof found->source, CONTAINER_SERVICE);
    secret_clear(&answer.body);
wipe:
    OPENSSL_cleanse(&headers, sizeof headers);
    return status;
}

enum bd_status
source_container(struct lookup *lookup, struct found *found)
{
    if (environment("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI") == NULL
        && environment("AWS_CONTAINER_CREDENTIALS_FULL_URI") == NULL)
        return BD_ABSENT;
    return container_look(lookup, found);
}

/* ------------------------------------------------------------------ instance */

#define INSTANCE_SERVICE "instance metadata service"

struct instance {
    struct lookup *lookup;
    const char *endpoint;
    unsigned limit_ms;
    struct headers headers; /* the token, once we have one */
};

/* Append the endpoint, a path, and a name in it. */
static bool
instance_url(const struct instance *instance, const char *path, const char *name, char *url)
{
    size_t bytes = strlen(instance->endpoint);

    while (bytes > 0 && instance->endpoint[bytes - 1] == '/')
        bytes--;
    return snprintf(url, URL_BYTES, "%.*s%s", (int)bytes, instance->endpoint, path) < URL_BYTES
           && uri_append(url, URL_BYTES, name, false);
}

static enum bd_status
instance_ask(struct instance *instance, const char *method, const char *path, const char *name,
             struct web_answer *answer)
{
    char url[URL_BYTES];
    struct web_request request = { .method = method,
                                   .url = url,
                                   .headers = &instance->headers,
                                   .limit_ms = instance->limit_ms,
                                   .is_metadata = true };
    enum bd_status status;

    *answer = (struct web_answer){ 0 };
    if (!instance_url(instance, path, name, url))
        return lookup_failed(instance->lookup, BD_INVALID, "the URL of the %s is too long",
                             INSTANCE_SERVICE);
    status = web_exchange(instance->lookup, &request, answer);
    return status == BD_OK ? BD_OK : service_failed(instance->lookup, status, INSTANCE_SERVICE);
}

/* For version 2: put its token into the headers. */
static enum bd_status
instance_authorize(struct instance *instance)
{
    struct web_answer answer;
    enum bd_status status;

    headers_init(&instance->headers);
    headers_add(&instance->headers, "x-aws-ec2-metadata-token-ttl-seconds", "21600");
    status = instance_ask(instance, "PUT", INSTANCE_TOKEN_PATH, "", &answer);
    headers_init(&instance->headers);
    if (status == BD_OK)
        status = answer_check(instance->lookup, &answer, INSTANCE_SERVICE " (version 2)");
    if (status == BD_OK) {
        const char *token = secret_trim(&answer.body);

        headers_add(&instance->headers, "x-aws-ec2-metadata-token", token);
        if (token[0] == '\0' || instance->headers.is_overfull)
            status =
                lookup_failed(instance->lookup, BD_RETRY, "the %s gave no token", INSTANCE_SERVICE);
    }
    secret_clear(&answer.body);
    if (status != BD_OK && instance->lookup->options->allow_imds_v1
        && !lookup_is_cancelled(instance->lookup)) {
        headers_init(&instance->headers);
        return BD_OK;
    }
    return status;
}

/* The name of the instance's role: the first line. */
static enum bd_status
instance_role(struct instance *instance, char *role, size_t role_bytes)
{
    struct web_answer answer;
    enum bd_status status = instance_ask(instance, "GET", INSTANCE_ROLE_PATH, "", &answer);

    if (status == BD_OK && answer.status == 404)
        status = lookup_failed(instance->lookup, BD_INVALID, "this EC2 instance has no role");
    else if (status == BD_OK)
        status = answer_check(instance->lookup, &answer, INSTANCE_SERVICE);
    if (status == BD_OK) {
        const char *first = secret_trim(&answer.body);
        size_t bytes = strcspn(first, " \t\r\n");

        if (bytes == 0 || bytes >= role_bytes)
            status = lookup_failed(instance->lookup, BD_INVALID, "this EC2 instance has no role");
        else
            snprintf(role, role_bytes, "%.*s", (int)bytes, first);
    }
    secret_clear(&answer.body);
    return status;
}

/* *is_there: it named a role, or one was given, and what fails now is a failure. */
static enum bd_status
instance_keys(struct instance *instance, const char *role, struct found *found, bool *is_there)
{
    struct lookup *lookup = instance->lookup;
    char only[200];
    struct web_answer answer;
    enum bd_status status = instance_authorize(instance);

    if (status == BD_OK && role[0] == '\0') {
        status = instance_role(instance, only, sizeof only);
        role = only;
    }
    if (status != BD_OK)
        return status;
    *is_there = true;
    status = instance_ask(instance, "GET", INSTANCE_ROLE_PATH, role, &answer);
    if (status == BD_OK && answer.status == 404)
        status = lookup_failed(lookup, BD_INVALID, "this EC2 instance has no role %s", role);
    else if (status == BD_OK)
        status = answer_check(lookup, &answer, INSTANCE_SERVICE);
    if (status == BD_OK)
        status = keys_of(lookup, &answer, INSTANCE_SERVICE, found);
    snprintf(found->source, sizeof found->source, "EC2 instance role %s", role);
    secret_clear(&answer.body);
    return status;
}

static enum bd_status
instance_look_within(struct lookup *lookup, const char *role, unsigned limit_ms,
                     struct found *found, bool *is_there)
{
    const char *endpoint = environment("AWS_EC2_METADATA_SERVICE_ENDPOINT");
    struct instance instance = { .lookup = lookup,
                                 .endpoint = endpoint != NULL ? endpoint : INSTANCE_URL,
                                 .limit_ms = limit_ms };
    enum bd_status status = instance_keys(&instance, role, found, is_there);

    OPENSSL_cleanse(&instance.headers, sizeof instance.headers);
    return status;
}

enum bd_status
instance_look(struct lookup *lookup, const char *role, struct found *found)
{
    bool is_there = false;

    return instance_look_within(lookup, role, LIMIT_MS, found, &is_there);
}

static bool
file_begins(const char *directory, const char *name, const char *with)
{
    struct secret text = { 0 };
    char path[512];
    bool begins = false;

    snprintf(path, sizeof path, "%s/%s", directory, name);
    if (secret_read_file(&text, path) == 0)
        begins = strncasecmp(secret_trim(&text), with, strlen(with)) == 0;
    secret_clear(&text);
    return begins;
}

bool
instance_is_ec2(const char *directory)
{
    return file_begins(directory, "sys_vendor", "Amazon EC2")
           || file_begins(directory, "product_uuid", "ec2");
}

enum bd_status
source_instance(struct lookup *lookup, struct found *found)
{
    const char *disabled = environment("AWS_EC2_METADATA_DISABLED");
    enum bd_status status;
    bool is_there = false;

    if (lookup->options->ec2_role != NULL)
        return instance_look(lookup, lookup->options->ec2_role, found);
    if (disabled != NULL && strcasecmp(disabled, "true") == 0)
        return BD_ABSENT;
    /* Who names the service's address has one. */
    if (!instance_is_ec2(DMI_DIRECTORY) && environment("AWS_EC2_METADATA_SERVICE_ENDPOINT") == NULL)
        return BD_ABSENT;
    status = instance_look_within(lookup, "", lookup->is_renewal ? LIMIT_MS : LIMIT_DETECTED_MS,
                                  found, &is_there);
    /* An instance without a role is as good as none.  One whose keys fail to come is not: to
     * go on without would be refused by the store for a reason that nobody sees. */
    if (status != BD_OK && !is_there && !lookup->is_renewal) {
        lookup->host->log(lookup->host, BD_INFO, "%s; going on without it", lookup->why);
        return BD_ABSENT;
    }
    return status;
}
