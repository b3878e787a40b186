/* SPDX-License-Identifier: Apache-2.0 */
/* A web server on the loopback that answers by rules, for tests of what asks one.  It can
 * also not answer. */
#ifndef UNIT_FAKE_WEB_H
#define UNIT_FAKE_WEB_H

#include "test.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#define WEB_RULES_MAX 16
#define WEB_HANGS (-1)

struct web_rule {
    const char *request; /* "GET /path" */
    const char *needs; /* text that must be in the request, else it is answered with 401; or NULL */
    int status;        /* or WEB_HANGS */
    char *body;
};

struct web {
    int fd, stop_fd;
    unsigned port;
    pthread_t thread;

    pthread_mutex_t lock; /* guards all below */
    struct web_rule rules[WEB_RULES_MAX];
    unsigned rule_count;
    char seen[256 * 1024]; /* the requests, one after the other */
    size_t seen_bytes;
    int hanging[64];
    unsigned hanging_count;
};

/* The whole request: head, and as much body as it says. */
static inline bool
web_read(int fd, char *out, size_t out_bytes)
{
    size_t bytes = 0, want = 0;

    for (;;) {
        struct pollfd ready = { .fd = fd, .events = POLLIN };
        const char *end, *length;
        ssize_t got;

        if (bytes + 1 == out_bytes || poll(&ready, 1, 5000) != 1)
            return false;
        got = read(fd, out + bytes, out_bytes - bytes - 1);
        if (got <= 0)
            return false;
        bytes += (size_t)got;
        out[bytes] = '\0';
        end = strstr(out, "\r\n\r\n");
        if (end == NULL)
            continue;
        length = strcasestr(out, "\r\ncontent-length:");
        want = (size_t)(end + 4 - out);
        if (length != NULL && length < end)
            want += strtoul(length + 17, NULL, 10);
        if (bytes >= want)
            return true;
    }
}

static inline void
web_answer_one(struct web *web, int fd)
{
    char request[32768], head[256], *body = NULL;
    int status = 404;

    if (!web_read(fd, request, sizeof request)) {
        close(fd);
        return;
    }
    pthread_mutex_lock(&web->lock);
    if (web->seen_bytes + strlen(request) + 2 < sizeof web->seen)
        web->seen_bytes += (size_t)sprintf(web->seen + web->seen_bytes, "%s\n", request);
    for (unsigned i = 0; i < web->rule_count; i++) {
        const struct web_rule *rule = &web->rules[i];
        size_t bytes = strlen(rule->request);

        if (strncmp(request, rule->request, bytes) != 0 || request[bytes] != ' ')
            continue;
        status =
            rule->needs == NULL || strcasestr(request, rule->needs) != NULL ? rule->status : 401;
        if (status == rule->status)
            body = strdup(rule->body);
    }
    if (body == NULL)
        body = strdup("");
    assert_non_null(body);
    if (status == WEB_HANGS) {
        free(body);
        assert_true(web->hanging_count < sizeof web->hanging / sizeof web->hanging[0]);
        web->hanging[web->hanging_count++] = fd;
        pthread_mutex_unlock(&web->lock);
        return;
    }
    pthread_mutex_unlock(&web->lock);
    snprintf(head, sizeof head,
             "HTTP/1.1 %d Said\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n", status,
             strlen(body));
    if (send(fd, head, strlen(head), MSG_NOSIGNAL) < 0
        || send(fd, body, strlen(body), MSG_NOSIGNAL) < 0)
        (void)0; /* who asked has gone */
    free(body);
    close(fd);
}

static inline void *
web_run(void *arg)
{
    struct web *web = arg;

    for (;;) {
        struct pollfd ready[] = { { .fd = web->fd, .events = POLLIN },
                                  { .fd = web->stop_fd, .events = POLLIN } };
        int fd;

        if (poll(ready, 2, -1) < 0)
            continue; /* seteuid interrupts every thread */
        if (ready[1].revents != 0)
            return NULL;
        fd = accept4(web->fd, NULL, NULL, SOCK_CLOEXEC);
        if (fd != -1)
            web_answer_one(web, fd);
    }
}

static inline struct web *
web_start(void)
{
    struct sockaddr_in address = { .sin_family = AF_INET,
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t bytes = sizeof address;
    struct web *web = calloc(1, sizeof *web);

    assert_non_null(web);
    pthread_mutex_init(&web->lock, NULL);
    web->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    web->stop_fd = eventfd(0, EFD_CLOEXEC);
    assert_int_equal(bind(web->fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(web->fd, 16), 0);
    assert_int_equal(getsockname(web->fd, (struct sockaddr *)&address, &bytes), 0);
    web->port = ntohs(address.sin_port);
    assert_int_equal(pthread_create(&web->thread, NULL, web_run, web), 0);
    return web;
}

static inline void
web_stop(struct web *web)
{
    eventfd_write(web->stop_fd, 1);
    pthread_join(web->thread, NULL);
    for (unsigned i = 0; i < web->hanging_count; i++)
        close(web->hanging[i]);
    for (unsigned i = 0; i < web->rule_count; i++)
        free(web->rules[i].body);
    close(web->stop_fd);
    close(web->fd);
    pthread_mutex_destroy(&web->lock);
    free(web);
}

/* How to answer `request` from now on.  Borrows the texts but for the body. */
static inline void
web_answer(struct web *web, const char *request, const char *needs, int status, const char *body)
{
    unsigned at = 0;

    pthread_mutex_lock(&web->lock);
    while (at < web->rule_count && strcmp(web->rules[at].request, request) != 0)
        at++;
    assert_true(at < WEB_RULES_MAX);
    web->rules[at].request = request;
    web->rules[at].needs = needs;
    web->rules[at].status = status;
    free(web->rules[at].body);
    web->rules[at].body = strdup(body);
    if (at == web->rule_count)
        web->rule_count++;
    pthread_mutex_unlock(&web->lock);
}

/* How often the text was in what came so far. */
static inline unsigned
web_seen(struct web *web, const char *text)
{
    unsigned count = 0;

    pthread_mutex_lock(&web->lock);
    for (const char *at = web->seen; (at = strstr(at, text)) != NULL; at++)
        count++;
    pthread_mutex_unlock(&web->lock);
    return count;
}

/* What follows `name` on its line, in the last request that has it.  Lower-case names. */
static inline void
web_header(struct web *web, const char *name, char *out, size_t out_bytes)
{
    const char *last = NULL;

    pthread_mutex_lock(&web->lock);
    for (const char *at = web->seen; (at = strcasestr(at, name)) != NULL; at++)
        last = at;
    if (last != NULL) {
        last += strlen(name);
        last += strspn(last, ": ");
        snprintf(out, out_bytes, "%.*s", (int)strcspn(last, "\r\n"), last);
    }
    pthread_mutex_unlock(&web->lock);
    assert_non_null(last);
}

#endif
