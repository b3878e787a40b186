/* SPDX-License-Identifier: Apache-2.0 */
/* One exchange for an operation: made, signed, sent; and what its failure means.
 *
 * An operation is a function that sends (send_…) and one that reads the answer (on_…); some need a second
 * exchange before they know.  All of it runs on the loop's thread, which therefore owns what is learned
 * about the store on the way: region, clock, version of listings, whether batches work. */
#ifndef S3_CALL_H
#define S3_CALL_H

#include "operation.h"

#define RESULT_BYTES_MAX (16u << 20) /* of a listing, of the result of a batch */

/* An exchange for one key, or for the bucket itself if `name` is NULL.  NULL, with operation->status and the reason, if it
 * can't be made. */
struct exchange *call_begin(struct operation *operation, const char *method, const char *name,
                            void (*done)(struct exchange *exchange));
/* In the order of names, in which they are signed. */
void call_query(struct exchange *exchange, const char *name, const char *value);
/* `tag` as core has it: without its quotes, or "*"; NULL adds nothing. */
void call_condition(struct exchange *exchange, const char *header, const char *tag, bool is_bare);
/* Returns false, with the exchange gone, operation->status and the reason, if it cannot be sent. */
bool call_go(struct exchange *exchange);

/* Did it go well, as far as HTTP and an error inside a 200 tell? */
bool call_succeeded(const struct exchange *exchange);
/* Does a success look like S3's, and not like some page of a proxy, which has a body?  Nothing else may acknowledge a
 * write.  (The body of an object is not in the answer, but in exchange->data.) */
bool call_is_of_store(const struct exchange *exchange);
/* Of a DELETE's: is the object gone? */
bool call_deleted(const struct exchange *exchange);
/* A failure's class, with its sentence told, and its lesson learned.  The exchange stays. */
enum bd_status call_failure(struct exchange *exchange, bool has_condition);
/* The same, and with it the operation ends. */
void call_fail(struct exchange *exchange, bool has_condition);
void call_end(struct exchange *exchange);

/* The operations.  False, with operation->status and the reason, if they could not be sent. */
bool send_get(struct operation *operation);
bool send_head(struct operation *operation);
bool send_put(struct operation *operation);
bool send_delete(struct operation *operation);
bool send_delete_many(struct operation *operation);
bool send_list(struct operation *operation);

#endif
