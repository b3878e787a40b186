/* SPDX-License-Identifier: Apache-2.0 */
/* The parent of a check: starts children, prints their rows as TAP, and outlives whatever a plugin does.
 *
 * A child reports on a pipe, a line each: what it is is its first byte.
 *
 *   B      a row begins, and what it says              Q  the sentence of the contract that demands it
 *   N      a line beside it                            S  why it cannot be asked
 *   P F    it has passed, it has failed                R  nothing can be asked, and why
 *   K      the plugin has: b a backend, c codecs, k key wraps
 *   M      something is made in the store from now on, and must be removed
 *   H W    the store is held up, it works again
 *
 * A child that ends in the middle of a row has failed it.  The next child begins behind that row: all children of a group
 * come to the same rows in the same order.
 *
 * Signals are blocked and read like all else, so that a stop is seen at one place: the child at work is killed, and one more
 * removes what was made. */
#include "impl.h"

#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#define COLUMNS 79

struct group {
    const char *name;
    void (*ask)(struct check *check);
    char of; /* what it is about, as in a report of kinds; 0: any plugin */
    bool loads_itself;
};

static const struct group groups[] = {
    { .name = "loading", .ask = check_loading, .loads_itself = true },
    { .name = "options", .ask = check_options },
    { .name = "opening", .ask = check_opening, .of = 'b' },
    { .name = "places", .ask = check_places, .of = 'b' },
    { .name = "objects", .ask = check_objects, .of = 'b' },
    { .name = "labels", .ask = check_labels, .of = 'b' },
    { .name = "names", .ask = check_names, .of = 'b' },
    { .name = "requests", .ask = check_requests, .of = 'b' },
    { .name = "conditions", .ask = check_conditions, .of = 'b' },
    { .name = "listings", .ask = check_listings, .of = 'b' },
    { .name = "busy", .ask = check_busy, .of = 'b' },
    { .name = "stalling", .ask = check_stalling, .of = 'b' },
    { .name = "vanishing", .ask = check_vanishing, .of = 'b' }, /* after it there may be no place */
    { .name = "codecs", .ask = check_codecs, .of = 'c' },
    { .name = "blocks", .ask = check_blocks, .of = 'c' },
    { .name = "damage", .ask = check_damage, .of = 'c' },
    { .name = "key wraps", .ask = check_keywraps, .of = 'k' },
    { .name = "tidying up", .ask = check_tidy, .of = 'b' }, /* also when stopped */
};
enum { TIDYING = ARRAY_LEN(groups) - 1 };

struct run {
    const struct check_config *config;
    struct error *why;
    int signals;   /* a descriptor: one that stops the check is read there */
    sigset_t mask; /* of signals, as it was */
    pid_t pid;     /* the parent's own */
    unsigned printed, failed, skipped;
    char kinds[8];      /* what the plugin has */
    bool is_refused;    /* by a child's word, or stopped */
    bool is_unloadable; /* the daemon does not load it */
    bool is_stopped;
    bool has_crashed;
    bool is_unread;  /* nobody reads the output any more: that has stopped it */
    bool has_made;   /* there may be objects to remove */
    bool is_held_up; /* the store: it must be told to go on */
    /* of the child at work */
    unsigned ordinal; /* of its group's rows: how many have begun, skipped ones included */
    bool is_in_row, has_failed_last;
    char row[200], contract[300], skip[300];
    char notes[4096];
};

/* ------------------------------------------------------------------ TAP */

/* "# TEXT", broken at spaces. */
static void
diagnostic_print(const char *text)
{
    size_t room = COLUMNS - 2;

    for (const char *indent = "# "; *text != '\0'; indent = "#   ", room = COLUMNS - 4) {
        size_t len = strlen(text);

        if (len > room) {
            for (len = room; len > 0 && text[len] != ' ';)
                len--;
            if (len == 0)
                len = strcspn(text, " ");
        }
        printf("%s%.*s\n", indent, (int)len, text);
        text += len;
        text += strspn(text, " ");
    }
}

