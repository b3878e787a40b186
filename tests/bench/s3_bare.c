/* SPDX-License-Identifier: Apache-2.0 */
/* The contender: the same requests by libcurl's multi interface and nothing else, on one thread.
 *
 *   s3_bare op=get|put|fill bytes= in_flight= [objects=] [seconds=] [loop=epoll|poll]
 *           [prefix=block-] [order=seq|random] [fill=yes|no]
 *           base-url= bucket= access-id= access-key= [region=] [sign-payload=yes|no]
 *
 * Written as somebody who knows libcurl would: one easy handle for each request in flight, used again and again,
 * connections kept; options that never change are set once.  The loop is curl_multi_socket_action over
 * epoll, as in curl's example ephiperfifo.c, or curl_multi_poll, as in multi-app.c.  Signed by the plugin's own code. */
#include "load.h"

#include "http.h"
#include "sigv4.h"

#include <curl/curl.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#define EMPTY_SHA256 "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define EVENTS_MAX 64
#define BUFFER_BYTES (64L << 10) /* 16 to 256 KiB: no difference beyond noise */

struct client {
    struct load load;
    struct credentials credentials;
    struct sigv4_key key;
    const char *region, *host, *bucket;
    bool signs_payload;
    CURLM *multi;
    int epoll_fd;
    uint64_t timer_ns; /* 0: none */
    struct slot *idle;
    unsigned in_flight;
};

struct slot {
    struct slot *next;
    CURL *easy;
    struct turn turn;
    struct curl_slist *lines;
    struct http_request request;
    unsigned char *data;
    size_t data_bytes;
    size_t cap;
};

static size_t
on_data(char *data, size_t size, size_t count, void *arg)
{
    struct slot *slot = arg;

    if (size * count > slot->cap - slot->data_bytes)
        return 0;
    memcpy(slot->data + slot->data_bytes, data, size * count);
    slot->data_bytes += size * count;
    return size * count;
}

static struct slot *
slot_new(const struct load *load)
{
    struct slot *slot = calloc(1, sizeof *slot);
    CURL *easy = curl_easy_init();

    if (slot == NULL || easy == NULL || (slot->data = malloc(load->bytes)) == NULL)
        fail("out of memory");
    slot->easy = easy;
    slot->cap = load->bytes;
    curl_easy_setopt(easy, CURLOPT_PRIVATE, slot);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, BUFFER_BYTES);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_data);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, slot);
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, 60000L);
    return slot;
}

/* ---- one request */

static void
line_add(struct slot *slot, const char *name, const char *value)
{
    char line[2048];
    struct curl_slist *lines;

    snprintf(line, sizeof line, "%s: %s", name, value);
    lines = curl_slist_append(slot->lines, line);
    if (lines == NULL)
        fail("out of memory");
    slot->lines = lines;
}

static void
slot_sign(struct client *client, struct slot *slot, const char *path)
{
    struct http_request *request = &slot->request;
    char sha256[65];

    request->method = slot->turn.is_put ? "PUT" : "GET";
    request->host = client->host;
    request->path = path;
    request->query = "";
    request->payload_sha256 = EMPTY_SHA256;
    headers_init(&request->headers);
    if (slot->turn.is_put) {
        headers_add(&request->headers, "content-type", "application/octet-stream");
        headers_add(&request->headers, "cache-control", "no-transform");
        if (client->signs_payload && !sha256_hex(client->load.body, client->load.bytes, sha256))
            fail("no SHA-256");
        request->payload_sha256 = client->signs_payload ? sha256 : UNSIGNED_PAYLOAD;
    }
    if (!sigv4_sign(request, &client->credentials, client->region, "s3", time(NULL), &client->key))
        fail("cannot sign");
    request->payload_sha256 = NULL;
}

static void
slot_send(struct client *client, struct slot *slot)
{
    const struct load *load = &client->load;
    CURL *easy = slot->easy;
    char name[NAME_MAX_BYTES], path[256], url[512];

    name_of(load, slot->turn.object, name);
    snprintf(path, sizeof path, "/%s/%s", client->bucket, name);
    snprintf(url, sizeof url, "http://%s%s", client->host, path);
    slot_sign(client, slot, path);
    curl_slist_free_all(slot->lines);
    slot->lines = NULL;
    for (unsigned i = 0; i < slot->request.headers.count; i++)
        line_add(slot, slot->request.headers.list[i].name, slot->request.headers.list[i].value);
    if (slot->turn.is_put) {
        line_add(slot, "Expect", "");
        curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)load->bytes);
        curl_easy_setopt(easy, CURLOPT_POSTFIELDS, load->body);
        curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, "PUT");
    } else {
        curl_easy_setopt(easy, CURLOPT_HTTPGET, 1L);
        curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, NULL);
    }
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, slot->lines);
    curl_easy_setopt(easy, CURLOPT_URL, url);
    slot->data_bytes = 0;
    curl_multi_add_handle(client->multi, easy);
}

static void
begin_all(struct client *client)
{
    while (client->idle != NULL && load_begin(&client->load, &client->idle->turn)) {
        struct slot *slot = client->idle;

        client->idle = slot->next;
        client->in_flight++;
        slot_send(client, slot);
    }
}

