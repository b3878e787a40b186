/* SPDX-License-Identifier: Apache-2.0 */
/* Where credentials come from: each source, each way that one can be wrong, and their order.
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

/* ------------------------------------------------------------------ the token service */

static void
expect_xml(const char *text, const char *fault)
{
    struct keys keys;
    char why[128] = "";
    bool ok = xml_parse_keys(text, strlen(text), &keys, why, sizeof why);

    if (ok != (fault == NULL) || (fault != NULL && strstr(why, fault) == NULL))
        fail_msg("%s: %s", text, why);
    assert_null(strstr(why, "MARKER"));
    if (ok) {
        assert_string_equal(keys.access_id, "AKSTS");
        assert_string_equal(keys.secret, "MARKER-8");
        assert_string_equal(keys.token, "MARKER-9");
    }
    keys_clear(&keys);
}

#define STS_FIELDS                                                                                 \
    "<AccessKeyId>AKSTS</AccessKeyId><SecretAccessKey>MARKER-8</SecretAccessKey>"                  \
    "<SessionToken>\nMARKER-9\n</SessionToken>"
#define STS_UNTIL(date)                                                                            \
    "<AssumeRoleResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><AssumeRoleResult>"   \
    "<AssumedRoleUser><Arn>x</Arn></AssumedRoleUser><Credentials>" STS_FIELDS "<Expiration>" date  \
    "</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>"
#define STS_ANSWER STS_UNTIL("2199-01-02T03:04:05Z")

TEST(xml, what_gives_keys)
{
    expect_xml(STS_ANSWER, NULL);
    expect_xml("<a:r xmlns:a='x'><a:Credentials>" STS_FIELDS
               "<a:Expiration>2199-01-02T03:04:05Z</a:Expiration></a:Credentials></a:r>",
               NULL);
    expect_xml("<r><Credentials>" STS_FIELDS "</Credentials></r>", "Expiration");
    expect_xml(STS_UNTIL("MARKER"), "Expiration");
    expect_xml("<r>" STS_FIELDS "<Expiration>2199-01-02T03:04:05Z</Expiration></r>", "Expiration");
    expect_xml("<r><Credentials><Expiration>2199-01-02T03:04:05Z</Expiration>"
               "<AccessKeyId>A</AccessKeyId></Credentials></r>",
               "no secret");
    expect_xml("<r><Credentials>" STS_FIELDS STS_FIELDS "</Credentials></r>", "not the XML");
    expect_xml("<!DOCTYPE r [<!ENTITY e 'x'>]>" STS_ANSWER, "not the XML");
    expect_xml("<r><Credentials>" STS_FIELDS, "not the XML");
    expect_xml("MARKER", "not the XML");
    expect_xml("", "not the XML");
}

/* Sets the endpoint, and AKBASE in a profile "base". */
static void
sts_home(const char *config)
{
    home_file(".aws/config", config);
    home_file(".aws/credentials", "[base]\naws_access_key_id = AKBASE\n"
                                  "aws_secret_access_key = MARKER-base\n"
                                  "[self]\naws_access_key_id = AKSELF\n"
                                  "aws_secret_access_key = MARKER-self\n");
    set_url("AWS_ENDPOINT_URL_STS", "");
    web_answer(web, "POST /", NULL, 200, STS_ANSWER);
}

TEST(credentials, a_role_is_assumed_with_the_keys_of_another_profile)
{
    sts_home("[profile app]\nrole_arn = arn:aws:iam::1:role/app\nsource_profile = base\n"
             "external_id = a b&c\nrole_session_name = me\nduration_seconds = 900\n");
    open_with(.profile = "app", .region = "us-west-2");
    expect_keys("AKSTS", "MARKER-8", "MARKER-9");
    assert_int_equal(web_seen(web, "Credential=AKBASE/"), 1);
    assert_int_equal(web_seen(web, "/us-west-2/sts/aws4_request"), 1);
    assert_int_equal(web_seen(web,
                              "Action=AssumeRole&Version=2011-06-15"
                              "&RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fapp"
                              "&RoleSessionName=me&ExternalId=a%20b%26c&DurationSeconds=900\n"),
                     1);
    assert_int_equal(web_seen(web, "MARKER"), 0); /* a secret signs, and is not sent */
}

