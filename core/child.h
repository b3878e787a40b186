/* SPDX-License-Identifier: Apache-2.0 */
/* Programs that a command runs and waits for. */
#ifndef CORE_CHILD_H
#define CORE_CHILD_H

#include "base/error.h"

#include <signal.h>
#include <stdbool.h>
#include <sys/types.h>

/* Is there a program of this name in PATH? */
bool child_is_there(const char *program);

/* Run words[0], found in PATH, with nothing at standard input and output, and wait.  `held` are the signals that the caller holds back:
 * one that comes ends the program, and is still there for interrupts_came; NULL: none.
 * `is_quiet`: nor does it show errors.  Gives its exit status, or 128 and the signal that ended it, or a negative errno. */
int child_run(const char *const *words, const sigset_t *held, bool is_quiet);
/* Wait so for a child that was forked. */
int child_wait(pid_t child, const sigset_t *held);

#endif