static void
slot_end(struct client *client, struct slot *slot, CURLcode code)
{
    long status = 0;

    curl_easy_getinfo(slot->easy, CURLINFO_RESPONSE_CODE, &status);
    curl_multi_remove_handle(client->multi, slot->easy);
    if (code != CURLE_OK || status != 200)
        fail("status %ld: %s", status, curl_easy_strerror(code));
    if (!slot->turn.is_put && slot->data_bytes != client->load.bytes)
        fail("%zu bytes, expected %zu", slot->data_bytes, client->load.bytes);
    load_end(&client->load, &slot->turn);
    slot->next = client->idle;
    client->idle = slot;
    client->in_flight--;
}

static void
end_all(struct client *client)
{
    struct CURLMsg *message;
    int left;

    while ((message = curl_multi_info_read(client->multi, &left)) != NULL) {
        struct slot *slot = NULL;
        CURLcode code = message->data.result;

        if (message->msg != CURLMSG_DONE)
            continue;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&slot);
        slot_end(client, slot, code);
    }
}

/* ---- the loops */

static int
on_watch(CURL *easy, curl_socket_t fd, int what, void *arg, void *known)
{
    struct client *client = arg;
    struct epoll_event event = { .data.fd = fd };

    (void)easy;
    if (what & CURL_POLL_IN)
        event.events |= EPOLLIN;
    if (what & CURL_POLL_OUT)
        event.events |= EPOLLOUT;
    epoll_ctl(client->epoll_fd,
              what == CURL_POLL_REMOVE ? EPOLL_CTL_DEL
              : known == NULL          ? EPOLL_CTL_ADD
                                       : EPOLL_CTL_MOD,
              fd, &event);
    if (what != CURL_POLL_REMOVE && known == NULL)
        curl_multi_assign(client->multi, fd, client);
    return 0;
}

static int
on_timer(CURLM *multi, long timeout_ms, void *arg)
{
    struct client *client = arg;

    (void)multi;
    client->timer_ns = timeout_ms < 0 ? 0 : clock_ns() + (uint64_t)timeout_ms * 1000000;
    return 0;
}

static void
loop_epoll(struct client *client)
{
    int running;

    client->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    curl_multi_setopt(client->multi, CURLMOPT_SOCKETFUNCTION, on_watch);
    curl_multi_setopt(client->multi, CURLMOPT_SOCKETDATA, client);
    curl_multi_setopt(client->multi, CURLMOPT_TIMERFUNCTION, on_timer);
    curl_multi_setopt(client->multi, CURLMOPT_TIMERDATA, client);
    for (begin_all(client); client->in_flight > 0; begin_all(client)) {
        struct epoll_event events[EVENTS_MAX];
        uint64_t now = clock_ns();
        int wait_ms = client->timer_ns == 0    ? -1
                      : client->timer_ns > now ? (int)((client->timer_ns - now) / 1000000 + 1)
                                               : 0;
        int count = epoll_wait(client->epoll_fd, events, EVENTS_MAX, wait_ms);

        for (int i = 0; i < count; i++) {
            int what = (events[i].events & EPOLLIN ? CURL_CSELECT_IN : 0)
                       | (events[i].events & EPOLLOUT ? CURL_CSELECT_OUT : 0)
                       | (events[i].events & (EPOLLERR | EPOLLHUP) ? CURL_CSELECT_ERR : 0);

            curl_multi_socket_action(client->multi, events[i].data.fd, what, &running);
        }
        if (client->timer_ns != 0 && client->timer_ns <= clock_ns()) {
            client->timer_ns = 0;
            curl_multi_socket_action(client->multi, CURL_SOCKET_TIMEOUT, 0, &running);
        }
        end_all(client);
    }
}

static void
loop_poll(struct client *client)
{
    for (begin_all(client); client->in_flight > 0; begin_all(client)) {
        int running;

        curl_multi_perform(client->multi, &running);
        end_all(client);
        if (running > 0 && client->idle == NULL)
            curl_multi_poll(client->multi, NULL, 0, 1000, NULL);
    }
}

int
main(int argc, char **argv)
{
    static struct client client;
    const char *url = word_of(argc, argv, "base-url", NULL);

    load_init(&client.load, argc, argv);
    if (strncmp(url, "http://", 7) != 0)
        fail("base-url=%s: http:// only", url);
    client.host = strndup(url + 7, strcspn(url + 7, "/"));
    client.bucket = word_of(argc, argv, "bucket", NULL);
    client.credentials.access_id = word_of(argc, argv, "access-id", NULL);
    client.credentials.secret = word_of(argc, argv, "access-key", NULL);
    client.region = word_of(argc, argv, "region", "us-east-1");
    client.signs_payload = strcmp(word_of(argc, argv, "sign-payload", "no"), "yes") == 0;
    curl_global_init(CURL_GLOBAL_DEFAULT);
    client.multi = curl_multi_init();
    curl_multi_setopt(client.multi, CURLMOPT_MAXCONNECTS, (long)client.load.in_flight);
    for (unsigned i = 0; i < client.load.in_flight; i++) {
        struct slot *slot = slot_new(&client.load);

        slot->next = client.idle;
        client.idle = slot;
    }
    if (strcmp(word_of(argc, argv, "loop", "epoll"), "poll") == 0)
        loop_poll(&client);
    else
        loop_epoll(&client);
    load_print(&client.load);
    return 0;
}
