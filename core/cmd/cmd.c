/* SPDX-License-Identifier: Apache-2.0 */
/* What commands have in common. */
#include "cmd.h"

#include "base/interrupts.h"
#include "base/log.h"
#include "copymark.h"
#include "volume_samples.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum exit_status
cmd_status(int rc)
{
    return rc == 0          ? EXIT_DONE
           : rc == -EINTR   ? EXIT_INTERRUPTED
           : rc == -EUCLEAN ? EXIT_DAMAGED
                            : EXIT_FAILED;
}

int
cmd_walk_begin(struct stack *stack, struct walk *walk, struct error *why)
{
    int rc = stack_build_objects(stack, why);

    *walk = (struct walk){ .layout = &stack->layout,
                           .objects = stack->objects,
                           .listers_max = stack_listers_max(stack),
                           .visits_max = stack_in_flight_max(stack),
                           .is_quiet = stack->settings.quiet,
                           .is_interrupted = interrupts_catch() };
    return rc;
}

int
cmd_take_here(struct stack *stack, const char *location, char **volume, struct locallock **lock,
              struct error *why)
{
    char *identity = NULL, *called = NULL;
    int rc = stack_open(stack, location, why);

    if (rc == 0)
        rc = stack_names(stack, &identity, &called, why);
    if (rc == 0)
        rc = locallock_take(identity, called, why, lock);
    if (rc == 0 && volume != NULL) {
        *volume = called;
        called = NULL;
    }
    free(identity);
    free(called);
    return rc;
}

int
cmd_unfinished(const struct stack *stack, const char **command, struct error *why)
{
    const struct layout layout = { .prefix = stack->settings.prefix };
    struct copymark mark = { .is_there = false };
    int rc = copymark_read(stack->backend, &layout, &mark, why);

    *command = stack->description.is_erased ? "erase" : mark.is_there ? "copy" : NULL;
    copymark_clear(&mark);
    return rc;
}

int
cmd_has_volume(const struct stack *stack, bool *is_there, struct error *why)
{
    const struct layout layout = { .prefix = stack->settings.prefix };
    struct volume_look look = { .is_there = false };
    const char *unfinished = NULL;
    int rc = 0;

    if (!stack->description.is_there)
        rc = cmd_unfinished(stack, &unfinished, why);
    if (rc == 0 && !stack->description.is_there && unfinished == NULL)
        rc = volume_look_any(stack->backend, &layout, &look, why);
    *is_there = stack->description.is_there || unfinished != NULL || look.is_there;
    return rc;
}

void
cmd_clean(char *text)
{
    for (; *text != '\0'; text++) {
        if ((unsigned char)*text < ' ' || *text == 0x7f)
            *text = '?';
    }
}

json_t *
cmd_json_text(const char *text)
{
    json_t *json = json_string(text);
    char *copy = json == NULL ? strdup(text) : NULL;

    for (char *at = copy; at != NULL && *at != '\0'; at++) {
        if ((unsigned char)*at >= 0x80)
            *at = '?';
    }
    if (copy != NULL)
        json = json_string(copy);
    free(copy);
    return json;
}

json_t *
cmd_json_slots(const struct manifest *manifest)
{
    json_t *slots = json_array();

    for (unsigned i = 0; i < MANIFEST_SLOTS; i++) {
        const struct key_slot *slot = &manifest->slots[i];

        if (!key_slot_is_free(slot))
            json_array_append_new(slots, json_pack("{s:i, s:o, s:o}", "slot", (int)i, "label",
                                                   cmd_json_text(slot->label), "damage",
                                                   cmd_json_text(slot->damage)));
    }
    return slots;
}

int
cmd_print_json(json_t *all, struct error *why)
{
    int rc = all == NULL ? -1 : json_dumpf(all, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER);

    json_decref(all);
    if (rc != 0)
        return error_set(why, -EIO, "cannot print what was found");
    printf("\n");
    return cmd_flush(why);
}

int
cmd_flush(struct error *why)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return 0;
    return error_set(why, -EIO, "cannot write to standard output: %s", strerror(errno));
}

int
cmd_on_location(const struct command *command, int argc, char **argv)
{
    const struct stack_rows rows = { command->rows, command->row_count, command->fields };
    struct stack stack = { 0 };
    const struct settings *settings = &stack.settings;
    char **words = calloc((size_t)argc + 1, sizeof *words);
    struct error why = { "" };
    int word_count = 0;
    int rc;

    if (words == NULL)
        return EXIT_FAILED;
    rc = stack_parse(&stack, command->rows != NULL ? &rows : NULL, argc, argv, words, &word_count,
                     &why);
    if (rc == 0 && settings->help) {
        command->help(&stack);
    } else if (rc == 0) {
        log_level_max(settings->debug ? BD_DEBUG : settings->quiet ? BD_WARNING : BD_INFO);
        if (word_count > 1)
            rc = error_set(&why, -EINVAL, "too many words: what is \"%s\"? usage: bucketdisk %s",
                           words[1], command->usage);
        else if (word_count == 0)
            rc = error_set(&why, -EINVAL, "%s usage: bucketdisk %s", command->question,
                           command->usage);
        else
            rc = command->run(&stack, words[0], command->fields, &why);
    }
    if (rc != 0 && why.text[0] != '\0')
        log_line(BD_ERROR, "%s", why.text);
    stack_close(&stack);
    free(words);
    return cmd_status(rc);
}
