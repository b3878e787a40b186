/* SPDX-License-Identifier: Apache-2.0 */
/* Credentials of this machine: options, files, environment, profiles, processes; each way that one can be wrong, and their order.
 *
 * What is secret in a test has MARKER in it, and no line of the log ever may. */
#include "s3_credentials.h"

#include <fcntl.h>

/* ------------------------------------------------------------------ options */

TEST(credentials, options_give_a_fixed_pair)
{
    open_with(.access_id = "AKID", .access_key = "MARKER-1");
    expect_keys("AKID", "MARKER-1", NULL);
    assert_false(credentials_refused(store, credentials));
    assert_int_equal(credentials->expires, 0);
}

TEST(credentials, the_secret_may_be_in_a_named_variable)
{
    setenv("MY_SECRET", "MARKER-2", 1);
    open_with(.access_id = "AKID", .access_key_env = "MY_SECRET");
    expect_keys("AKID", "MARKER-2", NULL);
}

TEST(credentials, a_named_variable_that_is_not_set_is_an_error)
{
    expect_failure(BD_INVALID, "MY_SECRET", .access_id = "AKID", .access_key_env = "MY_SECRET");
}

TEST(credentials, a_secret_given_twice_is_an_error)
{
    setenv("MY_SECRET", "MARKER", 1);
    expect_failure(BD_INVALID, "twice", .access_id = "AKID", .access_key = "MARKER",
                   .access_key_env = "MY_SECRET");
}

TEST(credentials, an_empty_access_id_asks_for_anonymous)
{
    home_file(".s3backer_passwd", "AKID:MARKER\n");
    open_with(.access_id = "");
    assert_null(credentials->access_id);
    expect_log("as asked for");
}

TEST(credentials, a_secret_without_an_access_id_is_an_error)
{
    home_file(".s3backer_passwd", "AKID:MARKER\n");
    expect_failure(BD_INVALID, "without its access id", .access_key = "MARKER");
    expect_failure(BD_INVALID, "without its access id", .access_id = "", .access_key = "MARKER");
}

TEST(credentials, an_access_id_alone_selects_its_line)
{
    home_file(".s3backer_passwd", "FIRST:MARKER-1\nSECOND:MARKER-2\n");
    open_with(.access_id = "SECOND");
    expect_keys("SECOND", "MARKER-2", NULL);
    reopen_with(.access_id = "SECOND", .access_file = home_file("other", "SECOND:MARKER-3\n"));
    expect_keys("SECOND", "MARKER-3", NULL);
}

TEST(credentials, an_access_id_that_is_in_no_file_is_an_error)
{
    expect_failure(BD_INVALID, "access id NOBODY", .access_id = "NOBODY");
    home_file(".s3backer_passwd", "FIRST:MARKER-1\n");
    expect_failure(BD_INVALID, "access id NOBODY", .access_id = "NOBODY");
    setenv("AWS_ACCESS_KEY_ID", "AKENV", 1);
    setenv("AWS_SECRET_ACCESS_KEY", "MARKER", 1);
    expect_failure(BD_INVALID, "access id NOBODY", .access_id = "NOBODY");
}

TEST(credentials, a_secret_that_no_header_can_hold_is_an_error)
{
    expect_failure(BD_INVALID, "control character", .access_id = "AKID",
                   .access_key = "MARKER\r\nx: y");
}

/* ------------------------------------------------------------------ files */

static void
expect_pair(const char *text, const char *wanted, const char *id, const char *secret)
{
    struct file_pair pair;
    unsigned bad_line;

    assert_true(file_find(text, strlen(text), wanted, &pair, &bad_line));
    assert_int_equal(pair.access_id_bytes, strlen(id));
    assert_memory_equal(pair.access_id, id, strlen(id));
    assert_int_equal(pair.secret_bytes, strlen(secret));
    assert_memory_equal(pair.secret, secret, strlen(secret));
}

TEST(file, the_first_line_wins)
{
    expect_pair("a:1\nb:2\n", NULL, "a", "1");
    expect_pair("a:1", NULL, "a", "1");
    expect_pair("a:1\nb:2\n", "b", "b", "2");
}

