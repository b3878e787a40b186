/* SPDX-License-Identifier: Apache-2.0 */
/* bucketdisk info LOCATION: what this volume is, what is in it, and who has it.
 *
 * Needs no password: it says what the store says, and nothing of that is authenticated. */
#include "cmd.h"

#include "base/human.h"
#include "base/util.h"
#include "copymark.h"
#include "holder.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SAMPLES 64u /* blocks that are looked at unless --all are */
#define CHAINS_MAX 32u
#define LABEL_COLUMNS 12

struct info_settings {
    uint8_t json, all;
};

static const struct bd_option info_rows[] = {
    CMD_JSON_ROW(struct info_settings, json),
    { .name = "all",
      .type = BD_OPT_BOOL,
      BD_FIELD(struct info_settings, all),
      .help = "look at every block to see how it is encoded, and not at a few" },
};

/* How so many blocks are encoded. */
struct used_chain {
    char encoding[BD_ENCODING_BYTES_MAX + 1];
    uint64_t count;
};

struct info {
    struct stack *stack;
    char *identity, *volume;
    struct walk walk;
    struct lock holder;
    struct copymark mark; /* of half a copy */
    size_t looked_count;
    pthread_mutex_t lock; /* guards the next three */
    struct used_chain chains[CHAINS_MAX];
    unsigned chain_count;
    uint64_t other_count; /* of yet other chains */
};

/* ---- how blocks are encoded */

static void
look_begin(struct visit *visit)
{
    visit->req.op = OBJECT_HEAD;
    visit->req.block = visit->blocks->number;
    visit->req.encoding = visit->data;
}

static void
chain_count_locked(struct info *info, const char *encoding)
{
    unsigned i = 0;

    while (i < info->chain_count && strcmp(info->chains[i].encoding, encoding) != 0)
        i++;
    if (i == CHAINS_MAX) {
        info->other_count++;
        return;
    }
    if (i == info->chain_count)
        snprintf(info->chains[info->chain_count++].encoding, sizeof info->chains[i].encoding, "%s",
                 encoding);
    info->chains[i].count++;
}

static int
look_end(struct visit *visit)
{
    struct info *info = visit->visitor->arg;

    progress_add(&info->walk.progress, 1, 0);
    if (visit->req.rc != 0)
        return error_set(&visit->why, visit->req.rc, "cannot look at block %08x: %s",
                         visit->blocks->number, strdupa(visit->why.text));
    if (visit->req.is_absent)
        return 0;
    cmd_clean(visit->data);
    pthread_mutex_lock(&info->lock);
    chain_count_locked(info, visit->data);
    info->looked_count++;
    pthread_mutex_unlock(&info->lock);
    return 0;
}

static int
by_count(const void *a, const void *b)
{
    uint64_t first = ((const struct used_chain *)a)->count;
    uint64_t second = ((const struct used_chain *)b)->count;

    return (first < second) - (first > second);
}

/* A few, from all over the volume: what was written early and late may differ. */
static int
look_at_blocks(struct info *info, bool is_all, struct error *why)
{
    const struct visitor visitor = { .blocks_max = 1,
                                     .data_bytes = BD_ENCODING_BYTES_MAX + 1,
                                     .begin = look_begin,
                                     .end = look_end,
                                     .arg = info };
    struct walk *walk = &info->walk;
    struct walk_block *all = walk->blocks, few[SAMPLES];
    size_t count = walk->count;
    int rc;

    if (!is_all && count > SAMPLES) {
        for (size_t i = 0; i < SAMPLES; i++)
            few[i] = all[i * (count - 1) / (SAMPLES - 1)];
        walk->blocks = few;
        walk->count = SAMPLES;
    }
    progress_begin(&walk->progress, "looking at blocks", walk->count, walk->is_quiet);
    rc = walk_visit(walk, &visitor, 0, walk->count, why);
    progress_end(&walk->progress);
    walk->blocks = all;
    walk->count = count;
    qsort(info->chains, info->chain_count, sizeof info->chains[0], by_count);
    return rc;
}

