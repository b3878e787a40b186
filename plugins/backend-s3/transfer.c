/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP exchanges on an event loop.
 *
 * libcurl tells which sockets to watch and when to be called again; we wait with epoll, so that
 * we can do one thing that libcurl does not: TCP_QUICKACK after each part of an answer but the last.
 * A server that writes head and body apart without TCP_NODELAY (Ceph's gateway) holds a small body back until the head is
 * acknowledged, for which the kernel else takes its time: 44 ms instead of 0.9 for 4 KiB.
 *
 *   post -> inbox -> job->run: exchange_new, fill, sign, exchange_send
 *   epoll -> curl_multi_socket_action -> callbacks fill answer and data
 *         -> CURLMSG_DONE -> exchange->done -> exchange_free, or another exchange_send
 *
 * WHAT MAY HAVE BEEN DONE.  Before each time that a request goes out on a connection libcurl calls on_send.
 * Nothing was sent: not done.  Less of the body was handed to the kernel than Content-Length
 * says: the server cannot act on it: not done.  Else, for a write: unknown.  libcurl repeats a request by itself when
 * a kept-alive connection turns out dead before the first byte of an answer; that is right for
 * reads, and costs nobody's budget, but of a write the first sending may have arrived: it is stopped at the second
 * on_send, and its outcome is unknown.
 *
 * WHAT MUST NOT GO ON after its time is the business of guard.c. */
#include "transfer.h"

#include "debug.h"
#include "guard.h"
#include "mask.h"
#include "proxy.h"
#include "tally.h"
#include "text.h"

#include <errno.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define NS_PER_S 1000000000ull
#define EVENTS_MAX 64
#define SOCKET_HURRIED                                                                             \
    0x40u /* beside SOCKET_OURS and CURL_POLL_…: its TCP_USER_TIMEOUT is that of a write with less time than usual */
#define CONNECTIONS_KEPT 1024L
#define ERROR_BODY_BYTES_MAX (64u << 10)
#define CONNECT_MS 10000L /* a server that is there answers sooner; another address may */
#define BUFFER_BYTES (256L << 10)
#define BUFFER_BYTES_MIN 1024L
#define LIMITED_PARTS 32 /* of a second's worth */

struct transfers {
    const struct bd_host *host;
    struct transfers_config config;
    CURLM *multi;
    int epoll_fd, wake_fd;
    struct bd_thread *thread;
    bool has_proxy;
    atomic_bool is_stopping;
    struct bd_counter *requests, *connections, *unanswered;
    struct tally tally;

    pthread_mutex_t lock; /* guards the inbox */
    struct transfer_job *inbox, **inbox_last;

    /* The loop's thread only. */
    bool is_tos_told;  /* that it cannot be set */
    uint64_t timer_ns; /* when libcurl wants to be called; 0: never */
    unsigned idle_s;
    struct guard guard;
    struct exchange *active, *unsent, *unused;
    uint8_t sockets[SOCKETS_KNOWN]; /* SOCKET_OURS, and what epoll watches it for */
};

/* ---- one exchange */

struct exchange *
exchange_new(struct transfers *transfers)
{
    struct exchange *exchange = transfers->unused;

    if (exchange != NULL) {
        transfers->unused = exchange->next;
    } else {
        exchange = calloc(1, sizeof *exchange);
        if (exchange == NULL)
            return NULL;
    }
    exchange->transfers = transfers;
    memset(&exchange->request, 0, offsetof(struct http_request, headers));
    headers_init(&exchange->request.headers);
    exchange->path[0] = exchange->query[0] = '\0';
    exchange->request.query = exchange->query;
    exchange->is_write = false;
    exchange->data = NULL;
    exchange->cap = 0;
    exchange->offset = 0;
    exchange->body_bytes_max = ERROR_BODY_BYTES_MAX;
    exchange->owned_body = NULL;
    exchange->data_bytes = 0;
    exchange->has_failed = exchange->may_be_done = false;
    exchange->code = CURLE_OK;
    exchange->why[0] = '\0';
    exchange->signed_with = NULL;
    exchange->next = NULL;
    exchange->link = NULL;
    exchange->sends = 0;
    exchange->is_full = false;
    exchange->stream_bytes = 0;
    exchange->paced_bytes = exchange->resume_ns = 0;
    return exchange;
}

void
exchange_free(struct exchange *exchange)
{
    free(exchange->owned_body);
    exchange->owned_body = NULL;
    exchange->next = exchange->transfers->unused;
    exchange->transfers->unused = exchange;
}

static void
exchange_destroy(struct exchange *exchange)
{
    if (exchange->easy != NULL)
        curl_easy_cleanup(exchange->easy);
    answer_free(&exchange->answer);
    free(exchange);
}

static void
link_active(struct exchange *exchange)
{
    struct transfers *transfers = exchange->transfers;

    exchange->next = transfers->active;
    exchange->link = &transfers->active;
    if (exchange->next != NULL)
        exchange->next->link = &exchange->next;
    transfers->active = exchange;
}

static void
unlink_active(struct exchange *exchange)
{
    *exchange->link = exchange->next;
    if (exchange->next != NULL)
        exchange->next->link = exchange->link;
    exchange->next = NULL;
    exchange->link = NULL;
}

static void
finish(struct exchange *exchange, const char *why)
{
    if (why != NULL) {
        exchange->has_failed = true;
        if (exchange->why[0] == '\0')
            snprintf(exchange->why, sizeof exchange->why, "%s", why);
        proxy_mask(exchange->why);
    }
    exchange->done(exchange);
}

/* ---- what libcurl calls during an exchange */

static size_t
on_header(char *data, size_t size, size_t count, void *arg)
{
    struct exchange *exchange = arg;

    answer_header(&exchange->answer, data, size * count);
    return size * count;
}

/* Part of an object's body: what is in front of `offset` was not asked for, what is behind `cap` is not wanted. */
static size_t
take_data(struct exchange *exchange, const char *data, size_t bytes)
{
    const struct answer *answer = &exchange->answer;
    uint64_t at = answer->range_start + exchange->stream_bytes, skip;
    size_t room = exchange->cap - exchange->data_bytes, kept;

    exchange->stream_bytes += bytes;
    /* A part of which nobody knows where it belongs is none. */
    if (answer->http_status == 206
        && (!answer->has_range || answer->range_start > exchange->offset))
        return 0;
    skip = at < exchange->offset ? exchange->offset - at : 0;
    if (skip >= bytes)
        return bytes;
    kept = bytes - (size_t)skip;
    exchange->is_full = kept > room;
    if (kept > room)
        kept = room;
    memcpy((char *)exchange->data + exchange->data_bytes, data + skip, kept);
    exchange->data_bytes += kept;
    /* The rest of an object that is larger is not fetched, if its size is known. */
    return exchange->is_full && (answer->has_content_bytes || answer->has_total_bytes) ? 0 : bytes;
}

/* libcurl's own limit begins when a second's worth has been received: most blocks are less than that. */
static bool
must_pause(struct exchange *exchange, size_t bytes)
{
    uint64_t limit = exchange->transfers->config.download_bytes_s, now;

    if (limit == 0)
        return false;
    now = exchange->transfers->host->now_ns();
    if (exchange->paced_bytes == 0)
        exchange->paced_from_ns = now;
    exchange->resume_ns = exchange->paced_from_ns + exchange->paced_bytes * NS_PER_S / limit;
    if (now < exchange->resume_ns)
        return true;
    exchange->resume_ns = 0;
    exchange->paced_bytes += bytes;
    return false;
}

static size_t
on_data(char *data, size_t size, size_t count, void *arg)
{
    struct exchange *exchange = arg;
    unsigned status = exchange->answer.http_status;

    if (must_pause(exchange, size * count))
        return CURL_WRITEFUNC_PAUSE;
    if (exchange->data != NULL && (status == 200 || status == 206))
        return take_data(exchange, data, size * count);
    return answer_body(&exchange->answer, data, size * count, exchange->body_bytes_max)
               ? size * count
               : 0;
}

/* How much of an earlier sending went out cannot be asked here: libcurl has begun to count anew. */
static int
on_send(void *arg, char *remote_ip, char *local_ip, int remote_port, int local_port)
{
    struct exchange *exchange = arg;

    (void)remote_ip, (void)local_ip, (void)remote_port, (void)local_port;
    /* libcurl's clock stands still while the machine sleeps, and connecting takes time. */
    if (exchange->is_write && exchange->sends == 0
        && exchange->transfers->host->now_ns() >= exchange->deadline_ns)
        return CURL_PREREQFUNC_ABORT;
    return ++exchange->sends > 1 && exchange->is_write ? CURL_PREREQFUNC_ABORT : CURL_PREREQFUNC_OK;
}

static unsigned
remaining_ms(const struct exchange *exchange)
{
    uint64_t now = exchange->transfers->host->now_ns();

    return exchange->deadline_ns > now + NS_PER_MS
               ? (unsigned)((exchange->deadline_ns - now) / NS_PER_MS)
               : 1;
}

/* A network that does not learn what this is carries it all the same. */
static void
set_tos(struct transfers *transfers, curl_socket_t fd)
{
    int tos = transfers->config.tos, family = AF_INET;
    socklen_t bytes = sizeof family;

    getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &bytes);
    if ((family == AF_INET6 ? setsockopt(fd, IPPROTO_IPV6, IPV6_TCLASS, &tos, sizeof tos)
                            : setsockopt(fd, IPPROTO_IP, IP_TOS, &tos, sizeof tos))
            == 0
        || transfers->is_tos_told)
        return;
    transfers->is_tos_told = true;
    transfers->host->log(transfers->host, BD_WARNING,
                         "--ipTOS=%d cannot be set, requests go without it: %s", tos,
                         strerror(errno));
}

