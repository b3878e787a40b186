/* SPDX-License-Identifier: Apache-2.0 */
/* Options: every way to give one, every type, and the sentence for every mistake. */
#include "test.h"

#include "base/options.h"

#include <errno.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct fields {
    const char *text;
    const char *path;
    const char *secret;
    uint8_t flag;
    uint8_t other;
    uint8_t lit;
    uint32_t small;
    uint64_t big;
    uint64_t size_bytes;
    uint64_t wait_ms;
    uint64_t timeout_ms;
    uint32_t kind;
    uint32_t mode;
    const char *config_file;
    const char *bare;
    uint32_t bare_kind;
    uint8_t hidden;
};

static const char *const kinds[] = { "deflate", "zstd", "none", NULL };

static const struct bd_option rows[] = {
    { .name = "text",
      .alias = "words theText",
      .type = BD_OPT_STRING,
      BD_FIELD(struct fields, text),
      .def = "hello",
      .help = "some text" },
    { .name = "path",
      .type = BD_OPT_PATH,
      BD_FIELD(struct fields, path),
      .flags = BD_OPTF_LOCATION,
      .help = "a path" },
    { .name = "password",
      .type = BD_OPT_SECRET,
      BD_FIELD(struct fields, secret),
      .help = "the password" },
    { .name = "foreground",
      .type = BD_OPT_BOOL,
      BD_FIELD(struct fields, flag),
      .help = "stay in the foreground" },
    { .name = "debug", .type = BD_OPT_BOOL, BD_FIELD(struct fields, other), .help = "say more" },
    { .name = "light",
      .type = BD_OPT_BOOL,
      BD_FIELD(struct fields, lit),
      .def = "yes",
      .help = "with light" },
    { .name = "small",
      .type = BD_OPT_UINT,
      BD_FIELD(struct fields, small),
      .def = "3",
      .min = 1,
      .max = 19,
      .help = "a small number" },
    { .name = "big", .type = BD_OPT_UINT, BD_FIELD(struct fields, big), .help = "a big number" },
    { .name = "blockSize",
      .alias = "bs",
      .type = BD_OPT_SIZE,
      BD_FIELD(struct fields, size_bytes),
      .def = "1M",
      .min = 512,
      .max = 16 << 20,
      .help = "bytes of one block" },
    { .name = "wait",
      .type = BD_OPT_DURATION,
      BD_FIELD(struct fields, wait_ms),
      .min = 10,
      .help = "how long to wait" },
    { .name = "timeout",
      .type = BD_OPT_DURATION,
      BD_FIELD(struct fields, timeout_ms),
      .flags = BD_OPTF_SECONDS,
      .def = "30",
      .help = "limit of one attempt" },
    { .name = "kind",
      .type = BD_OPT_ENUM,
      BD_FIELD(struct fields, kind),
      .def = "zstd",
      .choices = kinds,
      .help = "which compression" },
    { .name = "file-mode",
      .type = BD_OPT_OCTAL,
      BD_FIELD(struct fields, mode),
      .def = "0600",
      .help = "mode of the file" },
    { .name = "configFile",
      .type = BD_OPT_PATH,
      BD_FIELD(struct fields, config_file),
      .help = "read options from this file" },
    { .name = "compress",
      .type = BD_OPT_STRING,
      BD_FIELD(struct fields, bare),
      .flags = BD_OPTF_BARE,
      .metavar = "ALG",
      .help = "compress blocks" },
    { .name = "encrypt",
      .type = BD_OPT_ENUM,
      BD_FIELD(struct fields, bare_kind),
      .flags = BD_OPTF_BARE,
      .choices = kinds,
      .def = "none",
      .help = "encrypt blocks" },
    { .name = "test-secret-door",
      .type = BD_OPT_BOOL,
      BD_FIELD(struct fields, hidden),
      .flags = BD_OPTF_HIDDEN,
      .help = "for tests" },
};

#define ROWS rows, sizeof rows / sizeof rows[0], sizeof rows[0]
#define SHORTS "f=foreground d=debug F=configFile t=text p=password z=compress"

static struct fields fields;
static struct options *options;
static struct error why;
static char *argv[40];
static char *words[40];
static int argc, word_count;
static char dir[PATH_MAX];

static int
fresh(void **state)
{
    (void)state;
    memset(&fields, 0xee, sizeof fields);
    why.text[0] = '\0';
    argc = 0;
    return options_new(&options) != 0 || options_add(options, "", ROWS, &fields, &why) != 0;
}

static int
gone(void **state)
{
    (void)state;
    for (int i = 0; i < argc; i++)
        free(argv[i]);
    argc = 0;
    options_free(options);
    options = NULL;
    return 0;
}

/* Parse these words, the last being NULL. */
static int
parse(const char *first, ...)
{
    va_list args;

    for (int i = 0; i < argc; i++)
        free(argv[i]);
    argc = 0;
    argv[argc++] = strdup("bucketdisk");
    va_start(args, first);
    for (const char *word = first; word != NULL; word = va_arg(args, const char *))
        argv[argc++] = strdup(word);
    va_end(args);
    argv[argc] = NULL;
    why.text[0] = '\0';
    return options_parse(options, argc, argv, SHORTS, words, &word_count, &why);
}

#define expect_ok(...) expect_rc(parse(__VA_ARGS__, NULL))
#define expect_error(sentence, ...)                                                                \
    do {                                                                                           \
        assert_true(parse(__VA_ARGS__, NULL) < 0);                                                 \
        assert_string_equal(why.text, sentence);                                                   \
    } while (0)

static void
expect_rc(int rc)
{
    if (rc != 0)
        fail_msg("%d: %s", rc, why.text);
}

static char *
file_of(const char *name, const char *text)
{
    static char path[PATH_MAX + 64];
    FILE *file;

    snprintf(path, sizeof path, "%s/%s", dir, name);
    file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    assert_int_equal(fclose(file), 0);
    return path;
}

