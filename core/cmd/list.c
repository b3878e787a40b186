/* SPDX-License-Identifier: Apache-2.0 */
/* bucketdisk list LOCATION: the blocks that exist. */
#include "cmd.h"

#include "base/util.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define STRETCH 1024u /* blocks that are looked at, and then printed */

struct list_settings {
    uint8_t json, is_long;
};

static const struct bd_option list_rows[] = {
    CMD_JSON_ROW(struct list_settings, json),
    { .name = "long",
      .type = BD_OPT_BOOL,
      BD_FIELD(struct list_settings, is_long),
      .help = "ask for each block's encoding and tag, too" },
};

/* What was found out of one block by looking at it. */
struct look {
    bool is_gone;
    char encoding[BD_ENCODING_BYTES_MAX + 1];
    char tag[BD_TAG_BYTES_MAX + 1];
};

struct list {
    struct list_settings settings;
    struct walk walk;
    size_t first; /* of the stretch */
    struct look looks[STRETCH];
};

/* ---- looking */

static struct look *
look_of(const struct visit *visit)
{
    struct list *list = visit->visitor->arg;

    return &list->looks[visit->blocks - list->walk.blocks - list->first];
}

static void
look_begin(struct visit *visit)
{
    visit->req.op = OBJECT_HEAD;
    visit->req.block = visit->blocks->number;
    visit->req.encoding = look_of(visit)->encoding;
}

static int
look_end(struct visit *visit)
{
    struct list *list = visit->visitor->arg;
    struct look *look = look_of(visit);

    look->is_gone = visit->req.is_absent;
    snprintf(look->tag, sizeof look->tag, "%s", visit->req.tag);
    cmd_clean(look->tag);
    cmd_clean(look->encoding);
    progress_add(&list->walk.progress, 1, 0);
    if (visit->req.rc == 0)
        return 0;
    return error_set(&visit->why, visit->req.rc, "cannot look at block %08x: %s",
                     visit->blocks->number, strdupa(visit->why.text));
}

/* ---- printing */

static void
print_head(const struct list *list)
{
    if (list->settings.json)
        return;
    if (list->settings.is_long)
        printf("     block       bytes  %-24s %-34s object\n", "encoding", "tag");
    else
        printf("     block       bytes  object\n");
}

static const char *
or_dash(const char *text)
{
    return text[0] != '\0' ? text : "-";
}

static void
print_text(const struct list *list, const struct walk_block *block, const struct look *look)
{
    object_name name;

    layout_block_name(list->walk.layout, block->number, name);
    if (look == NULL)
        printf("%10u  %10u  %s\n", block->number, block->bytes, name);
    else
        printf("%10u  %10u  %-24s %-34s %s\n", block->number, block->bytes, or_dash(look->encoding),
               or_dash(look->tag), name);
}

/* A line for each, so that a reader needs not have all of them at once. */
static int
print_json(const struct list *list, const struct walk_block *block, const struct look *look)
{
    object_name name;
    json_t *line;
    int rc;

    layout_block_name(list->walk.layout, block->number, name);
    line = json_pack("{s:I, s:I, s:o}", "block", (json_int_t)block->number, "bytes",
                     (json_int_t)block->bytes, "object", cmd_json_text(name));
    if (look != NULL && line != NULL) {
        json_object_set_new(line, "encoding", cmd_json_text(look->encoding));
        json_object_set_new(line, "tag", cmd_json_text(look->tag));
    }
    rc = line == NULL ? -1 : json_dumpf(line, stdout, JSON_COMPACT | JSON_PRESERVE_ORDER);
    json_decref(line);
    printf("\n");
    return rc;
}

static int
print(const struct list *list, size_t end, struct error *why)
{
    for (size_t i = list->first; i < end; i++) {
        const struct walk_block *block = &list->walk.blocks[i];
        const struct look *look = list->settings.is_long ? &list->looks[i - list->first] : NULL;

        /* Somebody has zeroed it meanwhile. */
        if (look != NULL && look->is_gone)
            continue;
        if (!list->settings.json)
            print_text(list, block, look);
        else if (print_json(list, block, look) != 0)
            return error_set(why, -EIO, "cannot print block %u", block->number);
    }
    return ferror(stdout) ? cmd_flush(why) : 0;
}

/* ---- the command */

static int
list_all(struct list *list, struct error *why)
{
    const struct visitor visitor = {
        .blocks_max = 1, .begin = look_begin, .end = look_end, .arg = list
    };
    struct walk *walk = &list->walk;
    int rc = walk_list(walk, why);

    if (rc != 0)
        return rc;
    print_head(list);
    /* What is printed on a terminal shows by itself how far it is. */
    progress_begin(&walk->progress, "looking at blocks", walk->count,
                   walk->is_quiet || !list->settings.is_long || isatty(STDOUT_FILENO) == 1);
    for (list->first = 0; list->first < walk->count && rc == 0; list->first += STRETCH) {
        size_t end = walk->count - list->first > STRETCH ? list->first + STRETCH : walk->count;

        if (list->settings.is_long)
            rc = walk_visit(walk, &visitor, list->first, end, why);
        if (rc == 0)
            rc = print(list, end, why);
        if (rc == 0 && *walk->is_interrupted != 0)
            rc = error_set(why, -EINTR, "interrupted; the list is not complete");
    }
    progress_end(&walk->progress);
    return rc != 0 ? rc : cmd_flush(why);
}

static int
run(struct stack *stack, const char *location, void *fields, struct error *why)
{
    struct list *list = calloc(1, sizeof *list);
    int rc = list != NULL ? 0 : error_set(why, -ENOMEM, "out of memory");

    if (rc == 0)
        rc = stack_open(stack, location, why);
    if (rc == 0)
        rc = stack_look(stack, why);
    if (rc == 0)
        rc = cmd_walk_begin(stack, &list->walk, why);
    if (rc == 0) {
        list->settings = *(const struct list_settings *)fields;
        rc = list_all(list, why);
        walk_clear(&list->walk);
    }
    free(list);
    return rc;
}

static void
help(const struct stack *stack)
{
    (void)stack;
    printf("usage: bucketdisk list [--long] [--json] [options] LOCATION\n"
           "\n"
           "Lists the blocks of a volume that exist; all others are zeros.  Needs no\n"
           "password.\n"
           "\n"
           "--long: also how each is encoded, and the tag that the store gives it (a\n"
           "request for each block).\n"
           "--json: a JSON object in a line for each block.\n"
           "\n"
           "All other options are those of the mount: --backend and its options, --prefix,\n"
           "--blockHashPrefix, --listBlocksThreads.\n");
}

int
cmd_list(int argc, char **argv)
{
    struct list_settings own = { 0 };
    const struct command command = { .usage = "list [--long] [--json] [options] LOCATION",
                                     .question = "which volume?",
                                     .rows = list_rows,
                                     .row_count = ARRAY_LEN(list_rows),
                                     .fields = &own,
                                     .help = help,
                                     .run = run };

    return cmd_on_location(&command, argc, argv);
}
