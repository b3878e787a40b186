/* SPDX-License-Identifier: Apache-2.0 */
/* A plugin that is right in everything but what the definitions of its case make wrong. */
#include <bucketdisk/plugin.h>

#include <string.h>

#ifndef CASE_NAME
#define CASE_NAME "codec-case"
#endif
#ifndef CASE_MAGIC
#define CASE_MAGIC BD_MAGIC_PLUGIN
#endif
#ifndef CASE_MAJOR
#define CASE_MAJOR BD_ABI_MAJOR
#endif
#ifndef CASE_BYTES
#define CASE_BYTES sizeof(struct bd_plugin)
#endif
#ifndef CASE_FLAGS
#define CASE_FLAGS 0
#endif
#ifndef CASE_TOKEN
#define CASE_TOKEN "case"
#endif
#ifndef CASE_TRAITS
#define CASE_TRAITS BD_CODEC_COMPRESSES
#endif
#ifndef CASE_RESERVED
#define CASE_RESERVED 0
#endif
#ifndef CASE_CODEC_RESERVED
#define CASE_CODEC_RESERVED 0
#endif
#ifndef CASE_CODEC_BYTES
#define CASE_CODEC_BYTES sizeof(struct bd_codec)
#endif
#ifndef CASE_CODEC_STRIDE
#define CASE_CODEC_STRIDE sizeof(struct bd_codec)
#endif
#ifndef CASE_OPTION_STRIDE
#define CASE_OPTION_STRIDE sizeof(struct bd_option)
#endif
#ifndef CASE_ROW
#define CASE_ROW
#endif
#ifndef CASE_BACKEND
#define CASE_BACKEND NULL
#endif
#ifndef CASE_OPEN
#define CASE_OPEN case_backend_open
#endif
#ifndef CASE_SUBMIT
#define CASE_SUBMIT case_backend_submit
#endif
#ifndef CASE_INFO
#define CASE_INFO case_backend_info
#endif
#ifndef CASE_CLOSE
#define CASE_CLOSE case_close
#endif
#ifndef CASE_DECODE
#define CASE_DECODE case_copy
#endif
#ifndef CASE_WORKER_NEW
#define CASE_WORKER_NEW NULL
#endif
#ifndef CASE_BACKEND_TRAITS
#define CASE_BACKEND_TRAITS 0
#endif
#ifndef CASE_CODEC_COUNT
#define CASE_CODEC_COUNT 1
#endif
#ifndef CASE_CODECS
#define CASE_CODECS case_codecs
#endif

#ifndef CASE_SCRATCH
#define CASE_SCRATCH 0
#endif
#ifndef CASE_KEYWRAP_COUNT
#define CASE_KEYWRAP_COUNT 0
#endif
#ifndef CASE_KEYWRAP_NAME
#define CASE_KEYWRAP_NAME "case"
#endif
#ifndef CASE_UNWRAP
#define CASE_UNWRAP case_unwrap
#endif
#ifndef CASE_OPTION_COUNT
#define CASE_OPTION_COUNT (sizeof case_rows / sizeof case_rows[0])
#endif

struct case_options {
    uint64_t level;
    const char *word;
};

enum bd_status case_backend_open(const struct bd_host *host, const void *options,
                                 const struct bd_lower *lower, void **handle);
void case_backend_info(void *handle, struct bd_backend_info *out);
void case_backend_submit(void *handle, struct bd_io *io);
void *case_worker_new(void *handle);
enum bd_status case_unwrap(const struct bd_host *host, const void *options,
                           struct bd_bytes passphrase, struct bd_bytes blob, struct bd_buf *key);

/* Not static: which of them a case uses differs. */
enum bd_status
case_backend_open(const struct bd_host *host, const void *options, const struct bd_lower *lower,
                  void **handle)
{
    (void)host;
    (void)options;
    (void)lower;
    *handle = NULL;
    return BD_OK;
}

void
case_backend_info(void *handle, struct bd_backend_info *out)
{
    (void)handle;
    out->identity = out->display = "case";
}

void
case_backend_submit(void *handle, struct bd_io *io)
{
    (void)handle;
    (void)io;
}

void *
case_worker_new(void *handle)
{
    return handle;
}

#ifdef CASE_UNRESOLVED
extern int bd_a_symbol_that_nobody_has(void);
#endif

static enum bd_status
case_open(const struct bd_host *host, const void *options, const char *token, void **handle)
{
    (void)host;
    (void)options;
    (void)token;
    *handle = NULL;
#ifdef CASE_UNRESOLVED
    return bd_a_symbol_that_nobody_has() ? BD_OK : BD_FATAL;
#else
    return BD_OK;
#endif
}