static void
notes_print(struct run *run)
{
    char *rest = run->notes, *note;

    while ((note = strsep(&rest, "\n")) != NULL)
        diagnostic_print(note);
    run->notes[0] = '\0';
}

/* One for which there is no room any more is left out whole. */
static void
note_add(struct run *run, const char *text)
{
    const size_t len = strlen(run->notes);

    if (len + strlen(text) + 2 <= sizeof run->notes)
        snprintf(run->notes + len, sizeof run->notes - len, "%s\n", text);
}

static void
output_flush(struct run *run)
{
    if ((fflush(stdout) != 0 || ferror(stdout)) && !run->is_unread)
        run->is_stopped = run->is_unread = true;
}

static void
row_print(struct run *run, bool is_good)
{
    const bool is_skipped = is_good && run->skip[0] != '\0';

    printf("%sok %u - %s%s%s\n", is_good ? "" : "not ", ++run->printed, run->row,
           is_skipped ? " # SKIP " : "", is_skipped ? run->skip : "");
    notes_print(run);
    if (!is_good && run->contract[0] != '\0') {
        char text[sizeof run->contract + 64];

        snprintf(text, sizeof text, "The contract, bucketdisk/plugin.h: \"%s\"", run->contract);
        diagnostic_print(text);
    }
    run->failed += !is_good;
    run->skipped += is_skipped;
    run->is_in_row = false;
    run->has_failed_last = !is_good;
    run->contract[0] = run->skip[0] = '\0';
    output_flush(run);
}

/* What follows "#" in a row's text would be an order to the reader of TAP. */
static void
text_keep(char *out, size_t out_bytes, const char *text)
{
    snprintf(out, out_bytes, "%.*s", (int)out_bytes - 1, text);
    for (char *at = strchr(out, '#'); at != NULL; at = strchr(at, '#'))
        *at = '?';
}

static void
message(struct run *run, const char *line)
{
    switch (line[0]) {
    case 'B':
        run->ordinal++;
        run->is_in_row = true;
        text_keep(run->row, sizeof run->row, line + 1);
        break;
    case 'Q':
        snprintf(run->contract, sizeof run->contract, "%.299s", line + 1);
        break;
    case 'N':
        note_add(run, line + 1);
        break;
    case 'P':
    case 'F':
        row_print(run, line[0] == 'P');
        break;
    case 'S':
        text_keep(run->skip, sizeof run->skip, line + 1);
        break;
    case 'K':
        snprintf(run->kinds, sizeof run->kinds, "%.7s", line + 1);
        break;
    case 'M':
        run->has_made = true;
        break;
    case 'H':
    case 'W':
        run->is_held_up = line[0] == 'H';
        break;
    case 'R':
        run->is_refused = true;
        error_set(run->why, 0, "%s", line + 1);
        break;
    }
}

static const char *
plural(unsigned count)
{
    return count == 1 ? "" : "s";
}

/* The last line is the one that people read. */
static void
result_print(struct run *run)
{
    const char *name = strrchr(run->config->file, '/') + 1;
    char text[600], skipped[80] = "";

    notes_print(run);
    if (run->is_refused) {
        printf("Bail out! %s\n", run->why->text);
        return;
    }
    printf("1..%u\n", run->printed);
    if (run->has_crashed)
        diagnostic_print(
            "To see where it crashed build the plugin with -g -fsanitize=address, and run this "
            "with LD_PRELOAD=$(gcc -print-file-name=libasan.so): standard error says it then");
    if (run->skipped > 0)
        snprintf(skipped, sizeof skipped, "; %u could not be asked", run->skipped);
    if (run->is_unloadable)
        snprintf(text, sizeof text,
                 "FAILED: bucketdisk does not load %s, so nothing else could be asked", name);
    else if (run->failed > 0)
        snprintf(text, sizeof text, "FAILED: %s breaks the contract in %u row%s of %u%s", name,
                 run->failed, plural(run->failed), run->printed, skipped);
    else
        snprintf(text, sizeof text, "PASSED: %s keeps the contract in all %u rows%s", name,
                 run->printed - run->skipped, skipped);
    diagnostic_print(text);
}