/* ------------------------------------------------------------------ values */

TEST(options, defaults_are_written_when_rows_are_added)
{
    assert_string_equal(fields.text, "hello");
    assert_null(fields.path);
    assert_null(fields.secret);
    assert_int_equal(fields.flag, 0);
    assert_int_equal(fields.lit, 1);
    assert_int_equal(fields.small, 3);
    assert_int_equal(fields.big, 0);
    assert_int_equal(fields.size_bytes, 1 << 20);
    assert_int_equal(fields.timeout_ms, 30000);
    assert_int_equal(fields.kind, 1);
    assert_int_equal(fields.bare_kind, 2);
    assert_int_equal(fields.mode, 0600);
    assert_false(options_given(options, "text"));
}

TEST(options, names_compare_without_dashes_and_case)
{
    static const char *const same[] = { "--blockSize=4K",      "--block-size=4K", "--BLOCKSIZE=4K",
                                        "--b-l-o-c-k-size=4K", "--bs=4K",         "--BS=4K" };

    for (size_t i = 0; i < sizeof same / sizeof same[0]; i++) {
        fields.size_bytes = 0;
        expect_ok(same[i]);
        assert_int_equal(fields.size_bytes, 4096);
    }
    assert_true(options_given(options, "block-size"));
    assert_true(options_given(options, "bs"));
}

TEST(options, names_are_not_abbreviated)
{
    expect_error("there is no option --block; --help lists them all", "--block=4K");
}

TEST(options, values_follow_joined_or_as_the_next_word)
{
    expect_ok("--text=one", "--small", "7", "--path", "/a", "word", "--kind", "NONE", "--",
              "--text");
    assert_string_equal(fields.text, "one");
    assert_int_equal(fields.small, 7);
    assert_string_equal(fields.path, "/a");
    assert_int_equal(fields.kind, 2);
    assert_int_equal(word_count, 2);
    assert_string_equal(words[0], "word");
    assert_string_equal(words[1], "--text");
}

TEST(options, value_may_hold_equal_signs_and_be_empty)
{
    expect_ok("--text=a=b=c");
    assert_string_equal(fields.text, "a=b=c");
    expect_ok("--text=");
    assert_string_equal(fields.text, "");
}

TEST(options, bool_never_eats_the_next_word)
{
    expect_ok("--foreground", "yes", "--light=no", "-");
    assert_int_equal(fields.flag, 1);
    assert_int_equal(fields.lit, 0);
    assert_int_equal(word_count, 2);
    assert_string_equal(words[0], "yes");
    assert_string_equal(words[1], "-");
}

TEST(options, bool_takes_these_words)
{
    static const char *const yes[] = { "yes", "true", "1", "on", "YES", "True" };
    static const char *const no[] = { "no", "false", "0", "off", "Off" };
    char word[40];

    for (size_t i = 0; i < 6; i++) {
        fields.flag = 7;
        snprintf(word, sizeof word, "--foreground=%s", yes[i]);
        expect_ok(word);
        assert_int_equal(fields.flag, 1);
    }
    for (size_t i = 0; i < 5; i++) {
        fields.flag = 7;
        snprintf(word, sizeof word, "--foreground=%s", no[i]);
        expect_ok(word);
        assert_int_equal(fields.flag, 0);
    }
    expect_error("--foreground: \"maybe\" is neither yes nor no (nor true, false, 1, 0, on, off)",
                 "--foreground=maybe");
    expect_error("--foreground: \"\" is neither yes nor no (nor true, false, 1, 0, on, off)",
                 "--foreground=");
}

TEST(options, bare_options_never_eat_the_next_word)
{
    expect_ok("--compress", "bucket", "--encrypt", "/mnt");
    assert_string_equal(fields.bare, "");
    assert_int_equal(fields.bare_kind, 0);
    assert_int_equal(word_count, 2);
    expect_ok("--compress=zstd", "--encrypt=zstd");
    assert_string_equal(fields.bare, "zstd");
    assert_int_equal(fields.bare_kind, 1);
    expect_ok("-z", "-f");
    assert_string_equal(fields.bare, "");
}

TEST(options, sizes_take_these_forms)
{
    static const struct {
        const char *text;
        uint64_t bytes;
    } good[] = {
        { "0", 0 },
        { "1048576", 1048576 },
        { "4k", 4096 },
        { "4K", 4096 },
        { "4KiB", 4096 },
        { "4kb", 4096 },
        { "12B", 12 },
        { "1M", 1 << 20 },
        { "2g", 2ull << 30 },
        { "3T", 3ull << 40 },
        { "1PiB", 1ull << 50 },
        { "15E", 15ull << 60 },
        { "18446744073709551615", UINT64_MAX },
    };
    static const char *const bad[] = {
        "",
        "K",
        "-1",
        "+1",
        " 1",
        "1 ",
        "1KK",
        "1iB",
        "1Ki",
        "1.5M",
        "0x10",
        "16E",
        "18446744073709551616",
        "1Z",
        "one",
        "1K\n",
        "99999999999999999999999999K",
    };
    uint64_t bytes;

    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        assert_int_equal(parse_size(good[i].text, &bytes), 0);
        assert_true(bytes == good[i].bytes);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        if (parse_size(bad[i], &bytes) != -EINVAL)
            fail_msg("\"%s\" was taken as a size", bad[i]);
    }
}

