/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzz the command line: the input is split into words at newlines, and parsed against rows of
 * every type. */
#include "base/options.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct fields {
    const char *text;
    const char *place;
    const char *secret;
    uint8_t flag;
    uint32_t small;
    uint64_t big;
    uint64_t size_bytes;
    uint64_t wait_ms;
    uint32_t kind;
    uint32_t mode;
    const char *bare;
};

static const char *const kinds[] = { "deflate", "zstd", "none", NULL };

static const struct bd_option rows[] = {
    { .name = "text",
      .alias = "words",
      .type = BD_OPT_STRING,
      BD_FIELD(struct fields, text),
      .def = "hello",
      .help = "text" },
    { .name = "place",
      .type = BD_OPT_STRING,
      BD_FIELD(struct fields, place),
      .flags = BD_OPTF_LOCATION,
      .help = "place" },
    { .name = "password",
      .type = BD_OPT_SECRET,
      BD_FIELD(struct fields, secret),
      .help = "secret" },
    { .name = "flag", .type = BD_OPT_BOOL, BD_FIELD(struct fields, flag), .help = "flag" },
    { .name = "small",
      .type = BD_OPT_UINT,
      BD_FIELD(struct fields, small),
      .def = "3",
      .min = 1,
      .max = 19,
      .help = "small" },
    { .name = "big", .type = BD_OPT_UINT, BD_FIELD(struct fields, big), .help = "big" },
    { .name = "blockSize",
      .type = BD_OPT_SIZE,
      BD_FIELD(struct fields, size_bytes),
      .def = "4K",
      .min = 512,
      .max = 1 << 24,
      .help = "size" },
    { .name = "wait", .type = BD_OPT_DURATION, BD_FIELD(struct fields, wait_ms), .help = "wait" },
    { .name = "kind",
      .type = BD_OPT_ENUM,
      BD_FIELD(struct fields, kind),
      .choices = kinds,
      .help = "kind" },
    { .name = "mode",
      .type = BD_OPT_OCTAL,
      BD_FIELD(struct fields, mode),
      .def = "600",
      .help = "mode" },
    { .name = "bare",
      .type = BD_OPT_STRING,
      BD_FIELD(struct fields, bare),
      .flags = BD_OPTF_BARE,
      .help = "bare" },
};

enum { WORDS_MAX = 64 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    char *argv[WORDS_MAX + 1], *words[WORDS_MAX];
    char program[] = "bucketdisk";
    char *text = strndup((const char *)data, bytes);
    char *at = text, *word;
    int argc = 0, word_count, rc;
    struct options *options;
    struct fields fields;
    struct error why = { "" };

    if (text == NULL || options_new(&options) != 0)
        abort();
    rc =
        options_add(options, "", rows, sizeof rows / sizeof rows[0], sizeof rows[0], &fields, &why);
    assert(rc == 0);
    argv[argc++] = program;
    while (argc < WORDS_MAX && (word = strsep(&at, "\n")) != NULL) {
        /* No secret of this machine in, and no device that never ends. */
        if (strchr(word, '@') == NULL && strstr(word, "env:") == NULL)
            argv[argc++] = word;
    }
    argv[argc] = NULL;

    rc = options_parse(options, argc, argv, "f=flag t=text p=password z=bare", words, &word_count,
                       &why);
    /* Whatever came in: an error has a sentence, and what is in the fields obeys the rows. */
    assert(rc == 0 || why.text[0] != '\0');
    assert(word_count < argc);
    assert(fields.flag <= 1);
    assert(fields.small >= 1 && fields.small <= 19);
    assert(fields.size_bytes >= 512 && fields.size_bytes <= 1 << 24);
    assert(fields.kind <= 2);
    assert(fields.mode <= 07777);
    assert(fields.text != NULL);
    if (word_count > 0) {
        rc = options_set_location(options, "", words[0], &why);
        assert(rc == 0 || rc == -EEXIST);
    }
    options_free(options);
    free(text);
    return 0;
}
