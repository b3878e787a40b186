/* SPDX-License-Identifier: Apache-2.0 */
/* core/passphrase.c: a password that is given, in a file, or asked for at a terminal. */
#include "test.h"

#include "base/secret.h"
#include "base/util.h"
#include "passphrase.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#define LONGEST PASSPHRASE_BYTES_MAX

static void
path_make(char path[512])
{
    int fd;

    snprintf(path, 512, "%s/password-XXXXXX", TEST_BINARY_DIR);
    fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
}

static void
write_file(const char *path, const void *data, size_t bytes)
{
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, bytes, file), bytes);
    assert_int_equal(fclose(file), 0);
}

static void
expect_password(const struct passphrase *password, const void *data, size_t bytes)
{
    assert_int_equal(password->bytes, bytes);
    assert_memory_equal(password->data, data, bytes);
}

static int
password_in(const char *path, struct passphrase *out, struct error *why)
{
    return passphrase_given(&(const struct passphrase_options){ .password_file = path }, out, why);
}

TEST(passphrase, a_file_gives_its_first_line)
{
    static char longest[LONGEST + 1], too_long[LONGEST + 2];
    const struct {
        const char *text;
        size_t bytes;         /* 0: all of the text */
        const char *password; /* NULL: refused */
        const char *reason;
    } rows[] = {
        { "secret\n", 0, "secret", NULL },
        { "secret", 0, "secret", NULL },
        { "secret\nmore\n", 0, "secret", NULL },
        { "secret\r\nmore\r\n", 0, "secret\r", NULL }, /* as for s3backer */
        { "two words \n", 0, "two words ", NULL },
        { "p\xc3\xa4ss\xff\n", 0, "p\xc3\xa4ss\xff", NULL },
        { longest, 0, longest, NULL },
        { "", 0, NULL, "empty" },
        { "\n", 0, NULL, "empty" },
        { "\nsecret\n", 0, NULL, "empty" },
        { "sec\0ret\n", 8, NULL, "zero byte" },
        { "\0\n", 2, NULL, "zero byte" },
        { "secret\n\0", 8, "secret", NULL }, /* behind the line */
        { too_long, 0, NULL, "longer" },
    };
    char path[512];

    memset(longest, 'p', LONGEST);
    memset(too_long, 'p', LONGEST + 1);
    path_make(path);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct error why = { "" };
        struct passphrase password;
        int rc;

        write_file(path, rows[i].text, rows[i].bytes != 0 ? rows[i].bytes : strlen(rows[i].text));
        rc = password_in(path, &password, &why);
        if (rows[i].password != NULL) {
            if (rc != 0)
                fail_msg("row %zu: %s", i, why.text);
            expect_password(&password, rows[i].password, strlen(rows[i].password));
        } else {
            if (rc != -EINVAL || password.data != NULL || strstr(why.text, rows[i].reason) == NULL)
                fail_msg("row %zu: %d, %s", i, rc, why.text);
            assert_non_null(strstr(why.text, path));
        }
        passphrase_clear(&password);
    }
    unlink(path);
}

TEST(passphrase, a_key_file_gives_all_its_bytes)
{
    static char longest[KEY_FILE_BYTES_MAX], too_long[KEY_FILE_BYTES_MAX + 1];
    const struct {
        const char *data;
        size_t bytes;
        const char *reason; /* NULL: taken */
    } rows[] = {
        { "secret\n", 7, NULL },
        { "\0\n\xff\0", 4, NULL },
        { longest, sizeof longest, NULL },
        { "", 0, "empty" },
        { too_long, sizeof too_long, "longer than 8192 bytes" },
    };
    char path[512];

    memset(longest, '\n', sizeof longest);
    path_make(path);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct passphrase_options given = { .password_file = "", .key_file = path };
        struct error why = { "" };
        struct passphrase password;
        int rc;

        write_file(path, rows[i].data, rows[i].bytes);
        rc = passphrase_given(&given, &password, &why);
        if (rows[i].reason == NULL) {
            assert_int_equal(rc, 0);
            expect_password(&password, rows[i].data, rows[i].bytes);
        } else if (rc != -EINVAL || strstr(why.text, rows[i].reason) == NULL) {
            fail_msg("row %zu: %d, %s", i, rc, why.text);
        }
        passphrase_clear(&password);
    }
    unlink(path);
}

