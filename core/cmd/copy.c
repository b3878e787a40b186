/* SPDX-License-Identifier: Apache-2.0 */
/* bucketdisk copy SRC DST: the blocks of one volume into another one, whatever backends, names, codecs and keys both have.
 *
 * The source is opened as a reader, the destination as its writer, with token and lease from before the first block to after
 * the last.  A mark (copymark.h) is put there under the token, before anything else, and goes last: so whoever dies in between
 * leaves what no mount takes for a volume, and the same command takes up.  s3backer knows nothing of the mark: so in format 1
 * the token stays, too, until the copy is complete.
 *
 * A copy is of one moment only if nobody writes to the source meanwhile.  So a source that somebody has mounted is refused, and
 * looked at again while it is copied, and at the end, before the mark goes. */
#include "cmd.h"

#include "ask.h"
#include "base/clock.h"
#include "base/human.h"
#include "base/interrupts.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/util.h"
#include "copy_sides.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define COPY_BYTES (128ull << 20) /* of blocks on their way */
#define DRAW_MS 100
#define LOOK_NS (10 * NS_PER_S)

static const struct bd_option copy_rows[] = {
    { .name = "verify",
      .type = BD_OPT_BOOL,
      BD_FIELD(struct copy_settings, verify),
      .help = "read each block of the copy, and compare it with the source's" },
    { .name = "while-mounted",
      .type = BD_OPT_BOOL,
      BD_FIELD(struct copy_settings, while_mounted),
      .help = "copy also while somebody writes to the source: blocks of different moments" },
    { .name = "zero-damaged",
      .type = BD_OPT_BOOL,
      BD_FIELD(struct copy_settings, zero_damaged),
      .help = "let blocks of the source that cannot be read be zeros in the copy" },
    CMD_JSON_ROW(struct copy_settings, json),
};

/* ---- copying */

static unsigned
blocks_max(const struct copying *copying)
{
    uint64_t each = copying->from.layout.block_bytes * (copying->settings.verify ? 2u : 1u);
    uint64_t most = COPY_BYTES / each;
    uint64_t wanted =
        (uint64_t)stack_in_flight_max(&copying->from) + stack_in_flight_max(&copying->to);

    if (wanted > most)
        wanted = most;
    return wanted > 0 ? (unsigned)wanted : 1;
}

static struct copy_side
side_of(const struct stack *stack)
{
    return (struct copy_side){ .store = stack->consistency,
                               .objects = stack->objects,
                               .layout = &stack->layout,
                               .listers_max = stack_listers_max(stack) };
}

static int
build(struct copying *copying, struct error *why)
{
    struct stack *from = &copying->from, *to = &copying->to;
    int rc = stack_build_store(from, 0, why);

    if (rc == 0)
        rc = stack_build_store(to, 0, why);
    if (rc == 0) {
        const struct copy_config config = {
            .from = side_of(from),
            .to = side_of(to),
            .pool = to->pool,
            .is_begun = copying->mark.is_there,
            .is_changing = copying->settings.while_mounted,
            .verifies = copying->settings.verify,
            .zeros_damaged = copying->settings.zero_damaged,
            .is_look = copying->is_repeated,
            .blocks_max = blocks_max(copying),
        };

        rc = copy_new(&config, &copying->copy);
        if (rc != 0)
            error_set(why, rc, "out of memory");
    }
    return rc;
}

static uint64_t
blocks_done(const struct copy_counts *counts)
{
    return counts->copied + counts->present + counts->damaged + counts->differing;
}

static bool
is_all_done(const struct copy_counts *counts)
{
    return counts->is_listed && blocks_done(counts) == counts->total;
}

