/* SPDX-License-Identifier: Apache-2.0 */
/* backend-s3 over servers that do not say what is, byte by byte: whatever they answer, each request ends by its deadline
 * with a status that is true, and no byte of one object is taken for another's. */
#include "backends.h"
#include "fake_web.h"

#include <errno.h>
#include <stdatomic.h>
#include <sys/syscall.h>

#define LIES_MAX 16
#define BYTES (64u << 10)
#define OBJECT "ETag: \"t\"\r\n"
#define LISTING                                                                                    \
    "<ListBucketResult><KeyCount>0</KeyCount><IsTruncated>false</IsTruncated></ListBucketResult>"

enum then {
    STAYS,  /* and waits for the next request */
    CLOSES, /* the connection */
    FLOODS, /* the body again and again */
};

/* What is said to whoever asks for "METHOD /path". */
struct lie {
    const char *request;
    char *said;
    size_t bytes, body_bytes;
    enum then then;
};

static struct {
    int fd;
    char url[64];
    pthread_t thread;

    pthread_mutex_t lock; /* guards the rest */
    pthread_cond_t changed;
    struct lie lies[LIES_MAX]; /* the last one counts */
    unsigned count, connected, connections;
} liar = { .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER };
static struct test_store store;
static FILE *said; /* standard error goes there */
static int standard_error;

/* ---- the server */

static bool
say(int fd, const char *data, size_t bytes)
{
    while (bytes > 0) {
        ssize_t sent = send(fd, data, bytes, MSG_NOSIGNAL);

        if (sent <= 0)
            return false;
        data += sent;
        bytes -= (size_t)sent;
    }
    return true;
}

static struct lie
lie_for(const char *request)
{
    struct lie found = { .then = CLOSES };

    pthread_mutex_lock(&liar.lock);
    for (unsigned i = 0; i < liar.count; i++) {
        if (strncmp(request, liar.lies[i].request, strlen(liar.lies[i].request)) == 0)
            found = liar.lies[i];
    }
    pthread_mutex_unlock(&liar.lock);
    return found;
}

static void *
serve(void *arg)
{
    int fd = (int)(intptr_t)arg;
    char request[128 << 10];
    bool goes_on = true;

    while (goes_on && web_read(fd, request, sizeof request)) {
        struct lie lie = lie_for(request);

        goes_on = say(fd, lie.said, lie.bytes) && lie.then != CLOSES;
        while (goes_on && lie.then == FLOODS)
            goes_on = say(fd, lie.said + lie.bytes - lie.body_bytes, lie.body_bytes);
    }
    close(fd);
    pthread_mutex_lock(&liar.lock);
    liar.connected--;
    pthread_cond_broadcast(&liar.changed);
    pthread_mutex_unlock(&liar.lock);
    return NULL;
}

static void *
take_connections(void *arg)
{
    int fd;

    (void)arg;
    while ((fd = accept4(liar.fd, NULL, NULL, SOCK_CLOEXEC)) != -1) {
        pthread_t thread;

        pthread_mutex_lock(&liar.lock);
        liar.connections++;
        liar.connected++;
        pthread_mutex_unlock(&liar.lock);
        assert_int_equal(pthread_create(&thread, NULL, serve, (void *)(intptr_t)fd), 0);
        pthread_detach(thread);
    }
    return NULL;
}

static void
answer_with(const char *request, const char *head, const void *body, size_t bytes, enum then then)
{
    struct lie lie = { request, malloc(strlen(head) + bytes + 1), strlen(head) + bytes, bytes,
                       then };

    assert_non_null(lie.said);
    memcpy(lie.said, head, strlen(head));
    if (bytes > 0)
        memcpy(lie.said + strlen(head), body, bytes);
    pthread_mutex_lock(&liar.lock);
    assert_true(liar.count < LIES_MAX);
    liar.lies[liar.count++] = lie;
    pthread_mutex_unlock(&liar.lock);
}

static void
answer_text(const char *request, const char *text, enum then then)
{
    answer_with(request, text, NULL, 0, then);
}

/* ---- a world for each test */