TEST(options, durations_take_these_forms)
{
    static const struct {
        const char *text;
        uint64_t ms;
    } good[] = {
        { "0", 0 },        { "250", 250 },     { "250ms", 250 }, { "30s", 30000 }, { "2m", 120000 },
        { "1h", 3600000 }, { "1d", 86400000 }, { "5000us", 5 },  { "2S", 2000 },
    };
    static const char *const bad[] = { "",    "s",    "-1s",    "1.5s", "1w",
                                       "1 s", "1sec", "1500us", "0x1",  "18446744073709551615s" };
    uint64_t ms;

    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        assert_int_equal(parse_duration(good[i].text, false, &ms), 0);
        assert_true(ms == good[i].ms);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        if (parse_duration(bad[i], false, &ms) != -EINVAL)
            fail_msg("\"%s\" was taken as a duration", bad[i]);
    }
    assert_int_equal(parse_duration("30", true, &ms), 0);
    assert_int_equal(ms, 30000);
    assert_int_equal(parse_duration("30ms", true, &ms), 0);
    assert_int_equal(ms, 30);
}

TEST(options, numbers_are_decimal_or_hexadecimal_and_fit)
{
    expect_ok("--big=0xffffffffffffffff", "--small=0x10");
    assert_true(fields.big == UINT64_MAX);
    assert_int_equal(fields.small, 16);
    expect_ok("--big=18446744073709551615");
    expect_error(
        "--big: \"18446744073709551616\" is not a whole number, decimal or with 0x in front",
        "--big=18446744073709551616");
    expect_error("--big: \"0x\" is not a whole number, decimal or with 0x in front", "--big=0x");
    expect_error("--big: \"-1\" is not a whole number, decimal or with 0x in front", "--big=-1");
}

TEST(options, bad_values_say_what_is_allowed_and_change_nothing)
{
    expect_error(
        "--blockSize: \"12Q\" is not a size: write a number of bytes, or one with K, M, G, T, "
        "P or E behind it (powers of 1024), below 16E",
        "--blockSize=12Q");
    expect_error("--bs: 100 is out of range: 512 to 16M", "--bs", "100");
    expect_error("--block-size: 17M is out of range: 512 to 16M", "--block-size=17M");
    expect_error("--small: 0 is out of range: 1 to 19", "--small=0");
    expect_error("--small: 4294967297 is out of range: 1 to 19", "--small=4294967297");
    expect_error("--wait: 9 is too small: at least 10ms", "--wait=9");
    expect_error(
        "--wait: \"soon\" is not a duration in whole milliseconds: write a number with us, ms, "
        "s, m, h or d behind it; a bare number is in milliseconds",
        "--wait=soon");
    expect_error(
        "--timeout: \"1.5\" is not a duration in whole milliseconds: write a number with us, "
        "ms, s, m, h or d behind it; a bare number is in seconds",
        "--timeout=1.5");
    expect_error("--kind: \"lz4\" is not one of: deflate, zstd, none", "--kind=lz4");
    expect_error(
        "--file-mode: \"0800\" is not a file mode: write it in octal, 0 to 7777, such as 0600",
        "--file-mode=0800");
    expect_error(
        "--file-mode: \"10000\" is not a file mode: write it in octal, 0 to 7777, such as 0600",
        "--file-mode=10000");
    assert_int_equal(fields.size_bytes, 1 << 20);
    assert_int_equal(fields.small, 3);
    assert_int_equal(fields.kind, 1);
    assert_int_equal(fields.mode, 0600);
    assert_false(options_given(options, "small"));
}

TEST(options, missing_value_is_an_error)
{
    expect_error("--text needs a value, and the command line ends here", "--text");
    expect_error(
        "--text needs a value, but the next word begins with a dash; if it is the value, join "
        "them with =",
        "--text", "--debug");
    expect_error("-o text needs a value: some text", "-o", "text");
    expect_error("-t needs a value, and the command line ends here", "-ft");
    expect_error("-o needs a value, and the command line ends here", "-o");
    assert_true(options_set(options, "small", NULL, &why) < 0);
    assert_string_equal(why.text, "--small needs a value: a small number");
}

TEST(options, unknown_option_suggests_the_nearest_name)
{
    expect_error("there is no option --blocksise; did you mean --blockSize?", "--blocksise=4K");
    expect_error("there is no option --pasword; did you mean --password?", "--pasword=hunter2");
    expect_error("there is no option --teh-text; did you mean --theText?", "--teh-text=x");
    expect_error("there is no option -o debgu; did you mean -o debug?", "-odebgu");
    expect_error("there is no option --qqqqqqq; --help lists them all", "--qqqqqqq");
    expect_error("there is no option --; --help lists them all", "--=x");
}

TEST(options, last_value_wins)
{
    expect_ok("--text=one", "-o", "words=two", "--the-text=three");
    assert_string_equal(fields.text, "three");
}

TEST(options, letters_stand_alone_together_and_with_values)
{
    expect_ok("-fd", "-t", "one");
    assert_int_equal(fields.flag, 1);
    assert_int_equal(fields.other, 1);
    assert_string_equal(fields.text, "one");
    fields.flag = 0;
    expect_ok("-fttwo");
    assert_int_equal(fields.flag, 1);
    assert_string_equal(fields.text, "two");
    expect_error("there is no option -q; --help lists them all", "-fq");
}

TEST(options, list_has_pieces_with_escaped_commas)
{
    expect_ok("-o", "text=a\\,b\\\\,debug,,small=5,");
    assert_string_equal(fields.text, "a,b\\");
    assert_int_equal(fields.other, 1);
    assert_int_equal(fields.small, 5);
    expect_ok("-osmall=6,text=a\\b=c");
    assert_int_equal(fields.small, 6);
    assert_string_equal(fields.text, "a\\b=c");
    expect_error("-o small: 99 is out of range: 1 to 19", "-o", "debug,small=99");
}

TEST(options, words_of_fstab_are_ignored_in_lists_only)
{
    expect_ok("-o",
              "rw,defaults,noauto,user,_netdev,nofail,x-systemd.automount,comment=a b,auto,nouser,"
              "users,debug");
    assert_int_equal(fields.other, 1);
    expect_error("there is no option --noauto; --help lists them all", "--noauto");
    expect_error("there is no option -o ro; --help lists them all", "-o", "ro");
}

