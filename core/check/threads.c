/* SPDX-License-Identifier: Apache-2.0 */
/* Threads of a check: some that do the same at once, and what can be known of those that a plugin makes. */
#include "impl.h"

#include <dirent.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

struct runner {
    pthread_t thread;
    void (*run)(void *arg);
    void *arg;
};

static void *
runner_main(void *arg)
{
    struct runner *runner = arg;

    runner->run(runner->arg);
    return NULL;
}

void
check_threads(struct check *check, unsigned count, void (*run)(void *arg), void *args,
              size_t arg_bytes)
{
    struct runner *runners = check_alloc(check, count * sizeof *runners);

    for (unsigned i = 0; i < count; i++) {
        runners[i].run = run;
        runners[i].arg = (char *)args + i * arg_bytes;
        if (pthread_create(&runners[i].thread, NULL, runner_main, &runners[i]) != 0)
            check_refuse(check, "no threads can be made");
    }
    for (unsigned i = 0; i < count; i++)
        pthread_join(runners[i].thread, NULL);
}

/* ------------------------------------------------------------------ those there are */

void
check_threads_see(struct threads_seen *out)
{
    struct dirent **entries;
    const int count = scandir("/proc/self/task", &entries, NULL, NULL);

    out->count = 0;
    for (int i = 0; i < count; i++) {
        const int id = atoi(entries[i]->d_name);

        if (id > 0 && out->count < THREADS_SEEN_MAX)
            out->ids[out->count++] = id;
        free(entries[i]);
    }
    if (count >= 0)
        free(entries);
}

unsigned
check_thread_count(void)
{
    struct threads_seen seen;

    check_threads_see(&seen);
    return seen.count;
}

static bool
has_seen(const struct threads_seen *seen, int id)
{
    for (unsigned i = 0; i < seen->count; i++) {
        if (seen->ids[i] == id)
            return true;
    }
    return false;
}

/* True as well of one that has ended. */
static bool
blocks_signals(int id)
{
    static const int numbers[] = { SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGALRM, SIGCHLD };
    uint64_t blocked = UINT64_MAX;
    char line[128];
    FILE *file;

    snprintf(line, sizeof line, "/proc/self/task/%d/status", id);
    file = fopen(line, "re");
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        if (sscanf(line, "SigBlk: %" SCNx64, &blocked) == 1)
            break;
    }
    if (file != NULL)
        fclose(file);
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        if (!(blocked >> (numbers[i] - 1) & 1))
            return false;
    }
    return true;
}

unsigned
check_threads_interruptible(const struct threads_seen *before)
{
    struct threads_seen now;
    unsigned count = 0;

    check_threads_see(&now);
    for (unsigned i = 0; i < now.count; i++)
        count += !has_seen(before, now.ids[i]) && !blocks_signals(now.ids[i]);
    return count;
}
