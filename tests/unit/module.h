/* SPDX-License-Identifier: Apache-2.0 */
/* For tests with plugins of the build tree: opens one by name, and sets its options. */
#ifndef UNIT_MODULE_H
#define UNIT_MODULE_H

#include "test.h"

#include <bucketdisk/plugin.h>

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static inline const struct bd_plugin *
plugin_of(const char *name)
{
    char path[512];
    bd_plugin_query_fn *query;
    void *module, *symbol;

    snprintf(path, sizeof path, "%s/plugins/%s.so", TEST_BINARY_DIR, name);
    module = dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (module == NULL)
        fail_msg("%s", dlerror());
    symbol = dlsym(module, "bd_plugin_query");
    assert_non_null(symbol);
    memcpy(&query, &symbol, sizeof query);
    return query(NULL);
}

/* "NAME=VALUE" into the field of the row, as text, number or 0/1.  Sizes and durations in plain
 * bytes and milliseconds: parsing has its own tests. */
static inline void
field_set(const struct bd_plugin *plugin, void *fields, const char *name, const char *value)
{
    for (uint32_t i = 0; i < plugin->option_count; i++) {
        const struct bd_option *row = &plugin->options[i];
        char *field = (char *)fields + row->offset;
        uint64_t number = strtoull(value, NULL, 0);
        uint32_t word = (uint32_t)number;

        if (strcmp(row->name, name) != 0)
            continue;
        if (row->type == BD_OPT_STRING || row->type == BD_OPT_PATH)
            memcpy(field, &value, sizeof value);
        else if (row->field_bytes == 8)
            memcpy(field, &number, 8);
        else if (row->field_bytes == 4)
            memcpy(field, &word, 4);
        else
            *field = (char)number;
        return;
    }
    fail_msg("no option %s", name);
}

#endif
