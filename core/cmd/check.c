/* SPDX-License-Identifier: Apache-2.0 */
/* bucketdisk check LOCATION: can every block that exists be read?
 *
 * Each is fetched, authenticated and decoded, as a reader beside the writer does it: what is written meanwhile is found as it was or as
 * it is.
 *
 * A block that was listed and then is not there may have been zeroed in between.  So at the end the volume is listed again: what is
 * listed still, and still not there, the store has lost. */
#include "cmd.h"

#include "base/clock.h"
#include "base/human.h"
#include "base/util.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define UNREAD_MAX 100u /* then it is not the blocks that are bad */

struct check_settings {
    uint8_t json;
};

static const struct bd_option check_rows[] = { CMD_JSON_ROW(struct check_settings, json) };

struct bad_block {
    uint32_t number;
    bool is_damaged; /* else the store did not give it */
    char *reason;
};

struct check {
    struct stack *stack;
    struct walk walk;
    size_t listed_count;  /* at first */
    bool is_second;       /* those that were not there are asked for again */
    pthread_mutex_t lock; /* guards the next six */
    uint32_t *absent;     /* room for all that are listed */
    size_t absent_count;
    struct bad_block *bad;
    size_t bad_count, bad_room;
    size_t damaged_count;
    uint64_t good_count, gone_count, bytes;
    double seconds;
    bool is_complete;
};

/* ---- one block */

static int
bad_add_locked(struct check *check, const struct visit *visit)
{
    char *reason = strdup(visit->why.text);

    if (check->bad_count == check->bad_room) {
        size_t room = check->bad_room * 2 + 16;
        struct bad_block *bad = realloc(check->bad, room * sizeof *bad);

        if (bad == NULL) {
            free(reason);
            return -ENOMEM;
        }
        check->bad = bad;
        check->bad_room = room;
    }
    if (reason == NULL)
        return -ENOMEM;
    cmd_clean(reason);
    check->bad[check->bad_count++] =
        (struct bad_block){ visit->blocks->number, visit->req.is_damaged, reason };
    check->damaged_count += visit->req.is_damaged;
    return 0;
}

static void
fetch_begin(struct visit *visit)
{
    visit->req.op = OBJECT_GET;
    visit->req.block = visit->blocks->number;
    visit->req.data = visit->data;
}

static int
fetch_end(struct visit *visit)
{
    struct check *check = visit->visitor->arg;
    const struct object_req *req = &visit->req;
    int rc = 0;

    if (req->rc == -ECANCELED || req->rc == -ENOMEM)
        return req->rc;
    pthread_mutex_lock(&check->lock);
    check->bytes += req->object_bytes;
    if (req->rc == 0 && req->is_absent && check->is_second) {
        visit->req.is_damaged = true;
        error_set(&visit->why, 0, "the store lists it, and says that it is not there");
    }
    if (req->rc != 0 || req->is_damaged)
        rc = bad_add_locked(check, visit);
    else if (req->is_absent)
        check->absent[check->absent_count++] = visit->blocks->number;
    else
        check->good_count++;
    if (rc == 0 && check->bad_count - check->damaged_count >= UNREAD_MAX)
        rc = error_set(&visit->why, -EIO,
                       "the store does not give what it has, and the check is given up: %s",
                       strdupa(visit->why.text));
    pthread_mutex_unlock(&check->lock);
    progress_add(&check->walk.progress, 1, req->object_bytes);
    if (req->rc != 0 || req->is_damaged)
        progress_bad(&check->walk.progress, 1);
    return rc;
}

/* ---- what was found */

static int
by_number(const void *a, const void *b)
{
    uint32_t first = ((const struct bad_block *)a)->number;
    uint32_t second = ((const struct bad_block *)b)->number;

    return (first > second) - (first < second);
}

static uint64_t
checked_count(const struct check *check)
{
    return check->good_count + check->gone_count + check->bad_count;
}

