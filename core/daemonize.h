/* SPDX-License-Identifier: Apache-2.0 */
/* A process becomes a daemon, and one that a filesystem can live on. */
#ifndef CORE_DAEMONIZE_H
#define CORE_DAEMONIZE_H

/* Returns in a child with a session of its own; the parent waits until the child says how it went, and exits with that.
 * Before any thread is made.  An interrupt of the parent reaches the child as SIGTERM.  Gives the way to the parent;
 * 0 or a negative errno. */
int daemonize(int *ready_fd);
/* Until this is called, on the thread that called daemonize, the child dies with its parent. */
void daemon_outlive_parent(void);
/* The parent returns, and from now on only syslog is left to talk to.  Any thread. */
void daemon_leave_terminal(int ready_fd);

/* A daemon under a filesystem: when the kernel wants memory back it must not be made to wait for itself, nor be the one
 * that is killed.  Gives what we are not allowed to set for that, or NULL. */
const char *process_protect(void);

#endif
