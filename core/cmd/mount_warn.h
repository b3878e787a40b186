/* SPDX-License-Identifier: Apache-2.0 */
/* What is said about a mount that goes on all the same. */
#ifndef CORE_CMD_MOUNT_WARN_H
#define CORE_CMD_MOUNT_WARN_H

#include "stack.h"

/* Once all layers are there, and who mounts still reads what is logged.  May ask the store. */
void mount_warn(const struct stack *stack);

#endif