TEST(options, words_of_mount_are_kept_for_who_mounts_a_filesystem)
{
    expect_ok("-o", "noatime,debug,kernel_cache", "-o", "x-systemd.requires=a b,dev");
    assert_string_equal(options_mount_words(options), "noatime,x-systemd.requires=a b,dev");
}

TEST(options, words_for_the_kernel_and_those_that_change_nothing_are_kept)
{
    assert_string_equal(options_mount_flags(options), "");
    assert_string_equal(options_idle_words(options), "");
    expect_ok("-o", "rw,noexec,dev,suid,debug,attr_timeout=5", "-o",
              "user=joe,sync,intr,X-mount.mkdir,kernel_cache");
    assert_string_equal(options_mount_flags(options), "noexec,sync");
    assert_string_equal(options_idle_words(options), "attr_timeout=5,intr");
    assert_int_equal(fields.other, 1);
    expect_error("there is no option -o attr_timeout; --help lists them all", "-o", "attr_timeout");
    expect_error("there is no option --noexec; --help lists them all", "--noexec");
}

TEST(options, what_is_refused_says_what_to_do_instead)
{
    static const struct option_refusal refusals[] = {
        { "retry-pause", "say --wait" },
        { "timeouts", "there is only one" },
    };
    char expected[PATH_MAX + 200];
    char *path = file_of("conf", "debug\nretry-pause = 3\n");

    options_refuse(options, refusals, sizeof refusals / sizeof refusals[0]);
    expect_error("--retryPause: say --wait", "--retryPause=5");
    expect_error("-o retrypause: say --wait", "-o", "debug,retrypause");
    expect_error("--timeouts: there is only one", "--timeouts");
    expect_error("there is no option --retryPauses; --help lists them all", "--retryPauses");
    snprintf(expected, sizeof expected, "%s:2: --retry-pause: say --wait", path);
    expect_error(expected, "-F", path);
}

TEST(options, path_is_made_absolute)
{
    char here[PATH_MAX], expected[PATH_MAX + 16];

    assert_non_null(getcwd(here, sizeof here));
    snprintf(expected, sizeof expected, "%s/some/file", here);
    expect_ok("--path=some/file");
    assert_string_equal(fields.path, expected);
    expect_ok("--path=/abs");
    assert_string_equal(fields.path, "/abs");
    expect_ok("--path=");
    assert_string_equal(fields.path, "");
}

/* ------------------------------------------------------------------ secrets */

/* Is the secret in none of the words? */
static void
expect_scrubbed(const char *secret)
{
    for (int i = 0; i < argc; i++)
        assert_null(strstr(argv[i], secret));
}

TEST(options, secret_is_gone_from_the_command_line)
{
    expect_ok("--password=hunter2");
    assert_string_equal(fields.secret, "hunter2");
    assert_string_equal(argv[1], "--password=xxxxxxx");
    expect_ok("--password", "hunter2");
    assert_string_equal(fields.secret, "hunter2");
    assert_string_equal(argv[2], "xxxxxxx");
    expect_ok("-o", "debug,password=hun\\,ter2,small=5");
    assert_string_equal(fields.secret, "hun,ter2");
    assert_string_equal(argv[2], "debug,password=xxxxxxxxx,small=5");
    expect_ok("-phunter2");
    assert_string_equal(argv[1], "-pxxxxxxx");
    expect_ok("-p", "hunter2");
    expect_scrubbed("hunter2");
}

TEST(options, one_side_takes_its_own_and_what_is_said_of_both)
{
    options_take_side(options, "from", "to");
    expect_ok("--text=both", "--from-kind=zstd", "--to-small=7", "--block-size", "4K", "--to-text",
              "theirs", "word");
    assert_string_equal(fields.text, "both");
    assert_int_equal(fields.kind, 1);
    assert_false(options_given(options, "small"));
    assert_int_equal(fields.size_bytes, 4096);
    assert_int_equal(word_count, 1);
    expect_ok("--fromText=a", "--TO_TEXT=b", "-o", "to-text=c,from-big=5,toforeground");
    assert_string_equal(fields.text, "a");
    assert_int_equal(fields.big, 5);
    assert_false(options_given(options, "foreground"));
}

TEST(options, what_is_the_other_sides_must_be_an_option_all_the_same)
{
    options_take_side(options, "from", "to");
    assert_int_equal(parse("--to-nothing=1", NULL), -ENOENT);
    assert_int_equal(parse("--from=1", NULL), -ENOENT);
    assert_int_equal(parse("--to-=1", NULL), -ENOENT);
    assert_int_equal(parse("--to-text", NULL), -EINVAL);
}

TEST(options, sides_mean_nothing_where_there_is_one)
{
    assert_int_equal(parse("--from-text=a", NULL), -ENOENT);
}

TEST(options, the_other_sides_secret_is_gone_from_the_command_line)
{
    options_take_side(options, "from", "to");
    expect_ok("--to-password=hunter2", "-o", "debug,to-password=hunter3");
    assert_false(options_given(options, "password"));
    expect_scrubbed("hunter2");
    expect_scrubbed("hunter3");
}

TEST(options, secret_that_is_forgotten_was_given)
{
    expect_ok("--password=hunter2");
    options_forget(options, "password");
    assert_null(fields.secret);
    assert_true(options_given(options, "password"));
    options_forget(options, "password");
    expect_ok("--password=hunter3");
    assert_string_equal(fields.secret, "hunter3");
}

TEST(options, secret_is_gone_after_an_error_too)
{
    assert_true(parse("--password=hunter2", "--small=99", NULL) < 0);
    expect_scrubbed("hunter2");
    assert_true(parse("--password=@/nonexistent/hunter2", NULL) < 0);
    expect_scrubbed("hunter2");
    assert_true(parse("-o", "password=env:NO_SUCH_hunter2", NULL) < 0);
    expect_scrubbed("hunter2");
}

