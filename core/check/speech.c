/* SPDX-License-Identifier: Apache-2.0 */
/* What a plugin says in a check: the last of it is kept for a row that fails, and all of it is searched for secrets. */
#include "impl.h"

#include <ctype.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define SECRETS_MAX 64
#define KEY_BYTES_TOLD 6u /* of a key, that are enough to know it by */
#define SAID_BYTES 1024u

static struct {
    pthread_mutex_t lock; /* guards all */
    char last[480];
    struct secret {
        const char *what;
        char text[48];
        bool is_hex; /* however it is spelled */
    } secrets[SECRETS_MAX];
    unsigned secret_count;
    const char *leak;
    char leak_line[SAID_BYTES]; /* without it */
} speech = { .lock = PTHREAD_MUTEX_INITIALIZER };

/* "0x0A, 0x0b", "0a:0B" and "0A0b" become "0a0b".  `from` is where each stood. */
static void
hex_strip(const char *text, char *out, size_t *from)
{
    for (const char *at = text; *at != '\0'; at++) {
        if (at[0] == '0' && at[1] == 'x') {
            at++;
        } else if (isalnum((unsigned char)*at)) {
            *from++ = (size_t)(at - text);
            *out++ = (char)tolower((unsigned char)*at);
        }
    }
    *out = '\0';
}

/* Wherever it stands, asterisks; of a key to the end of the word, since only its begin is known.  False: it is nowhere. */
static bool
secret_black_out(const struct secret *secret, char *said)
{
    const size_t len = strlen(secret->text);
    char digits[SAID_BYTES];
    size_t from[SAID_BYTES];
    bool is_found = false;

    for (const char *text, *at;; is_found = true) {
        size_t first, end;

        hex_strip(said, digits, from);
        text = secret->is_hex ? digits : said;
        at = len > 0 ? strstr(text, secret->text) : NULL;
        if (at == NULL)
            return is_found;
        first = (size_t)(at - text);
        end = first + len - 1;
        if (secret->is_hex) {
            first = from[first];
            end = from[end];
            while (isalnum((unsigned char)said[end + 1]))
                end++;
        }
        memset(said + first, '*', end + 1 - first);
    }
}

static void
leak_look_for(const char *text)
{
    char said[SAID_BYTES];

    snprintf(said, sizeof said, "%s", text);
    for (unsigned i = 0; i < speech.secret_count; i++) {
        if (secret_black_out(&speech.secrets[i], said))
            speech.leak = speech.secrets[i].what;
    }
    if (strcmp(said, text) != 0)
        strcpy(speech.leak_line, said);
}

void
check_said(const char *text, bool is_complaint)
{
    char said[SAID_BYTES];

    snprintf(said, sizeof said, "%s", text != NULL ? text : "");
    pthread_mutex_lock(&speech.lock);
    if (is_complaint || text == NULL)
        snprintf(speech.last, sizeof speech.last, "%.*s", (int)sizeof speech.last - 1, said);
    leak_look_for(said);
    pthread_mutex_unlock(&speech.lock);
}

const char *
check_said_last(void)
{
    return speech.last;
}

static void
secret_add(const char *what, const char *text, bool is_hex)
{
    struct secret secret = { .what = what, .is_hex = is_hex };
    bool is_new = true;

    snprintf(secret.text, sizeof secret.text, "%s", text);
    pthread_mutex_lock(&speech.lock);
    for (unsigned i = 0; i < speech.secret_count && is_new; i++)
        is_new = strcmp(speech.secrets[i].text, secret.text) != 0;
    if (is_new && speech.secret_count < SECRETS_MAX)
        speech.secrets[speech.secret_count++] = secret;
    pthread_mutex_unlock(&speech.lock);
}

void
check_secret(const char *what, const char *text)
{
    secret_add(what, text, false);
}

void
check_secret_key(const char *what, const unsigned char *key, size_t bytes)
{
    char hex[2 * KEY_BYTES_TOLD + 1] = "";

    for (size_t i = 0; i < bytes && i < KEY_BYTES_TOLD; i++)
        sprintf(hex + 2 * i, "%02x", key[i]);
    secret_add(what, hex, true);
}

void
check_expect_no_leak(struct check *check, const char *what)
{
    if (speech.leak == NULL)
        return;
    check->has_quoted = true; /* this line, and not its last complaint */
    check_fail(check, "%s is in what it said: %s", what != NULL ? what : speech.leak,
               speech.leak_line);
}
