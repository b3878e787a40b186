/* SPDX-License-Identifier: Apache-2.0 */
/* For tests of codecs by themselves: a host whose keys and random bytes the test knows, and one codec of a plugin
 * of the build tree, opened with it.
 *
 * Every buffer given to a codec has exactly the size that it is told, and its end is guarded. */
#ifndef UNIT_FAKE_CODEC_H
#define UNIT_FAKE_CODEC_H

#include "test.h"

#include "coding.h"
#include "host.h"

#include <stdatomic.h>

#define FAKE_KEY_BYTES 64u /* more than any codec asks for */

struct fake_codec_host {
    struct bd_host table; /* first: the codec's pointer to it is a pointer to us */

    /* What the test gives; all may change between calls. */
    const unsigned char *key; /* FAKE_KEY_BYTES; NULL: the volume has none */
    const char *passphrase;   /* NULL: the user gave none */
    const char *salt;
    const unsigned char *random; /* the next random bytes; NULL: real ones */
    int secrets_left;            /* so many secret_alloc succeed; negative: all */

    /* What the codec did. */
    char error[512];      /* the first line at BD_ERROR since the last open; "" for none */
    char purpose[80];     /* what it asked a key for */
    size_t key_bytes;     /* and of what size */
    atomic_int secrets;   /* secrets that it has not freed */
    atomic_int passwords; /* how often it asked for the passphrase */
};

struct fake_codec {
    struct fake_codec_host host;
    const struct bd_codec *codec;
    void *options; /* the struct of the plugin's rows, zeroed */
    void *handle;
    void *worker;
};

/* One call's result.  Freed by fake_coded_clear.  BD_FATAL, with a sentence that says so, is also that of a codec that
 * touched its input, or wrote behind the room that it had. */
struct fake_coded {
    enum bd_status status;
    struct error why; /* the codec's sentence */
    unsigned char *data;
    size_t len;
    struct attrs attrs; /* encode: what it added */
};

/* What surrounds the bytes.  {0} is block 0 without associated data. */
struct fake_place {
    uint64_t block;
    struct bd_bytes associated;
};

/* A host with a key of 64 bytes that count from 1, a passphrase and a salt; and the codec of `plugin` that serves
 * `token`.  Fails the test when there is none. */
void fake_codec_init(struct fake_codec *codec, const char *plugin, const char *token);
/* Sets an option of the plugin's, before fake_codec_open. */
void fake_codec_option(struct fake_codec *codec, const char *plugin, const char *name,
                       const char *value);
/* Opens it as `token`, and makes a worker.  What fails leaves nothing behind. */
enum bd_status fake_codec_try(struct fake_codec *codec, const char *token);
/* The same, and it must succeed. */
void fake_codec_open(struct fake_codec *codec, const char *token);
/* It fails so, with this in its sentence. */
void fake_codec_refused(struct fake_codec *codec, const char *token, enum bd_status status,
                        const char *reason);
/* Closes what is open; no secret may be left. */
void fake_codec_close(struct fake_codec *codec);
/* The end. */
void fake_codec_free(struct fake_codec *codec);

/* A thread's own worker, made and freed on that thread; NULL if the codec has none. */
void *fake_worker_new(struct fake_codec *codec);
void fake_worker_free(struct fake_codec *codec, void *worker);

/* Any thread, with a worker of its own; NULL: codec->worker.  These assert nothing: cmocka's assertions belong to the
 * main thread.  `cap` 0: the codec's bound. */
struct fake_coded fake_encode_in(struct fake_codec *codec, void *worker, struct fake_place place,
                                 struct bd_bytes plain, size_t cap);
struct fake_coded fake_decode_in(struct fake_codec *codec, void *worker, struct fake_place place,
                                 struct bd_bytes body, const struct attrs *attrs, size_t cap);
/* Nowhere, without attributes, and it must be `plain_bytes` long; 0: whatever fits. */
struct fake_coded fake_decode_plain_in(struct fake_codec *codec, void *worker, struct bd_bytes body,
                                       size_t cap, size_t plain_bytes);
void fake_coded_clear(struct fake_coded *coded);

/* Encodes; must succeed. */
struct fake_coded fake_encode(struct fake_codec *codec, struct fake_place place, const void *plain,
                              size_t bytes);
/* Decodes, with room for `bytes`, to exactly these. */
void fake_decodes_to(struct fake_codec *codec, struct fake_place place, struct bd_bytes body,
                     const struct attrs *attrs, const void *plain, size_t bytes);
/* Is refused as BD_CORRUPT, with this in its sentence; there is room for `cap` bytes. */
void fake_corrupt(struct fake_codec *codec, struct fake_place place, struct bd_bytes body,
                  const struct attrs *attrs, size_t cap, const char *reason);

/* Hexadecimal digits to bytes; returns how many. */
size_t fake_unhex(const char *digits, unsigned char *out, size_t out_bytes);

#endif
