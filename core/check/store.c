/* SPDX-License-Identifier: Apache-2.0 */
/* Backends of a check: opened as --backend says, on the location that was given. */
#include "impl.h"

#include "base/options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The plugins of --backend, outermost first. */
static unsigned
layers_choose(struct check *check, const struct plugin **layers)
{
    char names[256];
    char *rest = names, *name;
    struct error why = { "" };
    unsigned count = 0;

    snprintf(names, sizeof names, "%s",
             check->backend != NULL ? check->backend : check->plugin->name);
    while ((name = strsep(&rest, ",")) != NULL) {
        if (count == CHECK_LAYERS_MAX)
            check_refuse(check, "--backend: more than %d layers", CHECK_LAYERS_MAX);
        layers[count] = plugins_backend(&check->plugins, name, &why);
        if (layers[count] == NULL)
            check_refuse(check, "%s", why.text);
        count++;
    }
    if (layers[0] != check->plugin)
        check_refuse(check, "--backend=%s: the plugin that is checked, %s, comes first",
                     check->backend, plugin_owner(check->plugin));
    if (check->plugin->backend.traits & BD_BACKEND_STACKS && count == 1)
        check_refuse(check, "it needs another backend below it: say --backend=%s,OTHER",
                     plugin_owner(check->plugin));
    return count;
}

static const struct bd_option *
location_row(const struct plugin *plugin)
{
    for (uint32_t i = 0; i < plugin->desc.option_count; i++) {
        if (plugin->options[i].flags & BD_OPTF_LOCATION)
            return &plugin->options[i];
    }
    return NULL;
}

static void
location_set(struct check *check, const struct plugin *innermost)
{
    struct error why = { "" };

    if (check->location != NULL
        && options_set_location(check->options, plugin_owner(innermost), check->location, &why)
               != 0)
        check_refuse(check, "%s", why.text);
}

/* The options that a layer is opened with: its own, or a copy with another location. */
static const void *
fields_of(struct check *check, const struct plugin *plugin, const char *location)
{
    const struct bd_option *row = location_row(plugin);
    char *copy;

    if (location == NULL || row == NULL)
        return plugin->option_fields;
    copy = check_alloc(check, plugin->desc.options_bytes + 1);
    memcpy(copy, plugin->option_fields, plugin->desc.options_bytes);
    memcpy(copy + row->offset, &location, sizeof location);
    return copy;
}

static bool
layer_open(struct instance *layer, struct instance *below, struct store_how how)
{
    struct check *check = layer->check;
    const size_t bytes = sizeof *layer->info;
    const struct plugin *plugin = layer->plugin;
    struct error why = { "" };

    if (options_require(check->options, plugin_owner(plugin), &why) != 0
        || plugin_check(plugin, &why) != 0)
        check_refuse(check, "%s", why.text);
    layer->extra = how.extra;
    layer->host = check_host_new(check, how.extra);
    layer->host->has_statistics = !how.has_no_statistics;
    layer->status = plugin->backend.open(
        &layer->host->table, fields_of(check, plugin, below == NULL ? how.location : NULL),
        below != NULL ? &below->lower : NULL, &layer->handle);
    if (layer->status != BD_OK)
        return false;
    layer->is_open = true;
    if (how.is_guarded) {
        layer->info = check_guarded(check, bytes);
    } else {
        layer->info = check_alloc(check, bytes + CHECK_CANARY_BYTES);
        layer->info_canary = (unsigned char *)layer->info + bytes;
        check_canary_set(layer->info_canary);
    }
    layer->info->size = (uint32_t)bytes + how.extra;
    plugin->backend.info(layer->handle, layer->info);
    layer->lower =
        (struct bd_lower){ (uint32_t)sizeof layer->lower + how.extra, 0, layer->info, layer };
    return true;
}

struct store *
store_try(struct check *check, struct store_how how)
{
    const struct plugin *layers[CHECK_LAYERS_MAX];
    const unsigned count = layers_choose(check, layers);
    struct store *store = check_alloc(check, sizeof *store);

    if (how.location == NULL)
        location_set(check, layers[count - 1]);
    store->next = check->stores;
    check->stores = store;
    store->layer_count = count;
    for (unsigned i = count; i-- > 0;) {
        struct instance *layer = &store->layers[i];

        layer->check = check;
        layer->plugin = layers[i];
        if (!layer_open(layer, i + 1 < count ? &store->layers[i + 1] : NULL, how)) {
            store->layers[0].status = layer->status;
            break;
        }
    }
    return store;
}

/* Would any other row have to open it so, too? */
static bool
is_usual(const struct store *store, struct store_how how)
{
    return how.location != NULL
           || (store->next == NULL && how.extra == 0 && !how.is_guarded && !how.has_no_statistics);
}

struct store *
store_open(struct check *check, struct store_how how)
{
    struct store *store = store_try(check, how);

    if (store->layers[0].is_open)
        return store;
    if (is_usual(store, how))
        check_quote_nothing(check);
    check_fail(check, "open: expected OK, came %s", status_word(store->layers[0].status));
    return NULL;
}

void
store_close(struct store *store)
{
    for (unsigned i = 0; i < store->layer_count; i++) {
        struct instance *layer = &store->layers[i];

        if (!layer->is_open)
            continue;
        layer->plugin->backend.close(layer->handle);
        layer->is_open = false;
        atomic_store(&layer->host->is_closed, true);
    }
}

void
stores_close(struct check *check)
{
    for (; check->stores != NULL; check->stores = check->stores->next)
        store_close(check->stores);
}

const struct bd_option *
store_location_row(struct check *check)
{
    const struct plugin *layers[CHECK_LAYERS_MAX];

    return location_row(layers[layers_choose(check, layers) - 1]);
}

const char *
store_location(struct check *check)
{
    const struct plugin *layers[CHECK_LAYERS_MAX];
    const struct plugin *innermost = layers[layers_choose(check, layers) - 1];
    const struct bd_option *row = location_row(innermost);
    const char *location = NULL;

    location_set(check, innermost);
    if (row != NULL)
        memcpy(&location, (char *)innermost->option_fields + row->offset, sizeof location);
    return location;
}