TEST(passphrase, a_long_file_is_not_read_to_its_end)
{
    static char text[1 << 20];
    struct error why = { "" };
    struct passphrase password;
    char path[512];

    memset(text, 'x', sizeof text);
    memcpy(text, "secret\n", 7);
    path_make(path);
    write_file(path, text, sizeof text);
    assert_int_equal(password_in(path, &password, &why), 0);
    expect_password(&password, "secret", 6);
    /* Nothing of what came behind it stays. */
    for (size_t i = 6; i <= LONGEST; i++)
        assert_int_equal(((const char *)password.data)[i], '\0');
    passphrase_clear(&password);
    unlink(path);
}

static void *
write_slowly(void *arg)
{
    int fd = open(arg, O_WRONLY);

    for (const char *byte = "secret\n"; *byte != '\0'; byte++) {
        usleep(1000);
        assert_int_equal(write(fd, byte, 1), 1);
    }
    close(fd);
    return NULL;
}

TEST(passphrase, a_line_may_come_in_pieces)
{
    struct error why = { "" };
    struct passphrase password;
    char path[512];
    pthread_t writer;

    path_make(path);
    unlink(path);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(pthread_create(&writer, NULL, write_slowly, path), 0);
    assert_int_equal(password_in(path, &password, &why), 0);
    expect_password(&password, "secret", 6);
    pthread_join(writer, NULL);
    passphrase_clear(&password);
    unlink(path);
}

TEST(passphrase, a_file_that_cannot_be_read_is_named)
{
    static const struct {
        const char *path;
        int rc;
    } rows[] = { { "/nonexistent/password", -ENOENT }, { "/", -EISDIR } };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct error why = { "" };
        struct passphrase password;

        assert_int_equal(password_in(rows[i].path, &password, &why), rows[i].rc);
        assert_null(password.data);
        assert_non_null(strstr(why.text, rows[i].path));
    }
}

TEST(passphrase, given_once_it_is_taken_and_given_twice_refused)
{
    static const struct {
        struct passphrase_options given;
        int rc;
        bool is_taken;
    } rows[] = {
        { { "secret", NULL, NULL }, 0, true },
        { { "secret", "", "" }, 0, true },
        { { NULL, NULL, NULL }, 0, false },
        { { "", "", "" }, 0, false },
        { { "secret", "/dev/null", NULL }, -EINVAL, false },
        { { "secret", NULL, "/dev/null" }, -EINVAL, false },
        { { NULL, "/dev/null", "/dev/null" }, -EINVAL, false },
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct error why = { "" };
        struct passphrase password;

        assert_int_equal(passphrase_given(&rows[i].given, &password, &why), rows[i].rc);
        if (rows[i].is_taken)
            expect_password(&password, "secret", 6);
        else
            assert_null(password.data);
        if (rows[i].rc != 0)
            assert_non_null(strstr(why.text, "--key-file"));
        passphrase_clear(&password);
    }
}

TEST(passphrase, the_option_that_was_given_is_named)
{
    static const struct {
        struct passphrase_options given;
        const char *said;
    } rows[] = {
        { { "secret", "/dev/null", NULL, NULL }, "--password, --password-file and --key-file" },
        { { "secret", "/dev/null", NULL, "new-" },
          "--new-password, --new-password-file and --new-key-file" },
        { { NULL, "/nonexistent", NULL, NULL }, "--password-file: " },
        { { NULL, "/nonexistent", NULL, "new-" }, "--new-password-file: " },
        { { NULL, NULL, "/nonexistent", NULL }, "--key-file: " },
        { { NULL, NULL, "/nonexistent", "new-" }, "--new-key-file: " },
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct error why = { "" };
        struct passphrase password;

        assert_true(passphrase_given(&rows[i].given, &password, &why) < 0);
        if (strncmp(why.text, rows[i].said, strlen(rows[i].said)) != 0)
            fail_msg("\"%s\" instead of \"%s\"", why.text, rows[i].said);
    }
}

/* ---- at a terminal */

/* Standard input becomes this, until it is put back. */
static int
stdin_swap(int fd)
{
    int usual = dup(STDIN_FILENO);

    assert_true(usual >= 0);
    assert_int_equal(dup2(fd, STDIN_FILENO), STDIN_FILENO);
    return usual;
}