/* What was sent and is not acknowledged for as long as one attempt may take will not be.  Later attempts use
 * this connection, too, so one that is late itself does not set the time. */
static int
on_socket(void *arg, curl_socket_t fd, curlsocktype purpose)
{
    const struct exchange *exchange = arg;
    uint64_t progress_ms = exchange->transfers->config.progress_ms;
    unsigned timeout_ms = remaining_ms(exchange);

    if (timeout_ms < progress_ms)
        timeout_ms = (unsigned)progress_ms;
    if (fd >= SOCKETS_KNOWN)
        return CURL_SOCKOPT_ERROR;
    exchange->transfers->sockets[fd] = SOCKET_OURS;
    if (purpose == CURLSOCKTYPE_IPCXN)
        setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout_ms, sizeof timeout_ms);
    if (exchange->transfers->config.tos != -1)
        set_tos(exchange->transfers, fd);
    return CURL_SOCKOPT_OK;
}

/* epoll forgets a socket only when the last copy of it is closed, and a child may have one.
 *
 * What we have given up the kernel would still try to deliver, for as long as TCP_USER_TIMEOUT, also when the network
 * comes back after somebody else has taken the volume: it is thrown away. */
static int
on_close(void *arg, curl_socket_t fd)
{
    const struct linger now = { .l_onoff = 1, .l_linger = 0 };
    struct transfers *transfers = arg;
    int unsent = 0;

    if (ioctl(fd, SIOCOUTQ, &unsent) == 0 && unsent > 0)
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    if (fd < SOCKETS_KNOWN)
        transfers->sockets[fd] = 0;
    epoll_ctl(transfers->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
    return close(fd);
}

/* ---- sending */

/* Small parts are received with a limit, to keep to it. */
static long
buffer_bytes(const struct transfers_config *config)
{
    uint64_t part = config->download_bytes_s / LIMITED_PARTS;

    if (config->download_bytes_s == 0 || part > BUFFER_BYTES)
        return BUFFER_BYTES;
    return part < BUFFER_BYTES_MIN ? BUFFER_BYTES_MIN : (long)part;
}

/* What is the same for every exchange on this handle. */
static CURL *
easy_new(struct exchange *exchange)
{
    const struct transfers_config *config = &exchange->transfers->config;
    long progress_s = (long)((config->progress_ms + 999) / 1000);
    CURL *easy = curl_easy_init();

    if (easy == NULL)
        return NULL;
    curl_easy_setopt(easy, CURLOPT_PRIVATE, exchange);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    /* Else giving up waits for a resolver's thread, and with it this one, for as long as the name server takes. */
    curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(easy, CURLOPT_HTTP_CONTENT_DECODING, 0L);
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION,
                     config->allows_http2 ? CURL_HTTP_VERSION_2TLS : CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(easy, CURLOPT_SSLVERSION, CURL_SSLVERSION_TLSv1_2);
    curl_easy_setopt(easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    curl_easy_setopt(easy, CURLOPT_DNS_SHUFFLE_ADDRESSES, 1L);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_MS);
    curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, buffer_bytes(config));
    curl_easy_setopt(easy, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(easy, CURLOPT_LOW_SPEED_TIME, progress_s);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, exchange->why);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, exchange);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_data);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, exchange);
    curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, on_send);
    curl_easy_setopt(easy, CURLOPT_PREREQDATA, exchange);
    curl_easy_setopt(easy, CURLOPT_SOCKOPTFUNCTION, on_socket);
    curl_easy_setopt(easy, CURLOPT_SOCKOPTDATA, exchange);
    curl_easy_setopt(easy, CURLOPT_CLOSESOCKETFUNCTION, on_close);
    curl_easy_setopt(easy, CURLOPT_CLOSESOCKETDATA, exchange->transfers);
    curl_easy_setopt(easy, CURLOPT_MAX_SEND_SPEED_LARGE, (curl_off_t)config->upload_bytes_s);
    if (config->no_reuse) {
        curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, 1L);
        curl_easy_setopt(easy, CURLOPT_FORBID_REUSE, 1L);
    }
    if (!exchange->transfers->has_proxy)
        curl_easy_setopt(easy, CURLOPT_PROXY, ""); /* else it looks for one for each request */
    if (config->ca_file != NULL)
        curl_easy_setopt(easy, CURLOPT_CAINFO, config->ca_file);
    if (config->is_insecure) {
        curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 0L);
        curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 0L);
    }
    if (config->debug)
        debug_install(easy, exchange->transfers->host);
    return easy;
}