/* The server's side: sign what arrived, with its own date. */
TEST(credentials, what_is_signed_is_what_is_sent)
{
    static struct http_request http = { .method = "POST", .path = "/", .query = "" };
    struct credentials base = { .access_id = "AKBASE", .secret = "MARKER-base" };
    static struct sigv4_key key;
    char got[512], date[64], host[64], type[128], body[512], digest[65];
    struct tm tm = { 0 };

    sts_home("[profile app]\nrole_arn = arn:x\nsource_profile = base\nrole_session_name = me\n");
    open_with(.profile = "app", .region = "us-west-2");
    web_header(web, "\nauthorization", got, sizeof got);
    web_header(web, "\nx-amz-date", date, sizeof date);
    web_header(web, "\nhost", host, sizeof host);
    web_header(web, "\ncontent-type", type, sizeof type);
    web_header(web, "\r\n\r\n", body, sizeof body);
    assert_non_null(strptime(date, "%Y%m%dT%H%M%SZ", &tm));
    http.host = host;
    http.body = body;
    http.body_bytes = strlen(body);
    assert_true(sha256_hex(body, strlen(body), digest));
    http.payload_sha256 = digest;
    headers_init(&http.headers);
    headers_add(&http.headers, "content-type", type);
    assert_true(sigv4_sign(&http, &base, "us-west-2", "sts", timegm(&tm), &key));
    assert_string_equal(got, headers_get(&http.headers, "authorization"));
}

TEST(credentials, a_role_is_assumed_through_another_role)
{
    sts_home("[profile app]\nrole_arn = arn:app\nsource_profile = mid\n"
             "[profile mid]\nrole_arn = arn:mid\nsource_profile = base\n");
    open_with(.profile = "app");
    expect_keys("AKSTS", "MARKER-8", "MARKER-9");
    assert_int_equal(web_seen(web, "RoleArn=arn%3Amid"), 1);
    assert_int_equal(web_seen(web, "RoleArn=arn%3Aapp"), 1);
    assert_int_equal(web_seen(web, "Credential=AKSTS/"), 1);
    assert_int_equal(web_seen(web, "MARKER-9"), 1); /* the middle role's token */
}

TEST(credentials, a_profile_that_is_its_own_source_has_the_keys_in_it)
{
    sts_home("[profile self]\nrole_arn = arn:x\nsource_profile = self\n");
    open_with(.profile = "self");
    assert_int_equal(web_seen(web, "Credential=AKSELF/"), 1);
}

TEST(credentials, a_role_is_assumed_with_the_keys_of_the_environment)
{
    sts_home("[profile app]\nrole_arn = arn:x\ncredential_source = Environment\n");
    expect_failure(BD_INVALID, "AWS_ACCESS_KEY_ID is not set", .profile = "app");
    set_environment_keys();
    open_with(.profile = "app");
    expect_keys("AKSTS", "MARKER-8", "MARKER-9");
    assert_int_equal(web_seen(web, "Credential=AKENV/"), 1);
    assert_int_equal(web_seen(web, "x-amz-security-token: MARKER-token"), 1);
}

TEST(credentials, profiles_that_make_no_sense_are_errors)
{
    sts_home("[profile ring]\nrole_arn = arn:x\nsource_profile = gnir\n"
             "[profile gnir]\nrole_arn = arn:x\nsource_profile = ring\n"
             "[profile gone]\nrole_arn = arn:x\nsource_profile = nowhere\n"
             "[profile both]\nrole_arn = arn:x\nsource_profile = base\n"
             "credential_source = Environment\n"
             "[profile odd]\nrole_arn = arn:x\ncredential_source = Oddment\n"
             "[profile none]\nrole_arn = arn:x\n"
             "[profile mfa]\nrole_arn = arn:x\nsource_profile = base\nmfa_serial = 1\n"
             "[profile dry]\nrole_arn = arn:x\nsource_profile = empty\n[profile empty]\n"
             "[profile fine]\nrole_arn = arn:x\nsource_profile = base\n");
    expect_failure(BD_INVALID, "from one to the next", .profile = "ring");
    expect_failure(BD_INVALID, "nowhere, which does not exist", .profile = "gone");
    expect_failure(BD_INVALID, "one must go", .profile = "both");
    expect_failure(BD_INVALID, "Oddment is unknown", .profile = "odd");
    expect_failure(BD_INVALID, "to assume it with", .profile = "none");
    expect_failure(BD_UNSUPPORTED, "mfa_serial", .profile = "mfa");
    expect_failure(BD_INVALID, "empty, which has no keys", .profile = "dry");
    expect_failure(BD_INVALID, "cannot be a region", .profile = "fine", .region = "evil.example/");
    assert_int_equal(web_seen(web, "POST"), 0);
}

