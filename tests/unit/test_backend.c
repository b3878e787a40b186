/* SPDX-License-Identifier: Apache-2.0 */
/* backend.c and host.c against a backend that does what it is told, wrong things above all. */
#include "backends.h"

#include "coding.h"
#include "host.h"
#include "keyring.h"

#include <bucketdisk/sdk.h>

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/wait.h>

/* What the backend does with each request. */
static void (*behave)(const struct bd_host *host, struct bd_io *io);
static const struct bd_host *the_host;
/* What it says wrong of itself; NULL: nothing. */
static void (*misstate)(struct bd_backend_info *out);
static unsigned closed;

static enum bd_status
odd_open(const struct bd_host *host, const void *options, const struct bd_lower *lower,
         void **handle)
{
    (void)options, (void)lower, (void)handle;
    the_host = host;
    return BD_OK;
}

static void
odd_info(void *handle, struct bd_backend_info *out)
{
    (void)handle;
    out->identity = out->display = "odd";
    if (misstate != NULL)
        misstate(out);
}

static void
odd_submit(void *handle, struct bd_io *io)
{
    (void)handle;
    behave(the_host, io);
}

static void
odd_close(void *handle)
{
    (void)handle;
    closed++;
}

static const struct bd_backend odd = {
    .head = BD_HEAD(BACKEND, struct bd_backend),
    .scratch_bytes = 24,
    .open = odd_open,
    .info = odd_info,
    .submit = odd_submit,
    .close = odd_close,
};

static void
fresh(struct test_store *store, void (*with)(const struct bd_host *host, struct bd_io *io))
{
    behave = with;
    store_init(store);
    store->layers[0] = (struct backend_layer){ "backend-odd", &odd, NULL };
    assert_int_equal(store_open(store, 1), 0);
}

static void
unknown_status(const struct bd_host *host, struct bd_io *io)
{
    host->complete(io, (enum bd_status)42);
}

static void
declined(const struct bd_host *host, struct bd_io *io)
{
    host->complete(io, BD_DECLINED);
}

static void
busy(const struct bd_host *host, struct bd_io *io)
{
    io->retry_after_ms = 70;
    host->complete(io, BD_BUSY);
}

static void
put_absent(const struct bd_host *host, struct bd_io *io)
{
    host->complete(io, BD_ABSENT);
}

TEST(backend, a_status_that_is_none_is_fatal_and_blamed)
{
    struct test_store store;
    struct backend_io *io;

    fresh(&store, unknown_status);
    io = request(&store, BD_GET, "x");
    backend_submit_wait(io);
    assert_int_equal(io->status, BD_FATAL);
    assert_non_null(strstr(io->why.text, "backend-odd"));
    backend_io_free(io);
    behave = declined;
    assert_int_equal(put_text(&store, "x", "1"), BD_FATAL);
    behave = put_absent;
    assert_int_equal(put_text(&store, "x", "1"), BD_FATAL);
    assert_int_equal(put_if(&store, "x", "1", 1, "tag", NULL, NULL), BD_CONDITION);
    store_close(&store);
}

TEST(backend, a_busy_store_is_heard)
{
    struct test_store store;
    struct backend_io *io;

    fresh(&store, busy);
    io = request(&store, BD_HEAD_OBJECT, "x");
    backend_submit_wait(io);
    assert_int_equal(io->status, BD_BUSY);
    assert_int_equal(io->io.retry_after_ms, 70);
    assert_non_null(strstr(status_name(BD_BUSY), "fewer requests"));
    backend_io_free(io);
    store_close(&store);
}

/* From here on standard error goes into a file, until lines_said, which counts those with the word. */
static int
listen_to(FILE **file)
{
    int old = dup(STDERR_FILENO);

    *file = tmpfile();
    assert_non_null(*file);
    assert_true(dup2(fileno(*file), STDERR_FILENO) != -1);
    return old;
}

static unsigned
lines_said(FILE *file, int old, const char *word)
{
    unsigned count = 0;
    char line[512];

    assert_true(dup2(old, STDERR_FILENO) != -1);
    close(old);
    rewind(file);
    while (fgets(line, sizeof line, file) != NULL)
        count += strstr(line, word) != NULL;
    fclose(file);
    return count;
}

static void
done(const struct bd_host *host, struct bd_io *io)
{
    host->complete(io, BD_OK);
}