static void
show(struct copying *copying)
{
    struct copy_counts before = copying->counts, *now = &copying->counts;
    uint64_t more, bad;

    copy_counts(copying->copy, now);
    if (now->is_listed && !before.is_listed)
        progress_total(&copying->progress, now->total);
    more = blocks_done(now) - blocks_done(&before);
    bad = now->damaged + now->differing - before.damaged - before.differing;
    progress_add(&copying->progress, more, more * copying->from.layout.block_bytes);
    if (bad > 0)
        progress_bad(&copying->progress, bad);
    progress_draw(&copying->progress);
}

/* What is on its way ends; nothing is begun or tried again. */
static void
stop(struct copying *copying)
{
    copy_stop(copying->copy);
    objects_pause(copying->from.objects, true);
    objects_pause(copying->to.objects, true);
}

/* Signals may come again, but those that were held do no more. */
static void
drop_held(const struct copying *copying)
{
    const struct timespec now = { 0, 0 };

    while (sigtimedwait(&copying->held, NULL, &now) > 0)
        ;
    pthread_sigmask(SIG_SETMASK, &copying->before, NULL);
}

/* The next signal ends the command at once. */
static void
interrupt(struct copying *copying)
{
    drop_held(copying);
    copying->is_interrupted = true;
    stop(copying);
}

static int
copy_blocks(struct copying *copying, const char *doing, struct error *why)
{
    uint64_t look_ns = clock_now_ns() + LOOK_NS;
    struct error reason = { "" };
    int rc, look_rc = 0;

    copying->began_ns = clock_now_ns();
    progress_begin(&copying->progress, doing, 0, copying->to.settings.quiet);
    copy_start(copying->copy);
    while (!copy_wait(copying->copy, DRAW_MS, &rc)) {
        show(copying);
        if (!copying->is_interrupted && interrupts_came(&copying->held))
            interrupt(copying);
        if (look_rc == 0 && !copying->is_interrupted && clock_now_ns() >= look_ns) {
            look_rc = copy_refuse_mounted(copying, &reason);
            if (look_rc != 0)
                stop(copying);
            look_ns = clock_now_ns() + LOOK_NS;
        }
    }
    copying->ended_ns = clock_now_ns();
    show(copying);
    progress_end(&copying->progress);
    if (look_rc != 0)
        return error_set(why, look_rc, "%s", reason.text);
    if (copying->is_interrupted && !is_all_done(&copying->counts))
        return error_set(why, -EINTR, "interrupted");
    if (copying->to.lease != NULL && lease_is_lost(copying->to.lease, &reason))
        return error_set(why, -EROFS, "while it was copied to, %s", reason.text);
    if (rc != 0 && !copying->is_interrupted)
        return error_set(why, rc, "the copy cannot go on; the lines above say why");
    return copy_refuse_changed(copying, why);
}

/* A copy that is complete.  Blocks that are different are nobody's fault. */
static int
look(struct copying *copying, struct error *why)
{
    const struct copy_counts *counts = &copying->counts;
    int rc = build(copying, why);

    if (rc == 0)
        rc = copy_blocks(copying, "looking at", why);
    if (rc != 0)
        return rc;
    if (counts->differing > 0)
        return error_set(why, -EEXIST,
                         "there is a complete copy of the source here, of which %" PRIu64
                         " %s not what the source has now: one of both was written to since. "
                         "Nothing was changed; erase the copy first, or give another "
                         "--to-prefix",
                         counts->differing,
                         human_form(counts->differing, "block is", "blocks are"));
    if (counts->damaged > 0)
        return error_set(why, -EUCLEAN, "%" PRIu64 " %s", counts->damaged,
                         human_form(counts->damaged,
                                    "block of the source cannot be read, and the log names it",
                                    "blocks of the source cannot be read, and the log names them"));
    copying->outcome = COPY_WAS_COMPLETE;
    return 0;
}