TEST(options, secret_comes_from_the_first_line_of_a_file)
{
    char value[PATH_MAX + 80], longest[1026];

    snprintf(value, sizeof value, "--password=@%s", file_of("secret", "hunter2\nsecond\n"));
    expect_ok(value);
    assert_string_equal(fields.secret, "hunter2");
    file_of("secret", "windows\r\n");
    expect_ok(value);
    assert_string_equal(fields.secret, "windows");
    file_of("secret", " no newline ");
    expect_ok(value);
    assert_string_equal(fields.secret, " no newline ");

    memset(longest, 'a', sizeof longest);
    longest[1023] = '\0';
    file_of("secret", longest);
    expect_ok(value);
    assert_int_equal(strlen(fields.secret), 1023);
    longest[1023] = 'a';
    longest[1024] = '\0';
    file_of("secret", longest);
    assert_true(parse(value, NULL) < 0);
    assert_non_null(strstr(why.text, "is longer than 1023 bytes"));
    file_of("secret", "\nsecond\n");
    assert_true(parse(value, NULL) < 0);
    assert_non_null(strstr(why.text, "the first line of"));
    assert_non_null(strstr(why.text, "is empty"));
    expect_error(
        "--password: cannot read /nonexistent: No such file or directory (a value that begins "
        "with @ names a file with the secret in its first line)",
        "--password=@/nonexistent");
    assert_int_equal(strlen(fields.secret), 1023);
}

TEST(options, secret_comes_from_the_environment)
{
    setenv("TEST_OPTIONS_SECRET", "@hunter2", 1);
    expect_ok("--password", "env:TEST_OPTIONS_SECRET");
    assert_string_equal(fields.secret, "@hunter2");
    unsetenv("TEST_OPTIONS_SECRET");
    expect_error(
        "--password: the environment has no variable \"TEST_OPTIONS_SECRET\" (a value that "
        "begins with env: names one)",
        "--password=env:TEST_OPTIONS_SECRET");
}

/* ------------------------------------------------------------------ config files */

TEST(options, config_file_has_one_option_a_line)
{
    char *path = file_of("conf", "# a comment\n"
                                 "\n"
                                 "  --text=one  \n"
                                 "small = 7\n"
                                 "-d\n"
                                 "blockSize 8K\r\n"
                                 "\t# indented\n"
                                 "password = \" hunter2 \"\n"
                                 "'--kind=none'\n"
                                 "-o big=9,light=no\n"
                                 "compress\n"
                                 "foreground=yes");

    expect_ok("--configFile", path, "word");
    assert_string_equal(fields.text, "one");
    assert_int_equal(fields.small, 7);
    assert_int_equal(fields.other, 1);
    assert_int_equal(fields.size_bytes, 8192);
    assert_string_equal(fields.secret, " hunter2 ");
    assert_int_equal(fields.kind, 2);
    assert_int_equal(fields.big, 9);
    assert_int_equal(fields.lit, 0);
    assert_string_equal(fields.bare, "");
    assert_int_equal(fields.flag, 1);
    assert_int_equal(word_count, 1);
}

TEST(options, config_file_stands_where_it_is_named)
{
    char *path = file_of("conf", "text=file\n");

    expect_ok("--text=before", "-F", path);
    assert_string_equal(fields.text, "file");
    expect_ok("-F", path, "--text=after");
    assert_string_equal(fields.text, "after");
}

TEST(options, bad_line_of_a_config_file_is_named_with_file_and_line)
{
    char expected[PATH_MAX + 200];
    char *path = file_of("conf", "# one\ntext=two\nsmall=99\n");

    snprintf(expected, sizeof expected, "%s:3: --small: 99 is out of range: 1 to 19", path);
    expect_error(expected, "-F", path);
    file_of("conf", "smal=9\n");
    snprintf(expected, sizeof expected, "%s:1: there is no option --smal; did you mean --small?",
             path);
    expect_error(expected, "-F", path);
    file_of("conf", "\n\ntext\n");
    snprintf(expected, sizeof expected, "%s:3: --text needs a value: some text", path);
    expect_error(expected, "-F", path);
    expect_error("cannot read config file /nonexistent: No such file or directory",
                 "--config-file=/nonexistent");
    /* What comes after a bad file is on the command line again. */
    assert_true(parse("--small=99", NULL) < 0);
    assert_string_equal(why.text, "--small: 99 is out of range: 1 to 19");
}

TEST(options, config_files_nest_to_depth_eight)
{
    char text[PATH_MAX + 80], name[20], first[PATH_MAX + 80];

    for (unsigned i = 1; i <= 9; i++) {
        snprintf(name, sizeof name, "conf%u", i);
        if (i < 8)
            snprintf(text, sizeof text, "configFile=%s/conf%u\nbig=%u\n", dir, i + 1, i);
        else
            snprintf(text, sizeof text, "small=8\n");
        file_of(name, text);
    }
    snprintf(first, sizeof first, "%s/conf1", dir);
    expect_ok("-F", first);
    assert_int_equal(fields.small, 8);
    assert_int_equal(fields.big, 1); /* the outermost says its own last */

    snprintf(text, sizeof text, "configFile=%s/conf9\n", dir);
    file_of("conf8", text);
    assert_true(parse("-F", first, NULL) == -ELOOP);
    assert_non_null(strstr(why.text, "conf8:1: config file "));
    assert_non_null(strstr(why.text, "conf9 is nested more than 8 deep; does a file name itself?"));
}

TEST(options, skimming_sees_its_own_wherever_it_stands)
{
    char *path = file_of("conf", "frob=1\nsmall=7\n-o knob,big=9\nmore words\n");

    options_skim(options);
    expect_ok("--frob", "1", "-Zd", "-o", "knob=a\\,b,text=one", "-F", path);
    assert_int_equal(fields.other, 1);
    assert_string_equal(fields.text, "one");
    assert_int_equal(fields.small, 7);
    assert_int_equal(fields.big, 9);
    expect_error("--small: 99 is out of range: 1 to 19", "--frob", "--small=99");
}