TEST(backend, a_request_that_ends_long_after_its_deadline_is_counted_and_told_of_once)
{
    static const unsigned late_s[] = { 0, 4, 6, 100 };
    struct test_store store;
    FILE *file;
    int old;

    fresh(&store, done);
    old = listen_to(&file);
    for (unsigned i = 0; i < sizeof late_s / sizeof late_s[0]; i++) {
        struct backend_io *io = request(&store, BD_HEAD_OBJECT, "x");

        io->io.deadline_ns = clock_now_ns() - late_s[i] * NS_PER_S;
        assert_int_equal(run(io, NULL), BD_OK);
    }
    assert_int_equal(lines_said(file, old, "after its deadline"), 1);
    assert_int_equal(counter_value(stats_counter(store.stats, "requests_late", "")), 2);
    store_close(&store);
}

static void
too_long(const struct bd_host *host, struct bd_io *io)
{
    io->len = io->cap + 1;
    io->object_bytes = io->len;
    host->complete(io, BD_OK);
}

static void
too_short(const struct bd_host *host, struct bd_io *io)
{
    io->len = 1;
    io->object_bytes = 2;
    host->complete(io, BD_OK);
}

static void
lose(const struct bd_host *host, struct bd_io *io)
{
    (void)host, (void)io;
}

TEST(backend, a_request_that_never_ends_ends_who_waits_for_it_with_a_sentence)
{
    struct test_store store;
    struct backend_io *io;
    FILE *said;
    int old, status;
    pid_t child;

    old = listen_to(&said);
    child = fork(); /* before the pool has threads */
    assert_int_not_equal(child, -1);
    if (child == 0) {
        backend_lost_ns = 10 * NS_PER_MS;
        fresh(&store, lose);
        io = request(&store, BD_HEAD_OBJECT, "x");
        io->io.deadline_ns = clock_now_ns() + 10 * NS_PER_MS;
        backend_submit_wait(io);
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), EXIT_FAILURE);
    assert_int_equal(lines_said(said, old, "backend-odd: HEAD x has not ended"), 1);
}

TEST(backend, a_wrong_length_is_fatal)
{
    struct test_store store;
    char out[4];

    fresh(&store, too_long);
    assert_int_equal(get(&store, "x", out, 4, NULL), BD_FATAL);
    behave = too_short;
    assert_int_equal(get(&store, "x", out, 4, NULL), BD_FATAL);
    store_close(&store);
}

static int limit_at;

static void
over_limits(const struct bd_host *host, struct bd_io *io)
{
    char text[2000];
    char name[] = "a0";

    memset(text, 'x', sizeof text);
    switch (limit_at) {
    case 0:
        text[BD_TAG_BYTES_MAX + 1] = '\0';
        host->tag_set(io, text);
        break;
    case 1:
        text[BD_ENCODING_BYTES_MAX + 1] = '\0';
        host->encoding_set(io, text);
        break;
    case 2:
        host->attr_add(io, "a", text, BD_ATTR_VALUE_BYTES_MAX + 1);
        break;
    case 3:
        for (int i = 0; i < 8; i++, name[1]++)
            host->attr_add(io, name, text, 255);
        break;
    case 4:
        host->attr_add(io, "Not-Lower", "x", 1);
        break;
    default:
        host->attr_add(io, "fine", text, BD_ATTR_VALUE_BYTES_MAX);
        text[BD_TAG_BYTES_MAX] = '\0';
        host->tag_set(io, text);
        break;
    }
    host->complete(io, BD_OK);
}

TEST(backend, results_over_the_limits_are_damage)
{
    struct test_store store;

    fresh(&store, over_limits);
    for (limit_at = 0; limit_at < 5; limit_at++)
        assert_int_equal(run(request(&store, BD_HEAD_OBJECT, "x"), NULL), BD_CORRUPT);
    assert_int_equal(run(request(&store, BD_HEAD_OBJECT, "x"), NULL), BD_OK);
    store_close(&store);
}

static void
some_statuses(const struct bd_host *host, struct bd_io *io)
{
    io->statuses[0] = BD_OK;
    host->complete(io, BD_OK);
}

TEST(backend, a_forgotten_status_of_delete_many_is_not_ok)
{
    const char *names[] = { "a", "b" };
    uint32_t statuses[2] = { BD_OK, BD_OK };
    struct test_store store;
    struct backend_io *io;

    fresh(&store, some_statuses);
    io = request(&store, BD_DELETE_MANY, NULL);
    io->io.names = names;
    io->io.statuses = statuses;
    io->io.name_count = 2;
    assert_int_equal(run(io, NULL), BD_OK);
    assert_int_equal(statuses[0], BD_OK);
    assert_int_equal(statuses[1], BD_FATAL);
    store_close(&store);
}

static atomic_uint done_count;
static pthread_t submitter;