/* ---- who has it */

static const char *
holder_state(const struct info *info)
{
    const struct lock *lock = &info->holder;

    if (!lock->is_there)
        return "free";
    if (lock_is_shared(lock))
        return "shared";
    return lock->lease.beat > 0 ? "leased" : "held";
}

/* By its clock, and ours. */
static uint64_t
silent_s(const struct lock *lock)
{
    uint64_t now = (uint64_t)time(NULL);

    return now > lock->lease.at_s ? now - lock->lease.at_s : 0;
}

/* What can be said without watching it. */
static bool
holder_looks_dead(const struct lock *lock)
{
    return lock->lease.beat > 0
           && silent_s(lock) > (lock->lease.lease_ms + lock->lease.settle_ms) / 1000;
}

static void
print_holder(const struct info *info)
{
    const struct lock *lock = &info->holder;
    const char *host = lock_host(lock);
    char ago[HUMAN_BYTES];

    printf("%-*s", LABEL_COLUMNS, "held by");
    if (!lock->is_there) {
        printf("nobody\n");
    } else if (lock_is_shared(lock)) {
        printf("any number of machines, with --sharedDiskMode\n");
    } else if (lock->lease.beat == 0) {
        printf("%s; nothing tells whether it lives\n",
               host != NULL ? host : "a mount of s3backer's");
    } else {
        human_duration(silent_s(lock), ago);
        printf("%s, which renewed its lock %s ago (lease %" PRIu64 " s)\n",
               host != NULL ? host : "another machine", ago, lock->lease.lease_ms / 1000);
        if (holder_looks_dead(lock))
            printf("%-*sby its clock it is dead; \"bucketdisk takeover\" makes sure\n",
                   LABEL_COLUMNS, "");
    }
    if (lock->is_there && lock->is_local)
        printf("%-*swhat it acknowledged may be in its cache file alone\n", LABEL_COLUMNS, "");
}

/* ---- printing */

static void
print_size(const char *label, uint64_t bytes)
{
    char human[HUMAN_BYTES];

    human_bytes(bytes, human);
    printf("%-*s%s (%" PRIu64 " bytes)\n", LABEL_COLUMNS, label, human, bytes);
}

static void
print_slots(const struct manifest *manifest)
{
    const char *label = "key slots";

    for (unsigned i = 0; i < MANIFEST_SLOTS; i++) {
        const struct key_slot *slot = &manifest->slots[i];

        if (key_slot_is_free(slot))
            continue;
        printf("%-*snumber %u%s%s%s%s\n", LABEL_COLUMNS, label, i,
               slot->label[0] != '\0' ? ": " : "", slot->label,
               slot->damage[0] != '\0' ? " damaged: " : "", slot->damage);
        label = "";
    }
    if (label[0] != '\0')
        printf("%-*snone: nobody can read the volume any more\n", LABEL_COLUMNS, label);
}

static void
print_chains(const struct info *info)
{
    const char *label = "encodings";

    for (unsigned i = 0; i < info->chain_count; i++) {
        const struct used_chain *chain = &info->chains[i];

        printf("%-*s%s: %" PRIu64 "\n", LABEL_COLUMNS, label,
               chain->encoding[0] != '\0' ? chain->encoding : "plain", chain->count);
        label = "";
    }
    if (info->other_count > 0)
        printf("%-*sothers: %" PRIu64 "\n", LABEL_COLUMNS, "", info->other_count);
    if (info->looked_count < info->walk.count)
        printf("%-*s(of %zu %s looked at; --all looks at all)\n", LABEL_COLUMNS, "",
               info->looked_count,
               human_form(info->looked_count, "block that was", "blocks that were"));
}

static void
print_half_copy(const struct copymark *mark)
{
    printf("%-*sa copy that is not complete, and cannot be mounted\n", LABEL_COLUMNS, "state");
    if (mark->called != NULL)
        printf("%-*sof %s\n", LABEL_COLUMNS, "", mark->called);
    printf("%-*sthe same \"bucketdisk copy\" goes on; \"bucketdisk erase\" removes it\n",
           LABEL_COLUMNS, "");
}

