/* SPDX-License-Identifier: Apache-2.0 */
/* The codec chain: plain block to object body and back.
 *
 * A codec is opened the first time that its token is met, and stays open.  Workers (a codec's state for one
 * thread) are kept in a free list for each: taken for one call, then given back. */
#include "chain.h"

#include "base/log.h"
#include "coding.h"
#include "encoding.h"
#include "host.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define WORKERS_KEPT 64u

/* One token's opened codec. */
struct layer {
    char token[BD_TOKEN_BYTES_MAX + 1]; /* as asked for */
    char written[BD_TOKEN_BYTES_MAX
                 + 1]; /* as objects carry it, and as other layers' data is bound to it */
    const struct bd_codec *codec;
    struct host *host;
    void *handle;
    pthread_mutex_t lock; /* guards the workers */
    void *workers[WORKERS_KEPT];
    unsigned worker_count;
    struct layer *next;
};

struct chain {
    const struct plugins *plugins; /* these: fixed after chain_open */
    struct pool *pool;
    struct stats *stats;
    uint32_t block_bytes;
    size_t body_bytes_max;
    struct encoding write;
    struct layer *write_layers[ENCODING_LAYERS_MAX];
    char *read_default;

    pthread_mutex_t lock; /* guards the list; a layer in it no longer changes */
    struct layer *layers;
};

/* ---- opening codecs */

/* The usual spelling of the layer's token, so that others can read what we write. */
static int
layer_spell(struct layer *layer, struct error *why)
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

static void
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

static int
layer_open(struct chain *chain, const char *token, struct layer **out, struct error *why)
{
    const struct plugin *owner = NULL;
    const struct bd_codec *codec = plugins_codec(chain->plugins, token, &owner);
    struct layer *layer;
    enum bd_status status;
    struct error said;

    if (codec == NULL)
        return error_set(why, -ENOTSUP, "no plugin provides the encoding \"%s\"", token);
    layer = calloc(1, sizeof *layer);
    if (layer == NULL)
        return error_set(why, -ENOMEM, "out of memory");
    strcpy(layer->token, token);
    layer->codec = codec;
    if (host_new(owner->name, chain->pool, chain->stats, &layer->host) != 0) {
        free(layer);
        return error_set(why, -ENOMEM, "out of memory");
    }
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
    if (layer_spell(layer, why) != 0) {
        layer_close(layer);
        return -EINVAL;
    }
    *out = layer;
    return 0;
}

static int
layer_get(struct chain *chain, const char *token, struct layer **out, struct error *why)
{
    int rc = 0;

    pthread_mutex_lock(&chain->lock);
    *out = chain->layers;
    while (*out != NULL && strcasecmp((*out)->token, token) != 0)
        *out = (*out)->next;
    if (*out == NULL) {
        rc = layer_open(chain, token, out, why);
        if (rc == 0) {
            (*out)->next = chain->layers;
            chain->layers = *out;
        }
    }
    pthread_mutex_unlock(&chain->lock);
    return rc;
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
    if (layer->worker_count < WORKERS_KEPT) {
        layer->workers[layer->worker_count++] = worker;
        worker = NULL;
    }
    pthread_mutex_unlock(&layer->lock);
    if (worker != NULL)
        layer->codec->worker_free(layer->handle, worker);
}

/* ---- one layer at work */

typedef enum bd_status code_fn(void *handle, void *worker, struct bd_coding *coding,
                               struct bd_bytes in, struct bd_buf *out);

struct step {
    struct layer *layer;
    struct coding coding;
    struct bd_coding public;
};

static void
step_init(struct step *step, const struct chain *chain, struct layer *layer, uint64_t block,
          const char *inner, size_t plain_bytes)
{
    memset(step, 0, sizeof *step);
    step->layer = layer;
    step->public = (struct bd_coding){ .size = sizeof step->public,
                                       .block_bytes = chain->block_bytes,
                                       .block = block,
                                       .inner = inner,
                                       .plain_bytes = plain_bytes };
    step->public.host_private = &step->coding;
}

static enum bd_status
step_run(struct step *step, code_fn *code, struct bd_bytes in, struct bd_buf *out)
{
    struct layer *layer = step->layer;
    void *worker = worker_take(layer);
    enum bd_status status;

    if (worker == NULL && layer->codec->worker_new != NULL)
        return BD_FATAL;
    status = code(layer->handle, worker, &step->public, in, out);
    worker_give(layer, worker);
    if (status == BD_OK && out->len > out->cap) {
        log_line(BD_ERROR, "codec %s wrote %zu bytes where %zu fit: this is a bug of its plugin",
                 layer->token, out->len, out->cap);
        abort(); /* memory behind the buffer is destroyed */
    }
    return status;
}