static void
done_elsewhere(struct backend_io *io, void *arg)
{
    (void)io, (void)arg;
    assert_false(pthread_equal(pthread_self(), submitter));
    atomic_fetch_add(&done_count, 1);
}

static void
twice(const struct bd_host *host, struct bd_io *io)
{
    host->complete(io, BD_OK);
    host->complete(io, BD_DENIED);
}

TEST(backend, done_runs_once_and_never_inside_submit)
{
    struct test_store store;
    struct backend_io *io;

    fresh(&store, twice);
    submitter = pthread_self();
    atomic_store(&done_count, 0);
    io = request(&store, BD_PUT, "x");
    backend_submit(io, done_elsewhere, NULL);
    for (int ms = 0; atomic_load(&done_count) == 0 && ms < 10000; ms++)
        usleep(1000);
    usleep(20000);
    assert_int_equal(atomic_load(&done_count), 1);
    assert_int_equal(io->status, BD_OK);
    backend_io_free(io);
    store_close(&store);
}

static void
look_at_scratch(const struct bd_host *host, struct bd_io *io)
{
    static const char zeros[24];
    enum bd_status status = memcmp(io->scratch, zeros, 24) == 0 && io->deadline_ns > host->now_ns()
                                ? BD_OK
                                : BD_INVALID;

    memset(io->scratch, 0xff, 24);
    host->complete(io, status);
}

TEST(backend, every_submit_finds_zeroed_scratch_and_a_deadline)
{
    struct test_store store;
    struct backend_io *io;

    fresh(&store, look_at_scratch);
    io = request(&store, BD_PUT, "x");
    for (int i = 0; i < 3; i++) {
        backend_submit_wait(io);
        assert_int_equal(io->status, BD_OK);
    }
    backend_io_free(io);
    store_close(&store);
}

TEST(backend, missing_limits_are_filled_in)
{
    struct test_store store;

    fresh(&store, twice);
    assert_int_equal(backend_info(store.backend)->delete_many_max, 1000);
    assert_int_equal(backend_info(store.backend)->list_max, 1000);
    assert_true(backend_info(store.backend)->object_bytes_max == UINT64_MAX);
    store_close(&store);
}

static void
has_no_identity(struct bd_backend_info *out)
{
    out->identity = NULL;
}

static void
has_no_display(struct bd_backend_info *out)
{
    out->display = "";
}

static void
is_longer(struct bd_backend_info *out)
{
    out->size += 8;
}

static void
uses_reserved(struct bd_backend_info *out)
{
    out->reserved2 = 1;
}

TEST(backend, what_it_says_wrong_of_itself_is_refused_and_it_is_closed)
{
    static const struct {
        void (*misstate)(struct bd_backend_info *out);
        const char *word;
    } cases[] = { { has_no_identity, "no identity" },
                  { has_no_display, "no display" },
                  { is_longer, "the size of bd_backend_info" },
                  { uses_reserved, "reserved" } };

    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct test_store store;

        misstate = cases[i].misstate;
        closed = 0;
        store_init(&store);
        store.layers[0] = (struct backend_layer){ "backend-odd", &odd, NULL };
        assert_int_equal(store_open(&store, 1), -EINVAL);
        assert_non_null(strstr(store.why.text, "backend-odd"));
        assert_non_null(strstr(store.why.text, cases[i].word));
        assert_int_equal(closed, 1);
        store_close(&store);
    }
    misstate = NULL;
}

/* ---- the host's other services */

static void
post(void *arg)
{
    atomic_fetch_add((atomic_uint *)arg, 1);
}

TEST(host, timers_run_once_at_their_time_and_threads_are_joined)
{
    struct test_store store;
    atomic_uint ran = 0;
    uint64_t begin = clock_now_ns();
    struct bd_thread *thread;

    fresh(&store, twice);
    assert_int_equal(the_host->timer(the_host, begin + 50 * NS_PER_MS, post, &ran), 0);
    for (int ms = 0; atomic_load(&ran) == 0 && ms < 10000; ms++)
        usleep(1000);
    assert_true(clock_now_ns() - begin >= 50 * NS_PER_MS);
    thread = the_host->thread_new(the_host, "a-name-longer-than-the-kernel-keeps", post, &ran);
    assert_non_null(thread);
    the_host->thread_join(thread);
    assert_int_equal(atomic_load(&ran), 2);
    store_close(&store);
}

static enum bd_status
subkey_of_ones(struct bd_bytes key, const char *purpose, struct bd_buf *out)
{
    (void)key, (void)purpose;
    memset(out->data, 1, out->cap);
    out->len = out->cap;
    return BD_OK;
}

