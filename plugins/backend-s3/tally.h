/* SPDX-License-Identifier: Apache-2.0 */
/* Answers and failures counted by kind, under the names that s3backer has for them: core shows the sums in its statistics.
 * Any thread. */
#ifndef S3_TALLY_H
#define S3_TALLY_H

#include <bucketdisk/plugin.h>

#include <curl/curl.h>

enum tally_kind {
    TALLY_UNAUTHORIZED,
    TALLY_FORBIDDEN,
    TALLY_REDIRECT,
    TALLY_5XX,
    TALLY_4XX,
    TALLY_3XX,
    TALLY_OTHER,
    TALLY_TIMEOUT,
    TALLY_CONNECT,
    TALLY_HOST,
    TALLY_MEMORY,
    TALLY_CURL,
    TALLY_KINDS,
};

struct tally {
    struct bd_counter *counters[TALLY_KINDS];
};

void tally_init(struct tally *tally, const struct bd_host *host);
/* An answer came, with this status. */
void tally_answer(const struct tally *tally, const struct bd_host *host, unsigned http_status);
/* None came, or not the whole of it. */
void tally_failure(const struct tally *tally, const struct bd_host *host, CURLcode code);

#endif