struct line_writer {
    struct exchange *exchange;
    size_t count, used;
};

/* A node of libcurl's list, in our memory.  "name:" sends no such header, "name;" one without value. */
static bool
line_add(struct line_writer *writer, const char *name, const char *mark, const char *value)
{
    struct exchange *exchange = writer->exchange;
    struct text text;
    char *line = exchange->text + writer->used;

    if (writer->count == sizeof exchange->lines / sizeof exchange->lines[0]
        || writer->used == sizeof exchange->text)
        return false;
    text_init(&text, line, sizeof exchange->text - writer->used);
    text_add(&text, name);
    text_add(&text, mark);
    text_add(&text, value);
    if (text.is_overfull)
        return false;
    exchange->lines[writer->count] = (struct curl_slist){ .data = line };
    if (writer->count > 0)
        exchange->lines[writer->count - 1].next = &exchange->lines[writer->count];
    writer->count++;
    writer->used += text.bytes + 1;
    return true;
}

static bool
set_headers(struct exchange *exchange)
{
    const struct headers *headers = &exchange->request.headers;
    struct line_writer writer = { .exchange = exchange };
    bool is_done = !headers->is_overfull;

    for (unsigned i = 0; i < headers->count && is_done; i++) {
        const struct header *header = &headers->list[i];

        is_done =
            line_add(&writer, header->name, header->value[0] != '\0' ? ": " : ";", header->value);
    }
    /* Not signed: proxies rewrite them.  Whatever encoding a body has is ours, and stays.  As lines, not as options,
     * which libcurl formats twice, and that byte by byte. */
    is_done = is_done && line_add(&writer, "accept-encoding", ": ", "identity")
              && line_add(&writer, "user-agent", ": ", "bucketdisk");
    /* What libcurl would add to a body; its idea of a POST is a form. */
    if (is_done && exchange->request.body != NULL) {
        is_done = line_add(&writer, "expect", ":", "");
        if (headers_get(headers, "content-type") == NULL)
            is_done = is_done && line_add(&writer, "content-type", ":", "");
    }
    curl_easy_setopt(exchange->easy, CURLOPT_HTTPHEADER, exchange->lines);
    return is_done;
}