TEST(host, counters_carry_the_plugins_name)
{
    struct test_store store;
    struct bd_counter *counter;

    fresh(&store, twice);
    counter = the_host->counter(the_host, "late-ones", "help");
    the_host->counter_add(counter, 3);
    the_host->counter_add(NULL, 3);
    assert_int_equal(stats_number(store.stats, "odd_late_ones"), 3);
    assert_null(the_host->counter(the_host, "Not fit", "help"));
    assert_null(the_host->counter(the_host, "", "help"));
    store_close(&store);
}

TEST(host, a_codec_gets_keys_of_its_own_purpose_and_of_a_good_length_only)
{
    static const struct bd_keywrap keywrap = { .subkey = subkey_of_ones };
    struct keyring keyring = { .keywrap = &keywrap };
    unsigned char key[65] = { 0 };
    const struct bd_host *table;
    struct error why;
    struct host *host;

    keyring.volume_key = key;
    assert_int_equal(host_new("codec-x", NULL, NULL, &host), 0);
    host_give_keys(host, &keyring, "x-1");
    table = host_table(host);
    assert_int_equal(table->key(table, "codec x-1", key, 32), BD_OK);
    assert_int_equal(table->key(table, "codec x-1 mac", key, 64), BD_OK);
    host_capture_error(&why);
    assert_int_equal(table->key(table, "codec x-12", key, 32), BD_INVALID);
    host_capture_error(NULL);
    assert_non_null(strstr(why.text, "\"codec x-1\""));
    host_capture_error(&why);
    assert_int_equal(table->key(table, "manifest", key, 32), BD_INVALID);
    assert_int_equal(table->key(table, "codec x-1", key, 15), BD_INVALID);
    assert_int_equal(table->key(table, "codec x-1", key, 65), BD_INVALID);
    host_capture_error(NULL);
    host_free(host);
}

TEST(host, secrets_and_random_bytes)
{
    struct host *host;
    const struct bd_host *table;
    unsigned char a[32] = { 0 }, b[32] = { 0 };
    char *secret, *passphrase;
    const char *salt;
    size_t bytes;

    assert_int_equal(host_new("codec-x", NULL, NULL, &host), 0);
    table = host_table(host);
    secret = table->secret_alloc(10000);
    assert_non_null(secret);
    memset(secret, 1, 10000);
    table->secret_free(secret);
    table->secret_free(NULL);
    table->random(a, sizeof a);
    table->random(b, sizeof b);
    assert_memory_not_equal(a, b, sizeof a);
    assert_int_equal(table->key(table, "x", a, 32), BD_UNSUPPORTED);
    assert_int_equal(table->passphrase(table, &passphrase, &bytes, &salt), BD_UNSUPPORTED);
    assert_null(table->counter(table, "x", "x"));
    host_free(host);
}

/* ---- a codec at work: the example */

static enum bd_status
reverse(bool encode, struct coding *state, const void *in, size_t len, void *out, size_t cap,
        size_t *out_len)
{
    const struct bd_codec *codec = plugin_of("codec-reverse")->codecs;
    struct bd_coding coding = { .size = sizeof coding, .inner = "", .host_private = state };
    struct bd_buf buf = { out, cap, 0 };
    struct host *host;
    void *handle;
    enum bd_status status;

    assert_int_equal(host_new("codec-reverse", NULL, NULL, &host), 0);
    assert_int_equal(codec->open(host_table(host), NULL, "reverse", &handle), BD_OK);
    assert_true(!encode || cap >= codec->bound(handle, len));
    status = (encode ? codec->encode : codec->decode)(handle, NULL, &coding,
                                                      (struct bd_bytes){ in, len }, &buf);
    *out_len = buf.len;
    codec->close(handle);
    host_free(host);
    return status;
}

TEST(codec, reverse_goes_there_and_back_and_declines_palindromes)
{
    struct attrs attrs = { 0 };
    struct coding work = { .added = &attrs };
    char body[16], out[16];
    size_t body_len, len;

    assert_int_equal(reverse(true, &work, "abcd", 4, body, 6, &body_len), BD_OK);
    assert_memory_equal(body, "RVdcba", 6);
    assert_int_equal(attrs.count, 1);
    work = (struct coding){ .stored = &attrs };
    assert_int_equal(reverse(false, &work, body, body_len, out, 4, &len), BD_OK);
    assert_memory_equal(out, "abcd", 4);
    assert_int_equal(reverse(false, &work, body, body_len, out, 3, &len), BD_CORRUPT);
    assert_int_equal(reverse(false, &work, body, body_len - 1, out, 4, &len), BD_CORRUPT);
    assert_non_null(strstr(work.why.text, "reverse-length"));
    work.stored = NULL;
    assert_int_equal(reverse(false, &work, body, body_len, out, 4, &len), BD_CORRUPT);
    attrs_clear(&attrs);
    work = (struct coding){ .added = &attrs };
    assert_int_equal(reverse(true, &work, "abcba", 5, body, 16, &len), BD_DECLINED);
    assert_int_equal(reverse(true, &work, "", 0, body, 16, &len), BD_DECLINED);
    assert_int_equal(attrs.count, 0);
}

