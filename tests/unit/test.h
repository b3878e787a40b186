/* SPDX-License-Identifier: Apache-2.0 */
/* What every unit test includes: cmocka, with tests written as TEST(file, what_must_be_true). */
#ifndef UNIT_TEST_H
#define UNIT_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define TEST(file, sentence) static void file##_##sentence(void **state __attribute__((unused)))
#define RUN(file, sentence)                                                                        \
    {                                                                                              \
#sentence, file##_##sentence, NULL, NULL, NULL                                             \
    }

#endif