/* The tokens of layers [0, count) joined by ",", as authenticating codecs bind them. */
static void
inner_tokens(const struct encoding *encoding, unsigned count, char *out)
{
    out[0] = '\0';
    for (unsigned i = 0; i < count; i++) {
        if (i > 0)
            strcat(out, ",");
        strcat(out, encoding->tokens[i]);
    }
}

typedef char inner_list[ENCODING_LAYERS_MAX * (BD_TOKEN_BYTES_MAX + 1) + 1];

/* ---- encoding */

int
chain_encode(struct chain *chain, uint64_t block, void *plain, struct encoded *out,
             struct error *why)
{
    struct encoding applied = { 0 };
    int rc = 0;

    memset(out, 0, sizeof *out);
    out->body = plain;
    out->body_bytes = chain->block_bytes;
    for (unsigned i = 0; i < chain->write.count && rc == 0; i++) {
        struct layer *layer = chain->write_layers[i];
        struct bd_buf next = { .cap = layer->codec->bound(layer->handle, out->body_bytes) };
        enum bd_status status;
        struct step step;
        inner_list inner;

        next.data = malloc(next.cap + 1);
        if (next.data == NULL) {
            rc = error_set(why, -ENOMEM, "out of memory");
            break;
        }
        inner_tokens(&applied, applied.count, inner);
        step_init(&step, chain, layer, block, inner, out->body_bytes);
        step.coding.added = &out->attrs;
        status = step_run(&step, layer->codec->encode,
                          (struct bd_bytes){ out->body, out->body_bytes }, &next);
        if (status == BD_DECLINED && layer->codec->traits & BD_CODEC_MAY_DECLINE) {
            free(next.data);
            continue;
        }
        if (status != BD_OK || step.coding.rc != 0) {
            free(next.data);
            rc = error_set(why, -EIO, "%s: %s", layer->token,
                           step.coding.why.text[0] != '\0' ? step.coding.why.text
                                                           : "the codec failed");
            break;
        }
        if (out->body != plain)
            free(out->body);
        out->body = next.data;
        out->body_bytes = next.len;
        strcpy(applied.tokens[applied.count++], layer->written);
    }
    if (rc == 0 && encoding_format(&applied, out->encoding, sizeof out->encoding) != 0)
        rc = error_set(why, -EINVAL, "the list of encodings is too long");
    return rc;
}

void
encoded_free(struct encoded *encoded, const void *plain)
{
    if (encoded->body != plain)
        free(encoded->body);
    encoded->body = NULL;
    attrs_clear(&encoded->attrs);
}

/* ---- decoding */

static int
layers_of(struct chain *chain, const char *encoding_text, struct encoding *encoding,
          struct layer **layers, struct error *why)
{
    int rc =
        encoding_parse(encoding_text != NULL ? encoding_text : chain->read_default, encoding, why);

    for (unsigned i = 0; i < encoding->count && rc == 0; i++)
        rc = layer_get(chain, encoding->tokens[i], &layers[i], why);
    return rc;
}

bool
chain_applies(const struct chain *chain, const char *encoding_text)
{
    struct encoding encoding;

    return encoding_parse(encoding_text != NULL ? encoding_text : chain->read_default, &encoding,
                          NULL)
               != 0
           || encoding.count > 0;
}

static int
decode_layer(struct step *step, struct bd_bytes in, struct bd_buf *out, struct error *why)
{
    enum bd_status status = step_run(step, step->layer->codec->decode, in, out);
    const char *reason = step->coding.why.text;

    if (status == BD_OK)
        return 0;
    if (reason[0] == '\0')
        reason = "the data is damaged";
    return error_set(why, status == BD_CORRUPT ? -EBADMSG : -EIO, "%s: %s", step->layer->token,
                     reason);
}

