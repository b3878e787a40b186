/* SPDX-License-Identifier: Apache-2.0 */
/* The codec chain: plain block to object body and back.
 *
 * A codec is opened the first time that its token is met, and stays open.
 *
 * Buffers between two layers are malloc's, which keeps and gives again what blocks of the same size need (cmd/mount.c sets
 * its thresholds); buffers of our own were measured, and were no faster.  They are not wiped: the same bytes are in the
 * block cache, in plain, and the process is never dumped. */
#include "chain.h"

#include "base/log.h"
#include "base/secret.h"
#include "coding.h"
#include "layer.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct chain {
    struct chain_config config; /* these: fixed after chain_open */
    struct pool *pool;
    struct stats *stats;
    size_t body_bytes_max;
    struct encoding write;
    char written[ENCODING_JOINED_BYTES];
    struct layer *write_layers[ENCODING_LAYERS_MAX];
    struct counter *plain_blocks, *other_encodings;

    uint32_t epoch;              /* fixed before the first encoding */
    atomic_uint_fast64_t writes; /* of this mount */
    atomic_bool is_plain_told, is_other_told;

    pthread_mutex_t lock; /* guards the list; a layer in it no longer changes */
    struct layer *layers;
};

/* ---- layers */

static int
layer_get(struct chain *chain, const char *token, struct layer **out, struct error *why)
{
    int rc = 0;

    pthread_mutex_lock(&chain->lock);
    *out = chain->layers;
    while (*out != NULL && strcasecmp((*out)->token, token) != 0
           && strcasecmp((*out)->written, token) != 0)
        *out = (*out)->next;
    if (*out == NULL) {
        rc = layer_open(chain->config.plugins, token, chain->config.keyring, chain->pool,
                        chain->stats, out, why);
        if (rc == 0) {
            (*out)->next = chain->layers;
            chain->layers = *out;
        }
    }
    pthread_mutex_unlock(&chain->lock);
    return rc;
}

static bool
is_encrypting(const struct layer *layer)
{
    return layer->codec->traits & BD_CODEC_ENCRYPTS;
}

static bool
is_accepted(const struct chain *chain, const char *token)
{
    const struct encoding *accepts = chain->config.accepts;
    bool is = accepts == NULL;

    for (unsigned i = 0; !is && i < accepts->count; i++)
        is = strcasecmp(accepts->tokens[i], token) == 0;
    return is;
}

/* Does the volume take this layer's word for a block? */
static bool
is_vouching(const struct chain *chain, const struct layer *layer)
{
    return is_accepted(chain, layer->written) && is_encrypting(layer)
           && layer->codec->traits & BD_CODEC_AUTHENTICATES
           && (!chain->config.is_format_2 || layer->codec->traits & BD_CODEC_BINDS);
}

/* ---- the header of format 2 */

struct frame {
    uint8_t header[ENVELOPE_BYTES_MAX];
    size_t header_bytes; /* 0: format 1, or not made yet */
    uint8_t associated[ASSOCIATED_BYTES_MAX];
    size_t associated_bytes;
};

static void
frame_associate(const struct chain *chain, uint64_t block, struct frame *frame)
{
    frame->associated_bytes =
        envelope_associated(chain->config.volume_id, block, chain->config.block_bytes,
                            frame->header, frame->header_bytes, frame->associated);
}

/* ---- encoding */

static int
generation_next(struct chain *chain, uint64_t *out, struct error *why)
{
    uint64_t count = atomic_fetch_add(&chain->writes, 1);

    if (count >> GENERATION_COUNTER_BITS != 0)
        return error_set(why, -EIO, "this mount has written 2^%u blocks; unmount, and mount again",
                         GENERATION_COUNTER_BITS);
    *out = (uint64_t)chain->epoch << GENERATION_COUNTER_BITS | count;
    return 0;
}

/* The layers applied so far and all from `next` on. */
static int
frame_make(struct chain *chain, uint64_t block, const struct encoding *applied, unsigned next,
           struct frame *frame, struct error *why)
{
    struct envelope envelope = { .encoding = *applied, .key_id = chain->config.key_id };
    struct encoding *all = &envelope.encoding;
    int rc = generation_next(chain, &envelope.generation, why);

