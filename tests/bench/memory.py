# SPDX-License-Identifier: Apache-2.0
"""The machine's memory, before a contender starts."""
import mmap
import os

GIB = 1 << 30
WARM_BYTES = 4 * GIB
MADV_POPULATE_WRITE = 23


def warm_memory():
    """Pages that a virtual machine has given back to its host cost several times what copying costs when they are used next:
    who comes first would pay for all.  So before each contender, memory is used and freed; by a child, for what a process has used
    once counts in the peak of those that it starts."""
    child = os.fork()
    if child != 0:
        os.waitpid(child, 0)
        return
    with mmap.mmap(-1, WARM_BYTES, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        memory.madvise(mmap.MADV_HUGEPAGE)
        memory.madvise(MADV_POPULATE_WRITE)
    os._exit(0)