TEST(credentials, a_web_identity_is_exchanged_unsigned)
{
    sts_home("");
    setenv("AWS_WEB_IDENTITY_TOKEN_FILE", home_file("token", "MARKER.jwt+\n"), 1);
    expect_failure(BD_INVALID, "AWS_ROLE_ARN is not", .region = NULL);
    setenv("AWS_ROLE_ARN", "arn:irsa", 1);
    setenv("AWS_ROLE_SESSION_NAME", "pod", 1);
    open_with(.region = NULL);
    expect_keys("AKSTS", "MARKER-8", "MARKER-9");
    assert_int_equal(web_seen(web, "Action=AssumeRoleWithWebIdentity&Version=2011-06-15"
                                   "&RoleArn=arn%3Airsa&RoleSessionName=pod"
                                   "&WebIdentityToken=MARKER.jwt%2B\n"),
                     1);
    assert_int_equal(web_seen(web, "uthorization:"), 0);
    assert_int_equal(credentials->expires, 7226679845);
}

TEST(credentials, a_profile_may_name_a_web_identity)
{
    char config[512];

    snprintf(config, sizeof config,
             "[default]\nrole_arn = arn:profile\nweb_identity_token_file = %s\n",
             home_file("token", "MARKER.jwt"));
    sts_home(config);
    open_with(.region = NULL);
    expect_keys("AKSTS", "MARKER-8", "MARKER-9");
    assert_int_equal(web_seen(web, "RoleArn=arn%3Aprofile"), 1);
}

TEST(credentials, what_is_wrong_with_a_web_identity_is_said)
{
    sts_home("");
    setenv("AWS_ROLE_ARN", "arn:irsa", 1);
    setenv("AWS_WEB_IDENTITY_TOKEN_FILE", in_home("missing"), 1);
    expect_failure(BD_DENIED, "No such file", .region = NULL);
    setenv("AWS_WEB_IDENTITY_TOKEN_FILE", home_file("token", "\n"), 1);
    expect_failure(BD_INVALID, "holds no token", .region = NULL);
    home_file("token", "MARKER.jwt");
    web_answer(web, "POST /", NULL, 403,
               "<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code>"
               "<Message>Not authorized</Message></Error></ErrorResponse>");
    expect_failure(BD_DENIED, "403, AccessDenied: Not authorized", .region = NULL);
    web_answer(web, "POST /", NULL, 400, "MARKER");
    expect_failure(BD_DENIED, "HTTP status 400", .region = NULL);
    web_answer(web, "POST /", NULL, 200, "MARKER");
    expect_failure(BD_RETRY, "not the XML", .region = NULL);
    web_answer(web, "POST /", NULL, 200, STS_UNTIL("2001-01-01T00:00:00Z"));
    expect_failure(BD_DENIED, "expired at 2001-01-01T00:00:00Z", .region = NULL);
    setenv("AWS_ENDPOINT_URL_STS", "http://", 1);
    expect_failure(BD_INVALID, "not a URL", .region = NULL);
}

TEST(credentials, a_token_service_that_fails_once_is_asked_again)
{
    sts_home("");
    setenv("AWS_ROLE_ARN", "arn:irsa", 1);
    setenv("AWS_WEB_IDENTITY_TOKEN_FILE", home_file("token", "MARKER"), 1);
    web_answer(web, "POST /", NULL, 503, "");
    expect_failure(BD_RETRY, "HTTP status 503", .region = NULL);
    assert_int_equal(web_seen(web, "POST /"), 3);
}

TEST(credentials, the_token_service_is_asked_through_a_proxy)
{
    sts_home("");
    setenv("AWS_ROLE_ARN", "arn:irsa", 1);
    setenv("AWS_WEB_IDENTITY_TOKEN_FILE", home_file("token", "MARKER"), 1);
    setenv("AWS_ENDPOINT_URL_STS", "http://sts.example.invalid", 1);
    set_url("http_proxy", "");
    web_answer(web, "POST http://sts.example.invalid/", NULL, 200, STS_ANSWER);
    open_with(.region = NULL);
    expect_keys("AKSTS", "MARKER-8", "MARKER-9");
}

