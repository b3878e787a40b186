/* SPDX-License-Identifier: Apache-2.0 */
/* bucketdisk plugins: what it prints and how it exits. */
#include "test.h"

#include "cmd/cmd.h"

#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[PATH_MAX];
static char output[16384], errors[4096];

static int
redirect(int fd, const char *name)
{
    char path[PATH_MAX + 32];
    int saved = dup(fd);

    snprintf(path, sizeof path, "%s/%s", dir, name);
    assert_non_null(freopen(path, "w", fd == STDOUT_FILENO ? stdout : stderr));
    return saved;
}

static void
restore(int fd, int saved, const char *name, char *text, size_t bytes)
{
    char path[PATH_MAX + 32];
    FILE *file;

    fflush(fd == STDOUT_FILENO ? stdout : stderr);
    assert_int_equal(dup2(saved, fd), fd);
    close(saved);
    snprintf(path, sizeof path, "%s/%s", dir, name);
    file = fopen(path, "r");
    assert_non_null(file);
    text[fread(text, 1, bytes - 1, file)] = '\0';
    fclose(file);
}

/* Run the command with the plugins of `dir` and up to two more words. */
static int
plugins(const char *first, const char *second)
{
    char *argv[] = { strdup("plugins"), NULL, first != NULL ? strdup(first) : NULL,
                     second != NULL ? strdup(second) : NULL, NULL };
    int argc = 2 + (first != NULL) + (second != NULL);
    int out, err, status;

    assert_true(asprintf(&argv[1], "--plugin-path=%s", dir) > 0);
    out = redirect(STDOUT_FILENO, "out");
    err = redirect(STDERR_FILENO, "err");
    status = cmd_plugins(argc, argv);
    restore(STDOUT_FILENO, out, "out", output, sizeof output);
    restore(STDERR_FILENO, err, "err", errors, sizeof errors);
    for (int i = 0; i < 4; i++)
        free(argv[i]);
    return status;
}

static void
expect_text(const char *text, const char *part)
{
    if (strstr(text, part) == NULL)
        fail_msg("expected \"%s\" in: %s", part, text);
}

/* Lines that go on are one again. */
static void
unwrap(char *text)
{
    for (char *at = text; (at = strstr(at, "\n  ")) != NULL;) {
        size_t spaces = strspn(at + 1, " ");

        memmove(at + 1, at + 1 + spaces, strlen(at + 1 + spaces) + 1);
        *at = ' ';
    }
}

TEST(cmd_plugins, list_has_good_and_broken_ones)
{
    assert_int_equal(plugins(NULL, NULL), 0);
    expect_text(output, "codec-case 1.0: exists to be wrong\n  ABI        1.0\n  path       ");
    expect_text(output, "  codec      case (compresses): copies\n");
    expect_text(output, "  options    --case-level --case-word\n");
    expect_text(output, "codec-broken: no good\n");
    unwrap(output);
    expect_text(output, "codec-broken.so: cannot be loaded: file too short\n");
    assert_string_equal(errors, "");
}

TEST(cmd_plugins, verbose_shows_options_with_their_help)
{
    assert_int_equal(plugins("-v", "case"), 0);
    expect_text(output, "  --case-level=N    a number (default 3; 1 to 19)\n");
    assert_null(strstr(output, "codec-broken"));
}

TEST(cmd_plugins, json_is_an_array_of_all)
{
    json_t *array;

    assert_int_equal(plugins("--json", NULL), 0);
    array = json_loads(output, 0, NULL);
    assert_int_equal(json_array_size(array), 2);
    assert_true(json_is_false(json_object_get(json_array_get(array, 0), "usable")));
    assert_true(json_is_true(json_object_get(json_array_get(array, 1), "usable")));
    assert_string_equal(json_string_value(json_object_get(json_array_get(array, 1), "name")),
                        "codec-case");
    json_decref(array);
}

TEST(cmd_plugins, exit_status_says_whether_a_named_plugin_is_usable)
{
    assert_int_equal(plugins("codec-case", NULL), 0);
    assert_int_equal(plugins("case", NULL), 0);
    assert_int_equal(plugins("broken", NULL), 1);
    assert_int_equal(plugins("case", "missing"), 1);
    expect_text(errors, "bucketdisk: error: there is no plugin \"missing\"; searched: ");
    assert_int_equal(plugins("--jsn", NULL), 2);
    expect_text(errors, "bucketdisk: error: there is no option --jsn; did you mean --json?\n");
    assert_int_equal(plugins("-h", NULL), 0);
    expect_text(output, "usage: bucketdisk plugins [OPTION...] [NAME...]\n");
}

static int
setup(void **state)
{
    char command[4 * PATH_MAX];

    (void)state;
    umask(022);
    snprintf(dir, sizeof dir, "/tmp/bucketdisk-test-cmd-plugins-XXXXXX");
    if (mkdtemp(dir) == NULL)
        return -1;
    snprintf(
        command, sizeof command,
        "cp %s/tests/plugins/good/codec-case.so %s/ && : > %s/codec-broken.so && chmod 755 %s/*.so",
        TEST_BINARY_DIR, dir, dir, dir);
    return system(command);
}

static int
teardown(void **state)
{
    char command[PATH_MAX + 20];

    (void)state;
    snprintf(command, sizeof command, "rm -rf %s", dir);
    return system(command);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        RUN(cmd_plugins, list_has_good_and_broken_ones),
        RUN(cmd_plugins, verbose_shows_options_with_their_help),
        RUN(cmd_plugins, json_is_an_array_of_all),
        RUN(cmd_plugins, exit_status_says_whether_a_named_plugin_is_usable),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
