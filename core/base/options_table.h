/* SPDX-License-Identifier: Apache-2.0 */
/* What options.c and options_help.c share, and nobody else includes: the table behind struct
 * options. */
#ifndef BASE_OPTIONS_TABLE_H
#define BASE_OPTIONS_TABLE_H

#include "options.h"

enum { NAME_BYTES_MAX = 63 };

struct entry {
    struct bd_option row; /* copied by stride: zeros where theirs is shorter */
    char *owner;
    char *name; /* full */
    void *field;
    char *owned; /* the string in the field, when it is ours */
    bool is_given;
};

struct options {
    struct entry *entries;
    size_t count;

    const char *shorts; /* while parsing */
    const char *file;   /* while reading a config file; else NULL */
    unsigned line;
    unsigned depth;
};

/* Step through the words of an alias column.  Start with *at = the column. */
bool alias_next(const char **at, const char **word, size_t *len);

#endif
