/* SPDX-License-Identifier: Apache-2.0 */
/* What a volume has on local disk, its cache file and its spill file: whose they are.
 *
 * Each notes the mount tokens under which dirty blocks may have come into it: as long as the store's lock still is one of
 * them, nobody else has written since, and they are stored.  The cache file has two while a mount takes the lock from its
 * dead predecessor: whichever is there when the machine dies, the next one recognises it.
 *
 * If the lock is gone or another's, only who forces it goes on (stack_settle.c).  Until that is done the file keeps its old
 * note: a mount that dies before must not vouch for it. */
#include "stack.h"

#include "base/human.h"
#include "base/log.h"
#include "holder.h"
#include "locallock.h"
#include "seal.h"
#include "spill.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define SLOTS_MIN 16u

/* ---- whose it is */

static uint32_t
file_slots(const struct stack *stack)
{
    const struct settings *settings = &stack->settings;
    const struct layout *layout = &stack->layout;
    uint64_t slots = options_given(stack->options, "block-cache-size")
                         ? settings->block_cache_size
                         : settings->cache_file_size / layout->block_bytes;

    if (slots > layout->block_count + SLOTS_MIN)
        slots = layout->block_count + SLOTS_MIN;
    if (slots > CACHEFILE_SLOTS_MAX)
        slots = CACHEFILE_SLOTS_MAX;
    return slots < SLOTS_MIN ? SLOTS_MIN : (uint32_t)slots;
}

static struct cachefile_config
file_config(const struct stack *stack)
{
    const struct manifest *manifest = &stack->description.manifest;
    struct cachefile_config config = {
        .volume = stack->volume,
        .identity = stack->identity,
        .identity_bytes = strlen(stack->identity),
        .block_bytes = (uint32_t)stack->layout.block_bytes,
        .slots = file_slots(stack),
        .is_advised = stack->settings.block_cache_file_advise,
        .discards_dirty =
            stack->settings.block_cache_discard_dirty_blocks && !stack->settings.read_only,
        .is_forced = stack->settings.force && !stack->settings.read_only,
    };

    if (stack->layout.is_format_2) {
        config.identity = manifest->id;
        config.identity_bytes = VOLUME_ID_BYTES;
    }
    if (stack->seal != NULL) {
        config.seal = seal_block;
        config.unseal = seal_open;
        config.seal_arg = stack->seal;
        config.seal_bytes = SEAL_BYTES;
    }
    return config;
}

void
stack_spill_config(const struct stack *stack, struct spill_config *config)
{
    *config = (struct spill_config){ .directory = stack->settings.spill_directory,
                                     .is_read_only = stack->settings.read_only,
                                     .file = file_config(stack) };

    config->file.discards_dirty = false;
    /* Room for all that the memory cache may have, whatever was said of the cache file. */
    config->file.slots = stack->cache_blocks < stack->layout.block_count
                             ? stack->cache_blocks + SLOTS_MIN
                             : (uint32_t)stack->layout.block_count + SLOTS_MIN;
    locallock_name(stack->identity, config->name);
}

static int
check_gone(const char *path, struct error *why)
{
    struct stat info;

    if (path == NULL || stat(path, &info) != 0 || info.st_size == 0)
        return 0;
    return error_set(why, -EINVAL,
                     "the volume is new, so %s is that of another one which was here; move it away",
                     path);
}

/* Of a volume that is about to be made there can be no blocks yet. */
static int
check_new(const struct stack *stack, struct error *why)
{
    struct spill_config config;
    char *path;
    int rc = check_gone(stack->settings.block_cache_file, why);

    if (rc != 0)
        return rc;
    stack_spill_config(stack, &config);
    path = spill_place(&config);
    rc = path != NULL ? check_gone(path, why) : error_set(why, -ENOMEM, "out of memory");
    free(path);
    return rc;
}

/* ---- may it be stored? */

struct tokens {
    uint32_t now, next;
};

static struct tokens
noted(const struct stack *stack)
{
    char text[CACHEFILE_TEXT_BYTES_MAX + 1];
    struct tokens tokens = { 0, 0 };

    text[cachefile_note(stack->file, text)] = '\0';
    if (sscanf(text, "%8" SCNx32 " %8" SCNx32, &tokens.now, &tokens.next) != 2)
        return (struct tokens){ 0, 0 };
    return tokens;
}

/* A file with blocks that were not stored. */
struct unsaved {
    const char *path;
    uint64_t blocks;
    struct tokens tokens;
    bool is_spill;
};

static int
refuse(const struct stack *stack, const struct unsaved *unsaved, const struct lock *lock,
       bool is_vouched, struct error *why)
{
    const char *host = lock_host(lock);
    const char *how = stack->settings.read_only ? " without --read-only" : "";
    char who[160] = "gone";

    if (is_vouched)
        return error_set(why, -EBUSY,
                         "%s has what is not stored; mount once without --read-only, which stores "
                         "it",
                         unsaved->path);
    if (lock->is_there)
        snprintf(who, sizeof who, "another mount's%s%s", host != NULL ? ", on " : "",
                 host != NULL ? host : "");
    return error_set(
        why, -EBUSY,
        "%s has what was not stored, but since then the volume's lock is %s: somebody may have "
        "written, or still does.  If nobody does, --force%s %s; "
        "--block-cache-discard-dirty-blocks%s drops all",
        unsaved->path, who, how,
        unsaved->is_spill ? "goes on and drops it, for nothing says what it was based on"
                          : "stores those of its blocks that nobody has changed, and names and "
                            "drops the others",
        how);
}

