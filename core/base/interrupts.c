/* SPDX-License-Identifier: Apache-2.0 */
/* The signals that interrupt a command. */
#include "interrupts.h"

#include "util.h"

#include <stddef.h>

static atomic_int is_interrupted;
static sigset_t caught;

static const int numbers[] = { SIGHUP, SIGINT, SIGQUIT, SIGTERM };

static bool
is_ignored(int number)
{
    struct sigaction action;

    return sigaction(number, NULL, &action) == 0 && action.sa_handler == SIG_IGN;
}

void
interrupts_hold(sigset_t *held, sigset_t *before)
{
    sigemptyset(held);
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        if (!is_ignored(numbers[i]))
            sigaddset(held, numbers[i]);
    }
    pthread_sigmask(SIG_BLOCK, held, before);
}

static void
interrupt(int number)
{
    (void)number;
    is_interrupted = 1;
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        if (sigismember(&caught, numbers[i]) == 1)
            signal(numbers[i], SIG_DFL);
    }
}

const atomic_int *
interrupts_catch(void)
{
    struct sigaction action = { .sa_handler = interrupt };

    sigemptyset(&caught);
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        if (!is_ignored(numbers[i]))
            sigaddset(&caught, numbers[i]);
    }
    action.sa_mask = caught; /* one after the other */
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        if (sigismember(&caught, numbers[i]) == 1)
            sigaction(numbers[i], &action, NULL);
    }
    return &is_interrupted;
}

bool
interrupts_came(const sigset_t *held)
{
    bool has_come = false;
    sigset_t pending;

    sigpending(&pending);
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
        has_come |= sigismember(held, numbers[i]) == 1 && sigismember(&pending, numbers[i]) == 1;
    return has_come;
}

bool
interrupts_pending(void)
{
    sigset_t pending;

    sigpending(&pending);
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        if (sigismember(&pending, numbers[i]) == 1 && !is_ignored(numbers[i]))
            return true;
    }
    return is_interrupted != 0;
}
