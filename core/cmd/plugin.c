/* SPDX-License-Identifier: Apache-2.0 */
/* bucketdisk plugin check FILE.so: does a plugin keep the contract? */
#include "cmd.h"

#include "base/log.h"
#include "base/options.h"
#include "base/util.h"
#include "check/check.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct check_options {
    const char *plugin_path, *absent, *other, *vanish, *stall, *resume;
    uint64_t limit_ms;
    uint8_t help;
};

static const struct bd_option rows[] = {
    { .name = "absent",
      .type = BD_OPT_STRING,
      BD_FIELD(struct check_options, absent),
      .metavar = "LOCATION",
      .help = "one whose bucket or directory does not exist" },
    { .name = "other",
      .type = BD_OPT_STRING,
      BD_FIELD(struct check_options, other),
      .metavar = "LOCATION",
      .help = "one whose bucket or directory is another; nothing is put there" },
    { .name = "stall",
      .type = BD_OPT_STRING,
      BD_FIELD(struct check_options, stall),
      .metavar = "COMMAND",
      .help = "lets the store answer nothing any more; needs --resume" },
    { .name = "resume",
      .type = BD_OPT_STRING,
      BD_FIELD(struct check_options, resume),
      .metavar = "COMMAND",
      .help = "lets it go on" },
    { .name = "vanish",
      .type = BD_OPT_STRING,
      BD_FIELD(struct check_options, vanish),
      .metavar = "COMMAND",
      .help = "takes the bucket or directory of LOCATION away; run last" },
    { .name = "time-limit",
      .type = BD_OPT_DURATION,
      .flags = BD_OPTF_SECONDS,
      BD_FIELD(struct check_options, limit_ms),
      .def = "30s",
      .min = 300,
      .max = 3600 * 1000,
      .help = "for one row; a request gets a third of it" },
    { .name = "plugin-path",
      .type = BD_OPT_STRING,
      BD_FIELD(struct check_options, plugin_path),
      .metavar = "DIR:FILE.so:...",
      .help = "where backends below this one are: absolute directories or plugin files" },
    { .name = "help",
      .type = BD_OPT_BOOL,
      BD_FIELD(struct check_options, help),
      .help = "print this text (-h)" },
};

static void
help(const struct options *options)
{
    printf("usage: bucketdisk plugin check [OPTION...] FILE.so\n"
           "       bucketdisk plugin check [OPTION...] FILE.so -- [--backend=NAME,...]\n"
           "                               [PLUGIN'S OPTION...] [LOCATION]\n"
           "\n"
           "Shows whether a plugin keeps the contract of bucketdisk/plugin.h.  Prints TAP,\n"
           "a row for each obligation.  Exit status 0: all rows pass.  1: one fails.  2:\n"
           "nothing can be asked.\n"
           "\n"
           "A backend needs a LOCATION that is empty; what is made there is removed again.\n"
           "One that stacks is told by --backend what is below it: --backend=chaos,dir.\n"
           "\n");
    options_help(options, "", stdout);
}

static int
file_find(const char *word, char path[PATH_MAX], struct error *why)
{
    char here[PATH_MAX];
    int len;

    if (word[0] == '/')
        len = snprintf(path, PATH_MAX, "%s", word);
    else if (getcwd(here, sizeof here) == NULL)
        return error_set(why, -errno, "the current directory is not known: %s", strerror(errno));
    else
        len = snprintf(path, PATH_MAX, "%s/%s", here, word);
    if (len >= PATH_MAX || access(path, R_OK) != 0)
        return error_set(why, -EINVAL, "%s: %s", word,
                         strerror(len >= PATH_MAX ? ENAMETOOLONG : errno));
    return 0;
}