TEST(file, comments_blanks_and_carriage_returns_do_not_count)
{
    expect_pair("# a:1\r\n\r\n   \r\n\t b:2 \r\nc:3\r\n", NULL, "b", "2");
}

TEST(file, the_last_colon_divides)
{
    expect_pair("lab:s3:key\n", NULL, "lab:s3", "key");
    expect_pair("lab:1\nlab:s3:key\n", "lab:s3", "lab:s3", "key");
}

TEST(file, what_is_no_pair_is_counted_and_passed_over)
{
    struct file_pair pair;
    unsigned bad_line;
    static const char text[] = "# c\nnothing\n:x\nid:\na\001:b\nid:x\n";

    assert_true(file_find(text, sizeof text - 1, NULL, &pair, &bad_line));
    assert_memory_equal(pair.secret, "x", 1);
    assert_int_equal(bad_line, 2);
    assert_false(file_find("a\0b:c\n", 6, NULL, &pair, &bad_line));
    assert_int_equal(bad_line, 1);
    assert_false(file_find("ab:c\n", 5, "a", &pair, &bad_line));
    assert_false(file_find("", 0, NULL, &pair, &bad_line));
    assert_int_equal(bad_line, 0);
}

TEST(credentials, an_access_file_comes_before_all_but_options)
{
    const char *path = home_file("keys", "AKFILE:MARKER-1\n");

    home_file(".s3backer_passwd", "AKHOME:MARKER-2\n");
    open_with(.access_file = path);
    expect_keys("AKFILE", "MARKER-1", NULL);
    assert_string_equal(credentials->source, path);
    reopen_with(.access_file = path, .access_id = "AKID", .access_key = "MARKER");
    expect_keys("AKID", "MARKER", NULL);
}

TEST(credentials, an_access_file_without_keys_is_an_error)
{
    home_file(".s3backer_passwd", "AKHOME:MARKER\n");
    expect_failure(BD_INVALID, "No such file", .access_file = in_home("missing"));
    expect_failure(BD_INVALID, "no line ID:SECRET", .access_file = home_file("empty", "# \n"));
    expect_failure(BD_INVALID, "Is a directory", .access_file = home);
}

TEST(credentials, an_access_file_that_may_not_be_read_is_an_error)
{
    const char *path = home_file("keys", "AKFILE:MARKER-1\n");

    bool is_root = geteuid() == 0; /* who may read everything */

    chmod(path, 0);
    chmod(home, 0711);
    if (is_root)
        assert_int_equal(seteuid(65534), 0);
    expect_failure(BD_DENIED, "Permission denied", .access_file = path);
    if (is_root)
        assert_int_equal(seteuid(0), 0);
}

TEST(credentials, a_home_that_may_not_be_read_stops_nothing)
{
    bool is_root = geteuid() == 0;

    chmod(home_file(".s3backer_passwd", "AKHOME:MARKER\n"), 0);
    chmod(home_file(".aws/credentials", "[default]\n"), 0);
    chmod(in_home(".aws"), 0711);
    chmod(home, 0711);
    if (is_root)
        assert_int_equal(seteuid(65534), 0);
    open_with(.region = NULL);
    assert_null(credentials->access_id);
    assert_int_equal(log_count(BD_WARNING, ".s3backer_passwd: Permission denied"), 1);
    assert_int_equal(log_count(BD_WARNING, ".aws/credentials: Permission denied"), 1);
    expect_failure(BD_DENIED, "Permission denied", .access_id = "AKID");
    expect_failure(BD_DENIED, "Permission denied", .profile = "default");
    if (is_root)
        assert_int_equal(seteuid(0), 0);
}

TEST(credentials, a_file_that_everybody_may_read_is_warned_about)
{
    const char *path = home_file("keys", "AKFILE:MARKER-1\nMARKER\n");

    open_with(.access_file = path);
    assert_int_equal(log_count(BD_WARNING, ""), 0);
    chmod(path, 0644);
    reopen_with(.access_file = path);
    assert_int_equal(log_count(BD_WARNING, "may be read by everybody"), 1);
}

