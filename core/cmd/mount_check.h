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
/* A volume may have a command's name, or one near it; but it is mounted on a directory that is there, where `umount` and `down`
 * find nothing mounted.  `may_have_place`: the store may have a volume of that name. */
bool mount_means_command(const char *command, const char *directory, bool may_have_place);
int mount_tell_misspelt(const char *word, const char *near, struct error *why);
/* Was the command meant that is somewhere behind the options?  It is a bucket to s3backer, and then there is a directory to mount it
 * on, which there is for no command but by chance.  Or a word near one. */
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