int
chain_decode(struct chain *chain, uint64_t block, const char *encoding_text, struct bd_bytes body,
             const struct attrs *attrs, void *out, struct error *why)
{
    struct encoding encoding;
    struct layer *layers[ENCODING_LAYERS_MAX];
    struct bd_bytes in = body;
    int rc = layers_of(chain, encoding_text, &encoding, layers, why);

    for (unsigned i = 0; i < encoding.count && rc == 0; i++)
        strcpy(encoding.tokens[i], layers[i]->written);
    for (unsigned i = encoding.count; i-- > 0 && rc == 0;) {
        /* The innermost layer gives the block; what lies between two is bounded like a body. */
        struct bd_buf next = { .data = out, .cap = chain->block_bytes };
        struct step step;
        inner_list inner;

        if (i > 0) {
            next.cap = chain->body_bytes_max;
            next.data = malloc(next.cap);
            if (next.data == NULL) {
                rc = error_set(why, -ENOMEM, "out of memory");
                break;
            }
        }
        inner_tokens(&encoding, i, inner);
        step_init(&step, chain, layers[i], block, inner, i > 0 ? 0 : chain->block_bytes);
        step.coding.stored = attrs;
        rc = decode_layer(&step, in, &next, why);
        if (in.data != body.data)
            free((void *)(uintptr_t)in.data);
        in = (struct bd_bytes){ next.data, next.len };
    }
    if (rc == 0 && in.len != chain->block_bytes)
        rc = error_set(why, -EBADMSG, "it decodes to %zu bytes where a block has %u", in.len,
                       chain->block_bytes);
    if (in.data != body.data && in.data != out)
        free((void *)(uintptr_t)in.data);
    if (rc == 0 && in.data != out)
        memcpy(out, in.data, in.len);
    return rc;
}

/* ---- life */

bool
chain_is_plain(const struct chain *chain)
{
    return chain->write.count == 0;
}

size_t
chain_body_bytes_max(const struct chain *chain)
{
    return chain->body_bytes_max;
}

/* Compressing layers come before encrypting ones: what is encrypted does not compress, and nothing is
 * decompressed before it has been authenticated. */
static int
check_order(const struct chain *chain, struct error *why)
{
    bool is_encrypted = false;

    for (unsigned i = 0; i < chain->write.count; i++) {
        uint32_t traits = chain->write_layers[i]->codec->traits;

        if (traits & BD_CODEC_DECODE_ONLY)
            return error_set(why, -EINVAL, "--codec: \"%s\" can be read, but not written",
                             chain->write.tokens[i]);
        if (is_encrypted && !(traits & BD_CODEC_ENCRYPTS))
            return error_set(why, -EINVAL, "--codec: \"%s\" must come before what encrypts",
                             chain->write.tokens[i]);
        is_encrypted = is_encrypted || traits & BD_CODEC_ENCRYPTS;
    }
    return 0;
}

int
chain_open(const struct plugins *plugins, const char *write_list, const char *read_default,
           uint32_t block_bytes, struct pool *pool, struct stats *stats, struct error *why,
           struct chain **out)
{
    struct chain *chain = calloc(1, sizeof *chain);
    size_t bound = block_bytes;
    int rc;

    if (chain == NULL)
        return error_set(why, -ENOMEM, "out of memory");
    chain->plugins = plugins;
    chain->pool = pool;
    chain->stats = stats;
    chain->block_bytes = block_bytes;
    pthread_mutex_init(&chain->lock, NULL);
    rc = encoding_parse(write_list, &chain->write, why);
    for (unsigned i = 0; i < chain->write.count && rc == 0; i++) {
        struct layer *layer;

        rc = layer_get(chain, chain->write.tokens[i], &layer, why);
        if (rc != 0)
            break;
        chain->write_layers[i] = layer;
        strcpy(chain->write.tokens[i], layer->written);
        bound = layer->codec->bound(layer->handle, bound);
    }
    if (rc == 0)
        rc = check_order(chain, why);
    if (rc == 0 && read_default != NULL) {
        chain->read_default = strdup(read_default);
        if (chain->read_default == NULL)
            rc = error_set(why, -ENOMEM, "out of memory");
    }
    /* Others may have written with other chains: zlib's and zstd's worst cases and a header fit in this. */
    chain->body_bytes_max = block_bytes + block_bytes / 64 + 4096;
    if (bound > chain->body_bytes_max)
        chain->body_bytes_max = bound;
    if (rc != 0) {
        chain_close(chain);
        return rc;
    }
    *out = chain;
    return 0;
}

void
chain_close(struct chain *chain)
{
    if (chain == NULL)
        return;
    while (chain->layers != NULL) {
        struct layer *layer = chain->layers;

        chain->layers = layer->next;
        layer_close(layer);
    }
    pthread_mutex_destroy(&chain->lock);
    free(chain->read_default);
    free(chain);
}