/* The mark goes last: then the copy is a volume. */
static int
complete(struct copying *copying, struct error *why)
{
    const struct copy_counts *counts = &copying->counts;
    struct stack *to = &copying->to;
    uint64_t until_ns;
    int rc;

    if (counts->differing > 0)
        return error_set(
            why, -EUCLEAN, "%" PRIu64 " %s", counts->differing,
            human_form(counts->differing,
                       "block of the copy is not what was written, and the log names it",
                       "blocks of the copy are not what was written, and the log names them"));
    if (counts->damaged > 0 && !copying->settings.zero_damaged)
        return error_set(
            why, -EUCLEAN, "%" PRIu64 " %s; all others are copied. With --zero-damaged %s",
            counts->damaged,
            human_form(counts->damaged, "block of the source cannot be read, and the log names it",
                       "blocks of the source cannot be read, and the log names them"),
            human_form(counts->damaged, "this one becomes zeros", "these become zeros"));
    ask_wait_settled(consistency_settled_at_ns(to->consistency));
    rc = lease_await(to->lease, &until_ns, why);
    if (rc == 0)
        rc = copymark_remove(to->backend, &to->layout, until_ns, &copying->is_mark_unknown, why);
    if (rc == 0)
        copying->outcome = COPY_COMPLETE;
    if (rc == 0 && counts->damaged > 0)
        rc = error_set(why, -EUCLEAN, "%" PRIu64 " %s zeros in the copy", counts->damaged,
                       human_form(counts->damaged, "block of the source cannot be read, and is",
                                  "blocks of the source cannot be read, and are"));
    return rc;
}

/* ---- what is said at the end */

static const char *
outcome(const struct copying *copying, int rc)
{
    return copying->outcome >= COPY_COMPLETE     ? "complete"
           : rc == -EINTR                        ? "interrupted"
           : copying->outcome == COPY_INCOMPLETE ? "incomplete"
                                                 : "refused";
}

static json_t *
json_words(const char *text)
{
    return text != NULL && text[0] != '\0' ? cmd_json_text(text) : json_null();
}

static void
print_json(const struct copying *copying, int rc, const char *error)
{
    const struct copy_counts *counts = &copying->counts;
    json_t *named = json_array(), *all;
    unsigned count = 0;
    const uint64_t *blocks = copying->copy != NULL ? copy_named(copying->copy, &count) : NULL;

    for (unsigned i = 0; i < count; i++)
        json_array_append_new(named, json_integer((json_int_t)blocks[i]));
    all = json_pack("{s:s, s:o, s:o, s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:f, s:o}", "copy",
                    outcome(copying, rc), "source", json_words(copying->from_volume), "destination",
                    json_words(copying->to_volume), "verified",
                    copying->settings.verify && copying->outcome >= COPY_COMPLETE, "block_bytes",
                    (json_int_t)copying->from.layout.block_bytes, "blocks",
                    (json_int_t)counts->total, "copied", (json_int_t)counts->copied, "present",
                    (json_int_t)counts->present, "damaged", (json_int_t)counts->damaged,
                    "differing", (json_int_t)counts->differing, "bad_blocks", named, "seconds",
                    (double)(copying->ended_ns - copying->began_ns) / (double)NS_PER_S, "error",
                    json_words(error));
    if (all != NULL)
        json_dumpf(all, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(6));
    json_decref(all);
    printf("\n");
}

static void
print_words(const struct copying *copying)
{
    const struct copy_counts *counts = &copying->counts;
    char bytes[HUMAN_BYTES], time[HUMAN_BYTES];

    if (copying->copy == NULL)
        return;
    human_bytes(counts->copied * copying->from.layout.block_bytes, bytes);
    human_duration((copying->ended_ns - copying->began_ns) / NS_PER_S, time);
    printf("%" PRIu64 " of %" PRIu64 " %s: %" PRIu64 " copied (%s in %s), %" PRIu64
           " %s there already, %" PRIu64 " damaged",
           blocks_done(counts), counts->total, human_form(counts->total, "block", "blocks"),
           counts->copied, bytes, time, counts->present, human_form(counts->present, "was", "were"),
           counts->damaged);
    if (copying->settings.verify)
        printf(", %" PRIu64 " %s", counts->differing,
               human_form(counts->differing, "differs", "differ"));
    printf(".\n");
    if (copying->outcome == COPY_WAS_COMPLETE)
        printf("%s was a complete copy of %s before, and still is%s; nothing was written.\n",
               copying->to_volume, copying->from_volume,
               copying->settings.verify ? ": each block was read and compared" : "");
    else if (copying->outcome == COPY_COMPLETE)
        printf("%s is a copy of %s%s.\n", copying->to_volume, copying->from_volume,
               copying->settings.verify ? ", and each block was read back and compared" : "");
    else if (copying->outcome == COPY_INCOMPLETE)
        printf("The copy is not complete, and cannot be mounted; say the same again and it goes "
               "on.\n");
}

