/* SPDX-License-Identifier: Apache-2.0 */
/* Temporary credentials: renewed before they end, held while that fails, and ended at once
 * with the disk. */
#include "s3_credentials.h"

#define CREDS "GET /creds"

/* Keys that live so long from now. */
static void
container_gives(const char *id, int seconds)
{
    time_t until = time(NULL) + seconds;
    char body[512], date[32];
    struct tm tm;

    gmtime_r(&until, &tm);
    strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%SZ", &tm);
    snprintf(body, sizeof body,
             "{\"AccessKeyId\":\"%s\",\"SecretAccessKey\":\"MARKER-%s\",\"Token\":\"MARKER-t\","
             "\"Expiration\":\"%s\"}",
             id, id, date);
    web_answer(web, CREDS, NULL, 200, body);
}

static void
container(const char *id, int seconds)
{
    set_url("AWS_CONTAINER_CREDENTIALS_FULL_URI", "/creds");
    container_gives(id, seconds);
    open_with(.region = NULL);
}

/* Are they these, at last? */
static bool
comes(const char *id, unsigned limit_ms)
{
    uint64_t end_ns = clock_now_ns() + limit_ms * NS_PER_MS;

    do {
        const struct credentials *present = credentials_get(store);
        bool is_it = strcmp(present->access_id, id) == 0;

        credentials_release(store, present);
        if (is_it)
            return true;
        usleep(10000);
    } while (clock_now_ns() < end_ns);
    return false;
}

static bool
log_comes(enum bd_log_level level, const char *text, unsigned limit_ms)
{
    uint64_t end_ns = clock_now_ns() + limit_ms * NS_PER_MS;

    while (log_count(level, text) == 0 && clock_now_ns() < end_ns)
        usleep(10000);
    return log_count(level, text) > 0;
}

TEST(renewal, comes_before_the_end)
{
    uint64_t begin_ns = clock_now_ns();

    container("FIRST", 4);
    container_gives("SECOND", 1000);
    assert_true(comes("SECOND", 5000));
    assert_true(clock_now_ns() - begin_ns < 3 * NS_PER_S);
    assert_true(clock_now_ns() - begin_ns > NS_PER_S);
    expect_keys("FIRST", "MARKER-FIRST", "MARKER-t"); /* who holds the old ones still can */
    assert_int_equal(log_count(BD_WARNING, ""), 0);
}

TEST(renewal, is_not_done_long_before)
{
    container("FIRST", 1000);
    container_gives("SECOND", 1000);
    assert_false(comes("SECOND", 1500));
    assert_int_equal(web_seen(web, CREDS), 1);
}

TEST(renewal, goes_on_after_the_first)
{
    container("FIRST", 2);
    container_gives("SECOND", 3);
    assert_true(comes("SECOND", 2000));
    container_gives("THIRD", 1000);
    assert_true(comes("THIRD", 3000));
}

TEST(renewal, that_fails_keeps_the_old_ones_and_says_so_once)
{
    container("FIRST", 5);
    web_answer(web, CREDS, NULL, 500, "");
    assert_true(log_comes(BD_WARNING, "cannot be renewed", 4000));
    assert_true(comes("FIRST", 0));
    assert_int_equal(log_count(BD_ERROR, ""), 0);
    assert_true(log_comes(BD_ERROR, "expired", 6000));
    assert_true(comes("FIRST", 0));
    usleep(2500000);
    assert_int_equal(log_count(BD_WARNING, ""), 1);
    assert_int_equal(log_count(BD_ERROR, ""), 1);
    container_gives("SECOND", 1000);
    assert_true(comes("SECOND", 9000));
    assert_true(log_comes(BD_INFO, "were renewed", 1000));
}

TEST(renewal, after_a_failure_is_as_before)
{
    container("FIRST", 4);
    web_answer(web, CREDS, NULL, 500, "");
    assert_true(log_comes(BD_WARNING, "cannot be renewed", 4000));
    container_gives("SECOND", 6);
    assert_true(comes("SECOND", 3000));
    assert_true(log_comes(BD_INFO, "were renewed", 1000));
    container_gives("THIRD", 6);
    assert_true(comes("THIRD", 4000));
    assert_int_equal(log_count(BD_INFO, "were renewed"), 1); /* what is usual is not worth a line */
    web_answer(web, CREDS, NULL, 500, "");
    usleep(4000000);
    assert_int_equal(log_count(BD_WARNING, ""), 2);
}

TEST(renewal, that_gives_expired_ones_is_a_failure)
{
    container("FIRST", 2);
    container_gives("SECOND", -5);
    assert_true(log_comes(BD_WARNING, "is this machine's clock right", 3000));
    assert_true(comes("FIRST", 0));
}