/* They may hold secrets, and which do only the plugin knows: they are moved away from where others see them. */
static int
words_take(struct check_config *config, int argc, char **argv, struct error *why)
{
    char **words = calloc((size_t)argc + 2, sizeof *words);

    if (words == NULL)
        return error_set(why, -ENOMEM, "out of memory");
    words[0] = strdup("check");
    for (int i = 0; i < argc; i++) {
        words[i + 1] = strdup(argv[i]);
        if (words[i + 1] == NULL)
            return error_set(why, -ENOMEM, "out of memory");
        memset(argv[i], '*', strlen(argv[i]));
    }
    config->argc = argc + 1;
    config->argv = words;
    return 0;
}

static void
words_free(struct check_config *config)
{
    for (int i = 0; i < config->argc; i++)
        free(config->argv[i]);
    free(config->argv);
}

static int
fields_check(const struct check_options *fields, struct error *why)
{
    const struct {
        const char *name, *value;
    } given[] = { { "absent", fields->absent },
                  { "other", fields->other },
                  { "stall", fields->stall },
                  { "resume", fields->resume },
                  { "vanish", fields->vanish } };

    for (size_t i = 0; i < ARRAY_LEN(given); i++) {
        if (given[i].value != NULL && given[i].value[0] == '\0')
            return error_set(why, -EINVAL, "--%s is empty; give it a value, or leave it out",
                             given[i].name);
    }
    if ((fields->stall == NULL) != (fields->resume == NULL))
        return error_set(why, -EINVAL, "--stall and --resume belong together: give both, or none");
    return 0;
}

/* argv[0] is "check", and behind argv[own] are the plugin's words. */
static int
check(int argc, char **argv, int own, struct error *why)
{
    struct check_options fields = { 0 };
    struct check_config config = { 0 };
    struct options *options = NULL;
    char path[PATH_MAX];
    char **words = calloc((size_t)argc + 1, sizeof *words);
    int word_count = 0, rc, status = CHECK_REFUSED;

    if (words == NULL || options_new(&options) != 0) {
        free(words);
        return CHECK_REFUSED;
    }
    rc = options_add(options, "", rows, sizeof rows / sizeof rows[0], sizeof rows[0], &fields, why);
    if (rc == 0)
        rc = options_parse(options, own, argv, "h=help", words, &word_count, why);
    if (rc == 0 && fields.help) {
        help(options);
        status = CHECK_PASSED;
    } else if (rc == 0 && word_count == 0) {
        error_set(why, -EINVAL,
                  "which plugin? usage: bucketdisk plugin check FILE.so [-- OPTIONS LOCATION]");
    } else if (rc == 0 && word_count > 1) {
        error_set(why, -EINVAL,
                  "\"%s\" is too much: there is one FILE.so, and the plugin's options and LOCATION "
                  "stand behind --",
                  words[1]);
    } else if (rc == 0 && fields_check(&fields, why) == 0 && file_find(words[0], path, why) == 0
               && words_take(&config, argc - own - (own < argc), argv + own + (own < argc), why)
                      == 0) {
        config.file = path;
        config.plugin_path = fields.plugin_path;
        config.absent = fields.absent;
        config.other = fields.other;
        config.vanish = fields.vanish;
        config.stall = fields.stall;
        config.resume = fields.resume;
        config.limit_ms = fields.limit_ms;
        status = (int)check_run(&config, why);
    }
    words_free(&config);
    options_free(options);
    free(words);
    return status;
}

int
cmd_plugin(int argc, char **argv)
{
    struct error why = { "" };
    int own = 1, status = CHECK_REFUSED;

    while (own < argc && strcmp(argv[own], "--") != 0)
        own++;
    if (argc > 1 && strcmp(argv[1], "check") == 0)
        status = check(argc - 1, argv + 1, own - 1, &why);
    else if (argc == 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0))
        status = check(argc, argv, own, &why);
    else
        error_set(&why, -EINVAL,
                  "what about the plugin? usage: bucketdisk plugin check FILE.so [-- OPTIONS "
                  "LOCATION]; bucketdisk plugins lists what there is");
    if (why.text[0] != '\0')
        log_line(BD_ERROR, "%s", why.text);
    return status;
}