TEST(codec, an_attribute_that_no_header_can_hold_is_refused)
{
    static const struct {
        const char *value;
        size_t bytes;
    } bad[] = { { "", 0 }, { " a", 2 }, { "a ", 2 }, { "a\nb", 3 }, { "\x80", 1 }, { NULL, 1 } };
    struct attrs attrs = { 0 };
    struct coding work = { .added = &attrs };
    struct bd_coding coding = { .size = sizeof coding, .inner = "", .host_private = &work };

    coding_attr_add(&coding, "good", "a b~!", 5);
    assert_int_equal(work.rc, 0);
    for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        work = (struct coding){ .added = &attrs };
        coding_attr_add(&coding, "bad", bad[i].value, bad[i].bytes);
        assert_int_equal(work.rc, -EINVAL);
        assert_non_null(strstr(work.why.text, "\"bad\" has a value"));
    }
    work = (struct coding){ .added = &attrs };
    coding_attr_add(&coding, "good", "b", 1);
    assert_int_equal(work.rc, -EEXIST);
    assert_int_equal(attrs.count, 1);
    attrs_clear(&attrs);
}

TEST(attrs, limits_hold_and_a_second_value_replaces_the_first)
{
    struct attrs attrs = { 0 };
    char value[300] = { 0 };
    char name[] = "n0";

    assert_int_equal(attrs_add(&attrs, "a", "1", 1), 0);
    assert_int_equal(attrs_add(&attrs, "a", "22", 2), 0);
    assert_int_equal(attrs.count, 1);
    assert_int_equal(attrs.bytes, 3);
    assert_int_equal(attrs_add(&attrs, "", "1", 1), -EINVAL);
    assert_int_equal(attrs_add(&attrs, "A", "1", 1), -EINVAL);
    assert_int_equal(attrs_add(&attrs, "a_b", "1", 1), -EINVAL);
    assert_int_equal(attrs_add(&attrs, "b", value, 257), -E2BIG);
    for (int i = 0; i < 7; i++, name[1]++)
        assert_int_equal(attrs_add(&attrs, name, value, 256), 0);
    assert_int_equal(attrs_add(&attrs, name, value, 256), -E2BIG);
    assert_int_equal(attrs_add(&attrs, name, value, 2048 - 3 - 7 * 258 - 2), 0);
    assert_int_equal(attrs.bytes, 2048);
    assert_int_equal(attrs_add(&attrs, "a", "333", 3), -E2BIG);
    assert_memory_equal(attrs_find(&attrs, "a")->value, "22", 3);
    attrs_clear(&attrs);
    assert_null(attrs_find(&attrs, "a"));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        RUN(backend, a_status_that_is_none_is_fatal_and_blamed),
        RUN(backend, a_busy_store_is_heard),
        RUN(backend, a_request_that_ends_long_after_its_deadline_is_counted_and_told_of_once),
        RUN(backend, a_request_that_never_ends_ends_who_waits_for_it_with_a_sentence),
        RUN(backend, a_wrong_length_is_fatal),
        RUN(backend, results_over_the_limits_are_damage),
        RUN(backend, a_forgotten_status_of_delete_many_is_not_ok),
        RUN(backend, done_runs_once_and_never_inside_submit),
        RUN(backend, every_submit_finds_zeroed_scratch_and_a_deadline),
        RUN(backend, missing_limits_are_filled_in),
        RUN(backend, what_it_says_wrong_of_itself_is_refused_and_it_is_closed),
        RUN(host, timers_run_once_at_their_time_and_threads_are_joined),
        RUN(host, counters_carry_the_plugins_name),
        RUN(host, a_codec_gets_keys_of_its_own_purpose_and_of_a_good_length_only),
        RUN(host, secrets_and_random_bytes),
        RUN(codec, reverse_goes_there_and_back_and_declines_palindromes),
        RUN(codec, an_attribute_that_no_header_can_hold_is_refused),
        RUN(attrs, limits_hold_and_a_second_value_replaces_the_first),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
