/* SPDX-License-Identifier: Apache-2.0 */
/* Answers and failures counted by kind. */
#include "tally.h"

void
tally_init(struct tally *tally, const struct bd_host *host)
{
    struct bd_counter **counters = tally->counters;

    counters[TALLY_UNAUTHORIZED] =
        host->counter(host, "http_unauthorized", "answers with the status 401");
    counters[TALLY_FORBIDDEN] = host->counter(host, "http_forbidden", "answers with 403");
    counters[TALLY_REDIRECT] =
        host->counter(host, "http_redirect", "answers with 301, 302, 307 or 308");
    counters[TALLY_5XX] = host->counter(host, "http_5xx_error", "answers with 500 to 599");
    counters[TALLY_4XX] = host->counter(
        host, "http_4xx_error",
        "other answers with 400 to 499, but for 404, 412 and 416, which are no errors here");
    counters[TALLY_3XX] =
        host->counter(host, "http_3xx_error", "other answers with 300 to 399, but for 304");
    counters[TALLY_OTHER] =
        host->counter(host, "http_other_error", "answers with a status that is none of these");
    counters[TALLY_TIMEOUT] = host->counter(host, "curl_timeouts", "requests that took too long");
    counters[TALLY_CONNECT] =
        host->counter(host, "curl_connect_failed", "requests for which there was no connection");
    counters[TALLY_HOST] =
        host->counter(host, "curl_host_unknown", "requests whose host's name nobody knew");
    counters[TALLY_MEMORY] =
        host->counter(host, "curl_out_of_memory", "requests for which there was no memory");
    counters[TALLY_CURL] =
        host->counter(host, "curl_other_error", "requests that failed in another way");
}

/* TALLY_KINDS: no error. */
static enum tally_kind
kind_of_status(unsigned status)
{
    switch (status) {
    case 401:
        return TALLY_UNAUTHORIZED;
    case 403:
        return TALLY_FORBIDDEN;
    case 301:
    case 302:
    case 307:
    case 308:
        return TALLY_REDIRECT;
    case 304:
    case 404:
    case 412:
    case 416:
        return TALLY_KINDS;
    default:
        break;
    }
    switch (status / 100) {
    case 2:
        return TALLY_KINDS;
    case 3:
        return TALLY_3XX;
    case 4:
        return TALLY_4XX;
    case 5:
        return TALLY_5XX;
    default:
        return TALLY_OTHER;
    }
}

void
tally_answer(const struct tally *tally, const struct bd_host *host, unsigned http_status)
{
    enum tally_kind kind = kind_of_status(http_status);

    if (kind != TALLY_KINDS)
        host->counter_add(tally->counters[kind], 1);
}

void
tally_failure(const struct tally *tally, const struct bd_host *host, CURLcode code)
{
    enum tally_kind kind = code == CURLE_OPERATION_TIMEDOUT     ? TALLY_TIMEOUT
                           : code == CURLE_COULDNT_CONNECT      ? TALLY_CONNECT
                           : code == CURLE_COULDNT_RESOLVE_HOST ? TALLY_HOST
                           : code == CURLE_OUT_OF_MEMORY        ? TALLY_MEMORY
                                                                : TALLY_CURL;

    host->counter_add(tally->counters[kind], 1);
}