/* Is all that is dirty in it on the disk that the volume is now? */
static int
check_size(const struct stack *stack, struct cachefile *file, const char *path, struct error *why)
{
    struct cachefile_info info;
    uint32_t cursor = 0;

    while (cachefile_dirty(file) > 0 && cachefile_next(file, &cursor, &info)) {
        if (info.state == CACHEFILE_DIRTY && info.block >= stack->layout.block_count)
            return error_set(why, -EINVAL,
                             "%s has block %08" PRIx64
                             ", which is not stored and behind the end of "
                             "the disk; give the --size that the volume had",
                             path, info.block);
    }
    return 0;
}

/* Does the store's lock vouch for the file?  If not, and there is something in it, somebody must force it. */
static int
judge(struct stack *stack, const struct unsaved *unsaved, bool *is_vouched, struct error *why)
{
    const struct settings *settings = &stack->settings;
    const struct tokens *tokens = &unsaved->tokens;
    bool is_empty = unsaved->blocks == 0 && !unsaved->is_spill;
    struct lock lock = { .is_there = false };
    bool is_the_same;
    int rc;

    *is_vouched = is_empty;
    if (settings->read_only && is_empty)
        return 0;
    rc = holder_look(stack->backend, &stack->layout, &lock, why);
    if (rc != 0)
        return rc;
    is_the_same = lock.is_there && lock.value != 0
                  && (lock.value == tokens->now || lock.value == tokens->next);
    if (is_the_same && !settings->read_only) {
        stack->vouched = lock.value;
        *is_vouched = true;
        if (!is_empty)
            log_line(BD_INFO, "%s has %" PRIu64 " %s be", unsaved->path, unsaved->blocks,
                     human_form(unsaved->blocks, "block that was not stored; it will",
                                "blocks that were not stored; they will"));
        return 0;
    }
    if (is_empty || (settings->force && !settings->read_only))
        return 0;
    return refuse(stack, unsaved, &lock, is_the_same, why);
}

/* It was opened when the volume was looked at first. */
static int
check_still_fits(const struct stack *stack, struct error *why)
{
    if (stack->layout.block_bytes == stack->file_block_bytes)
        return 0;
    return error_set(why, -EBUSY, "the volume has just been made anew; try again");
}

static int
open_cache_file(struct stack *stack, struct error *why)
{
    struct cachefile_config config = file_config(stack);
    struct unsaved unsaved;
    int rc;

    config.path = stack->settings.block_cache_file;
    if (config.path == NULL)
        return 0;
    if (stack->file != NULL)
        return check_still_fits(stack, why);
    rc = cachefile_open(&config, why, &stack->file);
    if (rc != 0)
        return rc;
    stack->file_block_bytes = stack->layout.block_bytes;
    rc = check_size(stack, stack->file, config.path, why);
    if (rc != 0)
        return rc;
    unsaved = (struct unsaved){ .path = config.path,
                                .blocks = cachefile_dirty(stack->file),
                                .tokens = noted(stack) };
    return judge(stack, &unsaved, &stack->file_is_vouched, why);
}

static int
discard_spill(struct stack *stack, const struct spill_config *config, struct error *why)
{
    char *path = spill_place(config);
    int rc;

    log_line(BD_WARNING, "%s is removed, as --block-cache-discard-dirty-blocks says",
             path != NULL ? path : "the spill file");
    free(path);
    rc = stack->spill != NULL ? spill_remove(stack->spill, why) : spill_discard(config, why);
    stack->spill = NULL;
    return rc;
}

static int
open_spill(struct stack *stack, struct error *why)
{
    bool discards = stack->settings.block_cache_discard_dirty_blocks && !stack->settings.read_only;
    struct spill_config config;
    struct unsaved unsaved = { .is_spill = true };
    uint32_t tokens[2];
    int rc;

    if (stack->spill != NULL)
        return 0;
    stack_spill_config(stack, &config);
    rc = spill_find(&config, &stack->spill, why);
    if (discards && (rc == -EUCLEAN || (rc == 0 && stack->spill != NULL)))
        return discard_spill(stack, &config, why);
    if (rc != 0 || stack->spill == NULL)
        return rc;
    rc = check_size(stack, spill_file(stack->spill), spill_path(stack->spill), why);
    if (rc != 0)
        return rc;
    spill_tokens(stack->spill, tokens);
    unsaved.path = spill_path(stack->spill);
    unsaved.blocks = cachefile_dirty(spill_file(stack->spill));
    unsaved.tokens = (struct tokens){ tokens[0], tokens[1] };
    return judge(stack, &unsaved, &stack->spill_is_vouched, why);
}

int
stack_file_open(struct stack *stack, const char *identity, const char *volume, struct error *why)
{
    int rc = 0;

    stack->identity = identity;
    stack->volume = volume;
    if (stack->is_new)
        return check_new(stack, why);
    if (chain_encrypts(stack->chain) && stack->seal == NULL)
        rc = stack_seal(stack, &stack->seal, why);
    if (rc == 0)
        rc = open_cache_file(stack, why);
    return rc != 0 ? rc : open_spill(stack, why);
}

int
stack_file_note(struct stack *stack, uint32_t now, uint32_t next, struct error *why)
{
    char text[32];
    int rc = 0;

    if (now == 0)
        now = next;
    snprintf(text, sizeof text, "%08" PRIx32 " %08" PRIx32, now, next);
    if (stack->file != NULL && stack->file_is_vouched)
        rc = cachefile_set_note(stack->file, text, strlen(text), why);
    if (rc == 0 && stack->spill != NULL && stack->spill_is_vouched)
        rc = spill_set_tokens(stack->spill, now, next, why);
    return rc;
}

bool
stack_file_is_unsaved(const struct stack *stack)
{
    return (stack->spill != NULL && stack->spill_is_vouched)
           || (stack->file != NULL && stack->file_is_vouched && cachefile_dirty(stack->file) > 0);
}
