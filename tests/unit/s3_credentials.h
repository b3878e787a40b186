/* SPDX-License-Identifier: Apache-2.0 */
/* For tests of credentials: a home, an environment and a log of their own, a web server, and
 * a store. */
#ifndef UNIT_S3_CREDENTIALS_H
#define UNIT_S3_CREDENTIALS_H

#include "base/clock.h"
#include "credentials_parts.h"
#include "fake_web.h"
#include "host.h"
#include "sigv4.h"
#include "test.h"

#include <ftw.h>
#include <signal.h>
#include <sys/stat.h>
#include <time.h>

extern char **environ;

static char home[64];
static struct web *web;
static struct host *real_host;
static struct bd_host table; /* the real one but for the log */
static struct credential_options given;
static struct credential_store *store;
static const struct credentials *credentials; /* what open_with got; held until the end */

/* ------------------------------------------------------------------ the log */

static pthread_mutex_t log_lock = PTHREAD_MUTEX_INITIALIZER;
static char log_text[64 * 1024]; /* by log_lock: lines, each after a digit for its level */
static size_t log_bytes;

static void log_keep(const struct bd_host *host, enum bd_log_level level, const char *format, ...)
    BD_PRINTF(3, 4);

static void
log_keep(const struct bd_host *host, enum bd_log_level level, const char *format, ...)
{
    va_list args;

    (void)host;
    pthread_mutex_lock(&log_lock);
    assert_true(log_bytes + 2048 < sizeof log_text);
    log_bytes += (size_t)snprintf(log_text + log_bytes, 8, "%u ", (unsigned)level);
    va_start(args, format);
    log_bytes += (size_t)vsnprintf(log_text + log_bytes, 2000, format, args);
    va_end(args);
    log_bytes += (size_t)snprintf(log_text + log_bytes, 8, "\n");
    pthread_mutex_unlock(&log_lock);
}

/* Lines of the level with the text in them. */
static inline unsigned
log_count(enum bd_log_level level, const char *text)
{
    unsigned count = 0;
    const char *next;

    pthread_mutex_lock(&log_lock);
    for (const char *line = log_text; *line != '\0'; line = next + 1) {
        const char *found = strstr(line, text);

        next = strchr(line, '\n');
        count += line[0] == '0' + (char)level && found != NULL && found < next;
    }
    pthread_mutex_unlock(&log_lock);
    return count;
}

static inline void
expect_log(const char *text)
{
    if (strstr(log_text, text) == NULL)
        fail_msg("no \"%s\" in the log:\n%s", text, log_text);
}

static inline bool
log_leaks(void)
{
    bool leaks;

    pthread_mutex_lock(&log_lock);
    leaks = strstr(log_text, "MARKER") != NULL;
    pthread_mutex_unlock(&log_lock);
    return leaks;
}

static inline void
log_clear(void)
{
    pthread_mutex_lock(&log_lock);
    log_bytes = 0;
    log_text[0] = '\0';
    pthread_mutex_unlock(&log_lock);
}

/* ------------------------------------------------------------------ a world for each test */

/* Borrowed until called again, eight times. */
static inline const char *
in_home(const char *name)
{
    static char paths[8][256];
    static unsigned at;
    char *path = paths[at++ % 8];

    snprintf(path, sizeof paths[0], "%s/%s", home, name);
    return path;
}

/* Write a file below the home.  Borrows as in_home. */
static inline const char *
home_file(const char *name, const char *text)
{
    const char *path = in_home(name);
    char directory[256];
    FILE *file;

    snprintf(directory, sizeof directory, "%s", path);
    *strrchr(directory, '/') = '\0';
    mkdir(directory, 0700);
    file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
    chmod(path, 0600);
    return path;
}

/* The server's URL, and a path of it, into a variable. */
static inline void
set_url(const char *variable, const char *path)
{
    char url[128];

    snprintf(url, sizeof url, "http://127.0.0.1:%u%s", web->port, path);
    setenv(variable, url, 1);
}

static inline void
set_environment_keys(void)
{
    setenv("AWS_ACCESS_KEY_ID", "AKENV", 1);
    setenv("AWS_SECRET_ACCESS_KEY", "MARKER-env", 1);
    setenv("AWS_SESSION_TOKEN", "MARKER-token", 1);
}

static inline void
store_end(void)
{
    if (credentials != NULL)
        credentials_release(store, credentials);
    if (store != NULL)
        credentials_close(store);
    credentials = NULL;
    store = NULL;
}

/* open_with(.access_id = "x", ...) */
#define open_with(...) open_ok((struct credential_options){ __VA_ARGS__ })
#define reopen_with(...) (store_end(), open_with(__VA_ARGS__))
#define expect_failure(status, text, ...)                                                          \
    open_fails((struct credential_options){ __VA_ARGS__ }, status, text)

static inline void
open_ok(struct credential_options options)
{
    given = options;
    if (credentials_open(&table, &given, &store) != BD_OK)
        fail_msg("%s", log_text);
    credentials = credentials_get(store);
}

/* Says exactly one error, which has the text. */
static inline void
open_fails(struct credential_options options, enum bd_status status, const char *text)
{
    enum bd_status got;

    store_end();
    given = options;
    log_clear();
    got = credentials_open(&table, &given, &store);
    if (got != status || log_count(BD_ERROR, text) != 1 || log_count(BD_ERROR, "") != 1)
        fail_msg("status %d, log:\n%s", got, log_text);
    if (log_leaks())
        fail_msg("a secret in the log:\n%s", log_text);
    log_clear();
}

static inline void
expect_keys(const char *access_id, const char *secret, const char *token)
{
    assert_non_null(credentials->access_id);
    assert_string_equal(credentials->access_id, access_id);
    assert_string_equal(credentials->secret, secret);
    if (token == NULL)
        assert_null(credentials->token);
    else
        assert_string_equal(credentials->token, token);
}

static inline int
remove_one(const char *path, const struct stat *stat, int flag, struct FTW *at)
{
    (void)stat, (void)flag, (void)at;
    return remove(path);
}

static inline int
world_new(void **state)
{
    (void)state;
    clearenv();
    setenv("PATH", "/usr/bin:/bin", 1);
    snprintf(home, sizeof home, "/tmp/bucketdisk-credentials-XXXXXX");
    assert_non_null(mkdtemp(home));
    setenv("HOME", home, 1);
    setenv("AWS_EC2_METADATA_DISABLED", "true", 1); /* these tests may run on an instance */
    assert_int_equal(host_new("backend-s3", NULL, NULL, &real_host), 0);
    table = *host_table(real_host);
    table.log = log_keep;
    web = web_start();
    return 0;
}

static inline int
world_end(void **state)
{
    (void)state;
    store_end();
    web_stop(web);
    host_free(real_host);
    nftw(home, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    if (log_leaks()) {
        print_error("a secret in the log:\n%s", log_text);
        log_clear();
        return -1;
    }
    log_clear();
    return 0;
}

#define FRESH(file, sentence)                                                                      \
    {                                                                                              \
#sentence, file##_##sentence, world_new, world_end, NULL                                   \
    }

#endif