TEST(credentials, a_line_that_is_no_pair_is_warned_about_by_number)
{
    open_with(.access_file = home_file("keys", "AKID MARKER\nAKFILE:MARKER-1\n"));
    expect_keys("AKFILE", "MARKER-1", NULL);
    assert_int_equal(log_count(BD_WARNING, "line 1 is not ID:SECRET"), 1);
}

TEST(credentials, the_file_in_the_home_is_found)
{
    home_file(".s3backer_passwd", "AKHOME:MARKER-2\n");
    set_environment_keys();
    open_with(.region = NULL);
    expect_keys("AKHOME", "MARKER-2", NULL);
    assert_string_equal(credentials->source, "~/.s3backer_passwd");
}

TEST(credentials, a_file_in_the_home_without_keys_is_none)
{
    home_file(".s3backer_passwd", "# none\n");
    set_environment_keys();
    open_with(.region = NULL);
    expect_keys("AKENV", "MARKER-env", "MARKER-token");
}

TEST(credentials, without_HOME_the_user_database_knows)
{
    char *path;

    unsetenv("HOME");
    path = home_path("x");
    assert_non_null(path);
    assert_int_equal(path[0], '/');
    free(path);
}

/* ------------------------------------------------------------------ environment */

TEST(credentials, the_environment_gives_a_token_too)
{
    set_environment_keys();
    open_with(.region = NULL);
    expect_keys("AKENV", "MARKER-env", "MARKER-token");
    assert_false(credentials_refused(store, credentials));
}

TEST(credentials, half_of_the_environment_is_an_error)
{
    setenv("AWS_ACCESS_KEY_ID", "AKENV", 1);
    expect_failure(BD_INVALID, "AWS_SECRET_ACCESS_KEY is not", .region = NULL);
    unsetenv("AWS_ACCESS_KEY_ID");
    setenv("AWS_SECRET_ACCESS_KEY", "MARKER", 1);
    expect_failure(BD_INVALID, "AWS_ACCESS_KEY_ID is not", .region = NULL);
}

TEST(credentials, nothing_anywhere_is_anonymous)
{
    open_with(.region = NULL);
    assert_null(credentials->access_id);
    assert_int_equal(log_count(BD_INFO, "anonymous"), 1);
    assert_false(credentials_refused(store, credentials));
}

/* ------------------------------------------------------------------ the form of ~/.aws */

static struct ini ini;
static char ini_text[1024];

static void
parse_ini(enum ini_kind kind, const char *text)
{
    ini_free(&ini);
    snprintf(ini_text, sizeof ini_text, "%s", text);
    assert_true(ini_parse(ini_text, kind, &ini));
}

static void
expect_ini(const char *profile, const char *key, const char *value)
{
    const char *got = ini_get(&ini, profile, key);

    if (value == NULL) {
        assert_null(got);
        return;
    }
    assert_non_null(got);
    assert_string_equal(got, value);
}

TEST(ini, a_config_says_profile_and_a_credentials_file_does_not)
{
    parse_ini(INI_CONFIG, "[default]\nregion=1\n[profile a]\nregion = 2\r\n[b]\nregion=3\n"
                          "[sso-session a]\nregion=4\n[profile \"with blank\"]\nregion=5\n");
    expect_ini("default", "region", "1");
    expect_ini("a", "region", "2");
    expect_ini("b", "region", NULL);
    expect_ini("with blank", "region", "5");
    assert_false(ini_has(&ini, "b"));
    parse_ini(INI_CREDENTIALS, "[ b ] # c\nx=3\n");
    expect_ini("b", "x", "3");
    assert_true(ini_has(&ini, "b"));
    ini_free(&ini);
}

TEST(ini, comments_and_lines_that_are_none_are_passed_over)
{
    parse_ini(INI_CREDENTIALS, "x=0\n[a]\n# x=1\n; x=2\nnothing\nX = a=b # c\n[broken\ny=1\n");
    expect_ini("a", "x", "a=b # c");
    expect_ini("a", "y", NULL);
    ini_free(&ini);
}