static int
listen_at(int family)
{
    struct sockaddr_in6 address = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };
    struct sockaddr_in address_4 = { .sin_family = AF_INET,
                                     .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    struct sockaddr *name = family == AF_INET6 ? (void *)&address : (void *)&address_4;
    socklen_t bytes = family == AF_INET6 ? sizeof address : sizeof address_4;

    liar.fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (liar.fd == -1 || bind(liar.fd, name, bytes) != 0) {
        close(liar.fd);
        return -1;
    }
    assert_int_equal(listen(liar.fd, 64), 0);
    assert_int_equal(getsockname(liar.fd, name, &bytes), 0);
    snprintf(liar.url, sizeof liar.url, "http://%s:%u/", family == AF_INET6 ? "[::1]" : "127.0.0.1",
             ntohs(family == AF_INET6 ? address.sin6_port : address_4.sin_port));
    assert_int_equal(pthread_create(&liar.thread, NULL, take_connections, NULL), 0);
    return 0;
}

static void
store_begin(const char *option, const char *value)
{
    const char *options[] = { "bucket",
                              "bucket",
                              "base-url",
                              liar.url,
                              "store",
                              "0",
                              "access-id",
                              "",
                              "http11",
                              "1",
                              "ssl",
                              "1",
                              "progress-timeout",
                              "20000",
                              "access-ec2-iam-imdsv2",
                              "1",
                              option,
                              value,
                              NULL };
    char head[200];

    snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", strlen(LISTING));
    answer_with("GET /bucket/?", head, LISTING, strlen(LISTING), STAYS);
    store_init(&store);
    store_layer(&store, 0, "backend-s3", options);
    assert_int_equal(store_open(&store, 1), 0);
}

static int
world_new(void **state)
{
    (void)state;
    clearenv();
    setenv("AWS_EC2_METADATA_DISABLED", "true", 1);
    said = tmpfile();
    assert_non_null(said);
    standard_error = dup(STDERR_FILENO);
    dup2(fileno(said), STDERR_FILENO);
    assert_int_equal(listen_at(AF_INET), 0);
    return 0;
}

static void
liar_end(void)
{
    shutdown(liar.fd, SHUT_RDWR);
    pthread_join(liar.thread, NULL);
    close(liar.fd);
    pthread_mutex_lock(&liar.lock);
    while (liar.connected > 0)
        pthread_cond_wait(&liar.changed, &liar.lock);
    while (liar.count > 0)
        free(liar.lies[--liar.count].said);
    liar.connections = 0;
    pthread_mutex_unlock(&liar.lock);
}

/* Borrowed until the next call. */
static const char *
said_text(void)
{
    static char text[64 << 10];
    ssize_t bytes = pread(fileno(said), text, sizeof text - 1, 0);

    text[bytes > 0 ? bytes : 0] = '\0';
    return text;
}

static void
store_end(void)
{
    if (store.pool != NULL)
        store_close(&store);
    store.pool = NULL;
}

static int
world_end(void **state)
{
    (void)state;
    store_end();
    liar_end();
    dup2(standard_error, STDERR_FILENO);
    close(standard_error);
    fputs(said_text(), stderr);
    fclose(said);
    return 0;
}

static unsigned
said_count(const char *text)
{
    unsigned count = 0;

    for (const char *at = said_text(); (at = strstr(at, text)) != NULL; at++)
        count++;
    return count;
}

/* ---- requests */

static unsigned char room[BYTES];

struct part {
    enum bd_status status;
    size_t len;
    uint64_t object_bytes;
    double seconds;
};

static struct part
read_part(const char *name, uint64_t offset, size_t cap, double seconds_max)
{
    struct backend_io *io = request(&store, BD_GET, name);
    uint64_t begin = clock_now_ns();
    struct part part;

    assert_true(cap < sizeof room);
    memset(room, '#', sizeof room);
    io->io.data = room;
    io->io.offset = offset;
    io->io.cap = cap;
    io->io.deadline_ns = begin + (uint64_t)(seconds_max * 1e9);
    backend_submit_wait(io);
    part = (struct part){ io->status, io->io.len, io->io.object_bytes,
                          (double)(clock_now_ns() - begin) / 1e9 };
    backend_io_free(io);
    for (size_t i = cap; i < sizeof room; i++)
        assert_int_equal(room[i], '#');
    return part;
}

/* Told as what it is: of no use, and no fault of the plugin. */
static void
expect_again(const char *answer, uint64_t offset, size_t cap)
{
    struct part part;

    answer_text("GET /bucket/x ", answer, CLOSES);
    part = read_part("x", offset, cap, 30);
    if (part.status != BD_RETRY)
        fail_msg("status %d to %s", (int)part.status, answer);
    assert_int_equal(said_count("a bug of the plugin"), 0);
}

