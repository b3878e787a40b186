/* SPDX-License-Identifier: Apache-2.0 */
/* codec-deflate: blocks compressed by zlib, in zlib's own container (RFC 1950), as s3backer writes them.
 *
 * The bytes are those of compress2() at the same level; what a block becomes does not depend on the
 * blocks before it.
 *
 * libdeflate reads them, which takes a quarter of zlib's time.  It does not say what is wrong with a stream, and takes it whole; so
 * whatever it does not take is zlib's to judge. */
#include <bucketdisk/sdk.h>

#include <limits.h>
#include <stdlib.h>

#include <libdeflate.h>
#define ZLIB_CONST
#include <zlib.h>

struct deflate_options {
    uint32_t level;
};

static const struct bd_option deflate_rows[] = {
    { .name = "level",
      .type = BD_OPT_UINT,
      BD_FIELD(struct deflate_options, level),
      .def = "6",
      .max = 9,
      .help = "compression level; higher is smaller and slower, 0 stores blocks as they are" },
};

/* ---- lifecycle */

struct codec {
    const struct bd_host *host;
    int level;
};

static enum bd_status
codec_open(const struct bd_host *host, const void *options, const char *token, void **handle)
{
    const struct deflate_options *fields = options;
    struct codec *codec = calloc(1, sizeof *codec);

    (void)token;
    if (codec == NULL) {
        host->log(host, BD_ERROR, "out of memory");
        return BD_FATAL;
    }
    codec->host = host;
    codec->level = (int)fields->level;
    *handle = codec;
    return BD_OK;
}

static void
codec_close(void *handle)
{
    free(handle);
}

/* The room that compress2() wants, which is enough at any level. */
static size_t
codec_bound(void *handle, size_t plain_bytes)
{
    (void)handle;
    return compressBound(plain_bytes);
}

/* ---- workers */

/* One thread's streams, 270 KiB and 10 KiB whatever the block size: made once, and reset for each block. */
struct worker {
    z_stream deflater;
    z_stream inflater;
    struct libdeflate_decompressor *fast;
};

static void *
codec_worker_new(void *handle)
{
    const struct codec *codec = handle;
    struct worker *worker = calloc(1, sizeof *worker);

    if (worker == NULL)
        return NULL;
    if (deflateInit(&worker->deflater, codec->level) != Z_OK)
        goto free_worker;
    if (inflateInit(&worker->inflater) != Z_OK)
        goto end_deflater;
    worker->fast = libdeflate_alloc_decompressor();
    if (worker->fast == NULL)
        goto end_inflater;
    return worker;

end_inflater:
    inflateEnd(&worker->inflater);
end_deflater:
    deflateEnd(&worker->deflater);
free_worker:
    free(worker);
    return NULL;
}

static void
codec_worker_free(void *handle, void *state)
{
    struct worker *worker = state;

    (void)handle;
    deflateEnd(&worker->deflater);
    inflateEnd(&worker->inflater);
    libdeflate_free_decompressor(worker->fast);
    free(worker);
}

/* ---- operations */

/* What the stream reads, and where it writes.  zlib counts in uInt: less room than there is does no harm, and
 * whoever passes more input than that has looked. */
static void
stream_point(z_stream *stream, struct bd_bytes in, const struct bd_buf *out)
{
    stream->next_in = in.data;
    stream->avail_in = (uInt)in.len;
    stream->next_out = out->data;
    stream->avail_out = out->cap > UINT_MAX ? UINT_MAX : (uInt)out->cap;
}

static enum bd_status
codec_encode(void *handle, void *state, struct bd_coding *coding, struct bd_bytes in,
             struct bd_buf *out)
{
    const struct codec *codec = handle;
    struct worker *worker = state;
    z_stream *stream = &worker->deflater;

    if (in.len > UINT_MAX || out->cap < codec_bound(handle, in.len)) {
        codec->host->coding_error(coding, "%zu bytes with room for %zu are not what was agreed on",
                                  in.len, out->cap);
        return BD_INVALID;
    }
    stream_point(stream, in, out);
    if (deflateReset(stream) != Z_OK || deflate(stream, Z_FINISH) != Z_STREAM_END) {
        codec->host->coding_error(coding, "zlib fails on %zu bytes", in.len);
        return BD_FATAL;
    }
    out->len = stream->total_out;
    return out->len < in.len || coding->flags & BD_CODING_ALWAYS ? BD_OK : BD_DECLINED;
}

