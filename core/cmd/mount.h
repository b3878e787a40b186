/* SPDX-License-Identifier: Apache-2.0 */
/* The mount, as a command that needs a disk makes it for itself. */
#ifndef CORE_CMD_MOUNT_H
#define CORE_CMD_MOUNT_H

#include "stack.h"

struct mount_wish {
    const struct stack_rows
        *rows;              /* the command's own options, which are on the command line, too */
    const char *mountpoint; /* in place of the one on the command line; absolute */
    stack_when_new *when_new;
    void *when_new_arg;
    /* The volume's identity is known, and nothing is mounted yet. */
    int (*when_named)(const char *identity, void *arg, struct error *why);
    void *when_named_arg;
    bool may_be_command; /* nobody said that it is a mount */
    bool ends_unused;    /* when the file was closed by the last who had it open */
};

/* As cmd_mount.  Borrows the wish. */
int mount_as_wished(int argc, char **argv, const struct mount_wish *wish);

#endif
