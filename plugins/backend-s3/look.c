/* SPDX-License-Identifier: Apache-2.0 */
/* The first look at a bucket: what would fail every request is found out before anything depends on it. */
#include "look.h"

#include "call.h"
#include "xml.h"

#include <pthread.h>
#include <stdlib.h>

static bool
any_key(void *arg, const char *key, uint64_t bytes, const char *tag)
{
    (void)arg, (void)key, (void)bytes, (void)tag;
    return true;
}

static void
on_look(struct exchange *exchange)
{
    struct operation *operation = exchange->owner;
    struct s3_listing listing = { .entry = any_key };
    const struct answer *answer = &exchange->answer;
    enum bd_status status = BD_OK;
    char why[128];

    if (!call_succeeded(exchange)) {
        status = call_failure(exchange, false);
        /* What will not get better by waiting; a name server that is not there yet may. */
        if (exchange->has_failed
            && (exchange->code == CURLE_PEER_FAILED_VERIFICATION
                || exchange->code == CURLE_SSL_CACERT_BADFILE
                || exchange->code == CURLE_SSL_CONNECT_ERROR))
            status = BD_INVALID;
        else if (exchange->has_failed && status == BD_RETRY)
            status = BD_UNKNOWN; /* no answer that could have taught us something */
        else if ((answer->http_status / 100 == 3 || answer->http_status == 404)
                 && status == BD_RETRY && exchange->signed_era == operation->s3->era)
            status = BD_INVALID;
    } else if (!xml_parse_listing(answer->body, answer->body_bytes, &listing, why, sizeof why)) {
        operation_explain(operation,
                          "%s answers, but not as S3 does (%s); check --baseURL, and what is on "
                          "the way",
                          exchange->request.host, why);
        status = BD_INVALID;
    }
    call_end(exchange);
    operation_complete(operation, status);
}

static void
ask(struct transfer_job *job)
{
    struct operation *operation = (struct operation *)(void *)job;
    struct exchange *exchange = call_begin(operation, "GET", NULL, on_look);

    if (exchange != NULL) {
        call_query(exchange, "max-keys", "1");
        call_query(exchange, "prefix", operation->s3->prefix);
    }
    if (exchange == NULL || !call_go(exchange))
        operation_complete(operation, operation->status);
}

struct look {
    struct operation operation; /* first */
    pthread_mutex_t lock;
    pthread_cond_t ended;
    bool has_ended;
};

static void
looked(struct operation *operation)
{
    struct look *look = (struct look *)(void *)operation;

    pthread_mutex_lock(&look->lock);
    look->has_ended = true;
    pthread_cond_signal(&look->ended);
    pthread_mutex_unlock(&look->lock);
}

enum bd_status
look_at_bucket(struct s3 *s3)
{
    struct look *look = calloc(1, sizeof *look);
    enum bd_status status;

    if (look == NULL)
        return BD_FATAL;
    look->operation = (struct operation){ .job.run = ask, .s3 = s3, .ended = looked };
    pthread_mutex_init(&look->lock, NULL);
    pthread_cond_init(&look->ended, NULL);
    /* Twice more: after another region, the right time, or new credentials. */
    for (int tries = 0; tries < 3; tries++) {
        look->has_ended = false;
        transfers_post(s3->transfers, &look->operation.job);
        pthread_mutex_lock(&look->lock);
        while (!look->has_ended)
            pthread_cond_wait(&look->ended, &look->lock);
        pthread_mutex_unlock(&look->lock);
        if (look->operation.status != BD_RETRY)
            break;
    }
    status = look->operation.status;
    if (status == BD_RETRY || status == BD_BUSY || status == BD_UNKNOWN) {
        s3->host->log(s3->host, BD_WARNING, "%s", look->operation.why);
        status = BD_OK;
    } else if (status != BD_OK) {
        s3->host->log(s3->host, BD_ERROR, "%s", look->operation.why);
    }
    pthread_cond_destroy(&look->ended);
    pthread_mutex_destroy(&look->lock);
    free(look);
    return status;
}