TEST(options, skimming_sees_both_sides)
{
    options_skim(options);
    options_take_side(options, "from", "to");
    expect_ok("--from-text=one", "--to-small=7", "--to-frob=1");
    assert_string_equal(fields.text, "one");
    assert_int_equal(fields.small, 7);
}

/* What is read from a pipe is not there the second time. */
TEST(options, skimming_leaves_a_pipe_alone)
{
    char path[40], left[20] = "";
    int ends[2];

    assert_int_equal(pipe(ends), 0);
    snprintf(path, sizeof path, "/dev/fd/%d", ends[0]);
    assert_int_equal(write(ends[1], "small=7\n", 8), 8);
    close(ends[1]);
    options_skim(options);
    expect_ok("-F", path);
    assert_int_equal(fields.small, 3);
    assert_int_equal(read(ends[0], left, sizeof left), 8);
    close(ends[0]);
}

/* ------------------------------------------------------------------ rows */

struct one {
    uint64_t number;
    const char *text;
};

TEST(options, plugin_options_carry_their_owner)
{
    static const struct bd_option more[] = {
        { .name = "level",
          .alias = "compress-level",
          .type = BD_OPT_UINT,
          BD_FIELD(struct one, number),
          .def = "3",
          .help = "a level" },
        { .name = "where",
          .type = BD_OPT_STRING,
          BD_FIELD(struct one, text),
          .flags = BD_OPTF_LOCATION | BD_OPTF_REQUIRED,
          .help = "the place" },
    };
    struct one one;

    expect_rc(options_add(options, "zstd", more, 2, sizeof more[0], &one, &why));
    expect_ok("--zstd-level=5");
    assert_int_equal(one.number, 5);
    expect_ok("--compressLevel=6");
    assert_int_equal(one.number, 6);
    expect_error("there is no option --level; --help lists them all", "--level=1");

    assert_int_equal(options_require(options, "zstd", &why), -EINVAL);
    assert_string_equal(why.text,
                        "--zstd-where is required (the place); it may also be the first word "
                        "of the command line");
    expect_ok("--zstd-where=");
    assert_int_equal(options_require(options, "zstd", &why), -EINVAL);
    assert_string_equal(why.text, "--zstd-where is empty, and it is required (the place)");
    expect_ok("--zstd-where=here");
    assert_int_equal(options_set_location(options, "zstd", "here", &why), 0);
    assert_int_equal(options_require(options, "zstd", &why), 0);
    assert_string_equal(one.text, "here");
    assert_int_equal(options_set_location(options, "zstd", "here", &why), 0);
    assert_int_equal(options_set_location(options, "zstd", "there", &why), -EEXIST);
    assert_string_equal(why.text, "the location is given twice, as \"there\" and as "
                                  "--zstd-where=here: leave one out");
    assert_int_equal(options_set_location(options, "other", "there", &why), -ENOENT);
}

static void
expect_row(int rc, const char *sentence, struct bd_option row)
{
    struct one one;

    if (row.field_bytes == 0) {
        row.offset = (uint32_t)offsetof(struct one, number);
        row.field_bytes = sizeof one.number;
    }
    if (row.help == NULL)
        row.help = "help";
    assert_int_equal(options_add(options, "own", &row, 1, sizeof row, &one, &why), rc);
    assert_string_equal(why.text, sentence);
}

TEST(options, a_name_of_the_core_stays_the_cores_whatever_plugins_call_theirs)
{
    static const struct bd_option row = { .name = "size",
                                          .alias = "other2 SMA-LL",
                                          .type = BD_OPT_UINT,
                                          BD_FIELD(struct one, number),
                                          .help = "help" };
    struct one one;
    char *text = NULL;
    size_t bytes;
    FILE *out = open_memstream(&text, &bytes);

    expect_rc(
        options_add_plugin(options, "backend-block", "block", &row, 1, sizeof row, &one, &why));
    expect_ok("--block-size=2M");
    expect_ok("--small=7");
    assert_int_equal(fields.size_bytes, 2 << 20);
    assert_int_equal(fields.small, 7);
    assert_int_equal(one.number, 0);
    assert_false(options_given(options, "block:size"));
    expect_ok("--block:size=5");
    assert_int_equal(one.number, 5);
    expect_ok("--backend-block:small=6");
    assert_int_equal(one.number, 6);
    expect_ok("--other2=8");
    assert_int_equal(one.number, 8);
    assert_int_equal(options_check_names(options, "block", &why), -EEXIST);
    assert_string_equal(why.text, "two options are called --block-size: \"blockSize\" of the core "
                                  "and \"size\" of block");
    options_help(options, "block", out);
    assert_int_equal(fclose(out), 0);
    assert_non_null(strstr(text, "--backend-block:size=N"));
    free(text);
}

TEST(options, what_two_plugins_have_is_asked_for_by_the_plugins_name)
{
    static const struct bd_option row = { .name = "level",
                                          .alias = "speed",
                                          .type = BD_OPT_UINT,
                                          BD_FIELD(struct one, number),
                                          .help = "help" };
    struct one one, two;

    expect_rc(options_add_plugin(options, "backend-x", "x", &row, 1, sizeof row, &one, &why));
    expect_rc(options_add_plugin(options, "codec-x", "x", &row, 1, sizeof row, &two, &why));
    expect_error("--x-level is an option of backend-x and of codec-x: say backend-x:level or "
                 "codec-x:level",
                 "--x-level=1");
    expect_error("-o speed is an option of backend-x and of codec-x: say backend-x:level or "
                 "codec-x:level",
                 "-ospeed=1");
    expect_ok("--codec-x:level=4");
    expect_ok("-obackend-x:speed=3");
    assert_int_equal(one.number, 3);
    assert_int_equal(two.number, 4);
    expect_error("there is no option --y:level; did you mean --x-level?", "--y:level=1");
}

