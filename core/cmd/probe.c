/* SPDX-License-Identifier: Apache-2.0 */
/* bucketdisk probe LOCATION: what a store really does, beside what its plugin claims. */
#include "cmd.h"

#include "base/clock.h"
#include "base/human.h"
#include "base/interrupts.h"
#include "base/log.h"
#include "base/util.h"
#include "probe.h"
#include "stack.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#define TABLE_COLUMNS 79
#define TABLE_LAST 50 /* where the last column begins */
#define TABLE_INDENT 8

struct probe_settings {
    uint8_t json;
};

static const struct bd_option probe_rows[] = { CMD_JSON_ROW(struct probe_settings, json) };

static const char *
claim(const struct bd_backend_info *info, const struct probe_row *row)
{
    return row->capability == 0 ? "-" : info->capabilities & row->capability ? "yes" : "no";
}

static const char *const verdicts[] = {
    [PROBE_NOT_ASKED] = "-",
    [PROBE_GOOD] = "ok",
    [PROBE_WEAK] = "weak",
    [PROBE_BAD] = "BAD",
};

static unsigned
count(const struct probe *probe, enum probe_verdict verdict)
{
    unsigned found = 0;

    for (unsigned i = 0; i < probe_row_count(probe); i++)
        found += probe_row(probe, i)->verdict == verdict;
    return found;
}

static void
summary(const struct probe *probe, bool is_complete, char *out, size_t out_bytes)
{
    unsigned bad = count(probe, PROBE_BAD), weak = count(probe, PROBE_WEAK);

    if (!is_complete)
        snprintf(out, out_bytes, "Not everything was asked.");
    else if (bad > 0)
        snprintf(out, out_bytes, "Not fit for a disk: %u of %u answers %s bad.", bad,
                 probe_row_count(probe), human_form(bad, "is", "are"));
    else if (weak > 0)
        snprintf(out, out_bytes, "Fit for a disk, with %u weak %s.", weak,
                 human_form(weak, "point", "points"));
    else
        snprintf(out, out_bytes, "Fit for a disk.");
}

static void
print_below(const char *text)
{
    printf("%*s", TABLE_INDENT, "");
    options_wrap(text, TABLE_INDENT, stdout);
}

static void
print_table(const struct bd_backend_info *info, const struct probe *probe, const char *sum)
{
    printf("%s\n\n%-5s %-34s %-8s %s\n", info->display, "", "what", "claimed",
           "what the store does");
    for (unsigned i = 0; i < probe_row_count(probe); i++) {
        const struct probe_row *row = probe_row(probe, i);
        bool is_short = strlen(row->found) <= TABLE_COLUMNS - TABLE_LAST;

        printf("%-5s %-34s ", verdicts[row->verdict], row->what);
        if (is_short) {
            printf("%-8s %s\n", claim(info, row), row->found);
        } else {
            printf("%s\n", claim(info, row));
            print_below(row->found);
        }
        if (row->consequence[0] != '\0')
            print_below(row->consequence);
    }
    printf("\n%s\n", sum);
}

static void
print_json(const struct bd_backend_info *info, const struct probe *probe, bool is_usable,
           const char *sum)
{
    json_t *rows = json_array(), *all;

    for (unsigned i = 0; i < probe_row_count(probe); i++) {
        const struct probe_row *row = probe_row(probe, i);

        json_array_append_new(rows, json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", "id", row->id,
                                              "what", row->what, "claimed", claim(info, row),
                                              "verdict", verdicts[row->verdict], "found",
                                              row->found, "consequence", row->consequence));
    }
    all = json_pack("{s:s, s:b, s:s, s:s, s:o}", "store", info->display, "usable", is_usable,
                    "summary", sum, "left_behind", probe_left_behind(probe), "rows", rows);
    json_dumpf(all, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
    printf("\n");
    json_decref(all);
}

static int
run(struct stack *stack, const char *location, void *fields, struct error *why)
{
    const struct probe_settings *own = fields;
    const struct settings *settings = &stack->settings;
    struct probe_config config = {
        .prefix = settings->prefix,
        .attempt_ns = settings->timeout_ms * NS_PER_MS,
    };
    struct probe *probe = NULL;
    bool is_usable = false;
    char sum[120];
    int rc;

    if (strlen(settings->prefix) > PROBE_PREFIX_BYTES_MAX)
        return error_set(why, -EINVAL, "--prefix is longer than %u bytes", PROBE_PREFIX_BYTES_MAX);
    rc = stack_open(stack, location, why);
    if (rc != 0)
        return rc;
    config.is_stopped = interrupts_catch();
    rc = probe_run(stack->backend, &config, &probe, why);
    if (probe != NULL && (rc == 0 || probe_row_count(probe) > 0)) {
        const struct bd_backend_info *info = backend_info(stack->backend);

        is_usable = rc == 0 && count(probe, PROBE_BAD) == 0;
        summary(probe, rc == 0, sum, sizeof sum);
        if (own->json)
            print_json(info, probe, is_usable, sum);
        else
            print_table(info, probe, sum);
        fflush(stdout);
    }
    if (probe != NULL && probe_left_behind(probe)[0] != '\0')
        log_line(BD_WARNING, "%s", probe_left_behind(probe));
    probe_free(probe);
    return rc != 0 ? rc : is_usable ? 0 : -EIO;
}

static void
help(const struct stack *stack)
{
    (void)stack;
    printf("usage: bucketdisk probe [--json] [options] LOCATION\n"
           "\n"
           "Finds out what a store really does, beside what its plugin claims, and what\n"
           "follows for a disk in it.  Works under names of its own,\n"
           "PREFIXbucketdisk-probe-..., which it removes; volumes are not touched.\n"
           "\n"
           "--json: print one JSON object.\n"
           "\n"
           "Exit status 0: the store is fit for a disk.  1: it is not, or not everything\n"
           "could be asked.\n"
           "\n"
           "All other options are those of the mount: --backend and its options, --prefix,\n"
           "--timeout.\n");
}

int
cmd_probe(int argc, char **argv)
{
    struct probe_settings own = { 0 };
    const struct command command = { .usage = "probe [--json] [options] LOCATION",
                                     .question = "where is the store?",
                                     .rows = probe_rows,
                                     .row_count = ARRAY_LEN(probe_rows),
                                     .fields = &own,
                                     .help = help,
                                     .run = run };

    return cmd_on_location(&command, argc, argv);
}