TEST(ini, the_last_value_counts)
{
    parse_ini(INI_CREDENTIALS, "[a]\nx=1\n[b]\nx=3\n[a]\nx=2\n[c]\nx=1\nx=\n");
    expect_ini("a", "x", "2");
    expect_ini("c", "x", NULL);
    ini_free(&ini);
}

TEST(ini, what_is_deeper_belongs_to_the_key_before)
{
    parse_ini(INI_CONFIG, "[default]\nregion = mine\ns3 =\n  region = nested\n"
                          "[profile a]\n  region = mine\n  s3 =\n    region = nested\n"
                          "[profile b]\ns3 =\n\n  region = nested\nregion = mine\n");
    expect_ini("default", "region", "mine");
    expect_ini("a", "region", "mine");
    expect_ini("b", "region", "mine");
    ini_free(&ini);
}

/* ------------------------------------------------------------------ profiles */

TEST(credentials, the_default_profile_is_found)
{
    home_file(".aws/credentials", "[default]\naws_access_key_id = AKAWS\n"
                                  "aws_secret_access_key = MARKER-3\naws_session_token=MARKER-4\n");
    open_with(.region = NULL);
    expect_keys("AKAWS", "MARKER-3", "MARKER-4");
    assert_string_equal(credentials->source, "profile default");
}

TEST(credentials, the_credentials_file_comes_before_the_config)
{
    home_file(".aws/config", "[default]\naws_access_key_id = AKCONF\n"
                             "aws_secret_access_key = MARKER-5\n");
    open_with(.region = NULL);
    expect_keys("AKCONF", "MARKER-5", NULL);
    home_file(".aws/credentials", "[default]\naws_access_key_id = AKAWS\n"
                                  "aws_secret_access_key = MARKER-3\n");
    reopen_with(.region = NULL);
    expect_keys("AKAWS", "MARKER-3", NULL);
}

TEST(credentials, the_files_may_be_elsewhere)
{
    setenv("AWS_SHARED_CREDENTIALS_FILE",
           home_file("c", "[x]\naws_access_key_id=AKX\naws_secret_access_key=MARKER\n"), 1);
    setenv("AWS_PROFILE", "x", 1);
    open_with(.region = NULL);
    expect_keys("AKX", "MARKER", NULL);
    setenv("AWS_SHARED_CREDENTIALS_FILE", "~/c", 1);
    reopen_with(.region = NULL);
    expect_keys("AKX", "MARKER", NULL);
}

TEST(credentials, a_profile_asked_for_that_does_not_exist_is_an_error)
{
    expect_failure(BD_INVALID, "profile other", .profile = "other");
    setenv("AWS_PROFILE", "third", 1);
    expect_failure(BD_INVALID, "profile third", .region = NULL);
}

TEST(credentials, a_profile_by_option_that_has_nothing_is_an_error)
{
    home_file(".aws/config", "[profile other]\nregion = here\n");
    expect_failure(BD_INVALID, "profile other has neither", .profile = "other");
    setenv("AWS_PROFILE", "other", 1);
    open_with(.region = NULL);
    assert_null(credentials->access_id);
}

TEST(credentials, a_profile_by_option_comes_before_the_environment)
{
    home_file(".aws/credentials",
              "[other]\naws_access_key_id = AKAWS\naws_secret_access_key = MARKER-3\n");
    home_file(".s3backer_passwd", "AKHOME:MARKER-2\n");
    set_environment_keys();
    open_with(.profile = "other");
    expect_keys("AKAWS", "MARKER-3", NULL);
}

TEST(credentials, the_environment_comes_before_a_profile_by_environment)
{
    home_file(".aws/credentials",
              "[other]\naws_access_key_id = AKAWS\naws_secret_access_key = MARKER-3\n");
    setenv("AWS_PROFILE", "other", 1);
    set_environment_keys();
    open_with(.region = NULL);
    expect_keys("AKENV", "MARKER-env", "MARKER-token");
}

TEST(credentials, half_a_profile_is_an_error)
{
    home_file(".aws/credentials", "[default]\naws_secret_access_key = MARKER\n");
    expect_failure(BD_INVALID, "no access id", .region = NULL);
    home_file(".aws/credentials", "[default]\naws_access_key_id = AKID\n");
    expect_failure(BD_INVALID, "no secret", .region = NULL);
}