/* ------------------------------------------------------------------ containers */

#define METADATA_UNTIL(id, date)                                                                   \
    "{\"Code\":\"Success\",\"AccessKeyId\":\"" id "\",\"SecretAccessKey\":\"MARKER-" id "\","      \
    "\"Token\":\"MARKER-token\",\"Expiration\":\"" date "\"}"
#define METADATA(id) METADATA_UNTIL(id, "2199-01-02T03:04:05Z")

TEST(credentials, a_container_gives_keys)
{
    set_url("AWS_CONTAINER_CREDENTIALS_FULL_URI", "/creds?x=1");
    web_answer(web, "GET /creds?x=1", NULL, 200, METADATA("AKPOD"));
    open_with(.region = NULL);
    expect_keys("AKPOD", "MARKER-AKPOD", "MARKER-token");
    assert_int_equal(web_seen(web, "uthorization:"), 0);
}

TEST(credentials, a_container_authorizes)
{
    set_url("AWS_CONTAINER_CREDENTIALS_FULL_URI", "/creds");
    web_answer(web, "GET /creds", "authorization: Basic MARKER-a\r\n", 200, METADATA("AKPOD"));
    setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", "Basic MARKER-a", 1);
    open_with(.region = NULL);
    expect_keys("AKPOD", "MARKER-AKPOD", "MARKER-token");
    setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", home_file("token", "MARKER-b\n"), 1);
    expect_failure(BD_DENIED, "HTTP status 401", .region = NULL);
    home_file("token", "Basic MARKER-a\n");
    reopen_with(.region = NULL);
    expect_keys("AKPOD", "MARKER-AKPOD", "MARKER-token");
    home_file("token", "Basic MARKER-a\r\nx: y");
    expect_failure(BD_INVALID, "cannot be a header's value", .region = NULL);
    setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", in_home("missing"), 1);
    expect_failure(BD_DENIED, "No such file", .region = NULL);
}

TEST(credentials, what_is_wrong_with_a_container_is_said)
{
    set_url("AWS_CONTAINER_CREDENTIALS_FULL_URI", "/creds");
    expect_failure(BD_DENIED, "HTTP status 404", .region = NULL);
    web_answer(web, "GET /creds", NULL, 200, "MARKER");
    expect_failure(BD_RETRY, "not JSON", .region = NULL);
    setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://192.0.2.1/creds", 1);
    expect_failure(BD_INVALID, "must be https", .region = NULL);
    setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://127.0.0.1:1/creds", 1);
    expect_failure(BD_RETRY, "container's credential service", .region = NULL);
}

TEST(credentials, an_answer_that_is_too_long_is_refused)
{
    static char body[100000];

    memset(body, ' ', sizeof body - 1);
    set_url("AWS_CONTAINER_CREDENTIALS_FULL_URI", "/creds");
    web_answer(web, "GET /creds", NULL, 200, body);
    expect_failure(BD_INVALID, "too long", .region = NULL);
}

TEST(container, which_url_may_be_asked)
{
    static const struct {
        const char *relative, *full, *url; /* NULL: none */
    } cases[] = {
        { "/v2/x", NULL, "http://169.254.170.2/v2/x" },
        { "/v2/x", "https://a/", "http://169.254.170.2/v2/x" },
        { "@evil/x", NULL, NULL },
        { ":80@evil/x", "https://a/", NULL },
        { NULL, "https://a.example/x", "https://a.example/x" },
        { NULL, "http://localhost:8080/x", "http://localhost:8080/x" },
        { NULL, "http://127.9.8.7/x", "http://127.9.8.7/x" },
        { NULL, "http://[::1]/x", "http://[::1]/x" },
        { NULL, "http://169.254.170.23/v1/credentials", "http://169.254.170.23/v1/credentials" },
        { NULL, "http://[fd00:ec2::23]/v1", "http://[fd00:ec2::23]/v1" },
        { NULL, "http://a.example/x", NULL },
        { NULL, "http://127.0.0.1.example/x", NULL },
        { NULL, "http://127.0.0.1@a.example/x", NULL },
        { NULL, "http://169.254.169.254/x", NULL },
        { NULL, "http://localhost.example/x", NULL },
        { NULL, "ftp://127.0.0.1/x", NULL },
        { NULL, "file:///etc/passwd", NULL },
        { NULL, "nothing", NULL },
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char url[256];
        const char *why;
        bool may = container_url(cases[i].relative, cases[i].full, url, sizeof url, &why);

        if (may != (cases[i].url != NULL))
            fail_msg("%s %s", cases[i].relative, cases[i].full);
        if (may)
            assert_string_equal(url, cases[i].url);
    }
}

