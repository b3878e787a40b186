/* SPDX-License-Identifier: Apache-2.0 */
#include "mount_warn.h"

#include "base/log.h"
#include "base/util.h"
#include "holder.h"
#include "spill.h"

/* s3backer takes them without a word, so its command lines must go on working. */
static void
warn_of_options(const struct settings *settings)
{
    const struct {
        const char *option;
        bool is_given;
    } of_the_file[] = {
        { "block-cache-no-verify", settings->block_cache_no_verify },
        { "block-cache-recover-dirty-blocks", settings->block_cache_recover_dirty_blocks },
        { "block-cache-file-advise", settings->block_cache_file_advise },
    };

    for (size_t i = 0; i < ARRAY_LEN(of_the_file) && settings->block_cache_file == NULL; i++) {
        if (of_the_file[i].is_given)
            log_line(BD_WARNING, "--%s does nothing without --block-cache-file",
                     of_the_file[i].option);
    }
}

static void
tell_of_words(const struct stack *stack)
{
    const char *words = options_idle_words(stack->options);

    if (words[0] != '\0')
        log_line(BD_INFO, "-o %s: accepted, and changes nothing here", words);
}

static void
warn_of_spill(const struct stack *stack)
{
    struct spill_config config;
    struct error why;

    if (stack->settings.read_only || !stack->has_cache)
        return;
    stack_spill_config(stack, &config);
    if (spill_check(&config, &why) != 0)
        log_line(BD_WARNING,
                 "%s: if this mount is made to end before everything is stored, the rest can be "
                 "kept nowhere (--spill-directory names another place)",
                 why.text);
}

/* That of one who lives, and of one who died: both have what a reader does not see. */
static void
warn_of_writer(const struct stack *stack)
{
    struct lock lock;
    struct error ignored;
    const char *host;

    if (!stack->settings.read_only || stack->file != NULL
        || holder_look(stack->backend, &stack->layout, &lock, &ignored) != 0 || !lock.is_there
        || !lock.is_local)
        return;
    host = lock_host(&lock);
    log_line(BD_WARNING,
             "what %s wrote last may be on its local disk alone, and not in the store: this mount "
             "shows the volume without it",
             host != NULL ? host : "the writer");
}

void
mount_warn(const struct stack *stack)
{
    const struct settings *settings = &stack->settings;

    if (settings->durability == DURABILITY_CACHE)
        log_line(BD_WARNING,
                 "--durability=cache: fsync waits for the cache file %s alone; without that file "
                 "the filesystem may be beyond repair as long as not everything is stored",
                 settings->block_cache_file);
    warn_of_options(settings);
    tell_of_words(stack);
    warn_of_spill(stack);
    warn_of_writer(stack);
}