static void
print_text(const struct check *check)
{
    const struct chain *chain = check->stack->chain;
    uint64_t left = check->listed_count - checked_count(check);
    char stored[HUMAN_BYTES], rate[HUMAN_BYTES], took[HUMAN_BYTES];
    object_name name;

    for (size_t i = 0; i < check->bad_count; i++) {
        const struct bad_block *bad = &check->bad[i];

        layout_block_name(check->walk.layout, bad->number, name);
        printf("block %" PRIu32 " %s: object %s: %s\n", bad->number,
               bad->is_damaged ? "is damaged" : "cannot be read", name, bad->reason);
    }
    human_bytes(check->bytes, stored);
    human_bytes(
        (uint64_t)((double)check->bytes / (check->seconds > 0.001 ? check->seconds : 0.001)), rate);
    human_duration((uint64_t)check->seconds, took);
    printf("%" PRIu64 " %s good, %zu damaged, %zu cannot be read", check->good_count,
           human_form(check->good_count, "block is", "blocks are"), check->damaged_count,
           check->bad_count - check->damaged_count);
    if (check->gone_count > 0)
        printf(", %" PRIu64 " %s zeroed meanwhile", check->gone_count,
               human_form(check->gone_count, "was", "were"));
    printf(".\n%s fetched in %s, %s/s.\n", stored, took, rate);
    if (left > 0)
        printf("Not complete: %" PRIu64 " of %zu blocks %s not checked.\n", left,
               check->listed_count, human_form(left, "was", "were"));
    if (!chain_authenticates(chain))
        printf("Nothing authenticates these blocks: only that they can be decoded was checked.\n");
}

static int
print_json(const struct check *check, const char *volume)
{
    json_t *bad = json_array(), *all;
    object_name name;
    int rc;

    for (size_t i = 0; i < check->bad_count; i++) {
        layout_block_name(check->walk.layout, check->bad[i].number, name);
        json_array_append_new(
            bad, json_pack("{s:I, s:o, s:b, s:o}", "block", (json_int_t)check->bad[i].number,
                           "object", cmd_json_text(name), "damaged", check->bad[i].is_damaged,
                           "reason", cmd_json_text(check->bad[i].reason)));
    }
    all = json_pack(
        "{s:o, s:b, s:b, s:I, s:I, s:I, s:I, s:I, s:f, s:o}", "volume", cmd_json_text(volume),
        "complete", check->is_complete, "authenticated", chain_authenticates(check->stack->chain),
        "blocks", (json_int_t)check->listed_count, "checked", (json_int_t)checked_count(check),
        "good", (json_int_t)check->good_count, "zeroed_meanwhile", (json_int_t)check->gone_count,
        "bytes", (json_int_t)check->bytes, "seconds", check->seconds, "bad", bad);
    rc = all == NULL ? -1
                     : json_dumpf(all, stdout,
                                  JSON_INDENT(2) | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(6));
    json_decref(all);
    printf("\n");
    return rc;
}

static int
report(struct check *check, bool is_json, struct error *why)
{
    char *identity = NULL, *volume = NULL;
    int rc;

    if (check->bad_count > 0)
        qsort(check->bad, check->bad_count, sizeof *check->bad, by_number);
    if (!is_json) {
        print_text(check);
        return cmd_flush(why);
    }
    rc = stack_names(check->stack, &identity, &volume, why);
    if (rc == 0 && print_json(check, volume) != 0)
        rc = error_set(why, -EIO, "cannot print what was found");
    free(identity);
    free(volume);
    return rc != 0 ? rc : cmd_flush(why);
}

/* ---- the command */

static int
fetch_listed(struct check *check, struct error *why)
{
    struct walk *walk = &check->walk;
    const struct visitor visitor = { .blocks_max = 1,
                                     .data_bytes = walk->layout->block_bytes,
                                     .begin = fetch_begin,
                                     .end = fetch_end,
                                     .arg = check };
    int rc;

    progress_begin(&walk->progress, "checking blocks", walk->count, walk->is_quiet);
    rc = walk_visit(walk, &visitor, 0, walk->count, why);
    progress_end(&walk->progress);
    return rc;
}

static int
compare_numbers(const void *a, const void *b)
{
    uint32_t first = *(const uint32_t *)a, second = *(const uint32_t *)b;

    return (first > second) - (first < second);
}