    if (rc != 0)
        return rc;
    for (unsigned i = next; i < chain->write.count; i++)
        encoding_add(all, chain->write.tokens[i]);
    if (envelope_write(&envelope, frame->header, &frame->header_bytes) != 0)
        return error_set(why, -EINVAL, "the list of encodings is too long");
    frame_associate(chain, block, frame);
    return 0;
}

/* Then what says nothing of itself is not plain: no layer may be left out, and none lost. */
static bool
has_read_default(const struct chain *chain)
{
    struct encoding encoding;

    return !chain->config.is_format_2
           && (encoding_parse(chain->config.read_default, &encoding, NULL) != 0
               || encoding.count > 0);
}

/* One layer over what `out` holds, with `room` bytes free in front of its result; *applied grows, unless the codec
 * declines. */
static int
encode_layer(struct chain *chain, unsigned at, uint64_t block, const struct frame *frame,
             size_t room, struct encoding *applied, struct encoded *out, struct error *why)
{
    struct layer *layer = chain->write_layers[at];
    struct bd_buf next = { .cap = layer->codec->bound(layer->handle, out->body_bytes) };
    struct coding state = { .added = &out->attrs };
    char inner[ENCODING_JOINED_BYTES];
    struct bd_coding coding = { .size = sizeof coding,
                                .block_bytes = chain->config.block_bytes,
                                .block = block,
                                .plain_bytes = out->body_bytes,
                                .inner = inner,
                                .associated = { frame->associated, frame->associated_bytes },
                                .host_private = &state,
                                .flags = has_read_default(chain) ? BD_CODING_ALWAYS : 0 };
    uint8_t *memory = malloc(room + next.cap + 1);
    enum bd_status status;

    if (memory == NULL)
        return error_set(why, -ENOMEM, "out of memory");
    next.data = memory + room;
    encoding_join(applied, applied->count, inner, sizeof inner);
    status = layer_run(layer, LAYER_ENCODE, &coding,
                       (struct bd_bytes){ out->body, out->body_bytes }, &next);
    if (status == BD_DECLINED && layer->codec->traits & BD_CODEC_MAY_DECLINE
        && !has_read_default(chain)) {
        free(memory);
        return 0;
    }
    if (status != BD_OK || state.rc != 0) {
        free(memory);
        return error_set(why, -EIO, "%s: %s", layer->token,
                         state.why.text[0] != '\0' ? state.why.text : "the codec failed");
    }
    free(out->memory);
    out->memory = memory;
    out->room = room;
    out->body = next.data;
    out->body_bytes = next.len;
    encoding_add(applied, layer->written);
    return 0;
}

/* The header goes in front of what the layers made. */
static int
frame_put(const struct frame *frame, struct encoded *out, struct error *why)
{
    if (out->room < frame->header_bytes) {
        uint8_t *memory = malloc(frame->header_bytes + out->body_bytes);

        if (memory == NULL)
            return error_set(why, -ENOMEM, "out of memory");
        memcpy(memory + frame->header_bytes, out->body, out->body_bytes);
        free(out->memory);
        out->memory = memory;
        out->body = memory + frame->header_bytes;
    }
    out->body = (uint8_t *)out->body - frame->header_bytes;
    out->body_bytes += frame->header_bytes;
    memcpy(out->body, frame->header, frame->header_bytes);
    return 0;
}

int
chain_encode(struct chain *chain, uint64_t block, void *plain, struct encoded *out,
             struct error *why)
{
    const unsigned count = chain->write.count;
    struct encoding applied = { 0 };
    struct frame frame = { .header_bytes = 0 };
    int rc = 0;

