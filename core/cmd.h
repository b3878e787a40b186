/* SPDX-License-Identifier: Apache-2.0 */
/* The commands.  Each gets its own words, argv[0] being its name, and returns the exit status. */
#ifndef CORE_CMD_H
#define CORE_CMD_H

enum exit_status {
    EXIT_DONE = 0,
    EXIT_FAILED = 1,
    EXIT_FORCED = 2, /* the mount was detached while in use */
};

int cmd_down(int argc, char **argv);
int cmd_helper(int argc, char **argv);
int cmd_key(int argc, char **argv);
int cmd_mount(int argc, char **argv);
int cmd_plugins(int argc, char **argv);
int cmd_probe(int argc, char **argv);
int cmd_takeover(int argc, char **argv);
int cmd_umount(int argc, char **argv);
int cmd_up(int argc, char **argv);

#endif
