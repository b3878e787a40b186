/* SPDX-License-Identifier: Apache-2.0 */
/* The parent of a check: starts children, prints their rows as TAP, and outlives whatever a plugin does.
 *
 * A child reports on a pipe, a line each: what it is is its first byte.
 *
 *   B      a row begins, and what it says           N  a line beside it
 *   P F S  it has passed, failed, was skipped (why)    R  nothing can be asked, and why
 *   K      the plugin has: b a backend, c codecs, k key wraps
 *
 * A child that ends in the middle of a row has failed it.  The next child begins behind that row: all children of a group
 * come to the same rows in the same order. */
#include "impl.h"

#include "base/clock.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

struct group {
    const char *name;
    void (*ask)(struct check *check);
    char of; /* what it is about, as in a report of kinds; 0: any plugin */
    bool loads_itself;
};

static const struct group groups[] = {
    { "loading", check_loading, 0, true },
    { "options", check_options, 0, false },
    { "opening", check_opening, 'b', false },
    { "objects", check_objects, 'b', false },
    { "conditions", check_conditions, 'b', false },
    { "listings", check_listings, 'b', false },
    { "busy", check_busy, 'b', false },
    { "codecs", check_codecs, 'c', false },
    { "damage", check_codec_damage, 'c', false },
    { "key wraps", check_keywraps, 'k', false },
    { "tidying up", check_tidy, 'b', false }, /* also when stopped */
};
enum { TIDYING = ARRAY_LEN(groups) - 1 };

struct run {
    const struct check_config *config;
    struct error *why;
    unsigned printed, failed;
    char kinds[8];             /* what the plugin has */
    bool is_refused, is_ended; /* by a child's word; the daemon does not load it */
    /* of the child at work */
    unsigned ordinal; /* of its group's rows: how many have begun, skipped ones included */
    bool is_in_row, has_failed_last;
    char row[200];
    char notes[4096];
};

static volatile sig_atomic_t is_stopped;

static void
stop(int number)
{
    (void)number;
    is_stopped = 1;
}

/* ------------------------------------------------------------------ TAP */

static void
note_add(struct run *run, const char *text)
{
    size_t len = strlen(run->notes);

    snprintf(run->notes + len, sizeof run->notes - len, "# %s\n", text);
}

static void
row_print(struct run *run, bool is_good, const char *skipped)
{
    printf("%sok %u - %s%s%s\n%s", is_good ? "" : "not ", ++run->printed, run->row,
           skipped != NULL ? " # SKIP " : "", skipped != NULL ? skipped : "", run->notes);
    fflush(stdout);
    run->failed += !is_good;
    run->is_in_row = false;
    run->has_failed_last = !is_good;
    run->notes[0] = '\0';
}

static void
message(struct run *run, const char *line)
{
    switch (line[0]) {
    case 'B':
        run->ordinal++;
        run->is_in_row = true;
        snprintf(run->row, sizeof run->row, "%.190s", line + 1);
        break;
    case 'N':
        note_add(run, line + 1);
        break;
    case 'P':
    case 'F':
        row_print(run, line[0] == 'P', NULL);
        break;
    case 'S':
        row_print(run, true, line + 1);
        break;
    case 'K':
        snprintf(run->kinds, sizeof run->kinds, "%.7s", line + 1);
        break;
    case 'R':
        run->is_refused = true;
        error_set(run->why, 0, "%s", line + 1);
        break;
    }
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
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
    setrlimit(RLIMIT_CORE, &none);
    dup2(STDERR_FILENO, STDOUT_FILENO); /* the parent's is TAP alone */
    if (!group->loads_itself)
        check_load(&check);
    group->ask(&check);
    check_unload(&check);
    exit(0); /* sanitizers have their word now */
}

/* Read what the child says until it ends.  False: it was silent for longer than a row may take. */
static bool
listen(struct run *run, int from)
{
    const uint64_t limit_ns = run->config->limit_ms * NS_PER_MS;
    uint64_t until = clock_now_ns() + limit_ns;
    char text[4096];
    size_t len = 0;

    for (;;) {
        uint64_t now = clock_now_ns();
        struct pollfd poller = { .fd = from, .events = POLLIN };
        ssize_t got;
        char *end;
        int ready;

        if (is_stopped || now >= until)
            return false;
        ready = poll(&poller, 1, (int)((until - now) / NS_PER_MS) + 1);
        if (ready <= 0)
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
end_describe(int status, char *out, size_t out_bytes)
{
    if (WIFSIGNALED(status))
        snprintf(out, out_bytes, "it must not crash, and did: %s", strsignal(WTERMSIG(status)));
    else
        snprintf(out, out_bytes, "the process must go on, and ended with status %d",
                 WEXITSTATUS(status));
}

/* One child.  True: the group's rows were all asked. */
static bool
child_run(struct run *run, const struct group *group)
{
    const unsigned before = run->ordinal;
    char text[160];
    int pipes[2], status = 0;
    bool has_ended, is_good;
    pid_t pid;

    run->ordinal = 0;
    fflush(stdout);
    if (pipe(pipes) != 0 || (pid = fork()) == -1) {
        run->is_refused = true;
        error_set(run->why, 0, "no process can be made: %s", strerror(errno));
        return true;
    }
    if (pid == 0) {
        close(pipes[0]);
        child_main(run, group, before, pipes[1]);
    }
    close(pipes[1]);
    run->ordinal = before;
    has_ended = listen(run, pipes[0]);
    if (!has_ended)
        kill(pid, SIGKILL);
    close(pipes[0]);
    waitpid(pid, &status, 0);
    is_good = has_ended && WIFEXITED(status) && WEXITSTATUS(status) == 0;
    if (run->is_refused || run->is_ended || is_stopped)
        return true;
    if (is_good && !run->is_in_row)
        return true;
    if (!has_ended)
        snprintf(text, sizeof text, "it must end, and had not after %" PRIu64 " ms",
                 run->config->limit_ms);
    else
        end_describe(status, text, sizeof text);
    if (WIFEXITED(status) && WEXITSTATUS(status) == CHECK_ABANDONED)
        return false;
    if (!run->is_in_row)
        snprintf(run->row, sizeof run->row, "%s: the process ends well", group->name);
    note_add(run, text);
    row_print(run, false, NULL);
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

enum check_result
check_run(const struct check_config *config, struct error *why)
{
    struct run run = { .config = config, .why = why };
    const struct sigaction action = { .sa_handler = stop };

    is_stopped = 0;
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    printf("TAP version 14\n");
    for (size_t i = 0; i < TIDYING && !run.is_refused && !run.is_ended && !is_stopped; i++) {
        group_run(&run, &groups[i]);
        if (i == 0 && run.has_failed_last) { /* the daemon does not take it */
            run.is_ended = true;
            printf("# nothing else can be asked of a plugin that is not loaded\n");
        }
    }
    if (is_stopped) {
        error_set(why, 0, "interrupted");
        is_stopped = 0;
        group_run(&run, &groups[TIDYING]);
        run.is_refused = true;
    } else if (!run.is_ended && !run.is_refused) {
        group_run(&run, &groups[TIDYING]);
    }
    if (run.is_refused)
        printf("Bail out! %s\n", why->text);
    else
        printf("1..%u\n", run.printed);
    fflush(stdout);
    return run.is_refused ? CHECK_REFUSED : run.failed > 0 ? CHECK_FAILED : CHECK_PASSED;
}
