/* SPDX-License-Identifier: Apache-2.0 */
/* A plugin compiled with the plugin.h of an older or a newer bucketdisk, or a frozen one: it must load all the same. */
#include <bucketdisk/plugin.h>

#include <stdlib.h>
#include <string.h>

#ifdef AGE_NEWER
static void
newer_function(void)
{
    abort(); /* the host cannot know of it */
}
#define NEWER .newer_number = 42, .newer_function = newer_function, .newer_text = "newer",
#else
#define NEWER
#endif

struct age_options {
    uint64_t size_bytes;
    const char *word;
    uint32_t kind;
};

struct age {
    const struct bd_host *host;
    const struct age_options *options;
};

static const char *const age_kinds[] = { "first", "second", "third", NULL };

static const struct bd_option age_rows[] = {
    { .name = "size",
      .type = BD_OPT_SIZE,
      BD_FIELD(struct age_options, size_bytes),
      .def = "4K",
      .help = "a size",
      NEWER },
    { .name = "word",
      .type = BD_OPT_STRING,
      BD_FIELD(struct age_options, word),
      .def = "hello",
      .help = "a word",
      NEWER },
    { .name = "kind",
      .type = BD_OPT_ENUM,
      BD_FIELD(struct age_options, kind),
      .def = "third",
      .choices = age_kinds,
      .help = "a kind",
      NEWER },
};

static enum bd_status
age_open(const struct bd_host *host, const void *options, const struct bd_lower *lower,
         void **handle)
{
    struct age *age = calloc(1, sizeof *age);

    (void)lower;
    if (age == NULL)
        return BD_FATAL;
#ifdef AGE_NEWER
    if (BD_REACHES(struct bd_host, host->head.size, newer_function))
        host->newer_function();
#endif
    age->host = host;
    age->options = options;
    *handle = age;
    return BD_OK;
}

static void
age_info(void *handle, struct bd_backend_info *out)
{
    const struct age *age = handle;

    out->identity = age->options->word;
    out->display = "age";
#ifdef AGE_NEWER
    if (BD_REACHES(struct bd_backend_info, out->size, newer_number))
        out->newer_number = 42;
#endif
}

/* GET gives `cap` bytes of the first letter of the word option. */
static void
age_submit(void *handle, struct bd_io *io)
{
    const struct age *age = handle;

    if (io->op != BD_GET) {
        age->host->complete(io, BD_UNSUPPORTED);
        return;
    }
    memset(io->data, age->options->word[0], io->cap);
    io->len = io->cap;
#ifdef AGE_NEWER
    if (BD_REACHES(struct bd_io, io->size, newer_number))
        io->newer_number = 42;
#endif
    age->host->complete(io, BD_OK);
}

static void
age_close(void *handle)
{
    free(handle);
}

static const struct bd_backend age_backend = { .head = BD_HEAD(BACKEND, struct bd_backend),
                                               .scratch_bytes = 24,
                                               .open = age_open,
                                               .info = age_info,
                                               .submit = age_submit,
                                               .close = age_close,
                                               NEWER };

/* A codec's handle is the byte that it adds to each byte. */
static uint8_t age_shifts[] = { 1, 2, 3 };

static enum bd_status
age_codec_open(const struct bd_host *host, const void *options, const char *token, void **handle)
{
    (void)host;
    (void)options;
    *handle = &age_shifts[token[strlen(token) - 1] - '1'];
    return BD_OK;
}

static void
age_codec_close(void *handle)
{
    (void)handle;
}

static size_t
age_bound(void *handle, size_t plain_bytes)
{
    (void)handle;
    return plain_bytes;
}

static enum bd_status
age_shift(uint8_t by, struct bd_bytes in, struct bd_buf *out)
{
    const uint8_t *from = in.data;
    uint8_t *to = out->data;

    if (in.len > out->cap)
        return BD_CORRUPT;
    for (size_t i = 0; i < in.len; i++)
        to[i] = (uint8_t)(from[i] + by);
    out->len = in.len;
    return BD_OK;
}

static enum bd_status
age_encode(void *handle, void *worker, struct bd_coding *coding, struct bd_bytes in,
           struct bd_buf *out)
{
    (void)worker;
    (void)coding;
    return age_shift(*(const uint8_t *)handle, in, out);
}

static enum bd_status
age_decode(void *handle, void *worker, struct bd_coding *coding, struct bd_bytes in,
           struct bd_buf *out)
{
    (void)worker;
    (void)coding;
    return age_shift((uint8_t) - *(const uint8_t *)handle, in, out);
}

#define AGE_CODEC(number)                                                                          \
    {                                                                                              \
        .head = BD_HEAD(CODEC, struct bd_codec), .token = AGE_NAME "-" number,                     \
        .summary = "shifts by " number, .traits = BD_CODEC_TRANSFORMS, .open = age_codec_open,     \
        .close = age_codec_close, .bound = age_bound, .encode = age_encode, .decode = age_decode,  \
        NEWER                                                                                      \
    }

static const struct bd_codec age_codecs[] = { AGE_CODEC("1"), AGE_CODEC("2"), AGE_CODEC("3") };

static const struct bd_plugin age_plugin = { .head = BD_HEAD(PLUGIN, struct bd_plugin),
                                             .abi_minor = BD_ABI_MINOR,
                                             .name = "backend-" AGE_NAME,
                                             .version = "1.0",
                                             .summary = "built with another plugin.h",
                                             .options = age_rows,
                                             .option_count = 3,
                                             .option_stride = sizeof age_rows[0],
                                             .options_bytes = sizeof(struct age_options),
                                             .backend = &age_backend,
                                             .codecs = age_codecs,
                                             .codec_count = 3,
                                             .codec_stride = sizeof age_codecs[0],
                                             NEWER };

BD_PLUGIN(age_plugin)
