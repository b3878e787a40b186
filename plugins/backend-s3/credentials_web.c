/* SPDX-License-Identifier: Apache-2.0 */
/* One blocking HTTP request, to a metadata service or a token service.
 *
 * With libcurl's multi interface, since that also watches the descriptor that ends a look. */
#include "credentials_parts.h"
#include "mask.h"
#include "proxy.h"

#include <curl/curl.h>
#include <openssl/crypto.h>

#include <stdlib.h>
#include <string.h>

#define ANSWER_BYTES_MAX (64u << 10)

static size_t
body_write(char *data, size_t size, size_t count, void *arg)
{
    struct web_answer *answer = arg;
    size_t bytes = size * count;

    if (bytes > ANSWER_BYTES_MAX - answer->body.bytes || !secret_append(&answer->body, data, bytes))
        return CURL_WRITEFUNC_ERROR;
    return bytes;
}

/* libcurl copies the lines, so its copies are wiped, too. */
static void
lines_free(struct curl_slist *lines)
{
    for (struct curl_slist *line = lines; line != NULL; line = line->next)
        OPENSSL_cleanse(line->data, strlen(line->data));
    curl_slist_free_all(lines);
}

/* NULL: out of memory. */
static struct curl_slist *
lines_of(const struct headers *headers)
{
    /* Else libcurl adds them by itself; neither is signed. */
    struct curl_slist *lines = curl_slist_append(NULL, "Expect:"), *longer;
    struct secret line = { 0 };

    for (unsigned i = 0; lines != NULL && headers != NULL && i < headers->count; i++) {
        const struct header *header = &headers->list[i];

        line.bytes = 0;
        if (secret_append(&line, header->name, strlen(header->name))
            && secret_append(&line, ": ", 2)
            && secret_append(&line, header->value, strlen(header->value)))
            longer = curl_slist_append(lines, line.text);
        else
            longer = NULL;
        if (longer == NULL)
            lines_free(lines);
        lines = longer;
    }
    secret_clear(&line);
    return lines;
}

/* False when libcurl is out of memory, or too old for what we ask. */
static bool
easy_set(CURL *easy, const struct lookup *lookup, const struct web_request *request,
         struct curl_slist *lines, struct web_answer *answer, char *error)
{
    const char *ca_file = lookup->options->ca_file;
    CURLcode rc = CURLE_OK;

#define SET(option, value) rc = rc != CURLE_OK ? rc : curl_easy_setopt(easy, option, value)
    SET(CURLOPT_ERRORBUFFER, error);
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_QUICK_EXIT, 1L); /* do not wait for a name server when we end */
    SET(CURLOPT_PROTOCOLS_STR, "http,https");
    SET(CURLOPT_URL, request->url);
    SET(CURLOPT_CUSTOMREQUEST, request->method);
    if (request->body != NULL) {
        SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body_bytes);
        SET(CURLOPT_POSTFIELDS, request->body);
    }
    SET(CURLOPT_HTTPHEADER, lines);
    SET(CURLOPT_USERAGENT, "bucketdisk");
    SET(CURLOPT_TIMEOUT_MS, (long)request->limit_ms);
    SET(CURLOPT_WRITEFUNCTION, body_write);
    SET(CURLOPT_WRITEDATA, answer);
    if (request->is_metadata)
        SET(CURLOPT_NOPROXY, "*");
    else if (ca_file != NULL)
        SET(CURLOPT_CAINFO, ca_file);
#undef SET
    return rc == CURLE_OK;
}

/* Until it is done or cancelled. */
static CURLcode
transfer(const struct lookup *lookup, CURLM *multi)
{
    struct curl_waitfd cancel = { .fd = lookup->cancel_fd, .events = CURL_WAIT_POLLIN };
    int running, left;
    CURLMsg *message;

    for (;;) {
        if (curl_multi_perform(multi, &running) != CURLM_OK)
            return CURLE_FAILED_INIT;
        if (running == 0)
            break;
        if (curl_multi_poll(multi, &cancel, 1, 1000, NULL) != CURLM_OK)
            return CURLE_FAILED_INIT;
        if (lookup_is_cancelled(lookup))
            return CURLE_ABORTED_BY_CALLBACK;
    }
    message = curl_multi_info_read(multi, &left);
    return message == NULL ? CURLE_FAILED_INIT : message->data.result;
}

enum bd_status
web_exchange(struct lookup *lookup, const struct web_request *request, struct web_answer *answer)
{
    char error[CURL_ERROR_SIZE] = "";
    enum bd_status status = BD_FATAL;
    struct curl_slist *lines;
    CURLM *multi;
    CURLcode rc;
    CURL *easy;

    *answer = (struct web_answer){ 0 };
    lookup_failed(lookup, BD_FATAL, "out of memory for a request");
    lines = lines_of(request->headers);
    if (lines == NULL)
        return status;
    easy = curl_easy_init();
    if (easy == NULL)
        goto free_lines;
    multi = curl_multi_init();
    if (multi == NULL)
        goto free_easy;
    if (!easy_set(easy, lookup, request, lines, answer, error)
        || curl_multi_add_handle(multi, easy) != CURLM_OK)
        goto free_multi;
    rc = transfer(lookup, multi);
    if (rc == CURLE_OK)
        rc = curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &answer->status);
    if (rc == CURLE_OK)
        status = BD_OK;
    else if (rc == CURLE_WRITE_ERROR)
        status = lookup_failed(lookup, BD_INVALID, "the answer is too long");
    else {
        proxy_mask(error);
        status = lookup_failed(lookup, BD_RETRY, "%s",
                               error[0] != '\0' ? error : curl_easy_strerror(rc));
    }
    curl_multi_remove_handle(multi, easy);
free_multi:
    curl_multi_cleanup(multi);
free_easy:
    curl_easy_cleanup(easy);
free_lines:
    lines_free(lines);
    return status;
}