/* Why a stream did not end as it should.  A whole one has its checksum behind the data: if nothing is left to
 * read, something is missing, however much was written. */
static enum bd_status
decode_failed(const struct codec *codec, struct bd_coding *coding, int rc, const z_stream *stream,
              size_t cap)
{
    if (rc == Z_MEM_ERROR) {
        codec->host->coding_error(coding, "out of memory");
        return BD_FATAL;
    }
    if (rc == Z_NEED_DICT)
        codec->host->coding_error(coding, "the stream needs a dictionary that nobody has");
    else if (rc != Z_BUF_ERROR)
        codec->host->coding_error(coding, "the stream is damaged: %s",
                                  stream->msg != NULL ? stream->msg : zError(rc));
    else if (stream->avail_in == 0)
        codec->host->coding_error(coding, "the stream ends early, after %lu bytes",
                                  stream->total_out);
    else
        codec->host->coding_error(coding, "the stream holds more than %zu bytes", cap);
    return BD_CORRUPT;
}

static enum bd_status
zlib_inflate(const struct codec *codec, struct worker *worker, struct bd_coding *coding,
             struct bd_bytes in, struct bd_buf *out)
{
    z_stream *stream = &worker->inflater;
    int rc;

    if (in.len > UINT_MAX) {
        codec->host->coding_error(coding, "%zu bytes are too many for a block", in.len);
        return BD_CORRUPT;
    }
    stream_point(stream, in, out);
    rc = inflateReset(stream);
    if (rc == Z_OK)
        rc = inflate(stream, Z_FINISH);
    if (rc != Z_STREAM_END)
        return decode_failed(codec, coding, rc, stream, out->cap);
    out->len = stream->total_out;
    return BD_OK;
}

/* Bytes behind the stream's end are not looked at: s3backer does not, either. */
static enum bd_status
codec_decode(void *handle, void *state, struct bd_coding *coding, struct bd_bytes in,
             struct bd_buf *out)
{
    const struct codec *codec = handle;
    struct worker *worker = state;
    enum bd_status rc = BD_OK;

    if (libdeflate_zlib_decompress(worker->fast, in.data, in.len, out->data, out->cap, &out->len)
        != LIBDEFLATE_SUCCESS)
        rc = zlib_inflate(codec, worker, coding, in, out);
    if (rc == BD_OK && coding->plain_bytes != 0 && out->len != coding->plain_bytes) {
        codec->host->coding_error(coding, "the stream holds %zu bytes instead of %llu", out->len,
                                  (unsigned long long)coding->plain_bytes);
        rc = BD_CORRUPT;
    }
    return rc;
}

/* ---- tables */

static const struct bd_codec codecs[] = {
    {
        .head = BD_HEAD(CODEC, struct bd_codec),
        .token = "deflate",
        .summary = "zlib's format; what every s3backer reads",
        .traits = BD_CODEC_COMPRESSES | BD_CODEC_MAY_DECLINE,
        .open = codec_open,
        .close = codec_close,
        .bound = codec_bound,
        .worker_new = codec_worker_new,
        .worker_free = codec_worker_free,
        .encode = codec_encode,
        .decode = codec_decode,
    },
};

static const struct bd_plugin deflate_plugin = {
    .head = BD_HEAD(PLUGIN, struct bd_plugin),
    .abi_minor = BD_ABI_MINOR,
    .name = "codec-deflate",
    .version = "1.0",
    .summary = "compresses blocks by zlib",
    .options = deflate_rows,
    .option_count = sizeof deflate_rows / sizeof deflate_rows[0],
    .option_stride = sizeof deflate_rows[0],
    .options_bytes = sizeof(struct deflate_options),
    .codecs = codecs,
    .codec_count = sizeof codecs / sizeof codecs[0],
    .codec_stride = sizeof codecs[0],
};

BD_PLUGIN(deflate_plugin)