/* ------------------------------------------------------------------ children */

static _Noreturn void
child_main(const struct run *run, const struct group *group, unsigned skip, int report)
{
    struct check check = {
        .config = run->config, .report = report, .skip = skip, .group = (unsigned)(group - groups)
    };
    const struct rlimit none = { 0, 0 };

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != run->pid) /* it went before that */
        _exit(1);
    close(run->signals);
    signal(SIGPIPE, SIG_DFL);
    sigprocmask(SIG_SETMASK, &run->mask, NULL);
    setrlimit(RLIMIT_CORE, &none);
    dup2(STDERR_FILENO, STDOUT_FILENO); /* the parent's is TAP alone */
    if (run->is_held_up && group == &groups[TIDYING])
        check_resume_try(&check);
    else if (run->is_held_up)
        check_resume(&check);
    if (!group->loads_itself)
        check_load(&check);
    group->ask(&check);
    check_unload(&check);
    exit(0); /* sanitizers have their word now */
}

static bool
is_stopped(struct run *run)
{
    struct pollfd pollers[] = { { .fd = run->signals, .events = POLLIN },
                                { .fd = run->is_unread ? -1 : STDOUT_FILENO } };
    struct signalfd_siginfo info;

    if (poll(pollers, 2, 0) <= 0)
        return run->is_stopped;
    if (pollers[0].revents != 0 && read(run->signals, &info, sizeof info) > 0)
        run->is_stopped = true;
    if (pollers[1].revents != 0)
        run->is_stopped = run->is_unread = true;
    return run->is_stopped;
}

/* Read what the child says until it ends.  False: it was silent for longer than a row may take, or all is to stop. */
static bool
listen(struct run *run, int from)
{
    const uint64_t limit_ns = run->config->limit_ms * NS_PER_MS;
    uint64_t until = clock_now_ns() + limit_ns;
    char text[4096];
    size_t len = 0;

    for (;;) {
        const uint64_t now = clock_now_ns();
        struct pollfd pollers[] = { { .fd = from, .events = POLLIN },
                                    { .fd = run->signals, .events = POLLIN },
                                    { .fd = run->is_unread ? -1 : STDOUT_FILENO } };
        ssize_t got;
        char *end;

        if (is_stopped(run) || now >= until)
            return false;
        if (poll(pollers, 3, (int)((until - now) / NS_PER_MS) + 1) <= 0 || pollers[0].revents == 0)
            continue;
        got = read(from, text + len, sizeof text - 1 - len);
        if (got <= 0)
            return true;
        until = clock_now_ns() + limit_ns;
        len += (size_t)got;
        text[len] = '\0';
        while ((end = strchr(text, '\n')) != NULL) {
            *end = '\0';
            message(run, text);
            len -= (size_t)(end + 1 - text);
            memmove(text, end + 1, len + 1);
        }
        if (len == sizeof text - 1) /* no line is so long */
            len = 0;
    }
}

static void
end_describe(const struct run *run, bool has_ended, int status, char *out, size_t out_bytes)
{
    if (!has_ended)
        snprintf(out, out_bytes,
                 "it must end, and had not after %" PRIu64 " ms (--time-limit says how long)",
                 run->config->limit_ms);
    else if (WIFSIGNALED(status))
        snprintf(out, out_bytes, "it must not crash, and did: %s", strsignal(WTERMSIG(status)));
    else
        snprintf(out, out_bytes,
                 "the process must go on, and ended with status %d; standard error may say why",
                 WEXITSTATUS(status));
}

