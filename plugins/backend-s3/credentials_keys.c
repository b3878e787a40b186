/* SPDX-License-Identifier: Apache-2.0 */
/* Wiped memory, keys, and the state of one look for them. */
#include "credentials_parts.h"

#include <openssl/crypto.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* No file of keys, and no token, is as long. */
#define FILE_BYTES_MAX (1u << 20)

/* ------------------------------------------------------------------ secrets */

bool
secret_reserve(struct secret *secret, size_t bytes)
{
    size_t cap = secret->cap == 0 ? 256 : secret->cap;
    char *text;

    while (cap - 1 - secret->bytes < bytes) {
        if (cap > SIZE_MAX / 2)
            return false;
        cap *= 2;
    }
    if (cap == secret->cap)
        return true;
    text = malloc(cap); /* realloc would leave the old text behind */
    if (text == NULL)
        return false;
    if (secret->bytes > 0)
        memcpy(text, secret->text, secret->bytes);
    text[secret->bytes] = '\0';
    if (secret->text != NULL)
        OPENSSL_cleanse(secret->text, secret->cap);
    free(secret->text);
    secret->text = text;
    secret->cap = cap;
    return true;
}

bool
secret_append(struct secret *secret, const void *data, size_t bytes)
{
    if (!secret_reserve(secret, bytes))
        return false;
    if (bytes > 0)
        memcpy(secret->text + secret->bytes, data, bytes);
    secret->bytes += bytes;
    secret->text[secret->bytes] = '\0';
    return true;
}

void
secret_clear(struct secret *secret)
{
    if (secret->text != NULL)
        OPENSSL_cleanse(secret->text, secret->cap);
    free(secret->text);
    *secret = (struct secret){ 0 };
}

int
secret_read_file(struct secret *secret, const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY), rc = 0;

    if (fd == -1)
        return errno;
    for (;;) {
        ssize_t got;

        if (!secret_reserve(secret, 4096)) {
            rc = ENOMEM;
            break;
        }
        got = read(fd, secret->text + secret->bytes, 4096);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            rc = errno;
        if (got <= 0)
            break;
        secret->bytes += (size_t)got;
        secret->text[secret->bytes] = '\0';
        if (secret->bytes > FILE_BYTES_MAX) {
            rc = EFBIG;
            break;
        }
    }
    close(fd);
    return rc;
}

char *
secret_trim(struct secret *secret)
{
    static char empty[1];
    char *text = secret->text;

    if (text == NULL)
        return empty;
    while (secret->bytes > 0 && strchr(" \t\r\n", text[secret->bytes - 1]) != NULL)
        text[--secret->bytes] = '\0';
    return text + strspn(text, " \t\r\n");
}

/* ------------------------------------------------------------------ keys */

static void
wiped_free(char *text)
{
    if (text != NULL)
        OPENSSL_cleanse(text, strlen(text));
    free(text);
}

/* All of it goes into header fields, the secret into a key. */
static bool
is_sound(const char *text)
{
    for (; *text != '\0'; text++) {
        if ((unsigned char)*text < ' ' || *text == 0x7f)
            return false;
    }
    return true;
}

const char *
keys_set(struct keys *keys, const char *access_id, const char *secret, const char *token,
         time_t expires)
{
    if (access_id == NULL || access_id[0] == '\0')
        return "no access id";
    if (secret == NULL || secret[0] == '\0')
        return "no secret";
    if (token != NULL && token[0] == '\0')
        token = NULL;
    if (!is_sound(access_id) || !is_sound(secret) || (token != NULL && !is_sound(token)))
        return "a control character in a key";
    *keys = (struct keys){
        .access_id = strdup(access_id),
        .secret = strdup(secret),
        .token = token == NULL ? NULL : strdup(token),
        .expires = expires,
    };
    if (keys->access_id == NULL || keys->secret == NULL || (token != NULL && keys->token == NULL)) {
        keys_clear(keys);
        return "out of memory";
    }
    return NULL;
}

void
keys_clear(struct keys *keys)
{
    wiped_free(keys->access_id);
    wiped_free(keys->secret);
    wiped_free(keys->token);
    *keys = (struct keys){ 0 };
}

/* ------------------------------------------------------------------ a look */

enum bd_status
lookup_failed(struct lookup *lookup, enum bd_status status, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(lookup->why, sizeof lookup->why, format, args);
    va_end(args);
    return status;
}

bool
lookup_is_cancelled(const struct lookup *lookup)
{
    struct pollfd cancel = { .fd = lookup->cancel_fd, .events = POLLIN };

    return poll(&cancel, 1, 0) > 0;
}

const char *
environment(const char *name)
{
    const char *value = getenv(name);

    return value == NULL || value[0] == '\0' ? NULL : value;
}

char *
home_path(const char *rest)
{
    const char *home = environment("HOME");
    struct passwd entry, *user = NULL;
    char buffer[16384], *path;

    if (home == NULL) {
        if (getpwuid_r(getuid(), &entry, buffer, sizeof buffer, &user) != 0 || user == NULL)
            return NULL;
        home = user->pw_dir;
    }
    return asprintf(&path, "%s/%s", home, rest) == -1 ? NULL : path;
}
