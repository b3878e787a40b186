/* SPDX-License-Identifier: Apache-2.0 */
/* The half of the host table that works on requests; backend.c has them, host.c puts them in.
 *
 * Each does what plugin.h says for the member of the same name. */
#ifndef CORE_REQUEST_H
#define CORE_REQUEST_H

#include <bucketdisk/plugin.h>

void request_complete(struct bd_io *io, enum bd_status status);
void request_error(struct bd_io *io, const char *format, ...) __attribute__((format(printf, 2, 3)));
void request_attr_add(struct bd_io *io, const char *name, const void *value, size_t value_bytes);
void request_encoding_set(struct bd_io *io, const char *encoding);
void request_tag_set(struct bd_io *io, const char *tag);
int request_list_add(struct bd_io *io, const char *name, uint64_t object_bytes, const char *tag);
struct bd_io *request_child_new(const struct bd_host *host, const struct bd_lower *lower,
                                const struct bd_io *like);
void request_child_submit(struct bd_io *child, bd_io_done *done, void *arg);
void request_child_result(const struct bd_io *child, struct bd_io *to);
void request_child_free(struct bd_io *child);

#endif
