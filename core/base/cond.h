/* SPDX-License-Identifier: Apache-2.0 */
/* Conditions that are waited for a while, by a clock that nobody sets. */
#ifndef BASE_COND_H
#define BASE_COND_H

#include <pthread.h>
#include <stdint.h>

void cond_init(pthread_cond_t *cond);
/* Until it is signalled, or so long; as pthread_cond_wait it may also return for no reason. */
void cond_wait_ns(pthread_cond_t *cond, pthread_mutex_t *lock, uint64_t ns);

#endif
