/* SPDX-License-Identifier: Apache-2.0 */
/* The values of options: from text as the user writes it to numbers, and back.  For the files of
 * options; parse_size and parse_duration are in options.h. */
#ifndef BASE_VALUES_H
#define BASE_VALUES_H

#include <bucketdisk/plugin.h>

#include <stdbool.h>

bool row_is_string(const struct bd_option *row);
/* Do min and max apply?  row_max is never 0: what is not limited is limited by the field. */
bool row_has_range(const struct bd_option *row);
uint64_t row_max(const struct bd_option *row);

/* Parse the text of a row that is not a string, range included.  Returns 0, or -EINVAL with a
 * `problem` that says what the text is not, and what is allowed. */
int number_parse(const struct bd_option *row, const char *text, uint64_t *value, char *problem,
                 size_t problem_bytes);
/* A number in the largest unit that divides it, as the user would write it. */
void number_format(const struct bd_option *row, uint64_t value, char *out, size_t out_bytes);

/* All choices as "a, b, c", cut at the end when longer. */
void choices_join(const char *const *choices, const char *between, char *out, size_t out_bytes);
/* yes, no and their kin: 0, or -EINVAL. */
int parse_bool(const char *text, uint64_t *value);

#endif