TEST(credentials, a_profile_with_sso_says_what_to_do)
{
    home_file(".aws/config", "[profile lab]\nsso_session = x\nsso_account_id = 1\n");
    expect_failure(BD_UNSUPPORTED, "aws configure export-credentials --profile lab",
                   .profile = "lab");
}

TEST(credentials, the_region_is_the_environments_or_the_profiles)
{
    char *region;

    assert_null(credentials_region(NULL));
    home_file(".aws/config", "[default]\nregion = home\n[profile x]\nregion = there\n");
    region = credentials_region(NULL);
    assert_string_equal(region, "home");
    free(region);
    region = credentials_region("x");
    assert_string_equal(region, "there");
    free(region);
    setenv("AWS_PROFILE", "x", 1);
    region = credentials_region(NULL);
    assert_string_equal(region, "there");
    free(region);
    setenv("AWS_DEFAULT_REGION", "second", 1);
    region = credentials_region("x");
    assert_string_equal(region, "second");
    free(region);
    setenv("AWS_REGION", "first", 1);
    region = credentials_region("x");
    assert_string_equal(region, "first");
    free(region);
}

/* ------------------------------------------------------------------ processes */

static void
process_profile(const char *command)
{
    char text[2048];

    snprintf(text, sizeof text, "[default]\ncredential_process = %s\n", command);
    home_file(".aws/config", text);
}

TEST(credentials, a_process_gives_keys)
{
    process_profile(
        "echo '{\"Version\":1,\"AccessKeyId\":\"AKPROC\",\"SecretAccessKey\":\"MARKER-6\","
        "\"SessionToken\":\"MARKER-7\",\"Expiration\":\"2199-01-02T03:04:05Z\"}'");
    open_with(.region = NULL);
    expect_keys("AKPROC", "MARKER-6", "MARKER-7");
    assert_int_equal(credentials->expires, 7226679845);
}

TEST(credentials, a_process_that_fails_is_an_error)
{
    process_profile("echo MARKER; exit 3");
    expect_failure(BD_DENIED, "ended with status 3", .region = NULL);
    process_profile("kill -9 $$");
    expect_failure(BD_DENIED, "ended by signal 9", .region = NULL);
}

TEST(credentials, what_a_process_wrote_is_never_shown)
{
    process_profile("echo MARKER-not-json");
    expect_failure(BD_INVALID, "not JSON", .region = NULL);
    process_profile("echo '{\"Version\":1,\"AccessKeyId\":\"AKPROC\",\"SecretAccessKey\":7,"
                    "\"SessionToken\":\"MARKER\"}'");
    expect_failure(BD_INVALID, "no secret", .region = NULL);
}

TEST(credentials, a_process_of_another_version_is_an_error)
{
    process_profile("echo '{\"Version\":2,\"AccessKeyId\":\"A\",\"SecretAccessKey\":\"MARKER\"}'");
    expect_failure(BD_INVALID, "Version is not 1", .region = NULL);
}

TEST(credentials, a_process_that_writes_without_end_is_ended)
{
    process_profile("yes MARKER");
    expect_failure(BD_DENIED, "wrote too much", .region = NULL);
}

/* The daemon's threads block all signals, and it ignores some. */
TEST(credentials, a_process_gets_signals_though_we_do_not)
{
    void (*old_handler)(int) = signal(SIGTERM, SIG_IGN);
    sigset_t all, old;

    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &old);
    process_profile("kill -TERM $$; sleep 30");
    expect_failure(BD_DENIED, "ended by signal 15", .region = NULL);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    signal(SIGTERM, old_handler);
}

/* libcurl's sockets are not close-on-exec; a helper that lives on would keep them open. */
TEST(credentials, a_process_inherits_no_descriptors)
{
    int fd = fcntl(STDERR_FILENO, F_DUPFD, 100);
    char command[256];

    assert_true(fd >= 100);
    snprintf(command, sizeof command,
             "[ ! -e /proc/self/fd/%d ] || exit 7; "
             "echo '{\"Version\":1,\"AccessKeyId\":\"AKPROC\",\"SecretAccessKey\":\"MARKER-8\"}'",
             fd);
    process_profile(command);
    open_with(.region = NULL);
    expect_keys("AKPROC", "MARKER-8", NULL);
    close(fd);
}

