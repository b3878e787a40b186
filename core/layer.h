/* SPDX-License-Identifier: Apache-2.0 */
/* One codec, opened for one token: what it is called with, and each thread's own state.
 *
 * Opened on one thread; layer_run by any, many at once. */
#ifndef CORE_LAYER_H
#define CORE_LAYER_H

#include "base/error.h"
#include "base/pool.h"
#include "base/stats.h"
#include "coding.h"
#include "keyring.h"
#include "plugin.h"

#include <pthread.h>

#define LAYER_WORKERS_KEPT 64u

struct layer {
    char token[BD_TOKEN_BYTES_MAX + 1];   /* as asked for */
    char written[BD_TOKEN_BYTES_MAX + 1]; /* as objects carry it */
    const struct bd_codec *codec;
    struct host *host;
    void *handle;
    pthread_mutex_t lock;              /* guards the workers */
    void *workers[LAYER_WORKERS_KEPT]; /* those that nobody uses now */
    unsigned worker_count;
    struct layer *next; /* the owner's */
};

/* Nobody has this token: who would?  -ENOTSUP. */
int layer_unknown(const char *token, struct error *why);

/* -ENOTSUP: no plugin has the token.  -EINVAL: its plugin cannot serve it; says why. */
int layer_open(const struct plugins *plugins, const char *token, const struct keyring *keyring,
               struct pool *pool, struct stats *stats, struct layer **out, struct error *why);
void layer_close(struct layer *layer);

enum layer_way {
    LAYER_ENCODE,
    LAYER_DECODE,
};

/* `coding` as the codec sees it, its host_private a struct coding.  Ends the process if the codec wrote behind
 * out->cap: memory is destroyed then. */
enum bd_status layer_run(struct layer *layer, enum layer_way way, struct bd_coding *coding,
                         struct bd_bytes in, struct bd_buf *out);

#endif