TEST(options, two_rows_of_one_name_are_an_error_of_their_owner)
{
    static const struct bd_option twice[] = {
        { .name = "a", .type = BD_OPT_UINT, BD_FIELD(struct one, number), .help = "help" },
        { .name = "b",
          .alias = "own-A",
          .type = BD_OPT_UINT,
          BD_FIELD(struct one, number),
          .help = "help" },
    };
    struct one one;

    assert_int_equal(options_add(options, "own", twice, 2, sizeof twice[0], &one, &why), -EEXIST);
    assert_string_equal(why.text, "two options are called --own-A: \"a\" of own and \"b\" of own");
    /* A failed add leaves nothing behind. */
    assert_int_equal(parse("--own-a=1", NULL), -ENOENT);
    assert_int_equal(parse("--own-b=1", NULL), -ENOENT);
}

TEST(options, rows_are_added_all_or_none)
{
    static const struct bd_option more[] = {
        { .name = "good", .type = BD_OPT_UINT, BD_FIELD(struct one, number), .help = "good" },
        { .name = "bad", .type = BD_OPT_STRING, BD_FIELD(struct one, text) },
    };
    struct one one;

    assert_int_equal(options_add(options, "own", more, 2, sizeof more[0], &one, &why), -EINVAL);
    assert_string_equal(why.text, "option \"bad\" of own has no help line");
    assert_int_equal(parse("--own-good=1", NULL), -ENOENT);
    assert_int_equal(options_add(options, "own", more, 1, sizeof more[0], &one, &why), 0);
    assert_int_equal(parse("--own-good=1", NULL), 0);
}

TEST(options, wrong_rows_are_refused)
{
    expect_row(-EINVAL, "option \"x\" of own has a type that this bucketdisk does not know",
               (struct bd_option){ .name = "x", .type = 77 });
    expect_row(-EINVAL, "option \"x\" of own is an enum without choices",
               (struct bd_option){ .name = "x", .type = BD_OPT_ENUM, .field_bytes = 4 });
    expect_row(-EINVAL, "option \"x\" of own has a minimum above its maximum",
               (struct bd_option){ .name = "x", .type = BD_OPT_UINT, .min = 5, .max = 4 });
    expect_row(-EINVAL, "option \"x\" of own is a secret with a default",
               (struct bd_option){ .name = "x", .type = BD_OPT_SECRET, .def = "1234" });
    expect_row(-EINVAL, "option \"x\" of own is required and has a default",
               (struct bd_option){
                   .name = "x", .type = BD_OPT_UINT, .flags = BD_OPTF_REQUIRED, .def = "1" });
    expect_row(-EINVAL, "option \"x\" of own is a location but neither a string nor a path",
               (struct bd_option){ .name = "x", .type = BD_OPT_UINT, .flags = BD_OPTF_LOCATION });
    expect_row(-EINVAL, "option \"x\" of own is in seconds but not a duration",
               (struct bd_option){ .name = "x", .type = BD_OPT_UINT, .flags = BD_OPTF_SECONDS });
    expect_row(-EINVAL, "option \"x\" of own may be bare but is neither a string nor an enum",
               (struct bd_option){ .name = "x", .type = BD_OPT_UINT, .flags = BD_OPTF_BARE });
    expect_row(-EINVAL,
               "option \"x\" of own has an alias that is no name (letters, digits, - and _)",
               (struct bd_option){ .name = "x", .alias = "a=b", .type = BD_OPT_UINT });
    expect_row(-EINVAL,
               "option \"x\" of own has a bad default: \"1Q\" is not a size: write a number of "
               "bytes, or one with K, M, G, T, P or E behind it (powers of 1024), below 16E",
               (struct bd_option){ .name = "x", .type = BD_OPT_SIZE, .def = "1Q" });
}

TEST(options, longer_rows_are_read_at_their_stride)
{
    struct long_row {
        struct bd_option row;
        uint64_t more[3];
    };
    static const struct long_row long_rows[] = {
        { { .name = "a",
            .type = BD_OPT_UINT,
            BD_FIELD(struct one, number),
            .def = "1",
            .help = "a" },
          { 1, 2, 3 } },
        { { .name = "b",
            .type = BD_OPT_STRING,
            BD_FIELD(struct one, text),
            .def = "x",
            .help = "b" },
          { 1, 2, 3 } },
    };
    struct one one;

    expect_rc(options_add(options, "long", &long_rows[0].row, 2, sizeof long_rows[0], &one, &why));
    assert_int_equal(one.number, 1);
    assert_string_equal(one.text, "x");
    assert_int_equal(options_add(options, "short", rows, 1, sizeof rows[0] - 8, &one, &why),
                     -EINVAL);
    assert_string_equal(why.text,
                        "the options of short are 72 bytes apart, at least 80 are needed");
}

/* ------------------------------------------------------------------ help */