    memset(out, 0, sizeof *out);
    out->body = plain;
    out->body_bytes = chain->config.block_bytes;
    for (unsigned i = 0; i < count && rc == 0; i++) {
        bool is_format_2 = chain->config.is_format_2;

        /* From the first layer that encrypts on, none declines: the list is certain, and can be covered. */
        if (is_format_2 && frame.header_bytes == 0 && is_encrypting(chain->write_layers[i]))
            rc = frame_make(chain, block, &applied, i, &frame, why);
        if (rc == 0)
            rc = encode_layer(chain, i, block, &frame,
                              is_format_2 && i == count - 1 ? ENVELOPE_BYTES_MAX : 0, &applied, out,
                              why);
    }
    if (rc == 0 && chain->config.is_format_2 && frame.header_bytes == 0)
        rc = frame_make(chain, block, &applied, count, &frame, why);
    if (rc == 0 && frame.header_bytes > 0)
        rc = frame_put(&frame, out, why);
    if (rc == 0 && encoding_format(&applied, out->encoding, sizeof out->encoding) != 0)
        rc = error_set(why, -EINVAL, "the list of encodings is too long");
    return rc;
}

void
encoded_free(struct encoded *encoded)
{
    free(encoded->memory);
    encoded->memory = encoded->body = NULL;
    attrs_clear(&encoded->attrs);
}

/* ---- decoding */

/* An object while its layers are undone. */
struct decoding {
    struct encoding encoding;
    struct layer *layers[ENCODING_LAYERS_MAX];
    struct frame frame;
    struct bd_bytes in;
    const struct attrs *attrs;
    size_t plain_bytes; /* of the block; 0: whatever it is, but not more than the chain's */
    bool is_list_other; /* Content-Encoding says something else than the body */
};

static bool
is_same_list(const struct encoding *a, const struct encoding *b)
{
    bool is_same = a->count == b->count;

    for (unsigned i = 0; i < a->count && is_same; i++)
        is_same = strcasecmp(a->tokens[i], b->tokens[i]) == 0;
    return is_same;
}

/* Format 2: the list in the body counts. */
static int
decoding_unwrap(struct chain *chain, uint64_t block, const char *encoding_text,
                struct decoding *decoding, struct error *why)
{
    struct encoding said;
    struct envelope envelope;
    size_t bytes;
    int rc = envelope_read(decoding->in.data, decoding->in.len, &envelope, &bytes, why);

    if (rc != 0)
        return rc;
    decoding->is_list_other =
        encoding_parse(encoding_text, &said, NULL) != 0 || !is_same_list(&said, &envelope.encoding);
    decoding->encoding = envelope.encoding;
    memcpy(decoding->frame.header, decoding->in.data, bytes);
    decoding->frame.header_bytes = bytes;
    frame_associate(chain, block, &decoding->frame);
    decoding->in.data = (const uint8_t *)decoding->in.data + bytes;
    decoding->in.len -= bytes;
    return 0;
}

static bool
is_encrypted(const struct chain *chain, const struct encoding *encoding)
{
    const struct plugin *owner;
    bool is = false;

    for (unsigned i = 0; i < encoding->count; i++) {
        const struct bd_codec *codec =
            plugins_codec(chain->config.plugins, encoding->tokens[i], &owner);

        is = is || (codec != NULL && codec->traits & BD_CODEC_ENCRYPTS);
    }
    return is;
}

static int
not_authenticated(const struct chain *chain, const struct decoding *decoding, struct error *why)
{
    const struct encoding *encoding = &decoding->encoding;
    const struct plugin *owner;

    for (unsigned i = 0; i < encoding->count; i++) {
        if (plugins_codec(chain->config.plugins, encoding->tokens[i], &owner) == NULL)
            return layer_unknown(encoding->tokens[i], why);
    }
    return error_set(
        why, -EBADMSG, "it is not authenticated, and the volume is encrypted%s",
        is_encrypted(chain, &decoding->encoding) ? "" : "; --accept-plain reads such blocks");
}

static int
decoding_layers(struct chain *chain, struct decoding *decoding, struct error *why)
{
    const unsigned count = decoding->encoding.count;
    int rc = 0;

    /* Whoever writes to the store must not choose which codecs are opened, with what key. */
    if (count > 0 && !chain->config.accepts_plain
        && !is_accepted(chain, decoding->encoding.tokens[count - 1]))
        return not_authenticated(chain, decoding, why);
    for (unsigned i = 0; i < decoding->encoding.count && rc == 0; i++) {
        rc = layer_get(chain, decoding->encoding.tokens[i], &decoding->layers[i], why);
        /* Other layers' data may be bound to its usual spelling. */
        if (rc == 0)
            strcpy(decoding->encoding.tokens[i], decoding->layers[i]->written);
    }
    return rc;
}

