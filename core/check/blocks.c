/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of a check on a codec that is given blocks, and what it wrote itself. */
#include "coder.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const size_t sizes[] = { 1, 2, 511, 512, 4095, 4096, 65535, 65536, 65537 };

static struct bd_bytes
plain_of(struct check *check, size_t bytes, enum check_content content)
{
    unsigned char *data = check_alloc(check, bytes + 1);

    check_fill(data, bytes, content, 1);
    return (struct bd_bytes){ data, bytes };
}

/* For each size and content; `question` returns false to stop. */
static void
for_each(struct check *check, bool (*question)(struct coder *, struct bd_bytes, const char *))
{
    struct coder coder;
    char what[96];
    bool goes_on = true;

    if (!coder_encodes(check) || !coder_open(check, &coder))
        return;
    for (size_t i = 0; i < ARRAY_LEN(sizes) && goes_on; i++) {
        for (unsigned content = 0; content < 3 && goes_on; content++) {
            snprintf(what, sizeof what, "%zu bytes of %s", sizes[i], check_content_names[content]);
            goes_on =
                question(&coder, plain_of(check, sizes[i], (enum check_content)content), what);
        }
    }
    coder_close(&coder);
}

static bool
comes_back(struct coder *coder, struct bd_bytes plain, const char *what)
{
    struct coded coded;
    bool is_good;

    if (!coder_must_encode(coder, coding_anywhere, plain, &coded))
        return false;
    is_good = coder_gives_back(coder, coding_anywhere, &coded, plain, what);
    coded_clear(&coded);
    return is_good;
}

static void
blocks_come_back(struct check *check)
{
    for_each(check, comes_back);
}

/* As for a volume whose block size is not known yet. */
static bool
tells_its_length(struct coder *coder, struct bd_bytes plain, const char *what)
{
    struct coded coded, back;

    if (!coder_must_encode(coder, coding_anywhere, plain, &coded))
        return false;
    back = coder_decode(coder, coding_anywhere, (struct bd_bytes){ coded.data, coded.len },
                        &coded.attrs, plain.len + 1000, 0, false);
    coded_clear(&coded);
    if (back.status != BD_OK || back.len != plain.len)
        check_fail(coder->check,
                   "%s, decode with room for more: expected OK and as many, came %s "
                   "and %zu",
                   what, status_word(back.status), back.len);
    return back.status == BD_OK && back.len == plain.len;
}

static void
blocks_tell_their_length(struct check *check)
{
    for_each(check, tells_its_length);
}

static bool
keeps_to_bound(struct coder *coder, struct bd_bytes plain, const char *what)
{
    struct coded coded = coder_encode(coder, coding_anywhere, plain, BD_CODING_ALWAYS, true);
    const bool is_good = coded.status != BD_OK || coded.len <= coded.cap;

    if (!is_good)
        check_fail(coder->check, "%s: bound is %zu, and len %zu", what, coded.cap, coded.len);
    coded_clear(&coded);
    return is_good;
}

static void
encode_keeps_to_bound(struct check *check)
{
    for_each(check, keeps_to_bound);
}

static bool
keeps_to_cap(struct coder *coder, struct bd_bytes plain, const char *what)
{
    struct coded coded, back;

    if (!coder_must_encode(coder, coding_anywhere, plain, &coded))
        return false;
    back = coder_decode(coder, coding_anywhere, (struct bd_bytes){ coded.data, coded.len },
                        &coded.attrs, plain.len, plain.len, true);
    coded_clear(&coded);
    if (back.status == BD_OK && back.len > back.cap)
        check_fail(coder->check, "%s: cap is %zu, and len %zu", what, back.cap, back.len);
    return back.status != BD_OK || back.len <= back.cap;
}

static void
decode_keeps_to_cap(struct check *check)
{
    for_each(check, keeps_to_cap);
}

static bool
leaves_its_input(struct coder *coder, struct bd_bytes plain, const char *what)
{
    unsigned char *before = check_alloc(coder->check, plain.len), *body;
    struct coded coded;
    bool is_good;

    memcpy(before, plain.data, plain.len);
    coded = coder_encode(coder, coding_anywhere, plain, BD_CODING_ALWAYS, false);
    is_good = memcmp(before, plain.data, plain.len) == 0;
    if (!is_good)
        check_fail(coder->check, "%s: encode changed its input", what);
    if (is_good && coded.status == BD_OK && coded.len > 0 && coded.len <= coded.cap) {
        body = check_alloc(coder->check, coded.len);
        memcpy(body, coded.data, coded.len);
        coder_decode(coder, coding_anywhere, (struct bd_bytes){ coded.data, coded.len },
                     &coded.attrs, plain.len, plain.len, false);
        is_good = memcmp(body, coded.data, coded.len) == 0;
        if (!is_good)
            check_fail(coder->check, "%s: decode changed its input", what);
    }
    coded_clear(&coded);
    return is_good;
}

