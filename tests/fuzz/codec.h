/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzz a codec's decoder: whatever the body, it fits, the same body gives the same, failures are told in a sentence,
 * and what was decoded goes there and back.
 *
 * The input: a byte that chooses the room, a byte that chooses how long the result must be, then the body. */
#ifndef FUZZ_CODEC_H
#define FUZZ_CODEC_H

#include "coding.h"
#include "host.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

bd_plugin_query_fn bd_plugin_query; /* of the plugin that is linked in */

struct fuzz_codec {
    const struct bd_codec *codec;
    struct host *host;
    void *handle;
    void *worker;
};

/* `options` is the struct of the plugin's own rows. */
static inline void
fuzz_codec_open(struct fuzz_codec *fuzz, const void *options)
{
    const struct bd_plugin *plugin;

    if (host_new("codec", NULL, NULL, &fuzz->host) != 0)
        abort();
    plugin = bd_plugin_query(host_table(fuzz->host));
    fuzz->codec = plugin->codecs;
    if (fuzz->codec->open(host_table(fuzz->host), options, fuzz->codec->token, &fuzz->handle)
        != BD_OK)
        abort();
    if (fuzz->codec->worker_new != NULL)
        fuzz->worker = fuzz->codec->worker_new(fuzz->handle);
}

/* One call, with buffers that end where they say, for the sanitizer. */
static inline enum bd_status
fuzz_codec_call(struct fuzz_codec *fuzz, bool is_encode, struct bd_bytes in, size_t plain_bytes,
                struct bd_buf *out)
{
    struct coding state = { .rc = 0 };
    struct bd_coding coding = { .size = sizeof coding,
                                .block_bytes = 4096,
                                .plain_bytes = plain_bytes,
                                .inner = "",
                                .host_private = &state };
    enum bd_status status;

    out->data = malloc(out->cap);
    if (out->data == NULL)
        abort();
    status = (is_encode ? fuzz->codec->encode : fuzz->codec->decode)(fuzz->handle, fuzz->worker,
                                                                     &coding, in, out);
    if (status == BD_OK) {
        assert(out->len <= out->cap);
        assert(is_encode || plain_bytes == 0 || out->len == plain_bytes);
    } else {
        assert(status == (is_encode ? BD_DECLINED : BD_CORRUPT));
        assert(is_encode || state.why.text[0] != '\0');
    }
    return status;
}

static inline void
fuzz_codec_there_and_back(struct fuzz_codec *fuzz, struct bd_bytes plain)
{
    struct bd_buf body = { .cap = fuzz->codec->bound(fuzz->handle, plain.len) };
    struct bd_buf back = { .cap = plain.len };

    if (fuzz_codec_call(fuzz, true, plain, plain.len, &body) == BD_OK) {
        struct bd_bytes in = { body.data, body.len };

        assert(fuzz_codec_call(fuzz, false, in, plain.len, &back) == BD_OK);
        assert(memcmp(back.data, plain.data, plain.len) == 0);
        free(back.data);
    }
    free(body.data);
}

static inline void
fuzz_codec_run(struct fuzz_codec *fuzz, const uint8_t *data, size_t bytes)
{
    static const size_t caps[] = { 4096, 512, 1, 4095, 65536, 100, 1 << 20, 3000 };
    struct bd_buf first, second;
    struct bd_bytes body;
    size_t plain_bytes;
    uint8_t *exact;

    if (bytes < 2)
        return;
    first.cap = second.cap = caps[data[0] % 8];
    plain_bytes = data[1] % 3 == 0 ? 0 : data[1] % 3 == 1 ? first.cap : data[1];
    body = (struct bd_bytes){ NULL, bytes - 2 };
    exact = malloc(body.len + (body.len == 0));
    if (exact == NULL)
        abort();
    memcpy(exact, data + 2, body.len);
    body.data = exact;
    if (fuzz_codec_call(fuzz, false, body, plain_bytes, &first) == BD_OK) {
        assert(fuzz_codec_call(fuzz, false, body, first.len, &second) == BD_OK);
        assert(second.len == first.len && memcmp(first.data, second.data, first.len) == 0);
        free(second.data);
        fuzz_codec_there_and_back(fuzz, (struct bd_bytes){ first.data, first.len });
    }
    free(first.data);
    fuzz_codec_there_and_back(fuzz, body);
    free(exact);
}

#endif
