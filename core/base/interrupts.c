/* SPDX-License-Identifier: Apache-2.0 */
/* The signals that interrupt a command. */
#include "interrupts.h"

#include "util.h"

#include <stddef.h>

static atomic_int is_interrupted;

static const int numbers[] = { SIGHUP, SIGINT, SIGQUIT, SIGTERM };

void
interrupts_hold(sigset_t *held, sigset_t *before)
{
    struct sigaction action;

    sigemptyset(held);
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        if (sigaction(numbers[i], NULL, &action) == 0 && action.sa_handler != SIG_IGN)
            sigaddset(held, numbers[i]);
    }
    pthread_sigmask(SIG_BLOCK, held, before);
}

static void
interrupt(int number)
{
    (void)number;
    is_interrupted = 1;
}

const atomic_int *
interrupts_catch(void)
{
    struct sigaction action = { .sa_handler = interrupt, .sa_flags = (int)SA_RESETHAND }, before;

    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        if (sigaction(numbers[i], NULL, &before) == 0 && before.sa_handler != SIG_IGN)
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