static void
expect_part(const char *answer, enum then then, uint64_t offset, size_t cap, const char *bytes,
            uint64_t object_bytes)
{
    struct part part;

    answer_text("GET /bucket/x ", answer, then);
    part = read_part("x", offset, cap, 30);
    if (part.status != BD_OK || part.len != strlen(bytes) || memcmp(room, bytes, part.len) != 0
        || part.object_bytes != object_bytes)
        fail_msg("status %d, %zu bytes \"%.*s\" to %s", (int)part.status, part.len, (int)part.len,
                 room, answer);
}

/* ---- the tests */

#define ANSWER(status, headers, body) "HTTP/1.1 " status " X\r\n" OBJECT headers "\r\n" body

TEST(lies, a_part_that_is_not_the_one_that_was_asked_for_is_none)
{
    store_begin(NULL, NULL);
    /* The whole was asked for. */
    expect_again(ANSWER("206", "Content-Range: bytes 0-3/10\r\nContent-Length: 4\r\n", "0123"), 0,
                 64);
    expect_again(ANSWER("206", "Content-Range: bytes 3-3/10\r\nContent-Length: 1\r\n", "3"), 0, 64);
    expect_again(ANSWER("206", "Content-Length: 0\r\n", ""), 0, 64);
    expect_again(ANSWER("206", "Content-Length: 4\r\n", "0123"), 0, 64);
    expect_again(ANSWER("416", "Content-Range: bytes */10\r\nContent-Length: 0\r\n", ""), 0, 64);
    /* Bytes 2 to 5. */
    expect_again(ANSWER("206", "Content-Range: bytes 2-3/10\r\nContent-Length: 2\r\n", "23"), 2, 4);
    expect_again(ANSWER("206", "Content-Range: bytes 3-6/10\r\nContent-Length: 4\r\n", "3456"), 2,
                 4);
    expect_again(ANSWER("206", "Content-Range: bytes 2-5/4\r\nContent-Length: 4\r\n", "2345"), 2,
                 4);
    expect_again(ANSWER("206", "Content-Range: bytes 2-5/*\r\nContent-Length: 4\r\n", "2345"), 2,
                 4);
    expect_again(ANSWER("206", "Content-Range: bits 2-5/10\r\nContent-Length: 4\r\n", "2345"), 2,
                 4);
    expect_again(ANSWER("416", "Content-Range: bytes */10\r\nContent-Length: 0\r\n", ""), 2, 4);
    /* More than asked for is cut. */
    expect_part(ANSWER("206", "Content-Range: bytes 1-9/10\r\nContent-Length: 9\r\n", "123456789"),
                STAYS, 2, 4, "2345", 10);
    expect_part(ANSWER("200", "Content-Length: 10\r\n", "0123456789"), STAYS, 2, 4, "2345", 10);
    /* Of a whole object no header says where it begins. */
    expect_part(
        ANSWER("200", "Content-Range: bytes 2-5/99\r\nContent-Length: 10\r\n", "0123456789"), STAYS,
        2, 4, "2345", 10);
}

TEST(lies, a_body_ends_where_the_answer_says_and_no_later)
{
    store_begin(NULL, NULL);
    /* Longer than it says it is, and the rest looks like the next answer. */
    answer_text("GET /bucket/y ", ANSWER("200", "Content-Length: 4\r\n", "true"), STAYS);
    expect_part(ANSWER("200", "Content-Length: 4\r\n",
                       "0123" ANSWER("200", "Content-Length: 5\r\n", "false")),
                STAYS, 0, 64, "0123", 4);
    assert_int_equal(read_part("y", 0, 64, 30).len, 4);
    assert_memory_equal(room, "true", 4);
    /* Where there is to be none. */
    for (unsigned i = 0; i < 2; i++) {
        struct backend_io *io = request(&store, i == 0 ? BD_HEAD_OBJECT : BD_DELETE, "z");

        answer_text("HEAD /bucket/z ",
                    ANSWER("200", "Content-Length: 70\r\n",
                           ANSWER("200", "Content-Length: 5\r\n", "false")),
                    STAYS);
        answer_text("DELETE /bucket/z ",
                    ANSWER("204", "", ANSWER("200", "Content-Length: 5\r\n", "false")), STAYS);
        assert_int_equal(run(io, NULL), BD_OK);
        assert_int_equal(read_part("y", 0, 64, 30).len, 4);
        assert_memory_equal(room, "true", 4);
    }
    /* Shorter. */
    expect_again(ANSWER("200", "Content-Length: 12\r\n", "0123"), 0, 64);
    expect_again(ANSWER("200", "Transfer-Encoding: chunked\r\n", "4\r\n0123\r\n"), 0, 64);
    expect_again(ANSWER("200", "Transfer-Encoding: chunked\r\n", "zz\r\n0123\r\n"), 0, 64);
    expect_again(ANSWER("200", "Content-Length: -4\r\n", "0123"), 0, 64);
    /* Without a length, to the end of the connection. */
    expect_part("HTTP/1.0 200 OK\r\n" OBJECT "\r\n0123", CLOSES, 0, 64, "0123", 4);
    expect_part(ANSWER("200", "Connection: close\r\n", "0123"), CLOSES, 0, 64, "0123", 4);
    expect_part(ANSWER("200", "Transfer-Encoding: chunked\r\n", "4\r\n0123\r\n0\r\n\r\n"), STAYS, 0,
                64, "0123", 4);
    /* More than there is room for: how much it is is still told. */
    expect_part(ANSWER("200", "Transfer-Encoding: chunked\r\n", "6\r\n012345\r\n0\r\n\r\n"), STAYS,
                0, 4, "0123", 6);
}

