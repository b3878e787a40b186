/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of a check on a codec that is given what it wrote itself. */
#include "coder.h"

#include <ctype.h>
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

/* ------------------------------------------------------------------ opening */

static void
it_opens(struct check *check)
{
    struct coder coder;

    if (coder_open(check, &coder))
        coder_close(&coder);
}

static void
it_says_that_a_key_is_missing(struct check *check)
{
    struct check_host *host = check_host_new(check, 0);
    struct coder coder;

    host->has_key = false;
    host->passphrase = NULL;
    if (coder_try(check, &coder, host, check->codec->token) == BD_OK)
        coder_close(&coder);
    else if (atomic_load(&host->errors) != 1)
        check_fail(check, "open failed: expected one sentence at BD_ERROR, came %u",
                   atomic_load(&host->errors));
}

static void
aliases_open(struct check *check)
{
    const char *const *aliases = check->codec->aliases;

    if (aliases == NULL || aliases[0] == NULL) {
        check_skip(check, "it has none");
        return;
    }
    for (; *aliases != NULL; aliases++) {
        struct coder coder;
        const enum bd_status status = coder_try(check, &coder, check_host_new(check, 0), *aliases);

        if (status == BD_OK)
            coder_close(&coder);
        else
            check_fail(check, "open as \"%s\": expected OK, came %s", *aliases,
                       status_word(status));
    }
}

static void
case_does_not_matter(struct check *check)
{
    char token[BD_TOKEN_BYTES_MAX + 1] = "";
    struct coder coder;
    enum bd_status status;

    for (size_t i = 0; check->codec->token[i] != '\0' && i < BD_TOKEN_BYTES_MAX; i++)
        token[i] = (char)toupper((unsigned char)check->codec->token[i]);
    status = coder_try(check, &coder, check_host_new(check, 0), token);
    if (status == BD_OK)
        coder_close(&coder);
    else
        check_fail(check, "open as \"%s\": expected OK, came %s", token, status_word(status));
}

static void
what_it_writes_is_read_by_it(struct check *check)
{
    const char *written = check->codec->token;
    struct coder coder;

    if (!coder_open(check, &coder))
        return;
    if (check->codec->written != NULL)
        written = check->codec->written(coder.handle);
    if (written == NULL || written[0] == '\0' || strlen(written) > BD_TOKEN_BYTES_MAX)
        check_fail(check, "expected a token of 1 to %u bytes, came \"%.80s\"", BD_TOKEN_BYTES_MAX,
                   written != NULL ? written : "");
    else if (plugins_codec(&check->plugins, written, NULL) != check->codec)
        check_fail(check, "objects carry \"%s\", which it does not claim", written);
    coder_close(&coder);
}

/* Codecs of all other plugins that are installed. */
static void
it_claims_no_others_token(struct check *check)
{
    const struct bd_codec *mine = check->codec;

    if (mine->match == NULL) {
        check_skip(check, "it is no family");
        return;
    }
    if (mine->match("identity"))
        check_fail(check, "match claims \"identity\", which means no codec");
    for (unsigned i = 0; i < check->plugins.count; i++) {
        const struct plugin *other = &check->plugins.all[i];

        for (uint32_t j = 0; j < other->desc.codec_count && other != check->plugin; j++) {
            if (mine->match(other->codecs[j].token))
                check_fail(check, "match claims \"%s\", which is a token of %s",
                           other->codecs[j].token, other->name);
        }
    }
}

/* ------------------------------------------------------------------ there and back */

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

enum { THREADS = 2, ROUNDS = 30, BYTES = 5000, OPENERS = 4, OPEN_ROUNDS = 5 };

struct opener {
    const struct bd_codec *codec;
    const void *options;
    struct check_host *host;
    enum bd_status status;
};

static void
open_and_close(void *arg)
{
    struct opener *mine = arg;

    mine->status = BD_OK;
    for (unsigned i = 0; i < OPEN_ROUNDS && mine->status == BD_OK; i++) {
        void *handle = NULL;

        mine->status =
            mine->codec->open(&mine->host->table, mine->options, mine->codec->token, &handle);
        if (mine->status == BD_OK)
            mine->codec->close(handle);
    }
}

static void
instances_open_at_once(struct check *check)
{
    struct opener *all = check_alloc(check, OPENERS * sizeof *all);

    for (unsigned i = 0; i < OPENERS; i++)
        all[i] = (struct opener){ check->codec, check->plugin->option_fields,
                                  check_host_new(check, 0), BD_FATAL };
    check_threads(check, OPENERS, open_and_close, all, sizeof *all);
    for (unsigned i = 0; i < OPENERS; i++) {
        if (all[i].status != BD_OK)
            check_fail(check, "open beside others: expected OK, came %s",
                       status_word(all[i].status));
    }
}