/* May this list be believed?  Only one that the outermost layer vouches for, where the volume demands that. */
static int
decoding_check(struct chain *chain, const struct decoding *decoding, struct error *why)
{
    const unsigned count = decoding->encoding.count;
    bool is_sealed = count > 0 && is_vouching(chain, decoding->layers[count - 1]);

    if (is_sealed)
        return 0;
    if (decoding->is_list_other)
        return error_set(why, -EBADMSG,
                         "its Content-Encoding is not what its body says, and nothing vouches for "
                         "either");
    if (!chain->config.must_authenticate)
        return 0;
    if (!chain->config.accepts_plain || is_encrypted(chain, &decoding->encoding))
        return not_authenticated(chain, decoding, why);
    counter_add(chain->plain_blocks, 1);
    if (!atomic_exchange(&chain->is_plain_told, true))
        log_line(BD_WARNING, "there are blocks that are not encrypted; they are read, as "
                             "--accept-plain says");
    return 0;
}

static int
decode_layer(struct chain *chain, struct decoding *decoding, unsigned at, uint64_t block,
             struct bd_buf *out, struct error *why)
{
    struct layer *layer = decoding->layers[at];
    struct coding state = { .stored = decoding->attrs };
    char inner[ENCODING_JOINED_BYTES];
    struct bd_coding coding = { .size = sizeof coding,
                                .block_bytes = chain->config.block_bytes,
                                .block = block,
                                .plain_bytes = at > 0 ? 0 : decoding->plain_bytes,
                                .inner = inner,
                                .associated = { decoding->frame.associated,
                                                decoding->frame.associated_bytes },
                                .host_private = &state };
    enum bd_status status;

    encoding_join(&decoding->encoding, at, inner, sizeof inner);
    status = layer_run(layer, LAYER_DECODE, &coding, decoding->in, out);
    if (status == BD_OK)
        return 0;
    return error_set(why, status == BD_CORRUPT ? -EBADMSG : -EIO, "%s: %s", layer->token,
                     state.why.text[0] != '\0' ? state.why.text
                     : status == BD_CORRUPT    ? "the data is damaged"
                                               : "the codec failed");
}

static int
decode_layers(struct chain *chain, struct decoding *decoding, uint64_t block, void *out,
              struct error *why)
{
    void *between = NULL; /* what the layer before gave */
    int rc = 0;

    for (unsigned i = decoding->encoding.count; i-- > 0 && rc == 0;) {
        /* The innermost layer gives the block; what lies between two is bounded like a body. */
        struct bd_buf next = { .data = out, .cap = chain->config.block_bytes };

        if (i > 0) {
            next.cap = chain->body_bytes_max;
            next.data = malloc(next.cap);
        }
        if (next.data == NULL)
            rc = error_set(why, -ENOMEM, "out of memory");
        else
            rc = decode_layer(chain, decoding, i, block, &next, why);
        free(between);
        between = i > 0 ? next.data : NULL;
        decoding->in = (struct bd_bytes){ next.data, next.len };
    }
    free(between);
    return rc;
}

/* What it decodes to is decoding->in then: in `out`, or the body itself. */
static int
decode(struct chain *chain, uint64_t block, const char *encoding_text, struct decoding *decoding,
       void *out, struct error *why)
{
    int rc;

    if (chain->config.is_format_2)
        rc = decoding_unwrap(chain, block, encoding_text, decoding, why);
    else
        rc = encoding_parse(encoding_text != NULL ? encoding_text : chain->config.read_default,
                            &decoding->encoding, why);
    if (rc == 0)
        rc = decoding_layers(chain, decoding, why);
    if (rc == 0)
        rc = decoding_check(chain, decoding, why);
    if (rc == 0)
        rc = decode_layers(chain, decoding, block, out, why);
    return rc;
}