static int
print_text(const struct info *info, struct error *why)
{
    const struct layout *layout = &info->stack->layout;
    const struct manifest *manifest = &info->stack->description.manifest;
    bool is_encrypted = layout->is_format_2 && manifest_is_encrypted(manifest);
    char stored[HUMAN_BYTES];

    printf("%-*s%s\n", LABEL_COLUMNS, "volume", info->volume);
    if (info->mark.is_there)
        print_half_copy(&info->mark);
    print_size("size", layout->block_bytes * layout->block_count);
    print_size("block size", layout->block_bytes);
    printf("%-*s%s%s\n", LABEL_COLUMNS, "format", layout->is_format_2 ? "2" : "1, s3backer's",
           layout->is_hashed ? ", names of blocks begin with a hash" : "");
    if (layout->is_format_2) {
        printf("%-*s%s%s\n", LABEL_COLUMNS, "written as",
               manifest->codec[0] != '\0' ? manifest->codec : "plain",
               is_encrypted ? "" : ", not encrypted");
        printf("%-*s%" PRIu32 "\n", LABEL_COLUMNS, "epoch", manifest->epoch);
    }
    if (is_encrypted)
        print_slots(manifest);
    human_bytes(info->walk.bytes, stored);
    printf("%-*s%zu of %" PRIu64 " %s, %s stored (%" PRIu64 " bytes)\n", LABEL_COLUMNS, "in use",
           info->walk.count, layout->block_count,
           human_form(layout->block_count, "block", "blocks"), stored, info->walk.bytes);
    print_chains(info);
    print_holder(info);
    return cmd_flush(why);
}

static json_t *
json_chains(const struct info *info)
{
    json_t *chains = json_array();

    for (unsigned i = 0; i < info->chain_count; i++)
        json_array_append_new(chains, json_pack("{s:o, s:I}", "encoding",
                                                cmd_json_text(info->chains[i].encoding), "blocks",
                                                (json_int_t)info->chains[i].count));
    return chains;
}

static json_t *
json_holder(const struct info *info)
{
    const struct lock *lock = &info->holder;
    const char *host = lock_host(lock);
    json_t *holder = json_pack("{s:s, s:o, s:b}", "state", holder_state(info), "host",
                               host != NULL ? cmd_json_text(host) : json_null(),
                               "may_be_in_cache_file_alone", lock->is_local);

    if (lock->lease.beat > 0)
        json_object_update_new(
            holder, json_pack("{s:I, s:I, s:I, s:b}", "lease_seconds",
                              (json_int_t)(lock->lease.lease_ms / 1000), "settle_seconds",
                              (json_int_t)(lock->lease.settle_ms / 1000), "renewed_at",
                              (json_int_t)lock->lease.at_s, "looks_dead", holder_looks_dead(lock)));
    return holder;
}

static int
print_json(const struct info *info, struct error *why)
{
    const struct layout *layout = &info->stack->layout;
    const struct manifest *manifest = &info->stack->description.manifest;
    json_t *all =
        json_pack("{s:o, s:I, s:I, s:i, s:b, s:I, s:I, s:I, s:o, s:I, s:o}", "volume",
                  cmd_json_text(info->volume), "size",
                  (json_int_t)(layout->block_bytes * layout->block_count), "block_size",
                  (json_int_t)layout->block_bytes, "format", layout->is_format_2 ? 2 : 1, "hashed",
                  layout->is_hashed, "blocks", (json_int_t)layout->block_count, "blocks_in_use",
                  (json_int_t)info->walk.count, "bytes_in_use", (json_int_t)info->walk.bytes,
                  "encodings", json_chains(info), "blocks_looked_at",
                  (json_int_t)info->looked_count, "holder", json_holder(info));

    if (all != NULL)
        json_object_set_new(
            all, "half_copy_of",
            !info->mark.is_there
                ? json_null()
                : cmd_json_text(info->mark.called != NULL ? info->mark.called : ""));
    if (all != NULL && layout->is_format_2)
        json_object_update_new(
            all, json_pack("{s:o, s:b, s:I, s:o}", "codec", cmd_json_text(manifest->codec),
                           "encrypted", manifest_is_encrypted(manifest), "epoch",
                           (json_int_t)manifest->epoch, "key_slots", cmd_json_slots(manifest)));
    return cmd_print_json(all, why);
}