/* ------------------------------------------------------------------ instances */

#define TOKEN_PATH "PUT /latest/api/token"
#define ROLES_PATH "GET /latest/meta-data/iam/security-credentials/"

/* Version 2: nothing without its token. */
static void
instance(void)
{
    unsetenv("AWS_EC2_METADATA_DISABLED");
    set_url("AWS_EC2_METADATA_SERVICE_ENDPOINT", "/");
    web_answer(web, TOKEN_PATH, "x-aws-ec2-metadata-token-ttl-seconds: 21600", 200, "MARKER-imds");
    web_answer(web, ROLES_PATH, "x-aws-ec2-metadata-token: MARKER-imds", 200, "app\nother\n");
    web_answer(web, ROLES_PATH "app", "x-aws-ec2-metadata-token: MARKER-imds", 200,
               METADATA("AKEC2"));
    web_answer(web, ROLES_PATH "a%2Fb", "x-aws-ec2-metadata-token: MARKER-imds", 200,
               METADATA("AKNAMED"));
}

TEST(credentials, an_instance_role_is_found)
{
    instance();
    open_with(.region = NULL);
    expect_keys("AKEC2", "MARKER-AKEC2", "MARKER-token");
    assert_string_equal(credentials->source, "EC2 instance role app");
}

TEST(credentials, an_instance_role_can_be_asked_for)
{
    instance();
    set_environment_keys();
    setenv("AWS_EC2_METADATA_DISABLED", "true", 1);
    open_with(.ec2_role = "");
    expect_keys("AKEC2", "MARKER-AKEC2", "MARKER-token");
    reopen_with(.ec2_role = "a/b");
    expect_keys("AKNAMED", "MARKER-AKNAMED", "MARKER-token");
    expect_failure(BD_INVALID, "no role nobody", .ec2_role = "nobody");
}

TEST(credentials, an_instance_service_can_be_turned_off)
{
    instance();
    setenv("AWS_EC2_METADATA_DISABLED", "TRUE", 1);
    open_with(.region = NULL);
    assert_null(credentials->access_id);
    assert_int_equal(web_seen(web, "HTTP/1.1"), 0);
}

TEST(credentials, version_1_is_used_only_if_allowed)
{
    instance();
    web_answer(web, TOKEN_PATH, NULL, 404, "");
    web_answer(web, ROLES_PATH, NULL, 200, "app");
    web_answer(web, ROLES_PATH "app", NULL, 200, METADATA("AKV1"));
    expect_failure(BD_DENIED, "version 2", .ec2_role = "");
    assert_int_equal(web_seen(web, ROLES_PATH), 0);
    open_with(.ec2_role = "", .allow_imds_v1 = true);
    expect_keys("AKV1", "MARKER-AKV1", "MARKER-token");
    assert_int_equal(web_seen(web, "metadata-token:"), 0);
}

TEST(credentials, version_2_is_used_though_version_1_is_allowed)
{
    instance();
    open_with(.ec2_role = "", .allow_imds_v1 = true);
    expect_keys("AKEC2", "MARKER-AKEC2", "MARKER-token");
}

TEST(credentials, an_empty_token_is_none)
{
    instance();
    web_answer(web, TOKEN_PATH, NULL, 200, "");
    expect_failure(BD_RETRY, "no token", .ec2_role = "");
}

TEST(credentials, an_instance_without_a_role_is_none)
{
    instance();
    web_answer(web, ROLES_PATH, NULL, 404, "");
    open_with(.region = NULL);
    assert_null(credentials->access_id);
    assert_int_equal(log_count(BD_INFO, "has no role"), 1);
    expect_failure(BD_INVALID, "has no role", .ec2_role = "");
}

