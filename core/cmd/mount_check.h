/* SPDX-License-Identifier: Apache-2.0 */
/* What can be said about a mount before anything is looked at in the store: words that are missing, options that contradict each other,
 * places that cannot be.  0, or a negative errno and a sentence. */
#ifndef CORE_CMD_MOUNT_CHECK_H
#define CORE_CMD_MOUNT_CHECK_H

#include "base/error.h"
#include "stack.h"

#include <stdbool.h>

/* Is there a directory of this name, or what cannot be looked at, as a dead mount? */
bool mount_has_directory(const char *word);
/* Was the command meant that is somewhere behind the options?  It is a bucket to s3backer, and then there is a directory to mount it
 * on, which there is for no command but by chance. */
int mount_check_command(const struct stack *stack, char **words, int count, struct error *why);
/* After there was an option that no mount has: adds what may have been meant. */
void mount_explain_option(int argc, char **argv, struct error *why);
int mount_check_words(const struct settings *settings, char **words, int count, struct error *why);
int mount_check_settings(const struct stack *stack, struct error *why);
/* Gives it absolute, malloc'ed, also when it cannot be used; or NULL. */
int mount_check_mountpoint(const char *word, char **out, struct error *why);
int mount_check_local_files(const struct settings *settings, const char *mountpoint,
                            struct error *why);
/* After stack_open. */
int mount_check_store_place(const struct stack *stack, struct error *why);

#endif