/* ---- the command */

/* Errors of one side say which. */
static int
of_side(const struct stack *stack, int rc, struct error *why)
{
    struct error reason = *why;

    if (rc == 0 || reason.text[0] == '\0')
        return rc;
    return error_set(why, rc, "%s (--%s-...): %s", stack->side.called, stack->side.mine,
                     reason.text);
}

static int
run(struct copying *copying, char **words, struct error *why)
{
    int rc;

    memory_keep_freed();
    rc = of_side(&copying->from, copy_open_source(copying, words[0], why), why);

    if (rc == 0)
        rc = of_side(&copying->to, copy_open_destination(copying, words[1], why), why);
    if (rc != 0)
        return rc;
    if (copying->settings.while_mounted)
        log_line(BD_WARNING, "what is written to the source meanwhile may be in the copy or not");
    if (chain_encrypts(copying->from.chain) && !chain_encrypts(copying->to.chain))
        log_line(BD_WARNING, "the source is encrypted, and the copy will not be");
    interrupts_hold(&copying->held, &copying->before);
    if (copying->is_repeated)
        return look(copying, why);
    rc = of_side(&copying->to, copy_take_destination(copying, why), why);
    if (rc == 0)
        rc = build(copying, why);
    if (rc == 0)
        rc = copy_blocks(copying, "copying", why);
    return rc == 0 ? complete(copying, why) : rc;
}

static int
end(struct copying *copying, int rc, struct error *why)
{
    struct error reason = { "" };
    int back_rc = copy_give_back(copying, &reason);

    if (back_rc != 0 && rc == 0) {
        rc = error_set(why, back_rc, "%s", reason.text);
    } else if (back_rc != 0) {
        log_line(BD_WARNING, "%s", reason.text);
    }
    if (copying->settings.json)
        print_json(copying, rc, why->text);
    else
        print_words(copying);
    if (rc != 0 && why->text[0] != '\0')
        log_line(BD_ERROR, "%s", why->text);
    if (cmd_flush(&reason) != 0) {
        log_line(BD_ERROR, "%s", reason.text);
        rc = rc != 0 ? rc : -EIO;
    }
    return (int)cmd_status(rc);
}

static void
help(void)
{
    printf("usage: bucketdisk copy [options] SOURCE DESTINATION\n"
           "\n"
           "Copies a volume block by block into a new one: to another store, below another\n"
           "prefix, with other codecs, with another key.  The source is only read.\n"
           "\n"
           "Options are those of the mount.  --from-NAME counts for the source alone,\n"
           "--to-NAME for the destination alone, and --NAME for both:\n"
           "--from-password-file=OLD --to-password-file=NEW --to-format=2 --to-prefix=copy/\n"
           "Of the destination, --to-size may be larger than the source; the block size\n"
           "stays.\n"
           "\n"
           "Interrupted, killed or failed, the same command goes on: what is there, and\n"
           "still is what the source has, is not copied again.  Until it is complete the\n"
           "destination cannot be mounted.  Of a source that somebody has mounted no copy\n"
           "is made.  Once complete, the same command looks whether the copy still is what\n"
           "the source has, and writes nothing.\n"
           "\n"
           "--verify: read each block of the copy, what was there before too, and compare\n"
           "it with the source's.\n"
           "--while-mounted: copy also while somebody writes to the source: what comes of\n"
           "it is no consistent disk.\n"
           "--zero-damaged: let blocks of the source that cannot be read be zeros in the\n"
           "copy.\n"
           "--json: print what was done as JSON.\n"
           "\n"
           "Exit status 0: the copy is complete.  3: blocks are damaged or differ, which\n"
           "the log names; the copy is not complete then, but with --zero-damaged, if none\n"
           "differ, it is.  1: failed.  130: interrupted.\n");
}

