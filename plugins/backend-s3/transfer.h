/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP exchanges, many at once, on one thread with an event loop over libcurl's multi interface.
 *
 * The loop's thread runs everything: jobs posted from elsewhere, and the end of each exchange.  What lives on it needs no
 * lock. Connections are kept alive and shared.  An exchange is over by its deadline.
 *
 * A request that writes is never sent twice behind its owner's back: libcurl repeats what died on a
 * kept-alive connection, which for a write is allowed only if nothing of it can have been done. */
#ifndef S3_TRANSFER_H
#define S3_TRANSFER_H

#include "answer.h"
#include "http.h"

#include <curl/curl.h>

struct transfers;

struct transfers_config {
    const char *ca_file; /* NULL: the system's */
    bool is_insecure;    /* no check of the server's certificate */
    bool allows_http2;
    bool no_reuse;                             /* a connection for each exchange */
    int tos;                                   /* of all that is sent; -1: the system's */
    bool debug;                                /* log requests and headers, credentials masked */
    uint64_t upload_bytes_s, download_bytes_s; /* of one transfer; 0: no limit */
    uint64_t progress_ms; /* a transfer that stands still for so long is given up */
    unsigned idle_s;      /* connections that were idle for longer are not used again */
};

/* Borrows host for ever, config's strings until free.  NULL, with a log line, on failure. */
struct transfers *transfers_new(const struct bd_host *host, const struct transfers_config *config);
/* Nothing may be in flight. */
void transfers_free(struct transfers *transfers);

/* Run job->run on the loop's thread.  Any thread; jobs run in the order of posting. */
struct transfer_job {
    struct transfer_job *next;
    void (*run)(struct transfer_job *job);
};
void transfers_post(struct transfers *transfers, struct transfer_job *job);

#define EXCHANGE_PATH_BYTES 8192u

/* One exchange.  All of the rest on the loop's thread. */
struct exchange {
    /* Filled by the owner, who also signs. */
    struct http_request request;
    uint64_t deadline_ns; /* CLOCK_BOOTTIME */
    bool is_write;
    /* Where the body of a 200 or 206 goes; NULL: to answer.body, as all others do. */
    void *data;
    size_t cap;
    uint64_t offset; /* of `data` in the object: what a server sends from before it is dropped */
    size_t body_bytes_max;          /* of answer.body */
    void *owned_body;               /* malloc'ed; freed with the exchange */
    char path[EXCHANGE_PATH_BYTES]; /* room for request.path and request.query */
    char query[EXCHANGE_PATH_BYTES];

    struct answer answer;
    size_t data_bytes; /* in `data` */
    bool has_failed;   /* no answer, or not the whole of it; why says more */
    bool may_be_done;  /* then: a write that may have been carried out, or may still be */
    CURLcode code;     /* then: what libcurl says */
    char why[CURL_ERROR_SIZE + 64];

    void (*done)(struct exchange *exchange);
    void *owner;
    const void *signed_with; /* the owner's, as is the next */
    unsigned signed_era;
    uint32_t index; /* of the name that it deletes */

    /* The loop's own. */
    struct transfers *transfers;
    struct exchange *next, **link;
    CURL *easy;
    unsigned sends;                      /* times that it was begun on a connection */
    bool is_full;                        /* `data` is: the rest is not wanted */
    uint64_t paced_from_ns, paced_bytes; /* with a limit: since the first byte of the body */
    uint64_t resume_ns;                  /* when it goes on; 0: it does not pause */
    uint64_t stream_bytes;               /* of the body of a 200 or 206, seen so far */
    struct curl_slist lines[HEADERS_MAX + 8];
    char text[HEADERS_TEXT_BYTES + 4096]; /* of lines */
};

/* NULL when out of memory.  All request fields are as new. */
struct exchange *exchange_new(struct transfers *transfers);
/* Calls done, never from inside. `scheme` as in "https". */
void exchange_send(struct exchange *exchange, const char *scheme);
void exchange_free(struct exchange *exchange);

#endif