TEST(options, help_shows_every_row_within_80_columns)
{
    static const struct bd_option more[] = {
        { .name = "a-very-long-name-of-an-option",
          .type = BD_OPT_SIZE,
          BD_FIELD(struct one, number),
          .def = "4K",
          .min = 1024,
          .metavar = "BYTES",
          .help =
              "a help line that is so long that it has to be wrapped twice, since no terminal of "
              "80 columns could show it in one line, nor in two, whatever its font may be" },
    };
    struct one one;
    char *text = NULL;
    size_t bytes;
    FILE *out = open_memstream(&text, &bytes);

    expect_rc(options_add(options, "own", more, 1, sizeof more[0], &one, &why));
    expect_ok("--password=hunter2");
    options_help(options, "", out);
    options_help(options, "own", out);
    assert_int_equal(fclose(out), 0);

    for (char *line = text; *line != '\0';) {
        size_t len = strcspn(line, "\n");

        if (len > 80)
            fail_msg("%zu columns: %.*s", len, (int)len, line);
        assert_true(len == 0 || line[len - 1] != ' ');
        line += len + (line[len] == '\n');
    }
    assert_non_null(strstr(text, "  --text=TEXT"));
    assert_non_null(strstr(text, "some text (default hello; also --words --theText)"));
    assert_non_null(strstr(text, "a small number (default 3; 1 to 19)"));
    assert_non_null(strstr(text, "bytes of one block (default 1M; 512 to 16M; also --bs)"));
    assert_non_null(strstr(text, "how long to wait (at least 10ms)"));
    assert_non_null(strstr(text, "which compression (one of deflate, zstd, none;"));
    assert_non_null(strstr(text, "with light (on by default; turn off with =no)"));
    assert_non_null(strstr(text, "  --compress[=ALG]"));
    assert_non_null(
        strstr(text, "  --own-a-very-long-name-of-an-option=BYTES\n        a help line"));
    assert_null(strstr(text, "secret-door"));
    assert_null(strstr(text, "hunter2"));
    free(text);
}

TEST(options, dump_is_json_with_every_row)
{
    char *text = NULL;
    size_t bytes;
    FILE *out = open_memstream(&text, &bytes);
    json_t *array;

    expect_ok("--password=hunter2");
    options_dump(options, out);
    assert_int_equal(fclose(out), 0);
    assert_null(strstr(text, "hunter2"));
    array = json_loads(text, 0, NULL);
    assert_non_null(array);
    assert_int_equal(json_array_size(array), sizeof rows / sizeof rows[0]);
    assert_string_equal(json_string_value(json_object_get(json_array_get(array, 8), "type")),
                        "size");
    assert_int_equal(json_integer_value(json_object_get(json_array_get(array, 8), "min")), 512);
    json_decref(array);
    free(text);
}

static int
setup(void **state)
{
    (void)state;
    snprintf(dir, sizeof dir, "/tmp/bucketdisk-test-options-XXXXXX");
    return mkdtemp(dir) != NULL ? 0 : -1;
}

static int
teardown(void **state)
{
    char command[PATH_MAX + 20];

    (void)state;
    snprintf(command, sizeof command, "rm -rf %s", dir);
    return system(command);
}

#define RUN_FRESH(sentence)                                                                        \
    {                                                                                              \
#sentence, options_##sentence, fresh, gone, NULL                                           \
    }

int
main(void)
{
    const struct CMUnitTest tests[] = {
        RUN_FRESH(defaults_are_written_when_rows_are_added),
        RUN_FRESH(names_compare_without_dashes_and_case),
        RUN_FRESH(names_are_not_abbreviated),
        RUN_FRESH(values_follow_joined_or_as_the_next_word),
        RUN_FRESH(value_may_hold_equal_signs_and_be_empty),
        RUN_FRESH(bool_never_eats_the_next_word),
        RUN_FRESH(bool_takes_these_words),
        RUN_FRESH(bare_options_never_eat_the_next_word),
        RUN_FRESH(sizes_take_these_forms),
        RUN_FRESH(durations_take_these_forms),
        RUN_FRESH(numbers_are_decimal_or_hexadecimal_and_fit),
        RUN_FRESH(bad_values_say_what_is_allowed_and_change_nothing),
        RUN_FRESH(missing_value_is_an_error),
        RUN_FRESH(unknown_option_suggests_the_nearest_name),
        RUN_FRESH(last_value_wins),
        RUN_FRESH(letters_stand_alone_together_and_with_values),
        RUN_FRESH(list_has_pieces_with_escaped_commas),
        RUN_FRESH(words_of_fstab_are_ignored_in_lists_only),
        RUN_FRESH(words_of_mount_are_kept_for_who_mounts_a_filesystem),
        RUN_FRESH(words_for_the_kernel_and_those_that_change_nothing_are_kept),
        RUN_FRESH(what_is_refused_says_what_to_do_instead),
        RUN_FRESH(path_is_made_absolute),
        RUN_FRESH(secret_is_gone_from_the_command_line),
        RUN_FRESH(one_side_takes_its_own_and_what_is_said_of_both),
        RUN_FRESH(what_is_the_other_sides_must_be_an_option_all_the_same),
        RUN_FRESH(sides_mean_nothing_where_there_is_one),
        RUN_FRESH(the_other_sides_secret_is_gone_from_the_command_line),
        RUN_FRESH(secret_that_is_forgotten_was_given),
        RUN_FRESH(secret_is_gone_after_an_error_too),
        RUN_FRESH(secret_comes_from_the_first_line_of_a_file),
        RUN_FRESH(secret_comes_from_the_environment),
        RUN_FRESH(config_file_has_one_option_a_line),
        RUN_FRESH(config_file_stands_where_it_is_named),
        RUN_FRESH(bad_line_of_a_config_file_is_named_with_file_and_line),
        RUN_FRESH(config_files_nest_to_depth_eight),
        RUN_FRESH(skimming_sees_its_own_wherever_it_stands),
        RUN_FRESH(skimming_sees_both_sides),
        RUN_FRESH(skimming_leaves_a_pipe_alone),
        RUN_FRESH(plugin_options_carry_their_owner),
        RUN_FRESH(a_name_of_the_core_stays_the_cores_whatever_plugins_call_theirs),
        RUN_FRESH(what_two_plugins_have_is_asked_for_by_the_plugins_name),
        RUN_FRESH(two_rows_of_one_name_are_an_error_of_their_owner),
        RUN_FRESH(rows_are_added_all_or_none),
        RUN_FRESH(wrong_rows_are_refused),
        RUN_FRESH(longer_rows_are_read_at_their_stride),
        RUN_FRESH(help_shows_every_row_within_80_columns),
        RUN_FRESH(dump_is_json_with_every_row),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
