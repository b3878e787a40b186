/* SPDX-License-Identifier: Apache-2.0 */
/* What a plugin says in a check: the last of it is kept for a row that fails, and all of it is searched for secrets. */
#include "impl.h"

#include <ctype.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define SECRETS_MAX 64
#define KEY_BYTES_TOLD 6u /* of a key, that are enough to know it by */

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
} speech = { .lock = PTHREAD_MUTEX_INITIALIZER };

/* "0x0A, 0x0b", "0a:0B" and "0A0b" become "0a0b". */
static void
hex_strip(const char *text, char *out)
{
    for (; *text != '\0'; text++) {
        if (text[0] == '0' && text[1] == 'x')
            text++;
        else if (isalnum((unsigned char)*text))
            *out++ = (char)tolower((unsigned char)*text);
    }
    *out = '\0';
}

void
check_said(const char *text, bool is_complaint)
{
    char said[1024], digits[sizeof said];

    snprintf(said, sizeof said, "%s", text != NULL ? text : "");
    hex_strip(said, digits);
    pthread_mutex_lock(&speech.lock);
    if (is_complaint || text == NULL)
        snprintf(speech.last, sizeof speech.last, "%.*s", (int)sizeof speech.last - 1, said);
    for (unsigned i = 0; i < speech.secret_count; i++) {
        const struct secret *secret = &speech.secrets[i];

        if (strstr(secret->is_hex ? digits : said, secret->text) != NULL)
            speech.leak = secret->what;
    }
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

const char *
check_leak(void)
{
    return speech.leak;
}