static void
case_close(void *handle)
{
    (void)handle;
}

static size_t
case_bound(void *handle, size_t plain_bytes)
{
    (void)handle;
    return plain_bytes;
}

static enum bd_status
case_copy(void *handle, void *worker, struct bd_coding *coding, struct bd_bytes in,
          struct bd_buf *out)
{
    (void)handle;
    (void)worker;
    (void)coding;
    if (in.len > out->cap)
        return BD_CORRUPT;
    memcpy(out->data, in.data, in.len);
    out->len = in.len;
    return BD_OK;
}

static const struct bd_option case_rows[] = {
    { .name = "level",
      .type = BD_OPT_UINT,
      BD_FIELD(struct case_options, level),
      .def = "3",
      .min = 1,
      .max = 19,
      .help = "a number",
      CASE_ROW },
    { .name = "word",
      .type = BD_OPT_STRING,
      BD_FIELD(struct case_options, word),
      .help = "a word" },
#ifdef CASE_ROW_MORE
    { BD_FIELD(struct case_options, word), .help = "more", CASE_ROW_MORE },
#endif
};

const struct bd_backend case_backend = {
    .head = BD_HEAD(BACKEND, struct bd_backend),
    .traits = CASE_BACKEND_TRAITS,
    .scratch_bytes = CASE_SCRATCH,
    .open = CASE_OPEN,
    .info = CASE_INFO,
    .submit = CASE_SUBMIT,
    .close = CASE_CLOSE,
};

static const struct bd_codec case_codecs[] = {
    {
        .head = { BD_MAGIC_CODEC, BD_ABI_MAJOR, CASE_CODEC_BYTES, 0 },
        .token = CASE_TOKEN,
        .summary = "copies",
        .traits = CASE_TRAITS,
        .reserved = CASE_CODEC_RESERVED,
        .open = case_open,
        .close = case_close,
        .bound = case_bound,
        .worker_new = CASE_WORKER_NEW,
        .encode = case_copy,
        .decode = CASE_DECODE,
    },
};

enum bd_status
case_unwrap(const struct bd_host *host, const void *options, struct bd_bytes passphrase,
            struct bd_bytes blob, struct bd_buf *key)
{
    (void)host;
    (void)options;
    (void)passphrase;
    (void)blob;
    key->len = 0;
    return BD_DENIED;
}

static enum bd_status
case_subkey(struct bd_bytes key, const char *purpose, struct bd_buf *out)
{
    (void)key;
    (void)purpose;
    out->len = 0;
    return BD_OK;
}

static const struct bd_keywrap case_keywraps[] = {
    {
        .head = BD_HEAD(KEYWRAP, struct bd_keywrap),
        .name = CASE_KEYWRAP_NAME,
        .summary = "wraps nothing",
        .wrap = case_unwrap,
        .unwrap = CASE_UNWRAP,
        .subkey = case_subkey,
    },
};

static const struct bd_plugin case_plugin = {
    .head = { CASE_MAGIC, CASE_MAJOR, CASE_BYTES, CASE_FLAGS },
    .reserved2 = CASE_RESERVED,
    .name = CASE_NAME,
    .version = "1.0",
    .summary = "exists to be wrong",
    .options = case_rows,
    .option_count = CASE_OPTION_COUNT,
    .option_stride = CASE_OPTION_STRIDE,
    .options_bytes = sizeof(struct case_options),
    .backend = CASE_BACKEND,
    .codecs = CASE_CODECS,
    .codec_count = CASE_CODEC_COUNT,
    .codec_stride = CASE_CODEC_STRIDE,
    .keywraps = case_keywraps,
    .keywrap_count = CASE_KEYWRAP_COUNT,
    .keywrap_stride = sizeof case_keywraps[0],
};

#if defined(CASE_NO_QUERY)
BD_EXPORT const struct bd_plugin *another_query(void);
BD_EXPORT const struct bd_plugin *
another_query(void)
{
    return &case_plugin;
}
#elif defined(CASE_NULL_QUERY)
BD_EXPORT const struct bd_plugin *bd_plugin_query(const struct bd_host *host);
BD_EXPORT const struct bd_plugin *
bd_plugin_query(const struct bd_host *host)
{
    return host == NULL ? &case_plugin : NULL;
}
#else
BD_PLUGIN(case_plugin)
#endif