static void
set_method(struct exchange *exchange)
{
    const struct http_request *request = &exchange->request;
    CURL *easy = exchange->easy;

    curl_easy_setopt(easy, CURLOPT_HTTPGET, 1L); /* undoes the others */
    curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, NULL);
    if (strcmp(request->method, "HEAD") == 0) {
        curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
    } else if (request->body != NULL) {
        curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body_bytes);
        curl_easy_setopt(easy, CURLOPT_POSTFIELDS, request->body);
        curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, request->method);
    } else if (strcmp(request->method, "GET") != 0) {
        curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, request->method);
    }
}

/* NULL, or why it cannot be sent. */
static const char *
send_now(struct exchange *exchange, const char *scheme)
{
    struct transfers *transfers = exchange->transfers;
    const struct http_request *request = &exchange->request;
    char url[2 * EXCHANGE_PATH_BYTES];
    int bytes = snprintf(url, sizeof url, "%s://%s%s%s%s", scheme, request->host, request->path,
                         request->query[0] != '\0' ? "?" : "", request->query);

    /* A write that leaves after its time may meet a successor of ours. */
    if (transfers->host->now_ns() >= exchange->deadline_ns)
        return "there was no time left to send the request";
    if (exchange->easy == NULL)
        exchange->easy = easy_new(exchange);
    if (exchange->easy == NULL)
        return "out of memory";
    if (bytes < 0 || (size_t)bytes >= sizeof url || !set_headers(exchange))
        return "the request is too large";
    set_method(exchange);
    if (curl_easy_setopt(exchange->easy, CURLOPT_URL, url) != CURLE_OK)
        return "out of memory";
    curl_easy_setopt(exchange->easy, CURLOPT_TIMEOUT_MS, (long)remaining_ms(exchange));
    curl_easy_setopt(exchange->easy, CURLOPT_MAXAGE_CONN, (long)transfers->idle_s);
    guard_add(&transfers->guard, exchange);
    if (curl_multi_add_handle(transfers->multi, exchange->easy) != CURLM_OK)
        return "out of memory";
    return NULL;
}