int
chain_decode(struct chain *chain, uint64_t block, const char *encoding_text, struct bd_bytes body,
             const struct attrs *attrs, void *out, struct error *why)
{
    struct decoding decoding = { .in = body,
                                 .attrs = attrs,
                                 .plain_bytes = chain->config.block_bytes };
    int rc = decode(chain, block, encoding_text, &decoding, out, why);

    if (rc == 0 && decoding.in.len != chain->config.block_bytes)
        rc = error_set(why, -EBADMSG, "it decodes to %zu bytes where a block has %u",
                       decoding.in.len, chain->config.block_bytes);
    if (rc != 0)
        return rc;
    if (decoding.in.data != out)
        memcpy(out, decoding.in.data, decoding.in.len);
    if (decoding.is_list_other) {
        counter_add(chain->other_encodings, 1);
        if (!atomic_exchange(&chain->is_other_told, true))
            log_line(BD_WARNING, "the store drops or changes the Content-Encoding of objects; what "
                                 "their bodies say is authentic, and is used");
    }
    return 0;
}

int
chain_measure(struct chain *chain, uint64_t block, const char *encoding_text, struct bd_bytes body,
              const struct attrs *attrs, uint64_t *bytes, struct error *why)
{
    struct decoding decoding = { .in = body, .attrs = attrs };
    void *out = malloc(chain->config.block_bytes);
    int rc = out != NULL ? decode(chain, block, encoding_text, &decoding, out, why)
                         : error_set(why, -ENOMEM, "out of memory");

    *bytes = decoding.in.len;
    free(out);
    return rc;
}

bool
chain_applies(const struct chain *chain, const char *encoding_text)
{
    struct encoding encoding;

    if (chain->config.is_format_2)
        return true;
    return encoding_parse(encoding_text != NULL ? encoding_text : chain->config.read_default,
                          &encoding, NULL)
               != 0
           || encoding.count > 0;
}

/* ---- what is written */

static unsigned
count_writing(const struct chain *chain, uint32_t trait)
{
    unsigned count = 0;

    for (unsigned i = 0; i < chain->write.count; i++)
        count += (chain->write_layers[i]->codec->traits & trait) != 0;
    return count;
}

bool
chain_is_plain(const struct chain *chain)
{
    return chain->write.count == 0 && !chain->config.is_format_2;
}

size_t
chain_body_bytes_max(const struct chain *chain)
{
    return chain->body_bytes_max;
}

size_t
chain_written_bytes_max(const struct chain *chain)
{
    size_t bytes = chain->config.block_bytes;

    for (unsigned i = 0; i < chain->write.count; i++) {
        const struct layer *layer = chain->write_layers[i];
        bool may_decline = layer->codec->traits & BD_CODEC_MAY_DECLINE && !has_read_default(chain);

        if (!may_decline)
            bytes = layer->codec->bound(layer->handle, bytes);
    }
    return bytes + (chain->config.is_format_2 ? ENVELOPE_BYTES_MAX : 0);
}

bool
chain_authenticates(const struct chain *chain)
{
    return chain->config.must_authenticate;
}

bool
chain_encrypts(const struct chain *chain)
{
    return chain->config.must_authenticate && count_writing(chain, BD_CODEC_ENCRYPTS) > 0;
}

const char *
chain_written(const struct chain *chain)
{
    return chain->written;
}

/* Before it is opened, since there may be no key for it. */
static int
check_binds(const struct chain *chain, const char *token, struct error *why)
{
    const struct plugin *owner;
    const struct bd_codec *codec = plugins_codec(chain->config.plugins, token, &owner);

    if (!chain->config.is_format_2 || codec == NULL || !(codec->traits & BD_CODEC_ENCRYPTS)
        || codec->traits & BD_CODEC_BINDS)
        return 0;
    return error_set(why, -EINVAL,
                     "\"%s\" cannot authenticate what format 2 demands; take another --codec%s",
                     token, chain->config.accepts == NULL ? ", or leave --format=2 out" : "");
}

/* Compressing layers come before encrypting ones: what is encrypted does not compress, and nothing is
 * decompressed before it has been authenticated. */
