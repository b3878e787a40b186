/* SPDX-License-Identifier: Apache-2.0 */
/* The loader: finds plugins in the places of the search path, and opens them.
 *
 * A file that cannot be loaded stays in the list with the sentence that says why; the search goes
 * on. */
#include "loader.h"

#include "base/log.h"
#include "host.h"
#include "negotiate.h"
#include "trust.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <ltdl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/stat.h>
#include <unistd.h>

#define SUFFIX ".so"

/* The directory of the running program, and whether it is a build tree. */
struct program {
    char dir[PATH_MAX];
    uid_t owner;
    bool is_build_tree;
};

/* ------------------------------------------------------------------ one plugin */

/* The host as a plugin sees it in bd_plugin_query: valid for the life of the process, as plugin.h
 * promises. */
static int
query_host(const struct bd_host **out, struct error *why)
{
    static struct host *host;
    int rc;

    if (host == NULL && (rc = host_new("plugin", NULL, NULL, &host)) != 0)
        return error_set(why, rc, "no host table: %s", strerror(-rc));
    *out = host_table(host);
    return 0;
}

static int
module_open(const char *path, lt_dlhandle *out, struct error *why)
{
    lt_dladvise advise;
    const char *text;

    /* libltdl binds lazily, and says "file not found" for every failure, having taken the text of
     * dlerror().  So the first open is ours: it finds an unresolved symbol now, not at its first
     * call, and tells us its name.  Never closed: plugins stay. */
    dlerror();
    if (dlopen(path, RTLD_NOW | RTLD_LOCAL) == NULL) {
        text = dlerror();
        if (text == NULL)
            text = "unknown reason";
        if (strncmp(text, path, strlen(path)) == 0)
            text += strlen(path) + strspn(text + strlen(path), ": ");
        return error_set(
            why, -EINVAL, "cannot be loaded: %s%s", text,
            strstr(text, "undefined symbol") != NULL
                ? "; link it with what has that, and with -Wl,-z,defs to be told when building"
                : "");
    }
    if (lt_dladvise_init(&advise) != 0)
        return error_set(why, -ENOMEM, "out of memory");
    lt_dladvise_local(&advise);
    lt_dladvise_resident(&advise);
    *out = lt_dlopenadvise(path, advise);
    lt_dladvise_destroy(&advise);
    if (*out != NULL)
        return 0;
    text = lt_dlerror();
    return error_set(why, -EINVAL, "cannot be loaded: %s", text != NULL ? text : "unknown reason");
}

static int
module_query(lt_dlhandle module, const struct bd_plugin **out, struct error *why)
{
    const struct bd_host *host = NULL;
    bd_plugin_query_fn *query;
    void *symbol = lt_dlsym(module, "bd_plugin_query");
    int rc;

    if (symbol == NULL)
        return error_set(why, -EINVAL,
                         "exports no bd_plugin_query, so it is no plugin of bucketdisk; "
                         "BD_PLUGIN(DESCRIPTOR) in its source makes it one");
    rc = query_host(&host, why);
    if (rc != 0)
        return rc;
    memcpy(&query, &symbol, sizeof query);
    *out = query(host);
    if (*out == NULL)
        return error_set(why, -EINVAL,
                         "has nothing for plugin ABI %u: its bd_plugin_query returned NULL",
                         BD_ABI_MAJOR);
    return 0;
}

static int
plugin_open(struct plugin *plugin, const struct program *program, struct error *why)
{
    const struct bd_plugin *theirs;
    lt_dlhandle module;
    struct stat status;
    int rc;

    rc = negotiate_name(plugin->name, why);
    if (rc != 0)
        return rc;
    if (stat(plugin->path, &status) == -1)
        return error_set(why, -errno, "%s", strerror(errno));
    if (!S_ISREG(status.st_mode))
        return error_set(why, -EINVAL, "is no regular file");
    if (geteuid() == 0) {
        rc = trust_path(plugin->path, program->is_build_tree ? program->owner : 0, why);
        if (rc != 0)
            return rc;
    }
    rc = module_open(plugin->path, &module, why);
    if (rc == 0)
        rc = module_query(module, &theirs, why);
    if (rc == 0)
        rc = negotiate_tables(plugin, theirs, why);
    return rc;
}

/* ------------------------------------------------------------------ the search */

/* Load one file, unless one of its name was found before. */
static int
file_load(struct plugins *plugins, const struct program *program, const char *path)
{
    const char *base = strrchr(path, '/') + 1;
    struct plugin *grown, *plugin;
    char *name = strndup(base, strlen(base) - strlen(SUFFIX));
    struct error why = { "" };

    if (name == NULL)
        return -ENOMEM;
    for (unsigned i = 0; i < plugins->count; i++) {
        if (strcmp(plugins->all[i].name, name) == 0) {
            free(name);
            return 0;
        }
    }
    grown = reallocarray(plugins->all, plugins->count + 1, sizeof *grown);
    if (grown == NULL) {
        free(name);
        return -ENOMEM;
    }
    plugins->all = grown;
    plugin = &grown[plugins->count];
    memset(plugin, 0, sizeof *plugin);
    plugin->name = name;
    plugin->path = strdup(path);
    if (plugin->path == NULL) {
        free(name);
        return -ENOMEM;
    }
    plugins->count++;
    if (plugin_open(plugin, program, &why) != 0) {
        plugin_clear(plugin);
        /* The file leads: the reason alone does not say whose it is. */
        if (strncmp(why.text, path, strlen(path)) == 0)
            plugin->why = why;
        else
            error_set(&plugin->why, 0, "%.250s: %.220s", path, why.text);
    }
    return 0;
}