/* ---- the command */

/* Half a copy may not have the block yet that says the sizes; its mark says them. */
static int
look_at_mark(struct info *info, struct error *why)
{
    const struct layout layout = { .prefix = info->stack->settings.prefix };
    struct settings *settings = &info->stack->settings;
    int rc = copymark_read(info->stack->backend, &layout, &info->mark, why);

    if (rc != 0 || info->mark.called == NULL)
        return rc;
    cmd_clean(info->mark.called);
    if (settings->size == 0)
        settings->size = info->mark.disk_bytes;
    if (settings->block_size == 0)
        settings->block_size = info->mark.block_bytes;
    return 0;
}

/* What is not there yet of half a copy is no reason to say that no volume is there. */
static int
look_at_volume(struct info *info, struct error *why)
{
    struct stack *stack = info->stack;
    int rc = look_at_mark(info, why);

    if (rc == 0)
        rc = stack_look(stack, why);
    if (rc == -EINVAL && info->mark.is_there)
        copymark_refuse(stack->backend, &stack->layout, why);
    return rc;
}

static int
find_out(struct info *info, const char *location, bool is_all, struct error *why)
{
    struct stack *stack = info->stack;
    int rc = stack_open(stack, location, why);

    if (rc == 0)
        rc = stack_names(stack, &info->identity, &info->volume, why);
    if (rc == 0)
        rc = look_at_volume(info, why);
    if (rc == 0)
        rc = holder_look(stack->backend, &stack->layout, &info->holder, why);
    cmd_clean(info->holder.owner);
    if (rc == 0)
        rc = cmd_walk_begin(stack, &info->walk, why);
    if (rc == 0)
        rc = walk_list(&info->walk, why);
    return rc == 0 ? look_at_blocks(info, is_all, why) : rc;
}

static int
run(struct stack *stack, const char *location, void *fields, struct error *why)
{
    const struct info_settings *own = fields;
    struct info info = { .stack = stack, .lock = PTHREAD_MUTEX_INITIALIZER };
    int rc = find_out(&info, location, own->all, why);

    if (rc == 0)
        rc = own->json ? print_json(&info, why) : print_text(&info, why);
    walk_clear(&info.walk);
    copymark_clear(&info.mark);
    free(info.identity);
    free(info.volume);
    return rc;
}

static void
help(const struct stack *stack)
{
    (void)stack;
    printf("usage: bucketdisk info [--all] [--json] [options] LOCATION\n"
           "\n"
           "Says what a volume is: its sizes and format, how many blocks and bytes are in\n"
           "use, how they are encoded, its key slots, and who has it mounted.  Needs no\n"
           "password: it says what the store says, and nothing of that is authenticated.\n"
           "\n"
           "--all: look at every block to see how it is encoded, and not at %u of them.\n"
           "--json: print one JSON object.\n"
           "\n"
           "All other options are those of the mount: --backend and its options, --prefix,\n"
           "--blockHashPrefix, --listBlocksThreads.\n",
           SAMPLES);
}

int
cmd_info(int argc, char **argv)
{
    struct info_settings own = { 0 };
    const struct command command = { .usage = "info [--all] [--json] [options] LOCATION",
                                     .question = "which volume?",
                                     .rows = info_rows,
                                     .row_count = ARRAY_LEN(info_rows),
                                     .fields = &own,
                                     .help = help,
                                     .run = run };

    return cmd_on_location(&command, argc, argv);
}
