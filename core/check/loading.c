/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of a check on loading: from the file to the tables that the daemon takes. */
#include "impl.h"

#include "negotiate.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void
name_is_legal(struct check *check)
{
    const char *base = strrchr(check->config->file, '/') + 1;
    const size_t len = strlen(base);
    struct error why = { "" };
    char name[256];

    snprintf(name, sizeof name, "%.*s", len > 3 ? (int)len - 3 : 0, base);
    if (len < 4 || strcmp(base + len - 3, ".so") != 0)
        check_fail(check, "expected NAME.so, came %s", base);
    else if (negotiate_name(name, &why) != 0)
        check_fail(check, "%s", why.text);
}

static void
it_loads(struct check *check)
{
    dlerror();
    if (dlopen(check->config->file, RTLD_NOW | RTLD_LOCAL) == NULL)
        check_fail(check, "%s", dlerror());
}

static bd_plugin_query_fn *
query_of(struct check *check)
{
    void *module = dlopen(check->config->file, RTLD_NOW | RTLD_LOCAL);
    void *symbol = module != NULL ? dlsym(module, "bd_plugin_query") : NULL;
    bd_plugin_query_fn *query = NULL;

    if (symbol == NULL)
        check_skip(check, module == NULL ? "it does not load" : "it has no bd_plugin_query");
    else
        memcpy(&query, &symbol, sizeof query);
    return query;
}

static void
query_has_no_side_effects(struct check *check)
{
    bd_plugin_query_fn *query = query_of(check);
    struct check_host *host = check_host_new(check, 0);
    const unsigned threads = check_thread_count();
    const struct bd_plugin *first;

    if (query == NULL)
        return;
    first = query(&host->table);
    if (first == NULL)
        check_fail(check, "expected a descriptor for ABI %u, came NULL", BD_ABI_MAJOR);
    else if (query(&host->table) != first)
        check_fail(check, "asked again, it gives another descriptor");
    else if (atomic_load(&host->calls) > 0)
        check_fail(check, "it called a service of the host, of which none may be called before "
                          "open");
    else if (check_thread_count() != threads)
        check_fail(check, "it started threads, which may be made in open at the earliest");
}

/* It may be another descriptor than today's host is given. */
static void
longer_host_is_answered(struct check *check)
{
    bd_plugin_query_fn *query = query_of(check);
    struct check_host *newer = check_host_new(check, CHECK_CANARY_BYTES);
    const struct bd_plugin *answer;

    if (query == NULL)
        return;
    answer = query(&newer->table);
    if (answer == NULL)
        check_fail(check, "expected a descriptor, came NULL");
    else if (answer->head.magic != BD_MAGIC_PLUGIN || answer->head.abi_major != BD_ABI_MAJOR)
        check_fail(check, "expected a descriptor for ABI %u, came one that begins with 0x%08x, %u",
                   BD_ABI_MAJOR, answer->head.magic, answer->head.abi_major);
    else if (!check_canary_is_whole(newer->canary))
        check_fail(check, "it wrote behind the part of the host table that it can know");
}

static void
other_major_is_answered(struct check *check)
{
    bd_plugin_query_fn *query = query_of(check);
    struct check_host *host = check_host_new(check, 0);
    const struct bd_plugin *answer;

    if (query == NULL)
        return;
    host->table.head.abi_major = BD_ABI_MAJOR + 1;
    answer = query(&host->table);
    if (answer != NULL && answer->head.magic != BD_MAGIC_PLUGIN)
        check_fail(check, "expected NULL or a descriptor, came something that begins with 0x%08x",
                   answer->head.magic);
}

static void
daemon_takes_it(struct check *check)
{
    struct plugins plugins;
    struct error why = { "" };
    const struct plugin *found;

    if (check_search(check, &plugins, &why) != 0 || plugins_check(&plugins, &why) != 0)
        check_fail(check, "%s", why.text);
    found = check_found(check, &plugins);
    if (found == NULL)
        check_fail(check, "the search for plugins does not find it");
    else if (found->why.text[0] != '\0')
        check_fail(check, "%s", found->why.text);
    plugins_free(&plugins);
}

void
check_loading(struct check *check)
{
    static const struct check_row rows[] = {
        { "the file is named NAME.so, of a-z 0-9 and -", name_is_legal,
          "[a-z0-9-], equal to the file name without .so" },
        { "it exports bd_plugin_query and nothing else", check_exports,
          "A plugin is one shared object that exports one function, bd_plugin_query()" },
        { "it loads, with every symbol resolved", it_loads,
          "a plugin has no undefined symbol of ours" },
        { "bd_plugin_query gives one descriptor and has no side effects", query_has_no_side_effects,
          "once, before any thread; no side effects" },
        { "a host of a later minor version is answered", longer_host_is_answered,
          "`host` is for looking at its head and abi_minor" },
        { "a host of another major version is answered", other_major_is_answered,
          "a plugin may carry descriptors for two majors, or a lesser one for older hosts" },
        { "bucketdisk takes its tables and option rows", daemon_takes_it,
          "Every table begins with `struct bd_head`" },
    };

    check_rows(check, "", rows, ARRAY_LEN(rows));
}
