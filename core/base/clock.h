/* SPDX-License-Identifier: Apache-2.0 */
/* The one clock: nanoseconds of CLOCK_BOOTTIME, which goes on while the machine sleeps. */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>

#define NS_PER_MS 1000000ull
#define NS_PER_S 1000000000ull

uint64_t clock_now_ns(void);

#endif