static int
fetch_again(struct check *check, struct error *why)
{
    struct walk *walk = &check->walk;
    size_t absent_count = check->absent_count, kept = 0, i = 0;
    int rc = absent_count > 0 ? walk_list(walk, why) : 0;

    if (rc != 0 || absent_count == 0)
        return rc;
    qsort(check->absent, absent_count, sizeof *check->absent, compare_numbers);
    for (size_t j = 0; j < walk->count; j++) {
        while (i < absent_count && check->absent[i] < walk->blocks[j].number)
            i++;
        if (i < absent_count && check->absent[i] == walk->blocks[j].number)
            walk->blocks[kept++] = walk->blocks[j];
    }
    walk->count = kept;
    check->gone_count = absent_count - kept;
    check->is_second = true;
    return kept > 0 ? fetch_listed(check, why) : 0;
}

static int
check_all(struct check *check, bool is_json, struct error *why)
{
    struct walk *walk = &check->walk;
    struct error unprinted = { "" };
    uint64_t began_ns;
    int rc = walk_list(walk, why);

    if (rc != 0)
        return rc;
    check->listed_count = walk->count;
    check->absent = malloc((walk->count + 1) * sizeof *check->absent);
    if (check->absent == NULL)
        return error_set(why, -ENOMEM, "out of memory");
    began_ns = clock_now_ns();
    rc = fetch_listed(check, why);
    if (rc == 0)
        rc = fetch_again(check, why);
    check->seconds = (double)(clock_now_ns() - began_ns) / NS_PER_S;
    check->is_complete = checked_count(check) == check->listed_count;
    if (report(check, is_json, &unprinted) != 0 && rc == 0)
        return error_set(why, -EIO, "%s", unprinted.text);
    if (rc == 0 && check->damaged_count > 0)
        rc = error_set(why, -EUCLEAN, "%zu %s damaged", check->damaged_count,
                       human_form(check->damaged_count, "block is", "blocks are"));
    else if (rc == 0 && check->bad_count > 0)
        rc = error_set(why, -EIO, "%zu %s cannot be read", check->bad_count,
                       human_form(check->bad_count, "block", "blocks"));
    return rc;
}

static int
run(struct stack *stack, const char *location, void *fields, struct error *why)
{
    const struct check_settings *own = fields;
    struct check check = { .stack = stack, .lock = PTHREAD_MUTEX_INITIALIZER };
    int rc = stack_open(stack, location, why);

    stack->settings.read_only = true;
    if (rc == 0)
        rc = stack_detect(stack, why);
    if (rc == 0)
        rc = cmd_walk_begin(stack, &check.walk, why);
    if (rc == 0)
        rc = check_all(&check, own->json, why);
    walk_clear(&check.walk);
    for (size_t i = 0; i < check.bad_count; i++)
        free(check.bad[i].reason);
    free(check.bad);
    free(check.absent);
    return rc;
}

static void
help(const struct stack *stack)
{
    (void)stack;
    printf("usage: bucketdisk check [--json] [options] LOCATION\n"
           "\n"
           "Fetches every block of a volume that exists, authenticates and decodes it, and\n"
           "says which cannot be read, and why.  Changes nothing, and may run beside a\n"
           "mount.  A block that the store lists and says is not there is damaged.\n"
           "\n"
           "--json: print one JSON object.\n"
           "\n"
           "Exit status 0: all are good.  3: some are damaged.  1: some could not be\n"
           "fetched, or the volume could not be checked.  130: interrupted; what was found\n"
           "by then is printed.\n"
           "\n"
           "All other options are those of the mount: --backend and its options, --prefix,\n"
           "--password-file; --blockCacheThreads for how many are fetched at once.\n");
}

int
cmd_check(int argc, char **argv)
{
    struct check_settings own = { 0 };
    const struct command command = { .usage = "check [--json] [options] LOCATION",
                                     .question = "which volume?",
                                     .rows = check_rows,
                                     .row_count = ARRAY_LEN(check_rows),
                                     .fields = &own,
                                     .help = help,
                                     .run = run };

    return cmd_on_location(&command, argc, argv);
}
