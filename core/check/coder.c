/* SPDX-License-Identifier: Apache-2.0 */
/* Codecs of a check: opened, and run. */
#include "coder.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK_BYTES 65536u

const struct coding_place coding_anywhere = { 7, "", 1 };

/* What the host associates with a block: everything about its place, in a fixed number of bytes. */
struct associated {
    uint64_t block;
    uint32_t generation;
    char inner[64];
};

void
codec_rows_of(struct check *check, uint32_t codec, const struct check_row *rows, unsigned count)
{
    char subject[BD_TOKEN_BYTES_MAX + 16];

    check->codec = &check->plugin->codecs[codec];
    snprintf(subject, sizeof subject, "codec %s", check->codec->token);
    check_rows(check, subject, rows, count);
}

void
codec_rows(struct check *check, const struct check_row *rows, unsigned count)
{
    for (uint32_t i = 0; i < check->plugin->desc.codec_count; i++)
        codec_rows_of(check, i, rows, count);
}

enum bd_status
coder_try(struct check *check, struct coder *coder, struct check_host *host, const char *token)
{
    enum bd_status status;

    *coder = (struct coder){ .check = check, .codec = check->codec, .host = host };
    status = check->codec->open(&host->table, check->plugin->option_fields, token, &coder->handle);
    if (status == BD_OK && check->codec->worker_new != NULL)
        coder->worker = check->codec->worker_new(coder->handle);
    return status;
}

bool
coder_open(struct check *check, struct coder *coder)
{
    const enum bd_status status =
        coder_try(check, coder, check_host_new(check, 0), check->codec->token);

    if (status != BD_OK) {
        check_quote_nothing(check);
        check_fail(check, "open: expected OK, came %s", status_word(status));
    } else if (check->codec->worker_new != NULL && coder->worker == NULL) {
        check_fail(check, "worker_new gave NULL");
    } else {
        return true;
    }
    return false;
}

void
coder_close(struct coder *coder)
{
    if (coder->worker != NULL)
        coder->codec->worker_free(coder->handle, coder->worker);
    coder->codec->close(coder->handle);
    atomic_store(&coder->host->is_closed, true);
}

bool
coder_encodes(struct check *check)
{
    if (coder_has(check, BD_CODEC_DECODE_ONLY))
        check_skip(check, "it decodes only");
    return !coder_has(check, BD_CODEC_DECODE_ONLY);
}

/* A longer host's struct, if the host is one. */
struct told {
    struct bd_coding coding;
    unsigned char canary[CHECK_CANARY_BYTES];
};

static enum bd_status
run(struct coder *coder, void *worker, bool is_encode, struct coding_place place,
    struct bd_bytes in, struct coding *state, struct bd_buf *out, size_t plain_bytes,
    uint32_t flags, bool *is_overrun)
{
    struct associated associated = { .block = place.block, .generation = place.generation };
    const uint32_t extra = coder->host->table.head.size - (uint32_t)sizeof(struct bd_host);
    const bool binds = (coder->codec->traits & BD_CODEC_BINDS) != 0;
    struct told told = { .coding = {
                             .size = (uint32_t)sizeof told.coding + extra,
                             .block_bytes = BLOCK_BYTES,
                             .block = place.block,
                             .plain_bytes = plain_bytes,
                             .inner = place.inner,
                             .host_private = state,
                             .flags = flags,
                         } };
    enum bd_status status;

    snprintf(associated.inner, sizeof associated.inner, "%s", place.inner);
    if (binds)
        told.coding.associated = (struct bd_bytes){ &associated, sizeof associated };
    check_canary_set(told.canary);
    status = (is_encode ? coder->codec->encode : coder->codec->decode)(coder->handle, worker,
                                                                       &told.coding, in, out);
    *is_overrun = !check_canary_is_whole(told.canary);
    return status;
}

enum bd_status
coder_run(struct coder *coder, void *worker, bool is_encode, struct coding_place place,
          struct bd_bytes in, struct attrs *attrs, struct bd_buf *out, size_t plain_bytes,
          uint32_t flags)
{
    struct coding state = { .added = is_encode ? attrs : NULL, .stored = is_encode ? NULL : attrs };
    bool is_overrun;

    return run(coder, worker, is_encode, place, in, &state, out, plain_bytes, flags, &is_overrun);
}