/* What is the command's and not a side's was said of both, or of none. */
static int
check_rows(const struct copying *copying, struct error *why)
{
    for (size_t i = 0; i < ARRAY_LEN(copy_rows); i++) {
        const char *name = copy_rows[i].name;

        if (options_given(copying->from.options, name) != options_given(copying->to.options, name))
            return error_set(why, -EINVAL, "--%s is of no side; leave from- or to- out", name);
    }
    return 0;
}

/* Both read the same words; secrets are overwritten there by the second reading. */
static int
parse(struct copying *copying, int argc, char **argv, char **words, int *word_count,
      struct error *why)
{
    const struct stack_rows ignored = { copy_rows, ARRAY_LEN(copy_rows), &copying->ignored };
    const struct stack_rows rows = { copy_rows, ARRAY_LEN(copy_rows), &copying->settings };
    char **again = calloc((size_t)argc + 1, sizeof *again);
    int rc = again != NULL ? 0 : -ENOMEM;

    copying->from.side = (struct stack_side){ "from", "to", "the source" };
    copying->to.side = (struct stack_side){ "to", "from", "the destination" };
    for (int i = 0; i < argc && rc == 0; i++) {
        again[i] = strdup(argv[i]);
        rc = again[i] != NULL ? 0 : -ENOMEM;
    }
    if (rc != 0)
        error_set(why, rc, "out of memory");
    if (rc == 0)
        rc = stack_parse(&copying->from, &ignored, argc, again, words, word_count, why);
    if (rc == 0)
        rc = stack_parse(&copying->to, &rows, argc, argv, words, word_count, why);
    for (int i = 0; i < argc && again != NULL && again[i] != NULL; i++) {
        explicit_bzero(again[i], strlen(again[i]));
        free(again[i]);
    }
    free(again);
    return rc == 0 ? check_rows(copying, why) : rc;
}

int
cmd_copy(int argc, char **argv)
{
    struct copying copying = { .copy = NULL };
    const struct settings *settings = &copying.to.settings;
    char **words = calloc((size_t)argc + 1, sizeof *words);
    struct error why = { "" };
    int word_count = 0, status = EXIT_DONE;
    int rc;

    if (words == NULL)
        return EXIT_FAILED;
    pthread_sigmask(SIG_BLOCK, NULL, &copying.before);
    rc = parse(&copying, argc, argv, words, &word_count, &why);
    if (rc == 0 && settings->help) {
        help();
    } else {
        if (rc == 0)
            log_level_max(settings->debug ? BD_DEBUG : settings->quiet ? BD_WARNING : BD_INFO);
        if (rc == 0 && word_count != 2)
            rc = error_set(&why, -EINVAL,
                           "which volume, and where to? usage: bucketdisk copy [options] SOURCE "
                           "DESTINATION");
        if (rc == 0)
            rc = run(&copying, words, &why);
        status = end(&copying, rc, &why);
    }
    copy_free(copying.copy);
    stack_close(&copying.from);
    stack_close(&copying.to);
    locallock_release(copying.lock);
    copymark_clear(&copying.mark);
    free(copying.from_identity);
    free(copying.from_volume);
    free(copying.to_identity);
    free(copying.to_volume);
    free(words);
    /* A signal that came when all was done ends nothing: what is complete is said to be. */
    drop_held(&copying);
    return status;
}