static void
inputs_are_left_alone(struct check *check)
{
    for_each(check, leaves_its_input);
}

static bool
declines_only_if_it_may(struct coder *coder, struct bd_bytes plain, const char *what)
{
    const bool may = coder_has(coder->check, BD_CODEC_MAY_DECLINE)
                     && !coder_has(coder->check, BD_CODEC_ENCRYPTS);
    struct coded usual = coder_encode(coder, coding_anywhere, plain, 0, false);
    struct coded always = coder_encode(coder, coding_anywhere, plain, BD_CODING_ALWAYS, false);

    if (usual.status != BD_OK && !(may && usual.status == BD_DECLINED))
        check_fail(coder->check, "%s: expected OK%s, came %s", what, may ? " or DECLINED" : "",
                   status_word(usual.status));
    if (always.status != BD_OK)
        check_fail(coder->check, "%s, with BD_CODING_ALWAYS: expected OK, came %s", what,
                   status_word(always.status));
    coded_clear(&usual);
    coded_clear(&always);
    return !coder->check->is_failed;
}

static void
it_declines_only_if_it_may(struct check *check)
{
    for_each(check, declines_only_if_it_may);
}

static bool
attributes_are_legal(struct coder *coder, struct bd_bytes plain, const char *what)
{
    struct coded coded = coder_encode(coder, coding_anywhere, plain, BD_CODING_ALWAYS, false);

    if (coded.is_attr_wrong)
        check_fail(coder->check,
                   "%s: an attribute is over the limits, not of [a-z0-9-], or "
                   "there twice",
                   what);
    coded_clear(&coded);
    return !coded.is_attr_wrong;
}

static void
its_attributes_are_legal(struct check *check)
{
    for_each(check, attributes_are_legal);
}

static void
plaintext_is_not_in_the_result(struct check *check)
{
    const struct bd_bytes plain = plain_of(check, 4096, CONTENT_TEXT);
    struct coder coder;
    struct coded coded;

    if (!coder_has(check, BD_CODEC_ENCRYPTS)) {
        check_skip(check, "it does not encrypt");
        return;
    }
    if (!coder_encodes(check) || !coder_open(check, &coder))
        return;
    if (coder_must_encode(&coder, coding_anywhere, plain, &coded)) {
        if (memmem(coded.data, coded.len, CHECK_PLAINTEXT, strlen(CHECK_PLAINTEXT) / 2) != NULL)
            check_fail(check, "it says that it encrypts, and what it was given can be read in what "
                              "it gave");
        coded_clear(&coded);
    }
    coder_close(&coder);
}

#define LATER_FLAG (1u << 30) /* that no plugin can know */

static void
later_hosts_are_served(struct check *check)
{
    const struct bd_bytes plain = plain_of(check, 4096, CONTENT_TEXT);
    struct check_host *host = check_host_new(check, CHECK_CANARY_BYTES);
    struct coder coder;
    struct coded coded, back;

    if (!coder_encodes(check))
        return;
    if (coder_try(check, &coder, host, check->codec->token) != BD_OK) {
        check_fail(check, "it does not open for a host of a later minor version");
        return;
    }
    coded = coder_encode(&coder, coding_anywhere, plain, BD_CODING_ALWAYS | LATER_FLAG, false);
    back = coder_decode(&coder, coding_anywhere, (struct bd_bytes){ coded.data, coded.len },
                        &coded.attrs, plain.len, plain.len, false);
    if (coded.status != BD_OK || back.status != BD_OK)
        check_fail(check, "encode, decode: expected OK, came %s, %s", status_word(coded.status),
                   status_word(back.status));
    if (coded.is_overrun || back.is_overrun || !check_canary_is_whole(host->canary))
        check_fail(check, "it wrote behind what it can know");
    coded_clear(&coded);
    coder_close(&coder);
}

/* ------------------------------------------------------------------ threads */

enum { THREADS = 2, ROUNDS = 30, BYTES = 5000 };

struct thread {
    struct coder *coder;
    unsigned number;
    size_t bound;
    unsigned char *plain, *back;
    struct bd_buf shared[ROUNDS]; /* encoded; the other thread decodes it */
    struct attrs attrs[ROUNDS];
    enum bd_status status[ROUNDS];
    unsigned wrong;
};

static void
thread_fill(unsigned char *plain, unsigned number, unsigned round)
{
    check_fill(plain, BYTES, (enum check_content)(round % 3), number * 1000 + round);
}