void
exchange_send(struct exchange *exchange, const char *scheme)
{
    struct transfers *transfers = exchange->transfers;
    const char *why;

    answer_reset(&exchange->answer);
    why = send_now(exchange, scheme);
    if (why == NULL) {
        transfers->host->counter_add(transfers->requests, 1);
        link_active(exchange);
        return;
    }
    snprintf(exchange->why, sizeof exchange->why, "%s", why);
    exchange->next = transfers->unsent;
    transfers->unsent = exchange;
}

/* ---- the end of an exchange */

static void
ended(struct exchange *exchange, CURLcode code)
{
    struct transfers *transfers = exchange->transfers;
    const struct answer *answer = &exchange->answer;
    curl_off_t uploaded = 0;
    long connects = 0;

    unlink_active(exchange);
    curl_easy_getinfo(exchange->easy, CURLINFO_SIZE_UPLOAD_T, &uploaded);
    curl_easy_getinfo(exchange->easy, CURLINFO_NUM_CONNECTS, &connects);
    curl_multi_remove_handle(transfers->multi, exchange->easy);
    transfers->host->counter_add(transfers->connections, connects);
    if (answer->keep_alive_s > 0 && answer->keep_alive_s <= transfers->idle_s)
        transfers->idle_s = answer->keep_alive_s > 1 ? answer->keep_alive_s - 1 : 1;
    if (code == CURLE_OK || (code == CURLE_WRITE_ERROR && exchange->is_full)) {
        exchange->why[0] = '\0';
        tally_answer(&transfers->tally, transfers->host, answer->http_status);
        finish(exchange, NULL);
        return;
    }
    transfers->host->counter_add(transfers->unanswered, 1);
    tally_failure(&transfers->tally, transfers->host, code);
    exchange->may_be_done =
        exchange->is_write
        && (exchange->sends > 1
            || (exchange->sends == 1 && (uint64_t)uploaded >= exchange->request.body_bytes));
    if (transfers->config.allows_http2 && exchange->is_write && code == CURLE_OPERATION_TIMEDOUT)
        guard_break_off(&transfers->guard);
    if (exchange->sends > 1 && exchange->is_write)
        snprintf(exchange->why, sizeof exchange->why,
                 "the connection was closed when the request was sent");
    exchange->code = code;
    finish(exchange, curl_easy_strerror(code));
}

