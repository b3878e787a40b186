/* SPDX-License-Identifier: Apache-2.0 */
/* What every unit test includes: cmocka, with tests written as TEST(file, what_must_be_true). */
#ifndef UNIT_TEST_H
#define UNIT_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif

#define TEST(file, sentence) static void file##_##sentence(void **state __attribute__((unused)))
#define RUN(file, sentence)                                                                        \
    {                                                                                              \
#sentence, file##_##sentence, NULL, NULL, NULL                                             \
    }

#endif
