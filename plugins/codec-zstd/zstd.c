/* SPDX-License-Identifier: Apache-2.0 */
/* codec-zstd: blocks compressed by Zstandard, each one frame (RFC 8878), as s3backer 2 writes them.
 *
 * The bytes are those of ZSTD_compress() of the same library at the same level: the content's size is in the frame's
 * header, there is no checksum and no dictionary. */
#include <bucketdisk/sdk.h>

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>
#include <zstd_errors.h>

struct zstd_options {
    uint32_t level;
};

static const struct bd_option zstd_rows[] = {
    { .name = "level",
      .type = BD_OPT_UINT,
      BD_FIELD(struct zstd_options, level),
      .def = "3",
      .min = 1,
      .max = 22,
      .help = "compression level; higher is smaller and slower, above 19 needs much memory" },
};

/* ---- lifecycle */

struct codec {
    const struct bd_host *host;
    int level;
};

static enum bd_status
codec_open(const struct bd_host *host, const void *options, const char *token, void **handle)
{
    const struct zstd_options *fields = options;
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

static size_t
codec_bound(void *handle, size_t plain_bytes)
{
    (void)handle;
    return ZSTD_compressBound(plain_bytes);
}

/* One thread's contexts.  The compressor grows to what level and block size need, and keeps that. */
struct worker {
    ZSTD_CCtx *compressor;
    ZSTD_DCtx *decompressor;
};

static void
codec_worker_free(void *handle, void *state)
{
    struct worker *worker = state;

    (void)handle;
    ZSTD_freeCCtx(worker->compressor); /* takes NULL, as the other does */
    ZSTD_freeDCtx(worker->decompressor);
    free(worker);
}

static void *
codec_worker_new(void *handle)
{
    struct worker *worker = calloc(1, sizeof *worker);

    if (worker == NULL)
        return NULL;
    worker->compressor = ZSTD_createCCtx();
    worker->decompressor = ZSTD_createDCtx();
    if (worker->compressor == NULL || worker->decompressor == NULL) {
        codec_worker_free(handle, worker);
        return NULL;
    }
    return worker;
}

/* ---- operations */

static enum bd_status
codec_encode(void *handle, void *state, struct bd_coding *coding, struct bd_bytes in,
             struct bd_buf *out)
{
    const struct codec *codec = handle;
    struct worker *worker = state;
    size_t rc;

    if (out->cap < codec_bound(handle, in.len)) {
        codec->host->coding_error(coding, "%zu bytes with room for %zu are not what was agreed on",
                                  in.len, out->cap);
        return BD_INVALID;
    }
    rc = ZSTD_compressCCtx(worker->compressor, out->data, out->cap, in.data, in.len, codec->level);
    if (ZSTD_isError(rc)) {
        codec->host->coding_error(coding, "zstd fails on %zu bytes: %s", in.len,
                                  ZSTD_getErrorName(rc));
        return BD_FATAL;
    }
    out->len = rc;
    return out->len < in.len || coding->flags & BD_CODING_ALWAYS ? BD_OK : BD_DECLINED;
}

/* Is this one frame, and nothing else, that says nothing unbelievable of itself?  The library alone would also take
 * frames one after the other, frames to be skipped, and the formats from before Zstandard 1.0, which nobody wrote
 * here. */
static bool
is_one_frame(const struct codec *codec, struct bd_coding *coding, struct bd_bytes in, size_t cap)
{
    static const unsigned char magic[] = { 0x28, 0xb5, 0x2f, 0xfd };
    unsigned long long content_bytes;
    size_t frame_bytes;

    if (in.len < sizeof magic || memcmp(in.data, magic, sizeof magic) != 0) {
        codec->host->coding_error(coding, "it does not begin as a zstd frame does");
        return false;
    }
    content_bytes = ZSTD_getFrameContentSize(in.data, in.len);
    if (content_bytes == ZSTD_CONTENTSIZE_ERROR) {
        codec->host->coding_error(coding, "the frame's header is damaged");
        return false;
    }
    if (content_bytes != ZSTD_CONTENTSIZE_UNKNOWN && content_bytes > cap) {
        codec->host->coding_error(coding, "the frame says that it holds %llu bytes, more than %zu",
                                  content_bytes, cap);
        return false;
    }
    frame_bytes = ZSTD_findFrameCompressedSize(in.data, in.len);
    if (ZSTD_isError(frame_bytes)) {
        codec->host->coding_error(coding, ZSTD_getErrorCode(frame_bytes) == ZSTD_error_srcSize_wrong
                                              ? "the frame ends early"
                                              : "the frame's blocks are damaged");
        return false;
    }
    if (frame_bytes < in.len) {
        codec->host->coding_error(coding, "%zu bytes follow the frame", in.len - frame_bytes);
        return false;
    }
    return true;
}

/* The whole output stands in `out`, so that it is the window, too: whatever window size a frame claims, no memory is
 * taken for it. */
static enum bd_status
codec_decode(void *handle, void *state, struct bd_coding *coding, struct bd_bytes in,
             struct bd_buf *out)
{
    const struct codec *codec = handle;
    struct worker *worker = state;
    size_t rc;

    if (!is_one_frame(codec, coding, in, out->cap))
        return BD_CORRUPT;
    rc = ZSTD_decompressDCtx(worker->decompressor, out->data, out->cap, in.data, in.len);
    if (ZSTD_isError(rc) && ZSTD_getErrorCode(rc) == ZSTD_error_memory_allocation) {
        codec->host->coding_error(coding, "out of memory");
        return BD_FATAL;
    }
    if (ZSTD_isError(rc) && ZSTD_getErrorCode(rc) == ZSTD_error_dstSize_tooSmall) {
        codec->host->coding_error(coding, "the frame holds more than %zu bytes", out->cap);
        return BD_CORRUPT;
    }
    if (ZSTD_isError(rc)) {
        codec->host->coding_error(coding, "the frame is damaged: %s", ZSTD_getErrorName(rc));
        return BD_CORRUPT;
    }
    if (coding->plain_bytes != 0 && rc != coding->plain_bytes) {
        codec->host->coding_error(coding, "the frame holds %zu bytes instead of %llu", rc,
                                  (unsigned long long)coding->plain_bytes);
        return BD_CORRUPT;
    }
    out->len = rc;
    return BD_OK;
}

/* ---- tables */

static const struct bd_codec codecs[] = {
    {
        .head = BD_HEAD(CODEC, struct bd_codec),
        .token = "zstd",
        .summary = "Zstandard; what s3backer reads since 2.0.2",
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

static const struct bd_plugin zstd_plugin = {
    .head = BD_HEAD(PLUGIN, struct bd_plugin),
    .abi_minor = BD_ABI_MINOR,
    .name = "codec-zstd",
    .version = "1.0",
    .summary = "compresses blocks by Zstandard",
    .options = zstd_rows,
    .option_count = sizeof zstd_rows / sizeof zstd_rows[0],
    .option_stride = sizeof zstd_rows[0],
    .options_bytes = sizeof(struct zstd_options),
    .codecs = codecs,
    .codec_count = sizeof codecs / sizeof codecs[0],
    .codec_stride = sizeof codecs[0],
};

BD_PLUGIN(zstd_plugin)
