/* SPDX-License-Identifier: Apache-2.0 */
/* How rows on codecs encode and decode: for this directory alone.
 *
 * Every buffer that a codec gets has exactly the size that it is told; with `is_guarded` whoever goes further crashes. */
#ifndef CORE_CHECK_CODER_H
#define CORE_CHECK_CODER_H

#include "impl.h"

struct coder {
    struct check *check;
    const struct bd_codec *codec;
    struct check_host *host;
    void *handle;
    void *worker; /* of the thread that runs rows */
};

/* Where a block is, as far as a codec is told. */
struct coding_place {
    uint64_t block;
    const char *inner;
    uint32_t generation; /* is in what is associated alone */
};

struct coded {
    enum bd_status status;
    unsigned char *data; /* the row's memory */
    size_t len, cap;
    struct attrs attrs; /* that encode added; freed by coded_clear */
    bool is_attr_wrong; /* one was over the limits */
    /* bytes behind cap, or of the struct bd_coding that it cannot know, were written */
    bool is_overrun;
    struct error why;
};

extern const struct coding_place coding_anywhere;

/* Ask these rows of each codec of the plugin. */
void codec_rows(struct check *check, const struct check_row *rows, unsigned count);
/* Of one: its number in the plugin. */
void codec_rows_of(struct check *check, uint32_t codec, const struct check_row *rows,
                   unsigned count);

/* With a key and a passphrase.  False: the row has failed. */
bool coder_open(struct check *check, struct coder *coder);
/* The same as `token`, on a host of the caller's: its status. */
enum bd_status coder_try(struct check *check, struct coder *coder, struct check_host *host,
                         const char *token);
void coder_close(struct coder *coder);
/* Can the codec encode?  Else the row is skipped. */
bool coder_encodes(struct check *check);
static inline bool
coder_has(const struct check *check, uint32_t trait)
{
    return (check->codec->traits & trait) != 0;
}

/* Room for bound(len).  `flags`: enum bd_coding_flags. */
struct coded coder_encode(struct coder *coder, struct coding_place place, struct bd_bytes in,
                          uint32_t flags, bool is_guarded);
/* With room for `cap`, and told to give `plain_bytes`, 0 for any number. */
struct coded coder_decode(struct coder *coder, struct coding_place place, struct bd_bytes in,
                          const struct attrs *attrs, size_t cap, size_t plain_bytes,
                          bool is_guarded);
void coded_clear(struct coded *coded);
/* Encode so that something comes of it (BD_CODING_ALWAYS); false: the row has failed. */
bool coder_must_encode(struct coder *coder, struct coding_place place, struct bd_bytes in,
                       struct coded *out);
/* Decodes to `plain`; else the row fails: false. */
bool coder_gives_back(struct coder *coder, struct coding_place place, const struct coded *coded,
                      struct bd_bytes plain, const char *what);

/* The same without memory of the row, for any thread: `out` is the caller's, `attrs` what encode adds or decode finds. */
enum bd_status coder_run(struct coder *coder, void *worker, bool is_encode,
                         struct coding_place place, struct bd_bytes in, struct attrs *attrs,
                         struct bd_buf *out, size_t plain_bytes, uint32_t flags);

#endif