/* Input whose end is the end of what may be read, too. */
static struct bd_bytes
guard(struct check *check, struct bd_bytes in)
{
    void *copy = NULL; /* for no bytes it may be that */

    if (in.len > 0) {
        copy = check_guarded(check, in.len);
        memcpy(copy, in.data, in.len);
    }
    return (struct bd_bytes){ copy, in.len };
}

static struct coded
code(struct coder *coder, bool is_encode, struct coding_place place, struct bd_bytes in,
     struct coding *state, size_t cap, size_t plain_bytes, uint32_t flags, bool is_guarded)
{
    struct check *check = coder->check;
    struct coded coded = { .cap = cap };
    struct bd_buf out = { .cap = cap };

    if (is_guarded) {
        in = guard(check, in);
        out.data = check_guarded(check, cap);
    } else {
        out.data = check_alloc(check, cap + CHECK_CANARY_BYTES);
        check_canary_set((char *)out.data + cap);
    }
    coded.status = run(coder, coder->worker, is_encode, place, in, state, &out, plain_bytes, flags,
                       &coded.is_overrun);
    if (!is_guarded && !check_canary_is_whole((char *)out.data + cap))
        coded.is_overrun = true;
    coded.data = out.data;
    coded.len = coded.status == BD_OK ? out.len : 0;
    coded.is_attr_wrong = state->rc != 0;
    coded.why = state->why;
    return coded;
}

struct coded
coder_encode(struct coder *coder, struct coding_place place, struct bd_bytes in, uint32_t flags,
             bool is_guarded)
{
    struct attrs attrs = { 0 };
    struct coding state = { .added = &attrs };
    const size_t cap = coder->codec->bound(coder->handle, in.len);
    struct coded coded = code(coder, true, place, in, &state, cap, in.len, flags, is_guarded);

    coded.attrs = attrs;
    return coded;
}

struct coded
coder_decode(struct coder *coder, struct coding_place place, struct bd_bytes in,
             const struct attrs *attrs, size_t cap, size_t plain_bytes, bool is_guarded)
{
    struct coding state = { .stored = attrs };

    return code(coder, false, place, in, &state, cap, plain_bytes, 0, is_guarded);
}

void
coded_clear(struct coded *coded)
{
    attrs_clear(&coded->attrs);
}

bool
coder_must_encode(struct coder *coder, struct coding_place place, struct bd_bytes in,
                  struct coded *out)
{
    *out = coder_encode(coder, place, in, BD_CODING_ALWAYS, false);
    if (out->status != BD_OK)
        check_fail(coder->check, "encode of %zu bytes: expected OK, came %s%s%s", in.len,
                   status_word(out->status), out->why.text[0] != '\0' ? ": " : "", out->why.text);
    else if (out->len > out->cap)
        check_fail(coder->check, "encode of %zu bytes: bound is %zu, and len %zu", in.len, out->cap,
                   out->len);
    else
        return true;
    return false;
}

bool
coder_gives_back(struct coder *coder, struct coding_place place, const struct coded *coded,
                 struct bd_bytes plain, const char *what)
{
    struct coded back = coder_decode(coder, place, (struct bd_bytes){ coded->data, coded->len },
                                     &coded->attrs, plain.len, plain.len, false);

    if (back.status != BD_OK)
        check_fail(coder->check, "%s: decode of %zu bytes: expected OK, came %s%s%s", what,
                   coded->len, status_word(back.status), back.why.text[0] != '\0' ? ": " : "",
                   back.why.text);
    else if (back.len != plain.len)
        check_fail(coder->check, "%s: expected %zu bytes back, came %zu", what, plain.len,
                   back.len);
    else if (plain.len > 0 && memcmp(back.data, plain.data, plain.len) != 0)
        check_fail(coder->check, "%s: other bytes came back", what);
    else
        return true;
    return false;
}