/* ------------------------------------------------------------------ JSON and dates */

TEST(date, what_is_a_date)
{
    static const struct {
        const char *text;
        long long seconds; /* 0: none */
    } dates[] = {
        { "2023-01-02T03:04:05Z", 1672628645 },
        { "2023-01-02T03:04:05z", 1672628645 },
        { "2023-01-02T03:04:05", 1672628645 },
        { "2023-01-02T03:04:05.678Z", 1672628645 },
        { "2023-01-02T03:04:05+01:00", 1672625045 },
        { "2023-01-02T03:04:05-0130", 1672634045 },
        { "2023-01-02T03:04:05+00", 1672628645 },
        { "2024-02-29T00:00:00Z", 1709164800 },
        { "2016-12-31T23:59:60Z", 1483228800 },
        { "9999-12-31T23:59:59Z", 253402300799 },
        { "", 0 },
        { "2023-01-02", 0 },
        { "2023-01-02T03:04Z", 0 },
        { "2023-13-02T03:04:05Z", 0 },
        { "2023-00-02T03:04:05Z", 0 },
        { "2023-02-29T03:04:05Z", 0 },
        { "2023-04-31T03:04:05Z", 0 },
        { "2023-01-00T03:04:05Z", 0 },
        { "2023-01-02T24:04:05Z", 0 },
        { "2023-01-02T03:60:05Z", 0 },
        { "2023-01-02T03:04:61Z", 0 },
        { "2023-01-02T03:04:05.Z", 0 },
        { "2023-01-02T03:04:05Zx", 0 },
        { "2023-01-02T03:04:05+24:00", 0 },
        { "2023-01-02T03:04:05+1", 0 },
        { "1969-12-31T23:59:59Z", 0 },
        { "1672628645", 0 },
        { "-023-01-02T03:04:05Z", 0 },
    };

    for (size_t i = 0; i < sizeof dates / sizeof dates[0]; i++) {
        time_t seconds = 0;
        bool is_date = date_parse(dates[i].text, &seconds);

        if (is_date != (dates[i].seconds != 0) || (is_date && seconds != dates[i].seconds))
            fail_msg("%s: %d, %lld", dates[i].text, is_date, (long long)seconds);
    }
}

static void
expect_json(enum json_kind kind, const char *text, const char *fault)
{
    struct keys keys;
    char why[128] = "";
    bool ok = json_parse_keys(text, strlen(text), kind, &keys, why, sizeof why);

    if (ok != (fault == NULL) || (fault != NULL && strstr(why, fault) == NULL))
        fail_msg("%s: %s", text, why);
    assert_null(strstr(why, "MARKER"));
    keys_clear(&keys);
}

