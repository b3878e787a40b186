/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of a check on a codec as such: opening it, its tokens, what it leaves and what it says. */
#include "coder.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OPENERS = 4, OPEN_ROUNDS = 5 };

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
    unsigned char text[512];
    const struct bd_bytes plain = { text, sizeof text };
    struct coder coder;
    struct coded coded;

    check_fill(text, sizeof text, CONTENT_TEXT, 1);
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
    check_expect_no_leak(check, NULL);
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
        { "close ends all that open began", close_frees_secrets,
          "all workers are freed, and no call is going on" },
        { "no key, passphrase or plaintext reaches the log", no_secret_reaches_the_log,
          "Never data of blocks, never a secret" },
    };

    codec_rows(check, rows, ARRAY_LEN(rows));
}