struct thread {
    struct coder *coder;
    unsigned number;
    size_t bound;
    unsigned char *plain, *body, *back;
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

/* ------------------------------------------------------------------ the end */

static void
close_frees_secrets(struct check *check)
{
    const int secrets = atomic_load(&check_counts.secrets);
    const int threads = atomic_load(&check_counts.threads);
    struct coder coder;

    if (!coder_open(check, &coder))
        return;
    coder_close(&coder);
    if (atomic_load(&check_counts.secrets) != secrets)
        check_fail(check, "%d secrets were not freed",
                   atomic_load(&check_counts.secrets) - secrets);
    if (atomic_load(&check_counts.threads) != threads)
        check_fail(check, "%d threads were not joined",
                   atomic_load(&check_counts.threads) - threads);
}

/* In all rows of this process, and where a block is damaged. */
static void
no_secret_reaches_the_log(struct check *check)
{
    const struct bd_bytes plain = plain_of(check, 512, CONTENT_TEXT);
    struct coder coder;
    struct coded coded;

    check_secret("plaintext", CHECK_PLAINTEXT);
    if (coder_open(check, &coder)) {
        if (!coder_has(check, BD_CODEC_DECODE_ONLY)
            && coder_must_encode(&coder, coding_anywhere, plain, &coded)) {
            coder_decode(&coder, coding_anywhere, (struct bd_bytes){ coded.data, coded.len },
                         &coded.attrs, plain.len, plain.len, false);
            coder_decode(&coder, coding_anywhere, (struct bd_bytes){ coded.data, coded.len / 2 },
                         &coded.attrs, plain.len, plain.len, false);
            coded_clear(&coded);
        }
        coder_decode(&coder, coding_anywhere, plain, NULL, plain.len, plain.len, false);
        coder_close(&coder);
    }
    if (check_leak() != NULL)
        check_fail(check, "%s is in what it said", check_leak());
}

void
check_codecs(struct check *check)
{
    static const struct check_row rows[] = {
        { "it opens", it_opens,
          "As a backend's open: borrows host and options until close, may block, logs one sentence "
          "on failure" },
        { "it opens without keys, or says in one sentence what is missing",
          it_says_that_a_key_is_missing,
          "As a backend's open: borrows host and options until close, may block, logs one sentence "
          "on failure" },
        { "it opens under each alias", aliases_open,
          "`token` is what was asked for: the codec's own, an alias, one that `match` took" },
        { "it opens whatever the case of its token is", case_does_not_matter,
          "its case does not matter; borrowed until open returns" },
        { "instances open and close at once on several threads", instances_open_at_once,
          "Instances may be opened and closed at the same time on several threads" },
        { "the token that objects carry is one of its own", what_it_writes_is_read_by_it,
          "The token that objects of this instance carry, in its usual spelling" },
        { "its family claims no token of another plugin", it_claims_no_others_token,
          "For families of parametrised tokens: is this one, in lower case, mine?" },
        { "blocks of every size come back", blocks_come_back,
          "A codec turns bytes into bytes, synchronously, on any thread" },
        { "a block tells its length where any will do", blocks_tell_their_length,
          "decode: how many bytes it must give, or 0 where only out->cap limits them" },
        { "encode writes no more than bound says", encode_keeps_to_bound,
          "encode writes at most bound(n) bytes, and out->cap is at least that" },
        { "decode writes no more than cap", decode_keeps_to_cap,
          "decode gets in `out->cap` exactly the space that it may fill" },
        { "what it is given is left as it is", inputs_are_left_alone,
          "Which block a codec works on, and what is bound to it" },
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
        { "close ends all that open began", close_frees_secrets,
          "all workers are freed, and no call is going on" },
        { "no key, passphrase or plaintext reaches the log", no_secret_reaches_the_log,
          "Never data of blocks, never a secret" },
    };
    char subject[BD_TOKEN_BYTES_MAX + 16];

    for (uint32_t i = 0; i < check->plugin->desc.codec_count; i++) {
        check->codec = &check->plugin->codecs[i];
        snprintf(subject, sizeof subject, "codec %s", check->codec->token);
        check_rows(check, subject, rows, ARRAY_LEN(rows));
    }
}