TEST(lies, what_goes_before_an_answer_is_none_of_it)
{
    store_begin(NULL, NULL);
    expect_part("HTTP/1.1 100 Continue\r\nETag: \"no\"\r\nContent-Encoding: no\r\n\r\n"
                "HTTP/1.1 103 Early Hints\r\nContent-Length: 2\r\n\r\n" ANSWER(
                    "200", "Content-Length: 4\r\n", "0123"),
                STAYS, 0, 64, "0123", 4);
}

static long
resident_pages(void)
{
    FILE *file = fopen("/proc/self/statm", "r");
    long all, resident = 0;

    assert_non_null(file);
    assert_int_equal(fscanf(file, "%ld %ld", &all, &resident), 2);
    fclose(file);
    return resident;
}

TEST(lies, an_answer_without_end_ends_with_its_time_and_fills_no_memory)
{
    static char chunk[6 + 4096 + 2 + 1], headers[64 * 64 + 1];
    static const char *const heads[] = { ANSWER("200", "Transfer-Encoding: chunked\r\n", ""),
                                         "HTTP/1.1 500 X\r\nTransfer-Encoding: chunked\r\n\r\n",
                                         "HTTP/1.1 200 X\r\n", "HTTP/1.1 200 X\r\n", "" };
    const char *bodies[] = { chunk, chunk, headers, "x-amz-meta-a: b\r\n",
                             "HTTP/1.1 100 Continue\r\nETag: a\r\n\r\n" };
    long before;

    sprintf(chunk, "1000\r\n%04096d\r\n", 0);
    for (unsigned i = 0; i < 64; i++)
        sprintf(headers + (size_t)64 * i, "X-%04u: %054u\r\n", i, i);
    store_begin(NULL, NULL);
    before = resident_pages();
    for (size_t i = 0; i < sizeof heads / sizeof heads[0]; i++) {
        struct part part;

        answer_with("GET /bucket/x ", heads[i], bodies[i], strlen(bodies[i]), FLOODS);
        part = read_part("x", 0, 1000, 0.3);
        assert_int_equal(part.status, BD_RETRY);
        assert_true(part.seconds < 20);
        /* Loopback fills more than that in this time, if it is kept. */
        assert_true(resident_pages() - before < (64L << 20) / sysconf(_SC_PAGESIZE));
    }
}

TEST(lies, the_rest_of_an_object_that_is_too_large_is_not_waited_for)
{
    static char body[4096 + 100];
    struct part part;

    memset(body, 'x', sizeof body);
    /* With a limit a part is given when a pause is over, and behind this one nothing more comes. */
    store_begin("max-download-speed", "800000");
    answer_with("GET /bucket/x ", ANSWER("200", "Content-Length: 99999\r\n", ""), body, sizeof body,
                STAYS);
    part = read_part("x", 0, 4096, 60);
    assert_int_equal(part.status, BD_OK);
    assert_int_equal(part.len, 4096);
    assert_int_equal(part.object_bytes, 99999);
    assert_true(part.seconds < 15);
}

