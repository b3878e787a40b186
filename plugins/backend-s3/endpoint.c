/* SPDX-License-Identifier: Apache-2.0 */
/* Where requests go. */
#include "endpoint.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

/* May it be in front of a host name?  A bucket with dots is more labels than a TLS wildcard covers. */
static bool
fits_host(const char *bucket, bool is_tls)
{
    size_t bytes = strlen(bucket);

    if (bytes < 3 || bytes > 63 || bucket[0] == '-' || bucket[bytes - 1] == '-')
        return false;
    for (const char *c = bucket; *c != '\0'; c++) {
        if (!((*c >= 'a' && *c <= 'z') || (*c >= '0' && *c <= '9') || *c == '-'
              || (*c == '.' && !is_tls)))
            return false;
    }
    return true;
}

static bool
is_address(const char *server)
{
    return server[0] == '[' || server[strspn(server, "0123456789.:")] == '\0';
}

static bool
parse_url(const struct endpoint_config *config, struct endpoint *endpoint, char *why,
          size_t why_bytes)
{
    const char *rest = config->base_url, *usual_port;
    size_t server_bytes, path_bytes;

    if (strncasecmp(rest, "http://", 7) == 0) {
        strcpy(endpoint->scheme, "http");
        rest += 7;
    } else if (strncasecmp(rest, "https://", 8) == 0) {
        strcpy(endpoint->scheme, "https");
        rest += 8;
    } else if (strstr(rest, "://") != NULL) {
        /* Without the URL: it may name a user. */
        snprintf(why, why_bytes, "--baseURL: only http:// and https:// are possible");
        return false;
    } else {
        strcpy(endpoint->scheme, config->is_tls ? "https" : "http");
    }
    server_bytes = strcspn(rest, "/?#");
    path_bytes = strlen(rest + server_bytes);
    if (server_bytes == 0 || server_bytes >= sizeof endpoint->server
        || strcspn(rest, "?#@ \t\"<>\\") != strlen(rest) || path_bytes > 250) {
        snprintf(why, why_bytes,
                 "--baseURL must look like https://HOST[:PORT]/, without a user, blanks, '?' or "
                 "'#'");
        return false;
    }
    for (size_t i = 0; i < server_bytes; i++) {
        char c = rest[i];

        endpoint->server[i] = (char)(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
    }
    endpoint->server[server_bytes] = '\0';
    usual_port = strcmp(endpoint->scheme, "https") == 0 ? ":443" : ":80";
    if (server_bytes > strlen(usual_port)
        && strcmp(endpoint->server + server_bytes - strlen(usual_port), usual_port) == 0)
        endpoint->server[server_bytes - strlen(usual_port)] = '\0';
    snprintf(endpoint->path, sizeof endpoint->path, "%s%s", rest + server_bytes,
             path_bytes == 0 || rest[server_bytes + path_bytes - 1] != '/' ? "/" : "");
    return true;
}

bool
endpoint_server(const struct endpoint_config *config, struct endpoint *endpoint, char *why,
                size_t why_bytes)
{
    memset(endpoint, 0, sizeof *endpoint);
    if (config->base_url != NULL)
        return parse_url(config, endpoint, why, why_bytes);
    endpoint->is_derived = true;
    strcpy(endpoint->scheme, config->is_tls ? "https" : "http");
    strcpy(endpoint->path, "/");
    if (strspn(config->region, "abcdefghijklmnopqrstuvwxyz0123456789-") != strlen(config->region)
        || config->region[0] == '\0' || strlen(config->region) > 63) {
        snprintf(why, why_bytes, "\"%s\" is no region of Amazon's; it is a word like eu-west-1",
                 config->region);
        return false;
    }
    snprintf(endpoint->server, sizeof endpoint->server, "s3.%s.amazonaws.com%s", config->region,
             strncmp(config->region, "cn-", 3) == 0 ? ".cn" : "");
    return true;
}

bool
endpoint_make(const struct endpoint_config *config, struct endpoint *endpoint, char *why,
              size_t why_bytes)
{
    bool is_tls;

    if (!endpoint_server(config, endpoint, why, why_bytes))
        return false;
    is_tls = strcmp(endpoint->scheme, "https") == 0;
    endpoint->is_vhost = config->wants_vhost && fits_host(config->bucket, is_tls)
                         && (config->must_vhost || !is_address(endpoint->server));
    if (config->must_vhost && !endpoint->is_vhost) {
        snprintf(why, why_bytes, "--vhost: the bucket \"%s\" cannot be in a host name%s",
                 config->bucket, is_tls ? ", over TLS not with a dot either" : "");
        return false;
    }
    if (endpoint->is_vhost) {
        snprintf(endpoint->host, sizeof endpoint->host, "%s.%s", config->bucket, endpoint->server);
        return true;
    }
    strcpy(endpoint->host, endpoint->server);
    if (!uri_append(endpoint->path, sizeof endpoint->path, config->bucket, false)) {
        snprintf(why, why_bytes, "the bucket's name is too long");
        return false;
    }
    strcat(endpoint->path, "/");
    return true;
}