TEST(credentials, a_role_whose_keys_do_not_come_is_an_error)
{
    instance();
    web_answer(web, ROLES_PATH "app", NULL, 200,
               "{\"Code\":\"AssumeRoleUnauthorizedAccess\",\"Message\":\"no\"}");
    expect_failure(BD_RETRY, "AssumeRoleUnauthorizedAccess", .region = NULL);
    web_answer(web, ROLES_PATH "app", NULL, 500, "");
    expect_failure(BD_RETRY, "HTTP status 500", .region = NULL);
}

TEST(credentials, a_machine_that_only_looks_like_an_instance_does_not_wait_long)
{
    uint64_t begin_ns = clock_now_ns();

    instance();
    web_answer(web, TOKEN_PATH, NULL, WEB_HANGS, "");
    open_with(.region = NULL);
    assert_null(credentials->access_id);
    assert_true(clock_now_ns() - begin_ns < 2 * NS_PER_S);
}

TEST(credentials, an_instance_that_was_asked_for_and_hangs_is_an_error)
{
    uint64_t begin_ns = clock_now_ns();

    instance();
    web_answer(web, TOKEN_PATH, NULL, WEB_HANGS, "");
    expect_failure(BD_RETRY, "instance metadata service", .ec2_role = "");
    assert_true(clock_now_ns() - begin_ns < 8 * NS_PER_S);
}

TEST(credentials, metadata_never_goes_through_a_proxy)
{
    instance();
    setenv("http_proxy", "http://127.0.0.1:1", 1);
    setenv("all_proxy", "http://127.0.0.1:1", 1);
    open_with(.region = NULL);
    expect_keys("AKEC2", "MARKER-AKEC2", "MARKER-token");
}

TEST(credentials, the_firmware_tells_an_instance)
{
    home_file("nitro/sys_vendor", "Amazon EC2\n");
    home_file("xen/sys_vendor", "Xen\n");
    home_file("xen/product_uuid", "ec2e1916-9099-7caf-fd21-012345abcdef\n");
    home_file("old/product_uuid", "EC2E1916-9099-7CAF-FD21-012345ABCDEF\n");
    home_file("other/sys_vendor", "QEMU\n");
    assert_true(instance_is_ec2(in_home("nitro")));
    assert_true(instance_is_ec2(in_home("xen")));
    assert_true(instance_is_ec2(in_home("old")));
    assert_false(instance_is_ec2(in_home("other")));
    assert_false(instance_is_ec2(in_home("missing")));
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
        RUN(xml, what_gives_keys),
        FRESH(credentials, a_role_is_assumed_with_the_keys_of_another_profile),
        FRESH(credentials, what_is_signed_is_what_is_sent),
        FRESH(credentials, a_role_is_assumed_through_another_role),
        FRESH(credentials, a_profile_that_is_its_own_source_has_the_keys_in_it),
        FRESH(credentials, a_role_is_assumed_with_the_keys_of_the_environment),
        FRESH(credentials, profiles_that_make_no_sense_are_errors),
        FRESH(credentials, a_web_identity_is_exchanged_unsigned),
        FRESH(credentials, a_profile_may_name_a_web_identity),
        FRESH(credentials, what_is_wrong_with_a_web_identity_is_said),
        FRESH(credentials, a_token_service_that_fails_once_is_asked_again),
        FRESH(credentials, the_token_service_is_asked_through_a_proxy),
        FRESH(credentials, a_container_gives_keys),
        FRESH(credentials, a_container_authorizes),
        FRESH(credentials, what_is_wrong_with_a_container_is_said),
        FRESH(credentials, an_answer_that_is_too_long_is_refused),
        RUN(container, which_url_may_be_asked),
        FRESH(credentials, an_instance_role_is_found),
        FRESH(credentials, an_instance_role_can_be_asked_for),
        FRESH(credentials, an_instance_service_can_be_turned_off),
        FRESH(credentials, version_1_is_used_only_if_allowed),
        FRESH(credentials, version_2_is_used_though_version_1_is_allowed),
        FRESH(credentials, an_empty_token_is_none),
        FRESH(credentials, an_instance_without_a_role_is_none),
        FRESH(credentials, a_role_whose_keys_do_not_come_is_an_error),
        FRESH(credentials, a_machine_that_only_looks_like_an_instance_does_not_wait_long),
        FRESH(credentials, an_instance_that_was_asked_for_and_hangs_is_an_error),
        FRESH(credentials, metadata_never_goes_through_a_proxy),
        FRESH(credentials, the_firmware_tells_an_instance),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