/* What libcurl's clock, which stands still while the machine sleeps, has not ended in time. */
static void
sweep(struct transfers *transfers)
{
    uint64_t now = transfers->host->now_ns();
    struct exchange *exchange = transfers->active;

    while (exchange != NULL) {
        if (now < exchange->deadline_ns + SWEEP_GRACE_NS) {
            exchange = exchange->next;
            continue;
        }
        ended(exchange, CURLE_OPERATION_TIMEDOUT);
        exchange = transfers->active; /* done may have changed the list */
    }
}

/* What could not be sent at all. */
static void
reject(struct transfers *transfers)
{
    struct exchange *exchange;

    while ((exchange = transfers->unsent) != NULL) {
        transfers->unsent = exchange->next;
        exchange->next = NULL;
        exchange->has_failed = true;
        exchange->done(exchange);
    }
}

static void
reap(struct transfers *transfers)
{
    struct CURLMsg *message;
    int left;

    while ((message = curl_multi_info_read(transfers->multi, &left)) != NULL) {
        struct exchange *exchange = NULL;
        CURLcode code = message->data.result;

        if (message->msg != CURLMSG_DONE)
            continue;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &exchange);
        ended(exchange, code);
    }
}

/* ---- the loop */

/* What a write with less time than usual has left in the kernel must not outlive it, also while we are stopped. */
static void
set_hurry(const struct transfers *transfers, CURL *easy, curl_socket_t fd, uint8_t *socket)
{
    unsigned timeout_ms = (unsigned)transfers->config.progress_ms;
    struct exchange *exchange = NULL;
    bool is_hurried;

    curl_easy_getinfo(easy, CURLINFO_PRIVATE, &exchange);
    if (!(*socket & SOCKET_OURS) || exchange == NULL)
        return;
    is_hurried = exchange->is_write && remaining_ms(exchange) < timeout_ms;
    if (is_hurried)
        timeout_ms = remaining_ms(exchange);
    else if (!(*socket & SOCKET_HURRIED))
        return;
    setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout_ms, sizeof timeout_ms);
    *socket = (uint8_t)((*socket & ~SOCKET_HURRIED) | (is_hurried ? SOCKET_HURRIED : 0));
}

static int
on_watch(CURL *easy, curl_socket_t fd, int what, void *arg, void *known)
{
    struct transfers *transfers = arg;
    struct epoll_event event = { .data.fd = fd };
    uint8_t none = 0, *socket = fd < SOCKETS_KNOWN ? &transfers->sockets[fd] : &none;

    (void)known;
    if (what != CURL_POLL_REMOVE)
        set_hurry(transfers, easy, fd, socket);
    /* A connection is mostly used again at once; if not, see socket_event. */
    if (what == CURL_POLL_REMOVE || (*socket & ~SOCKET_HURRIED) == (SOCKET_OURS | (unsigned)what))
        return 0;
    if (what & CURL_POLL_IN)
        event.events |= EPOLLIN;
    if (what & CURL_POLL_OUT)
        event.events |= EPOLLOUT;
    if (epoll_ctl(transfers->epoll_fd, EPOLL_CTL_MOD, fd, &event) != 0)
        epoll_ctl(transfers->epoll_fd, EPOLL_CTL_ADD, fd, &event);
    if (*socket & SOCKET_OURS)
        *socket = (uint8_t)((*socket & SOCKET_HURRIED) | SOCKET_OURS | (unsigned)what);
    return 0;
}

/* Does libcurl await something from this socket? */
static bool
is_watched(struct transfers *transfers, curl_socket_t fd)
{
    return curl_multi_assign(transfers->multi, fd, NULL) == CURLM_OK;
}

static int
on_timer(CURLM *multi, long timeout_ms, void *arg)
{
    struct transfers *transfers = arg;

    (void)multi;
    transfers->timer_ns =
        timeout_ms < 0 ? 0 : transfers->host->now_ns() + (uint64_t)timeout_ms * NS_PER_MS;
    return 0;
}

