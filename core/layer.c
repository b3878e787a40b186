/* SPDX-License-Identifier: Apache-2.0 */
/* One codec, opened. */
#include "layer.h"

#include "base/log.h"
#include "codecs.h"
#include "host.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* The usual spelling of the token, so that others can read what we write. */
static int
spell(struct layer *layer, struct error *why)
{
    const char *written = layer->codec->match == NULL ? layer->codec->token : layer->token;

    if (layer->codec->written != NULL)
        written = layer->codec->written(layer->handle);
    if (strlen(written) > BD_TOKEN_BYTES_MAX)
        return error_set(why, -EINVAL, "the encoding \"%s\" is written with more than %u bytes",
                         layer->token, BD_TOKEN_BYTES_MAX);
    strcpy(layer->written, written);
    return 0;
}

int
layer_unknown(const char *token, struct error *why)
{
    const char *plugin = codecs_plugin(token);

    if (plugin == NULL)
        return error_set(
            why, -ENOTSUP,
            "no plugin provides the encoding \"%s\", and none of bucketdisk's own would; "
            "is its plugin in --plugin-path?",
            token);
    return error_set(why, -ENOTSUP,
                     "no plugin provides the encoding \"%s\"; %s would: see bucketdisk plugins, or "
                     "say with --plugin-path where it is",
                     token, plugin);
}

int
layer_open(const struct plugins *plugins, const char *token, const struct keyring *keyring,
           struct pool *pool, struct stats *stats, struct layer **out, struct error *why)
{
    const struct plugin *owner = NULL;
    const struct bd_codec *codec = plugins_codec(plugins, token, &owner);
    struct layer *layer;
    enum bd_status status;
    struct error said;

    if (codec == NULL)
        return layer_unknown(token, why);
    if (plugins_check_token(plugins, token, why) != 0 || plugin_check(owner, why) != 0)
        return -EINVAL;
    layer = calloc(1, sizeof *layer);
    if (layer == NULL)
        return error_set(why, -ENOMEM, "out of memory");
    strcpy(layer->token, token);
    layer->codec = codec;
    if (host_new(owner->name, pool, stats, &layer->host) != 0) {
        free(layer);
        return error_set(why, -ENOMEM, "out of memory");
    }
    host_give_keys(layer->host, keyring, codec->token);
    host_capture_error(&said);
    status = codec->open(host_table(layer->host), owner->option_fields, token, &layer->handle);
    host_capture_error(NULL);
    if (status != BD_OK) {
        host_free(layer->host);
        free(layer);
        return error_set(why, -EINVAL, "%s cannot serve the encoding \"%s\"%s%s", owner->name,
                         token, said.text[0] != '\0' ? ": " : "", said.text);
    }
    pthread_mutex_init(&layer->lock, NULL);
    if (spell(layer, why) != 0) {
        layer_close(layer);
        return -EINVAL;
    }
    *out = layer;
    return 0;
}

void
layer_close(struct layer *layer)
{
    while (layer->worker_count > 0)
        layer->codec->worker_free(layer->handle, layer->workers[--layer->worker_count]);
    if (layer->codec->close != NULL)
        layer->codec->close(layer->handle);
    host_free(layer->host);
    pthread_mutex_destroy(&layer->lock);
    free(layer);
}

static void *
worker_take(struct layer *layer)
{
    void *worker = NULL;

    if (layer->codec->worker_new == NULL)
        return NULL;
    pthread_mutex_lock(&layer->lock);
    if (layer->worker_count > 0)
        worker = layer->workers[--layer->worker_count];
    pthread_mutex_unlock(&layer->lock);
    return worker != NULL ? worker : layer->codec->worker_new(layer->handle);
}

static void
worker_give(struct layer *layer, void *worker)
{
    if (worker == NULL)
        return;
    pthread_mutex_lock(&layer->lock);
    if (layer->worker_count < LAYER_WORKERS_KEPT) {
        layer->workers[layer->worker_count++] = worker;
        worker = NULL;
    }
    pthread_mutex_unlock(&layer->lock);
    if (worker != NULL)
        layer->codec->worker_free(layer->handle, worker);
}

enum bd_status
layer_run(struct layer *layer, enum layer_way way, struct bd_coding *coding, struct bd_bytes in,
          struct bd_buf *out)
{
    void *worker = worker_take(layer);
    enum bd_status status;

    if (worker == NULL && layer->codec->worker_new != NULL)
        return BD_FATAL;
    status = (way == LAYER_ENCODE ? layer->codec->encode
                                  : layer->codec->decode)(layer->handle, worker, coding, in, out);
    worker_give(layer, worker);
    if (status == BD_OK && out->len > out->cap) {
        log_line(BD_ERROR, "codec %s wrote %zu bytes where %zu fit: this is a bug of its plugin",
                 layer->token, out->len, out->cap);
        abort(); /* memory behind the buffer is destroyed */
    }
    return status;
}