static bool
name_ends_in_suffix(const char *name)
{
    size_t len = strlen(name);

    return len > strlen(SUFFIX) && strcmp(name + len - strlen(SUFFIX), SUFFIX) == 0;
}

static int
entry_is_candidate(const struct dirent *entry)
{
    return entry->d_name[0] != '.' && name_ends_in_suffix(entry->d_name);
}

static int
directory_load(struct plugins *plugins, const struct program *program, const char *dir)
{
    struct dirent **entries;
    int rc = 0;
    int count = scandir(dir, &entries, entry_is_candidate, alphasort);

    if (count == -1)
        return errno == ENOMEM ? -ENOMEM : 0; /* most machines lack most of these directories */
    for (int i = 0; i < count; i++) {
        char *path;

        if (rc == 0 && asprintf(&path, "%s/%s", dir, entries[i]->d_name) < 0)
            rc = -ENOMEM;
        if (rc == 0) {
            rc = file_load(plugins, program, path);
            free(path);
        }
        free(entries[i]);
    }
    free(entries);
    return rc;
}

static int
searched_add(struct plugins *plugins, const char *place)
{
    char *joined;

    if (asprintf(&joined, "%s%s%s", plugins->searched != NULL ? plugins->searched : "",
                 plugins->searched != NULL ? ", " : "", place)
        < 0)
        return -ENOMEM;
    free(plugins->searched);
    plugins->searched = joined;
    return 0;
}

/* A directory, or one file. */
static int
place_load(struct plugins *plugins, const struct program *program, const char *place)
{
    struct stat status;
    int rc = searched_add(plugins, place);

    if (rc != 0)
        return rc;
    if (stat(place, &status) == 0 && !S_ISDIR(status.st_mode) && name_ends_in_suffix(place)
        && strrchr(place, '/')[1] != '.')
        return file_load(plugins, program, place);
    return directory_load(plugins, program, place);
}

/* Places joined by colons.  `from` names the option or variable that they come from. */
static int
places_load(struct plugins *plugins, const struct program *program, const char *places,
            const char *from, struct error *why)
{
    char *copy = strdup(places);
    char *at = copy, *place;
    int rc = copy != NULL ? 0 : error_set(why, -ENOMEM, "out of memory");

    while (rc == 0 && (place = strsep(&at, ":")) != NULL) {
        struct stat status;

        if (place[0] == '\0')
            continue;
        if (place[0] != '/')
            rc = error_set(why, -EINVAL, "%s: \"%s\" is not an absolute path", from, place);
        else if (stat(place, &status) == -1)
            log_line(BD_WARNING, "%s: %s: %s", from, place, strerror(errno));
        if (rc == 0 && (rc = place_load(plugins, program, place)) != 0)
            error_set(why, rc, "out of memory");
    }
    free(copy);
    return rc;
}

/* The installed program holds no path of a build tree: it looks beside itself. */
static void
program_find(struct program *program)
{
    char path[PATH_MAX], cache[PATH_MAX + 32];
    struct stat status;
    ssize_t len = readlink("/proc/self/exe", path, sizeof path - 1);

    memset(program, 0, sizeof *program);
    if (len <= 0)
        return;
    path[len] = '\0';
    if (stat("/proc/self/exe", &status) == -1)
        return;
    *strrchr(path, '/') = '\0';
    strcpy(program->dir, path);
    program->owner = status.st_uid;
    snprintf(cache, sizeof cache, "%s/CMakeCache.txt", program->dir);
    program->is_build_tree = access(cache, F_OK) == 0;
}

/* Where the plugins lie beside the program, wherever all of it was installed: "/opt/x/bin" and
 * "../lib/bucketdisk" give "/opt/x/lib/bucketdisk".  Without /proc, where it was meant to be. */
static void
installed_place(const struct program *program, char *out, size_t bytes)
{
    const char *way = BUCKETDISK_PLUGIN_DIR_FROM_BIN;
    int kept = (int)strlen(program->dir);

    if (kept == 0) {
        snprintf(out, bytes, "%s", BUCKETDISK_PLUGIN_DIR);
        return;
    }
    for (; strncmp(way, "../", 3) == 0; way += 3) {
        while (kept > 0 && program->dir[--kept] != '/')
            ;
    }
    snprintf(out, bytes, "%.*s/%s", kept, program->dir, way);
}

static int
builtin_load(struct plugins *plugins, const struct program *program)
{
    char dir[PATH_MAX + sizeof BUCKETDISK_PLUGIN_DIR];

    if (program->is_build_tree)
        snprintf(dir, sizeof dir, "%s/plugins", program->dir);
    else
        installed_place(program, dir, sizeof dir);
    return place_load(plugins, program, dir);
}

int
plugins_load(struct plugins *plugins, const struct plugin_search *search, struct error *why)
{
    const char *environment = getenv("BUCKETDISK_PLUGIN_PATH");
    struct program program;
    int rc = 0;

    memset(plugins, 0, sizeof *plugins);
    program_find(&program);
    if (lt_dlinit() != 0)
        return error_set(why, -ENOMEM, "libltdl does not start: %s", lt_dlerror());
    if (!search->builtin_only && search->extra != NULL)
        rc = places_load(plugins, &program, search->extra, "--plugin-path", why);
    /* Whoever starts a privileged process must not choose its code by a variable. */
    if (rc == 0 && !search->builtin_only && environment != NULL && geteuid() != 0
        && getauxval(AT_SECURE) == 0)
        rc = places_load(plugins, &program, environment, "BUCKETDISK_PLUGIN_PATH", why);
    if (rc == 0 && (rc = builtin_load(plugins, &program)) != 0)
        error_set(why, rc, "out of memory");
    if (rc != 0) {
        plugins_free(plugins);
        return rc;
    }
    return 0;
}