static void
run_jobs(struct transfers *transfers)
{
    struct transfer_job *job, *next;
    uint64_t count;

    if (read(transfers->wake_fd, &count, sizeof count) != sizeof count)
        return;
    pthread_mutex_lock(&transfers->lock);
    job = transfers->inbox;
    transfers->inbox = NULL;
    transfers->inbox_last = &transfers->inbox;
    pthread_mutex_unlock(&transfers->lock);
    for (; job != NULL; job = next) {
        next = job->next;
        job->run(job);
    }
}

void
transfers_post(struct transfers *transfers, struct transfer_job *job)
{
    const uint64_t one = 1;
    bool was_empty;

    job->next = NULL;
    pthread_mutex_lock(&transfers->lock);
    was_empty = transfers->inbox == NULL;
    *transfers->inbox_last = job;
    transfers->inbox_last = &job->next;
    pthread_mutex_unlock(&transfers->lock);
    if (was_empty && write(transfers->wake_fd, &one, sizeof one) != sizeof one)
        transfers->host->log(transfers->host, BD_ERROR, "cannot wake the event loop: %s",
                             strerror(errno));
}

/* When libcurl wants to be called, or a transfer with a limit goes on; 0: never. */
static uint64_t
next_ns(const struct transfers *transfers)
{
    uint64_t at_ns = transfers->timer_ns;

    if (transfers->config.download_bytes_s == 0)
        return at_ns;
    for (const struct exchange *it = transfers->active; it != NULL; it = it->next) {
        if (it->resume_ns != 0 && (at_ns == 0 || it->resume_ns < at_ns))
            at_ns = it->resume_ns;
    }
    return at_ns;
}

static int
wait_ms(const struct transfers *transfers)
{
    uint64_t at_ns = next_ns(transfers), now, wait;

    if (transfers->unsent != NULL)
        return 0;
    if (at_ns == 0)
        return transfers->active != NULL ? SWEEP_MS : -1;
    now = transfers->host->now_ns();
    if (at_ns <= now)
        return 0;
    wait = (at_ns - now + NS_PER_MS - 1) / NS_PER_MS;
    return wait > SWEEP_MS ? SWEEP_MS : (int)wait;
}

static void
socket_event(struct transfers *transfers, const struct epoll_event *event)
{
    const int on = 1;
    int what = 0, running;

    if (!is_watched(transfers, event->data.fd)) {
        epoll_ctl(transfers->epoll_fd, EPOLL_CTL_DEL, event->data.fd, NULL);
        if (event->data.fd < SOCKETS_KNOWN)
            transfers->sockets[event->data.fd] &= SOCKET_OURS | SOCKET_HURRIED;
        return;
    }
    if (event->events & EPOLLIN)
        what |= CURL_CSELECT_IN;
    if (event->events & EPOLLOUT)
        what |= CURL_CSELECT_OUT;
    if (event->events & (EPOLLERR | EPOLLHUP))
        what |= CURL_CSELECT_ERR;
    curl_multi_socket_action(transfers->multi, event->data.fd, what, &running);
    /* An answer that has ended needs no hurry: its last part is acknowledged with the next request. */
    if ((event->events & EPOLLIN) && is_watched(transfers, event->data.fd))
        setsockopt(event->data.fd, IPPROTO_TCP, TCP_QUICKACK, &on, sizeof on);
}

/* What on_data refuses here libcurl forgets: it would wait for more. */
static void
resume(struct transfers *transfers, uint64_t now)
{
    struct exchange *exchange = transfers->active;

    while (exchange != NULL) {
        CURLcode code = CURLE_OK;

        if (exchange->resume_ns != 0 && exchange->resume_ns <= now) {
            exchange->resume_ns = 0;
            code = curl_easy_pause(exchange->easy, CURLPAUSE_CONT);
        }
        if (code == CURLE_OK) {
            exchange = exchange->next;
            continue;
        }
        ended(exchange, code);
        exchange = transfers->active; /* done may have changed the list */
    }
}

