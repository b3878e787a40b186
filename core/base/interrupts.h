/* SPDX-License-Identifier: Apache-2.0 */
/* The signals that interrupt a command. */
#ifndef BASE_INTERRUPTS_H
#define BASE_INTERRUPTS_H

#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>

/* Hold them back in this thread (all others hold back all signals), but for those that whoever started the program has
 * ignored.  Gives those held, and the mask to set when they may come. */
void interrupts_hold(sigset_t *held, sigset_t *before);
/* Does one wait, of those that this thread holds back, or has one been caught? */
bool interrupts_pending(void);
/* Has one come since? */
bool interrupts_came(const sigset_t *held);

/* Instead: from now on the first of them only sets the flag, which it gives and which is 0 before, so that the program can end in good
 * order; any second one ends it at once. */
const atomic_int *interrupts_catch(void);

#endif