TEST(json, what_gives_keys)
{
#define PAIR "\"AccessKeyId\":\"A\",\"SecretAccessKey\":\"MARKER\""
    expect_json(JSON_METADATA, "{" PAIR "}", NULL);
    expect_json(JSON_METADATA, "{" PAIR ",\"Code\":\"Success\",\"Token\":\"MARKER\"}", NULL);
    expect_json(JSON_METADATA, "{" PAIR ",\"Expiration\":null}", NULL);
    expect_json(JSON_PROCESS, "{\"Version\":1," PAIR "}", NULL);
    expect_json(JSON_PROCESS, "{" PAIR "}", "Version");
    expect_json(JSON_METADATA, "{\"Code\":\"AssumeRoleUnauthorizedAccess\"}",
                "AssumeRoleUnauthorizedAccess");
    expect_json(JSON_METADATA, "{" PAIR ",\"Code\":\"\\n MARKER\"}", "Code is \"?\"");
    expect_json(JSON_METADATA, "{" PAIR ",\"Expiration\":\"MARKER\"}", "Expiration");
    expect_json(JSON_METADATA, "{" PAIR ",\"Expiration\":17}", "Expiration");
    expect_json(JSON_METADATA, "{\"AccessKeyId\":\"A\"}", "no secret");
    expect_json(JSON_METADATA, "{\"SecretAccessKey\":\"MARKER\"}", "no access id");
    expect_json(JSON_METADATA, "{\"AccessKeyId\":\"\",\"SecretAccessKey\":\"MARKER\"}",
                "no access id");
    expect_json(JSON_METADATA, "{" PAIR ",\"Token\":\"MARKER\\n\"}", "control character");
    expect_json(JSON_METADATA, "{" PAIR ",\"AccessKeyId\":\"B\"}", "not JSON");
    expect_json(JSON_METADATA, "[" PAIR "]", "not JSON");
    expect_json(JSON_METADATA, "[\"MARKER\"]", "not a JSON object");
    expect_json(JSON_METADATA, "MARKER", "not JSON");
    expect_json(JSON_METADATA, "", "not JSON");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        FRESH(credentials, options_give_a_fixed_pair),
        FRESH(credentials, the_secret_may_be_in_a_named_variable),
        FRESH(credentials, a_named_variable_that_is_not_set_is_an_error),
        FRESH(credentials, a_secret_given_twice_is_an_error),
        FRESH(credentials, an_empty_access_id_asks_for_anonymous),
        FRESH(credentials, a_secret_without_an_access_id_is_an_error),
        FRESH(credentials, an_access_id_alone_selects_its_line),
        FRESH(credentials, an_access_id_that_is_in_no_file_is_an_error),
        FRESH(credentials, a_secret_that_no_header_can_hold_is_an_error),
        RUN(file, the_first_line_wins),
        RUN(file, comments_blanks_and_carriage_returns_do_not_count),
        RUN(file, the_last_colon_divides),
        RUN(file, what_is_no_pair_is_counted_and_passed_over),
        FRESH(credentials, an_access_file_comes_before_all_but_options),
        FRESH(credentials, an_access_file_without_keys_is_an_error),
        FRESH(credentials, an_access_file_that_may_not_be_read_is_an_error),
        FRESH(credentials, a_home_that_may_not_be_read_stops_nothing),
        FRESH(credentials, a_file_that_everybody_may_read_is_warned_about),
        FRESH(credentials, a_line_that_is_no_pair_is_warned_about_by_number),
        FRESH(credentials, the_file_in_the_home_is_found),
        FRESH(credentials, a_file_in_the_home_without_keys_is_none),
        FRESH(credentials, without_HOME_the_user_database_knows),
        FRESH(credentials, the_environment_gives_a_token_too),
        FRESH(credentials, half_of_the_environment_is_an_error),
        FRESH(credentials, nothing_anywhere_is_anonymous),
        RUN(ini, a_config_says_profile_and_a_credentials_file_does_not),
        RUN(ini, comments_and_lines_that_are_none_are_passed_over),
        RUN(ini, the_last_value_counts),
        RUN(ini, what_is_deeper_belongs_to_the_key_before),
        FRESH(credentials, the_default_profile_is_found),
        FRESH(credentials, the_credentials_file_comes_before_the_config),
        FRESH(credentials, the_files_may_be_elsewhere),
        FRESH(credentials, a_profile_asked_for_that_does_not_exist_is_an_error),
        FRESH(credentials, a_profile_by_option_that_has_nothing_is_an_error),
        FRESH(credentials, a_profile_by_option_comes_before_the_environment),
        FRESH(credentials, the_environment_comes_before_a_profile_by_environment),
        FRESH(credentials, half_a_profile_is_an_error),
        FRESH(credentials, a_profile_with_sso_says_what_to_do),
        FRESH(credentials, the_region_is_the_environments_or_the_profiles),
        FRESH(credentials, a_process_gives_keys),
        FRESH(credentials, a_process_that_fails_is_an_error),
        FRESH(credentials, what_a_process_wrote_is_never_shown),
        FRESH(credentials, a_process_of_another_version_is_an_error),
        FRESH(credentials, a_process_that_writes_without_end_is_ended),
        FRESH(credentials, a_process_gets_signals_though_we_do_not),
        FRESH(credentials, a_process_inherits_no_descriptors),
        RUN(date, what_is_a_date),
        RUN(json, what_gives_keys),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