static int
check_layer(const struct chain *chain, unsigned at, struct error *why)
{
    const char *token = chain->write.tokens[at];
    uint32_t traits = chain->write_layers[at]->codec->traits;

    if (traits & BD_CODEC_DECODE_ONLY)
        return error_set(why, -EINVAL, "--codec: \"%s\" can be read, but not written", token);
    if (at > 0 && is_encrypting(chain->write_layers[at - 1]) && !(traits & BD_CODEC_ENCRYPTS))
        return error_set(why, -EINVAL, "--codec: \"%s\" must come before what encrypts", token);
    return 0;
}

static int
check_layers(const struct chain *chain, struct error *why)
{
    int rc = 0;

    for (unsigned i = 0; i < chain->write.count && rc == 0; i++)
        rc = check_layer(chain, i, why);
    if (rc == 0 && chain->config.is_format_2 && strlen(chain->written) > ENVELOPE_LIST_BYTES_MAX)
        rc = error_set(why, -EINVAL,
                       "--codec: \"%s\" has more than %u characters, which no block of format 2 "
                       "has room for",
                       chain->written, ENVELOPE_LIST_BYTES_MAX);
    if (rc == 0 && chain->config.list_bytes_max != 0
        && (count_writing(chain, BD_CODEC_COMPRESSES) > 1
            || count_writing(chain, BD_CODEC_ENCRYPTS) > 1))
        rc = error_set(why, -EINVAL,
                       "\"%s\" is not for volumes of format 1: s3backer takes one codec that "
                       "compresses, and one that encrypts",
                       chain->written);
    return rc;
}

static int
check_demands(struct chain *chain, struct error *why)
{
    const unsigned count = chain->write.count;
    bool is_sealing = count > 0 && is_vouching(chain, chain->write_layers[count - 1]);

    if (is_sealing)
        chain->config.must_authenticate = true;
    if (!chain->config.must_authenticate || is_sealing)
        return 0;
    if (chain->config.accepts != NULL)
        return error_set(why, -EINVAL,
                         "the volume is encrypted with %s, which \"%s\" does not end with; leave "
                         "--codec and --compress out",
                         chain->config.accepts->tokens[0], chain->written);
    return error_set(why, -EINVAL,
                     "the volume is encrypted, and \"%s\" would write blocks that are not; leave "
                     "--codec and --compress out, or let it end with what encrypts",
                     chain->written);
}

/* s3backer cannot read a list that is too long: then its blocks are not compressed. */
static int
shorten(struct chain *chain, struct error *why)
{
    static atomic_bool is_told; /* chains are opened more than once at a start */
    const unsigned bytes_max = chain->config.list_bytes_max;
    struct encoding kept = { 0 };

    if (bytes_max == 0 || strlen(chain->written) <= bytes_max)
        return 0;
    for (unsigned i = 0; i < chain->write.count; i++) {
        if (chain->write_layers[i]->codec->traits & BD_CODEC_COMPRESSES)
            continue;
        chain->write_layers[kept.count] = chain->write_layers[i];
        encoding_add(&kept, chain->write_layers[i]->written);
    }
    if (kept.count < chain->write.count && !atomic_exchange(&is_told, true))
        log_line(
            BD_INFO,
            "blocks are not compressed: s3backer could not read \"%s\", which has more than %u "
            "characters",
            chain->written, bytes_max);
    chain->write = kept;
    encoding_join(&kept, kept.count, chain->written, sizeof chain->written);
    return strlen(chain->written) <= bytes_max
               ? 0
               : error_set(why, -EINVAL,
                           "s3backer could not read \"%s\", which has more than %u characters; a "
                           "volume of format 1 is not written so",
                           chain->written, bytes_max);
}

/* The list of what is written, in the codecs' own spelling. */
static int
choose_write(struct chain *chain, struct error *why)
{
    int rc = encoding_parse(chain->config.write_list, &chain->write, why);

    for (unsigned i = 0; i < chain->write.count && rc == 0; i++) {
        rc = check_binds(chain, chain->write.tokens[i], why);
        if (rc == 0)
            rc = layer_get(chain, chain->write.tokens[i], &chain->write_layers[i], why);
        if (rc == 0)
            strcpy(chain->write.tokens[i], chain->write_layers[i]->written);
    }
    if (rc != 0)
        return rc;
    encoding_join(&chain->write, chain->write.count, chain->written, sizeof chain->written);
    rc = check_layers(chain, why);
    if (rc == 0)
        rc = shorten(chain, why);
    return rc != 0 ? rc : check_demands(chain, why);
}