static void
thread_encodes(void *arg)
{
    struct thread *mine = arg;
    const struct bd_codec *codec = mine->coder->codec;
    void *worker = codec->worker_new != NULL ? codec->worker_new(mine->coder->handle) : NULL;

    for (unsigned i = 0; i < ROUNDS; i++) {
        thread_fill(mine->plain, mine->number, i);
        mine->status[i] = coder_run(mine->coder, worker, true, coding_anywhere,
                                    (struct bd_bytes){ mine->plain, BYTES }, &mine->attrs[i],
                                    &mine->shared[i], BYTES, BD_CODING_ALWAYS);
    }
    if (worker != NULL)
        codec->worker_free(mine->coder->handle, worker);
}

/* What its neighbour in the array wrote. */
static void
thread_decodes(void *arg)
{
    struct thread *mine = arg;
    struct thread *other = mine->number == 0 ? mine + 1 : mine - 1;
    const struct bd_codec *codec = mine->coder->codec;
    void *worker = codec->worker_new != NULL ? codec->worker_new(mine->coder->handle) : NULL;

    for (unsigned i = 0; i < ROUNDS; i++) {
        struct bd_buf out = { .data = mine->back, .cap = BYTES };
        enum bd_status status = BD_FATAL;

        thread_fill(mine->plain, other->number, i);
        if (other->status[i] == BD_OK && other->shared[i].len <= mine->bound)
            status = coder_run(mine->coder, worker, false, coding_anywhere,
                               (struct bd_bytes){ other->shared[i].data, other->shared[i].len },
                               &other->attrs[i], &out, BYTES, 0);
        mine->wrong +=
            status != BD_OK || out.len != BYTES || memcmp(mine->plain, mine->back, BYTES) != 0;
    }
    if (worker != NULL)
        codec->worker_free(mine->coder->handle, worker);
}

static void
workers_agree(struct check *check)
{
    struct thread *threads = check_alloc(check, THREADS * sizeof *threads);
    struct coder coder;

    if (!coder_encodes(check) || !coder_open(check, &coder))
        return;
    for (unsigned i = 0; i < THREADS; i++) {
        threads[i].coder = &coder;
        threads[i].number = i;
        threads[i].bound = check->codec->bound(coder.handle, BYTES);
        threads[i].plain = check_alloc(check, BYTES);
        threads[i].back = check_alloc(check, BYTES);
        for (unsigned j = 0; j < ROUNDS; j++)
            threads[i].shared[j] =
                (struct bd_buf){ check_alloc(check, threads[i].bound), threads[i].bound, 0 };
    }
    check_threads(check, THREADS, thread_encodes, threads, sizeof *threads);
    check_threads(check, THREADS, thread_decodes, threads, sizeof *threads);
    for (unsigned i = 0; i < THREADS; i++) {
        if (threads[i].wrong > 0)
            check_fail(check,
                       "%u of %d blocks that one thread wrote came back otherwise in "
                       "another",
                       threads[i].wrong, ROUNDS);
        for (unsigned j = 0; j < ROUNDS; j++)
            attrs_clear(&threads[i].attrs[j]);
    }
    coder_close(&coder);
}

void
check_blocks(struct check *check)
{
    static const struct check_row rows[] = {
        { "blocks of every size come back", blocks_come_back,
          "A codec turns bytes into bytes, synchronously, on any thread" },
        { "a block tells its length where any will do", blocks_tell_their_length,
          "or 0 where that is not known, as when another codec was applied before this one: then "
          "only out->cap limits them" },
        { "encode writes no more than bound says", encode_keeps_to_bound,
          "encode writes at most bound(n) bytes, and out->cap is at least that" },
        { "decode writes no more than cap", decode_keeps_to_cap,
          "decode gets in `out->cap` exactly the space that it may fill" },
        { "what it is given is left as it is", inputs_are_left_alone, "const void *data" },
        { "encode declines only if it may", it_declines_only_if_it_may,
          "BD_DECLINED only with MAY_DECLINE, never with ENCRYPTS, AUTHENTICATES or "
          "BD_CODING_ALWAYS" },
        { "its attributes are legal", its_attributes_are_legal,
          "A value stored beside an object under a name of [a-z0-9-]: 1 byte or more of printable "
          "ASCII" },
        { "what it encrypts cannot be read", plaintext_is_not_in_the_result,
          "BD_CODEC_ENCRYPTS = 1u << 1" },
        { "a later host's longer structs and new flags are left alone", later_hosts_are_served,
          "and ignores such flags of bd_coding" },
        { "two threads with a worker each agree", workers_agree,
          "It keeps nothing from one block to the next" },
    };

    codec_rows(check, rows, ARRAY_LEN(rows));
}