TEST(renewal, waits_longer_after_each_failure)
{
    container("FIRST", 2);
    web_answer(web, CREDS, NULL, 500, "");
    usleep(7000000); /* at 1, 2, 4 and 8 s, a little less by jitter */
    assert_true(web_seen(web, CREDS) >= 4);
    assert_true(web_seen(web, CREDS) <= 5);
}

TEST(refusal, renews_at_once)
{
    container("FIRST", 1000);
    container_gives("SECOND", 1000);
    assert_true(credentials_refused(store, credentials));
    assert_true(comes("SECOND", 1000));
}

TEST(refusal, of_everything_is_no_tight_loop)
{
    uint64_t end_ns = clock_now_ns() + 3 * NS_PER_S;

    container("FIRST", 1000);
    while (clock_now_ns() < end_ns) {
        const struct credentials *present = credentials_get(store);

        assert_true(credentials_refused(store, present));
        credentials_release(store, present);
        usleep(1000);
    }
    assert_int_equal(web_seen(web, CREDS), 2);
}

TEST(refusal, while_renewing_fails_is_no_tight_loop)
{
    container("FIRST", 1000);
    web_answer(web, CREDS, NULL, 500, "");
    for (unsigned i = 0; i < 2500; i++) {
        assert_true(credentials_refused(store, credentials));
        usleep(1000);
    }
    assert_true(web_seen(web, CREDS) <= 4); /* at 0, 1 and 3 s */
    assert_int_equal(log_count(BD_WARNING, ""), 1);
}

/* Gives AK1, AK2, ... and takes its time. */
static void
counting_process(void)
{
    home_file(".aws/config", "[default]\ncredential_process = echo x >>$HOME/runs; sleep 0.3; echo "
                             "'{\"Version\":1,\"AccessKeyId\":\"AK'$(wc -l <$HOME/runs)'\","
                             "\"SecretAccessKey\":\"MARKER\"}'\n");
}

TEST(refusal, asks_a_process_that_names_no_end)
{
    counting_process();
    open_with(.region = NULL);
    expect_keys("AK1", "MARKER", NULL);
    assert_true(credentials_refused(store, credentials));
    assert_true(comes("AK2", 3000));
}

/* The answers to requests that were signed before trickle in while it renews, and after. */
TEST(refusal, of_old_ones_does_nothing)
{
    counting_process();
    open_with(.region = NULL);
    assert_true(credentials_refused(store, credentials));
    usleep(100000);
    assert_true(credentials_refused(store, credentials));
    assert_true(comes("AK2", 3000));
    assert_true(credentials_refused(store, credentials));
    assert_false(comes("AK3", 12000)); /* longer than refusals are held back */
}

/* Other tools write them there, and write new ones before they expire, which stands nowhere. */
TEST(refusal, reads_a_profile_with_a_session_token_again)
{
    static const char profile[] = "[default]\naws_access_key_id = %s\n"
                                  "aws_secret_access_key = MARKER\naws_session_token = MARKER\n";
    char text[256];

    snprintf(text, sizeof text, profile, "FIRST");
    home_file(".aws/credentials", text);
    open_with(.region = NULL);
    expect_keys("FIRST", "MARKER", "MARKER");
    snprintf(text, sizeof text, profile, "SECOND");
    home_file(".aws/credentials", text);
    assert_true(credentials_refused(store, credentials));
    assert_true(comes("SECOND", 2000));
}

TEST(refusal, of_keys_without_a_session_token_is_final)
{
    home_file(".aws/credentials", "[default]\naws_access_key_id = FIRST\n"
                                  "aws_secret_access_key = MARKER\n");
    open_with(.region = NULL);
    expect_keys("FIRST", "MARKER", NULL);
    assert_false(credentials_refused(store, credentials));
}

TEST(renewal, reads_a_web_identity_again)
{
    static const char answer[] =
        "<r><Credentials><AccessKeyId>%s</AccessKeyId><SecretAccessKey>MARKER</SecretAccessKey>"
        "<SessionToken>MARKER</SessionToken><Expiration>2199-01-02T03:04:05Z</Expiration>"
        "</Credentials></r>";
    char body[512];

    set_url("AWS_ENDPOINT_URL_STS", "");
    setenv("AWS_ROLE_ARN", "arn:irsa", 1);
    setenv("AWS_WEB_IDENTITY_TOKEN_FILE", home_file("token", "MARKER-old"), 1);
    snprintf(body, sizeof body, answer, "FIRST");
    web_answer(web, "POST /", "WebIdentityToken=MARKER-old", 200, body);
    open_with(.region = NULL);
    expect_keys("FIRST", "MARKER", "MARKER");
    home_file("token", "MARKER-new");
    snprintf(body, sizeof body, answer, "SECOND");
    web_answer(web, "POST /", "WebIdentityToken=MARKER-new", 200, body);
    assert_true(credentials_refused(store, credentials));
    assert_true(comes("SECOND", 2000));
}