static int
prove_one(struct chain *chain, uint8_t *block, uint8_t *again, struct error *why)
{
    const uint32_t bytes = chain->config.block_bytes;
    struct encoded encoded;
    struct bd_bytes body;
    int rc = chain_encode(chain, 0, block, &encoded, why);

    body = (struct bd_bytes){ encoded.body, encoded.body_bytes };
    if (rc == 0 && (encoded.encoding[0] != '\0' || !has_read_default(chain))) {
        rc = chain_decode(chain, 0, encoded.encoding, body, &encoded.attrs, again, why);
        if (rc == 0 && memcmp(block, again, bytes) != 0)
            rc = error_set(why, -EINVAL, "it comes back changed");
    }
    /* A store that keeps no Content-Encoding is what the default is for. */
    if (rc == 0 && has_read_default(chain)) {
        rc = chain_decode(chain, 0, NULL, body, &encoded.attrs, again, why);
        if (rc != 0 || memcmp(block, again, bytes) != 0)
            rc = error_set(why, -EINVAL,
                           "without its Content-Encoding it is read as "
                           "--defaultContentEncoding=%s says; let --codec be the same",
                           chain->config.read_default);
    }
    encoded_free(&encoded);
    return rc;
}

int
chain_prove(struct chain *chain, struct error *why)
{
    const uint32_t bytes = chain->config.block_bytes;
    uint8_t *block = malloc(bytes), *again = malloc(bytes);
    struct error reason = { "" };
    int rc = -ENOMEM;

    if (block == NULL || again == NULL) {
        error_set(why, rc, "out of memory");
        goto free_blocks;
    }
    for (uint32_t i = 0; i < bytes; i++)
        block[i] = (uint8_t)(i >> 4);
    rc = prove_one(chain, block, again, &reason);
    if (rc == 0) {
        random_fill(block, bytes); /* of which nothing compresses */
        rc = prove_one(chain, block, again, &reason);
    }
    if (rc != 0)
        rc = error_set(
            why, -EINVAL,
            "blocks written as \"%s\" could not be read again (%s); nothing is written so",
            chain->written, reason.text);
free_blocks:
    free(block);
    free(again);
    return rc;
}

/* ---- life */

int
chain_open(const struct chain_config *config, struct pool *pool, struct stats *stats,
           struct error *why, struct chain **out)
{
    struct chain *chain = calloc(1, sizeof *chain);
    size_t bound = config->block_bytes;
    int rc;

    if (chain == NULL)
        return error_set(why, -ENOMEM, "out of memory");
    chain->config = *config;
    chain->pool = pool;
    chain->stats = stats;
    pthread_mutex_init(&chain->lock, NULL);
    chain->plain_blocks =
        stats_counter(stats, "plain_blocks_accepted",
                      "blocks read that nothing encrypts, in a volume that is encrypted");
    chain->other_encodings = stats_counter(
        stats, "encodings_changed", "authentic blocks whose Content-Encoding was not theirs");
    rc = choose_write(chain, why);
    if (rc != 0) {
        chain_close(chain);
        return rc;
    }
    for (unsigned i = 0; i < chain->write.count; i++)
        bound = chain->write_layers[i]->codec->bound(chain->write_layers[i]->handle, bound);
    /* Others may have written with other chains: zlib's and zstd's worst cases and a header fit in this. */
    chain->body_bytes_max = config->block_bytes + config->block_bytes / 64 + 4096;
    if (bound + ENVELOPE_BYTES_MAX > chain->body_bytes_max)
        chain->body_bytes_max = bound + ENVELOPE_BYTES_MAX;
    *out = chain;
    return 0;
}

void
chain_set_epoch(struct chain *chain, uint32_t epoch)
{
    chain->epoch = epoch;
    atomic_store(&chain->writes, 0);
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
    free(chain);
}