static void
loop(void *arg)
{
    struct transfers *transfers = arg;
    uint64_t swept_ns = 0;

    guard_begin(&transfers->guard);
    while (!atomic_load(&transfers->is_stopping)) {
        struct epoll_event events[EVENTS_MAX];
        int count = epoll_wait(transfers->epoll_fd, events, EVENTS_MAX, wait_ms(transfers));
        uint64_t now = transfers->host->now_ns();
        int running;

        /* First what must not go on: we may have been stopped, or asleep, for long. */
        if (now >= swept_ns + SWEEP_MS * NS_PER_MS) {
            swept_ns = now;
            sweep(transfers);
        }
        guard_move(&transfers->guard, now);
        for (int i = 0; i < count; i++) {
            if (events[i].data.fd == transfers->wake_fd)
                run_jobs(transfers);
            else
                socket_event(transfers, &events[i]);
        }
        now = transfers->host->now_ns(); /* later than the timers of what has just begun */
        if (transfers->timer_ns != 0 && transfers->timer_ns <= now) {
            transfers->timer_ns = 0;
            curl_multi_socket_action(transfers->multi, CURL_SOCKET_TIMEOUT, 0, &running);
        }
        if (transfers->config.download_bytes_s > 0)
            resume(transfers, now);
        reap(transfers);
        reject(transfers);
    }
    guard_end(&transfers->guard);
}

/* ---- life */

static bool
multi_init(struct transfers *transfers)
{
    CURLM *multi = curl_multi_init();

    if (multi == NULL)
        return false;
    transfers->multi = multi;
    curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, on_watch);
    curl_multi_setopt(multi, CURLMOPT_SOCKETDATA, transfers);
    curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, on_timer);
    curl_multi_setopt(multi, CURLMOPT_TIMERDATA, transfers);
    curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, CONNECTIONS_KEPT);
    curl_multi_setopt(multi, CURLMOPT_PIPELINING,
                      transfers->config.allows_http2 ? CURLPIPE_MULTIPLEX : CURLPIPE_NOTHING);
    return true;
}

struct transfers *
transfers_new(const struct bd_host *host, const struct transfers_config *config)
{
    struct transfers *transfers = calloc(1, sizeof *transfers);
    struct epoll_event event = { .events = EPOLLIN };

    if (transfers == NULL)
        return NULL;
    transfers->host = host;
    transfers->config = *config;
    transfers->guard =
        (struct guard){ .host = host, .active = &transfers->active, .sockets = transfers->sockets };
    transfers->idle_s = config->idle_s;
    transfers->has_proxy = proxy_is_set();
    transfers->inbox_last = &transfers->inbox;
    pthread_mutex_init(&transfers->lock, NULL);
    transfers->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    transfers->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    event.data.fd = transfers->wake_fd;
    transfers->requests = host->counter(host, "requests", "HTTP requests sent");
    transfers->connections = host->counter(host, "connections", "connections opened");
    transfers->unanswered =
        host->counter(host, "unanswered", "requests that got no answer, or not the whole of it");
    tally_init(&transfers->tally, host);
    if (transfers->epoll_fd == -1 || transfers->wake_fd == -1
        || epoll_ctl(transfers->epoll_fd, EPOLL_CTL_ADD, transfers->wake_fd, &event) != 0
        || !multi_init(transfers)) {
        host->log(host, BD_ERROR, "cannot start the event loop: %s", strerror(errno));
        transfers_free(transfers);
        return NULL;
    }
    transfers->thread = host->thread_new(host, "s3", loop, transfers);
    if (transfers->thread == NULL) {
        host->log(host, BD_ERROR, "cannot start the event loop's thread");
        transfers_free(transfers);
        return NULL;
    }
    return transfers;
}

void
transfers_free(struct transfers *transfers)
{
    const uint64_t one = 1;
    struct exchange *exchange;

    if (transfers == NULL)
        return;
    if (transfers->thread != NULL) {
        atomic_store(&transfers->is_stopping, true);
        if (write(transfers->wake_fd, &one, sizeof one) == sizeof one)
            transfers->host->thread_join(transfers->thread);
    }
    while ((exchange = transfers->unused) != NULL) {
        transfers->unused = exchange->next;
        exchange_destroy(exchange);
    }
    if (transfers->multi != NULL)
        curl_multi_cleanup(transfers->multi);
    if (transfers->epoll_fd != -1)
        close(transfers->epoll_fd);
    if (transfers->wake_fd != -1)
        close(transfers->wake_fd);
    pthread_mutex_destroy(&transfers->lock);
    free(transfers);
}