TEST(passphrase, who_sits_at_no_terminal_is_not_asked)
{
    struct error why = { "" };
    int null = open("/dev/null", O_RDONLY), usual = stdin_swap(null);
    struct passphrase password;

    assert_int_equal(passphrase_ask("Password: ", &password, &why), -ENOTTY);
    assert_null(password.data);
    dup2(usual, STDIN_FILENO);
    close(usual);
    close(null);
}

struct typist {
    int terminal;
    bool has_echo; /* while the password is awaited */
};

static void *
type_password(void *arg)
{
    struct typist *typist = arg;
    struct termios now;

    /* The prompt comes on standard error; echo goes first. */
    do {
        usleep(1000);
        assert_int_equal(tcgetattr(typist->terminal, &now), 0);
    } while (now.c_lflag & ECHO);
    typist->has_echo = now.c_lflag & ECHO;
    assert_int_equal(write(typist->terminal, "secret\r", 7), 7);
    return NULL;
}

TEST(passphrase, what_is_typed_is_not_shown_and_the_terminal_is_as_before)
{
    int terminal = posix_openpt(O_RDWR | O_NOCTTY), other, usual;
    struct typist typist = { .terminal = terminal, .has_echo = true };
    struct termios before, after;
    struct error why = { "" };
    pthread_t thread;
    struct passphrase password;

    if (terminal < 0 || grantpt(terminal) != 0 || unlockpt(terminal) != 0)
        skip();
    other = open(ptsname(terminal), O_RDWR | O_NOCTTY);
    assert_true(other >= 0);
    assert_int_equal(tcgetattr(other, &before), 0);
    assert_true(before.c_lflag & ECHO);
    usual = stdin_swap(other);
    assert_int_equal(pthread_create(&thread, NULL, type_password, &typist), 0);
    assert_int_equal(passphrase_ask("Password: ", &password, &why), 0);
    pthread_join(thread, NULL);
    dup2(usual, STDIN_FILENO);
    expect_password(&password, "secret", 6);
    assert_false(typist.has_echo);
    assert_int_equal(tcgetattr(other, &after), 0);
    assert_int_equal(after.c_lflag, before.c_lflag);
    passphrase_clear(&password);
    close(usual);
    close(other);
    close(terminal);
}

/* Each as the last thing that a process of its own does. */
TEST(passphrase, whoever_is_interrupted_leaves_the_terminal_as_it_was)
{
    static const int signals[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT };

    for (size_t i = 0; i < ARRAY_LEN(signals); i++) {
        int terminal = posix_openpt(O_RDWR | O_NOCTTY), other, status;
        struct termios now;
        pid_t child;

        if (terminal < 0 || grantpt(terminal) != 0 || unlockpt(terminal) != 0)
            skip();
        other = open(ptsname(terminal), O_RDWR | O_NOCTTY);
        assert_true(other >= 0);
        child = fork();
        if (child == 0) {
            struct rlimit none = { 0, 0 };
            struct error why;
            struct passphrase password;

            setrlimit(RLIMIT_CORE, &none);
            signal(signals[i], SIG_DFL); /* cmocka has handlers */
            dup2(other, STDIN_FILENO);
            passphrase_ask("Password: ", &password, &why);
            _exit(0);
        }
        do {
            usleep(1000);
            assert_int_equal(tcgetattr(other, &now), 0);
        } while (now.c_lflag & ECHO);
        assert_int_equal(kill(child, signals[i]), 0);
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == signals[i]);
        assert_int_equal(tcgetattr(other, &now), 0);
        assert_true(now.c_lflag & ECHO);
        close(other);
        close(terminal);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        RUN(passphrase, a_file_gives_its_first_line),
        RUN(passphrase, a_key_file_gives_all_its_bytes),
        RUN(passphrase, a_long_file_is_not_read_to_its_end),
        RUN(passphrase, a_line_may_come_in_pieces),
        RUN(passphrase, a_file_that_cannot_be_read_is_named),
        RUN(passphrase, given_once_it_is_taken_and_given_twice_refused),
        RUN(passphrase, the_option_that_was_given_is_named),
        RUN(passphrase, who_sits_at_no_terminal_is_not_asked),
        RUN(passphrase, what_is_typed_is_not_shown_and_the_terminal_is_as_before),
        RUN(passphrase, whoever_is_interrupted_leaves_the_terminal_as_it_was),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