/* One child.  True: the group's rows were all asked. */
static bool
child_run(struct run *run, const struct group *group)
{
    const unsigned before = run->ordinal;
    char text[160];
    int pipes[2], status = 0;
    bool has_ended;
    pid_t pid;

    output_flush(run);
    if (pipe2(pipes, O_CLOEXEC) != 0 || (pid = fork()) == -1) {
        run->is_refused = true;
        error_set(run->why, 0, "no process can be made: %s", strerror(errno));
        return true;
    }
    if (pid == 0) {
        close(pipes[0]);
        child_main(run, group, before, pipes[1]);
    }
    close(pipes[1]);
    has_ended = listen(run, pipes[0]);
    if (!has_ended)
        kill(pid, SIGKILL);
    close(pipes[0]);
    waitpid(pid, &status, 0);
    if (run->is_refused || is_stopped(run))
        return true;
    if (has_ended && WIFEXITED(status) && WEXITSTATUS(status) == CHECK_ABANDONED)
        return false;
    if (has_ended && status == 0 && !run->is_in_row)
        return true;
    if (!run->is_in_row)
        snprintf(run->row, sizeof run->row, "%s: the process ends well", group->name);
    end_describe(run, has_ended, status, text, sizeof text);
    note_add(run, text);
    row_print(run, false);
    run->has_crashed |= has_ended && WIFSIGNALED(status);
    return run->ordinal == before;
}

static void
group_run(struct run *run, const struct group *group)
{
    run->ordinal = 0;
    if (group->of != '\0' && strchr(run->kinds, group->of) == NULL)
        return;
    while (!child_run(run, group)) {
    }
}

/* ------------------------------------------------------------------ the whole */

static void
groups_run(struct run *run)
{
    for (size_t i = 0; i < TIDYING; i++) {
        group_run(run, &groups[i]);
        if (run->is_refused || run->is_stopped)
            return;
        if (i == 0 && run->has_failed_last) { /* its last row: the daemon does not take it */
            run->is_unloadable = true;
            return;
        }
    }
}

/* Whoever stops it waits for this; a second signal stops this, too. */
static void
tidy(struct run *run)
{
    const bool was_refused = run->is_refused;
    unsigned stops = run->is_stopped;

    run->is_refused = run->is_in_row = false;
    run->contract[0] = run->skip[0] = run->notes[0] = '\0';
    do {
        run->is_stopped = false;
        if (run->has_made && run->is_held_up)
            child_run(run, &groups[TIDYING]);
        else if (run->has_made)
            group_run(run, &groups[TIDYING]);
        stops += run->is_stopped;
    } while (run->is_stopped && stops < 2);
    if (run->is_stopped)
        note_add(run, "interrupted again: objects whose names begin with " CHECK_PREFIX
                      " are left in the store");
    if (run->is_refused) { /* as when the store does not go on */
        note_add(run, run->why->text);
        note_add(run, "objects whose names begin with " CHECK_PREFIX " may be left in the store");
    }
    if (stops > 0)
        error_set(run->why, 0, run->is_unread ? "nobody reads the output" : "interrupted");
    run->is_refused = was_refused || stops > 0;
}

/* What its user has told to ignore (nohup) stays ignored. */
static int
signals_open(sigset_t *old)
{
    static const int numbers[] = { SIGINT, SIGTERM, SIGHUP };
    sigset_t stops;

    sigemptyset(&stops);
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        struct sigaction action;

        if (sigaction(numbers[i], NULL, &action) == 0 && action.sa_handler != SIG_IGN)
            sigaddset(&stops, numbers[i]);
    }
    signal(SIGPIPE, SIG_IGN);
    sigprocmask(SIG_BLOCK, &stops, old);
    return signalfd(-1, &stops, SFD_CLOEXEC);
}

enum check_result
check_run(const struct check_config *config, struct error *why)
{
    struct run run = { .config = config, .why = why, .pid = getpid() };

    run.signals = signals_open(&run.mask);
    if (run.signals == -1) {
        error_set(why, 0, "no descriptor for signals: %s", strerror(errno));
        return CHECK_REFUSED;
    }
    printf("TAP version 13\n");
    groups_run(&run);
    tidy(&run);
    result_print(&run);
    output_flush(&run);
    close(run.signals);
    return run.is_refused ? CHECK_REFUSED : run.failed > 0 ? CHECK_FAILED : CHECK_PASSED;
}
