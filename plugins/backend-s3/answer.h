/* SPDX-License-Identifier: Apache-2.0 */
/* What a server answered: the status, the headers that matter here, the body unless it went elsewhere.
 *
 * Nothing of it is trusted: texts are bounded, numbers checked.  Pure: one thread at a time. */
#ifndef S3_ANSWER_H
#define S3_ANSWER_H

#include <bucketdisk/plugin.h>

#include <stdbool.h>
#include <time.h>

#define ANSWER_ATTRS_MAX 64u
#define ANSWER_TEXT_BYTES (4u * BD_ATTRS_BYTES_MAX)

struct answer {
    unsigned http_status; /* 0: there was none */
    bool is_encoding_cut; /* it was longer than there is room for */
    bool has_content_bytes, has_total_bytes, has_range;
    uint64_t content_bytes; /* Content-Length */
    uint64_t total_bytes;   /* of Content-Range: the whole object's */
    uint64_t range_start;   /* likewise: where the body begins in it */
    uint32_t retry_after_ms;
    unsigned keep_alive_s; /* how long it keeps an idle connection; 0: not said */
    unsigned attr_count;
    size_t text_bytes;

    /* From here on only what is in use is touched. */
    char etag[BD_TAG_BYTES_MAX + 1];          /* without quotes; "" for none */
    char encoding[BD_ENCODING_BYTES_MAX + 1]; /* as core wants it; "" for none */
    char request_id[128];
    char region[64];                        /* x-amz-bucket-region */
    char location[256];                     /* of a redirect */
    char date[64];                          /* as it came; "" for none */
    struct bd_attr attrs[ANSWER_ATTRS_MAX]; /* x-amz-meta-*, those that can be ours */
    char text[ANSWER_TEXT_BYTES];           /* of attrs */

    char *body; /* with a NUL behind it, or NULL */
    size_t body_bytes, body_room;
};

/* Forget everything of an earlier answer; a small buffer of the body is kept. */
void answer_reset(struct answer *answer);
void answer_free(struct answer *answer);
/* One header line as it came, the status line included, which begins a new answer. */
void answer_header(struct answer *answer, const char *line, size_t bytes);
/* The server's clock when it answered; 0 if it did not say. */
time_t answer_date(const struct answer *answer);
/* More of the body.  What goes over `bytes_max` is dropped.  False when out of memory. */
bool answer_body(struct answer *answer, const void *data, size_t bytes, size_t bytes_max);

#endif
