/* SPDX-License-Identifier: Apache-2.0 */
/* Locks that are there, and who looks at them. */
#include "tokens.h"

#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <time.h>

const struct layout token_layout = { .prefix = "v/", .block_bytes = 4096, .block_count = 100 };
const struct token_wish token_willing = { .lock_id = "1:2" };

void (*token_meanwhile)(void);
unsigned pauses_s;
const char *machine_id = "0123456789abcdef0123456789abcdef\n";

FILE *
fopen(const char *path, const char *mode)
{
    FILE *(*real)(const char *, const char *) =
        (FILE * (*)(const char *, const char *)) dlsym(RTLD_NEXT, "fopen");

    if (strcmp(path, "/etc/machine-id") != 0)
        return real(path, mode);
    if (machine_id == NULL) {
        errno = ENOENT;
        return NULL;
    }
    return fmemopen((void *)(uintptr_t)machine_id, strlen(machine_id), "r");
}

int
sigtimedwait(const sigset_t *signals, siginfo_t *info, const struct timespec *timeout)
{
    (void)signals, (void)info, (void)timeout;
    if (token_meanwhile != NULL)
        token_meanwhile();
    errno = EAGAIN;
    return -1;
}

int
nanosleep(const struct timespec *time, struct timespec *rest)
{
    (void)rest;
    pauses_s += (unsigned)time->tv_sec;
    return 0;
}

int
take(struct test_store *store, const char *lock_id, bool is_forced, struct token *token)
{
    const struct token_wish wish = { .lock_id = lock_id,
                                     .is_forced = is_forced,
                                     .is_passing = true };
    struct error why = { "" };
    int rc = token_take(store->backend, &token_layout, &wish, token, &why);

    assert_int_equal(why.text[0] == '\0', rc == 0);
    return rc;
}

bool
is_mounted(struct test_store *store)
{
    return run(request(store, BD_HEAD_OBJECT, TOKEN), NULL) == BD_OK;
}

void
expect_owner(struct test_store *store, const char *owner)
{
    struct backend_io *io = request(store, BD_HEAD_OBJECT, TOKEN);
    const char *found;

    backend_submit_wait(io);
    assert_int_equal(io->status, BD_OK);
    found = backend_io_attr(io, "bucketdisk-owner", NULL);
    assert_non_null(found);
    assert_string_equal(found, owner);
    backend_io_free(io);
}

bool
own_words(struct test_store *store, char words[4][128])
{
    struct token token;

    assert_int_equal(take(store, "1:2", true, &token), 0);
    assert_int_equal(
        sscanf(token.owner, "%127s %127s %127s %127s", words[0], words[1], words[2], words[3]), 4);
    return strcmp(words[0], "-") != 0 && strcmp(words[1], "-") != 0;
}

/* ---- locks of others */

void
put_beating(struct test_store *store, const char *owner, uint64_t beat)
{
    const struct lock lock = { .value = 0x42,
                               .lease = { .beat = beat,
                                          .epoch = 4,
                                          .lease_ms = 60000,
                                          .settle_ms = 30000,
                                          .at_s = 1700000000 } };
    struct lock filled = lock;
    struct backend_io *io = request(store, BD_PUT, TOKEN);
    struct lock_text text;

    snprintf(filled.owner, sizeof filled.owner, "%s", owner);
    assert_int_equal(lock_put(io, &filled, "20260101T000000Z", &text), 0);
    assert_int_equal(run(io, NULL), BD_OK);
    attrs_clear(&text.attrs);
}

void
put_dead_neighbours(struct test_store *store, char owner[520])
{
    char words[4][128];

    own_words(store, words);
    snprintf(owner, 520, "%s %s %s %s", words[0], words[1], words[2], words[3]);
    put_beating(store, owner, 5);
}
