/* SPDX-License-Identifier: Apache-2.0 */
/* The subcommands.  Each gets its own words, argv[0] being its name, and returns the exit status.
 */
#ifndef CORE_CMD_H
#define CORE_CMD_H

int cmd_plugins(int argc, char **argv);

#endif