TEST(lies, an_answer_that_names_what_nobody_asked_for_is_not_looked_through)
{
    static const char entry[] = "<Deleted><Key>00000abc</Key></Deleted>";
    static const char begin[] = "<DeleteResult><Deleted><Key>00000001</Key></Deleted>";
    static const char end[] = "<Deleted><Key>00000002</Key></Deleted></DeleteResult>";
    static char texts[1000][9];
    const size_t entries = 1000;
    const char *names[1000];
    uint32_t statuses[1000];
    char head[100], *body = malloc(sizeof begin + sizeof end + entries * strlen(entry));
    size_t bytes = strlen(begin);
    struct backend_io *io;

    assert_non_null(body);
    strcpy(body, begin);
    for (size_t i = 0; i < entries; i++, bytes += strlen(entry))
        memcpy(body + bytes, entry, strlen(entry));
    strcpy(body + bytes, end);
    bytes += strlen(end);
    snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", bytes);
    store_begin(NULL, NULL);
    answer_with("POST /bucket/?delete", head, body, bytes, STAYS);
    free(body);
    for (unsigned i = 0; i < 1000; i++) {
        sprintf(texts[i], "%08u", i);
        names[i] = texts[i];
    }
    io = request(&store, BD_DELETE_MANY, NULL);
    io->io.names = names;
    io->io.name_count = 1000;
    io->io.statuses = statuses;
    backend_submit_wait(io);
    assert_int_equal(io->status, BD_OK);
    assert_int_equal(statuses[1], BD_OK);
    assert_int_equal(statuses[2], BD_RETRY);
    backend_io_free(io);
}

/* ---- what goes out */

static atomic_bool tos_is_refused;
static atomic_int tos_4, tos_6; /* what was last set */

/* The plugin's, too. */
__attribute__((visibility("default"))) int
setsockopt(int fd, int level, int name, const void *value, socklen_t bytes)
{
    bool is_4 = level == IPPROTO_IP && name == IP_TOS;
    bool is_6 = level == IPPROTO_IPV6 && name == IPV6_TCLASS;

    if ((is_4 || is_6) && atomic_load(&tos_is_refused)) {
        errno = EPERM;
        return -1;
    }
    if (is_4 || is_6)
        atomic_store(is_4 ? &tos_4 : &tos_6, *(const int *)value);
    return (int)syscall(SYS_setsockopt, fd, level, name, value, bytes);
}

TEST(lies, the_type_of_service_is_set_for_each_family_and_what_hinders_it_is_told_once)
{
    static const int families[] = { AF_INET, AF_INET6 };

    liar_end();
    for (unsigned i = 0; i < 4; i++) {
        int family = families[i % 2];
        unsigned told = said_count("--ipTOS");

        atomic_store(&tos_is_refused, i >= 2);
        atomic_store(&tos_4, 0);
        atomic_store(&tos_6, 0);
        if (listen_at(family) != 0)
            continue; /* a machine without IPv6 */
        store_begin("ip-tos", "32");
        expect_part(ANSWER("200", "Content-Length: 4\r\n", "0123"), CLOSES, 0, 64, "0123", 4);
        expect_part(ANSWER("200", "Content-Length: 4\r\n", "0123"), CLOSES, 0, 64, "0123", 4);
        store_end();
        liar_end();
        assert_int_equal(atomic_load(&tos_4), i == 0 ? 32 : 0);
        assert_int_equal(atomic_load(&tos_6), i == 1 ? 32 : 0);
        assert_int_equal(said_count("--ipTOS") - told, i >= 2);
    }
    atomic_store(&tos_is_refused, false);
    assert_int_equal(listen_at(AF_INET), 0);
}

static const struct CMUnitTest tests[] = {
#define LIE(sentence)                                                                              \
    {                                                                                              \
#sentence, lies_##sentence, world_new, world_end, NULL                                     \
    }
    LIE(a_part_that_is_not_the_one_that_was_asked_for_is_none),
    LIE(a_body_ends_where_the_answer_says_and_no_later),
    LIE(what_goes_before_an_answer_is_none_of_it),
    LIE(an_answer_without_end_ends_with_its_time_and_fills_no_memory),
    LIE(an_answer_that_names_what_nobody_asked_for_is_not_looked_through),
    LIE(the_type_of_service_is_set_for_each_family_and_what_hinders_it_is_told_once),
    LIE(the_rest_of_an_object_that_is_too_large_is_not_waited_for),
};

int
main(void)
{
    return cmocka_run_group_tests(tests, NULL, NULL);
}