/* ------------------------------------------------------------------ close */

static void
expect_quick_close(void)
{
    uint64_t begin_ns = clock_now_ns();

    store_end();
    assert_true(clock_now_ns() - begin_ns < NS_PER_S);
    assert_int_equal(log_count(BD_WARNING, ""), 0);
    assert_int_equal(log_count(BD_ERROR, ""), 0);
}

TEST(close, does_not_wait_for_the_next_renewal)
{
    container("FIRST", 1000);
    usleep(100000);
    expect_quick_close();
}

TEST(close, does_not_wait_for_a_request_that_hangs)
{
    container("FIRST", 1000);
    web_answer(web, CREDS, NULL, WEB_HANGS, "");
    assert_true(credentials_refused(store, credentials));
    while (web_seen(web, CREDS) < 2)
        usleep(10000);
    usleep(100000);
    expect_quick_close();
}

TEST(close, does_not_wait_for_a_process_that_hangs)
{
    home_file(".aws/config",
              "[default]\ncredential_process = echo $$ >>$HOME/runs; [ $(wc -l <$HOME/runs) = 1 ]"
              " || sleep 30; echo '{\"Version\":1,\"AccessKeyId\":\"AK\","
              "\"SecretAccessKey\":\"MARKER\"}'\n");
    open_with(.region = NULL);
    assert_true(credentials_refused(store, credentials));
    usleep(500000);
    expect_quick_close();
}

/* It closed its output, and lives on. */
TEST(close, does_not_wait_for_a_process_that_does_not_end)
{
    home_file(".aws/config",
              "[default]\ncredential_process = echo $$ >>$HOME/runs; "
              "echo '{\"Version\":1,\"AccessKeyId\":\"AK\",\"SecretAccessKey\":\"MARKER\"}'; "
              "exec >/dev/null; [ $(wc -l <$HOME/runs) = 1 ] || sleep 30\n");
    open_with(.region = NULL);
    assert_true(credentials_refused(store, credentials));
    usleep(500000);
    expect_quick_close();
}

/* ------------------------------------------------------------------ many threads */

static bool is_over; /* atomic */

static void *
use(void *arg)
{
    (void)arg;
    while (!__atomic_load_n(&is_over, __ATOMIC_RELAXED)) {
        const struct credentials *present = credentials_get(store);

        assert_memory_equal(present->secret, "MARKER-", 7);
        assert_string_equal(present->secret + 7, present->access_id);
        credentials_release(store, present);
    }
    return NULL;
}

TEST(renewal, goes_on_under_many_users)
{
    pthread_t users[4];

    container("FIRST", 2);
    is_over = false;
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&users[i], NULL, use, NULL), 0);
    container_gives("SECOND", 3);
    assert_true(comes("SECOND", 3000));
    container_gives("THIRD", 1000);
    assert_true(comes("THIRD", 3000));
    __atomic_store_n(&is_over, true, __ATOMIC_RELAXED);
    for (size_t i = 0; i < 4; i++)
        pthread_join(users[i], NULL);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        FRESH(renewal, comes_before_the_end),
        FRESH(renewal, is_not_done_long_before),
        FRESH(renewal, goes_on_after_the_first),
        FRESH(renewal, that_fails_keeps_the_old_ones_and_says_so_once),
        FRESH(renewal, after_a_failure_is_as_before),
        FRESH(renewal, that_gives_expired_ones_is_a_failure),
        FRESH(renewal, waits_longer_after_each_failure),
        FRESH(refusal, renews_at_once),
        FRESH(refusal, of_everything_is_no_tight_loop),
        FRESH(refusal, while_renewing_fails_is_no_tight_loop),
        FRESH(refusal, asks_a_process_that_names_no_end),
        FRESH(refusal, of_old_ones_does_nothing),
        FRESH(refusal, reads_a_profile_with_a_session_token_again),
        FRESH(refusal, of_keys_without_a_session_token_is_final),
        FRESH(renewal, reads_a_web_identity_again),
        FRESH(close, does_not_wait_for_the_next_renewal),
        FRESH(close, does_not_wait_for_a_request_that_hangs),
        FRESH(close, does_not_wait_for_a_process_that_hangs),
        FRESH(close, does_not_wait_for_a_process_that_does_not_end),
        FRESH(renewal, goes_on_under_many_users),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
