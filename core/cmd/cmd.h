/* SPDX-License-Identifier: Apache-2.0 */
/* The commands.  Each gets its own words, argv[0] being its name, and returns the exit status. */
#ifndef CORE_CMD_H
#define CORE_CMD_H

#include "locallock.h"
#include "stack.h"
#include "walk.h"

enum exit_status {
    EXIT_DONE = 0,
    EXIT_FAILED = 1,
    EXIT_FORCED = 2,        /* the mount was detached while in use */
    EXIT_DAMAGED = 3,       /* `check` or `copy` found blocks that cannot be read */
    EXIT_INTERRUPTED = 130, /* by a signal, as shells say it of SIGINT */
};

/* What the first word may be. */
struct cmd_word {
    const char *word;
    int (*run)(int argc, char **argv);
};
/* NULL: it is no command. */
const struct cmd_word *cmd_find(const char *word);
/* The command that somebody may have meant by this word; NULL: none is near. */
const char *cmd_near(const char *word);

/* Most commands: options and one LOCATION. */
struct command {
    const char *usage;            /* behind "bucketdisk " */
    const char *question;         /* to who gives no location */
    const struct bd_option *rows; /* its own options, into `fields` */
    uint32_t row_count;
    void *fields;
    void (*help)(const struct stack *stack);
    /* 0, or a negative errno: what it says is `why`, and the exit status is EXIT_INTERRUPTED for -EINTR, EXIT_DAMAGED for -EUCLEAN,
     * else EXIT_FAILED.  The stack is parsed, and not open. */
    int (*run)(struct stack *stack, const char *location, void *fields, struct error *why);
};
/* Parse, run or help, say what went wrong. */
int cmd_on_location(const struct command *command, int argc, char **argv);
enum exit_status cmd_status(int rc);
/* The row of --json. */
#define CMD_JSON_ROW(owner, field)                                                                 \
    {                                                                                              \
        .name = "json", .type = BD_OPT_BOOL, BD_FIELD(owner, field), .help = "print JSON"          \
    }
/* Of an open stack whose layout is known: its objects, and a walk over all blocks that a signal interrupts from here on. */
int cmd_walk_begin(struct stack *stack, struct walk *walk, struct error *why);
/* Open the stack, and take its volume on this machine: whoever has it here is refused.  The caller frees `volume` (what people call
 * it; NULL: nobody wants to know) and releases the lock, also when it fails. */
int cmd_take_here(struct stack *stack, const char *location, char **volume, struct locallock **lock,
                  struct error *why);
/* Which command goes on with what is no whole volume: "copy" with half a copy, "erase" with what that has left.  NULL: none has to.
 * After volume_lock_format or the like. */
int cmd_unfinished(const struct stack *stack, const char **command, struct error *why);
/* Is there a volume, or a part of one?  After volume_lock_format or the like. */
int cmd_has_volume(const struct stack *stack, bool *is_there, struct error *why);
/* What comes from a store does nothing at a terminal: its control characters become question marks. */
void cmd_clean(char *text);
/* As JSON, whatever bytes it has.  NULL when out of memory. */
struct json_t *cmd_json_text(const char *text);
/* The key slots in use. */
struct json_t *cmd_json_slots(const struct manifest *manifest);
/* Takes it, and prints it in lines; NULL when out of memory. */
int cmd_print_json(struct json_t *all, struct error *why);
/* What was printed has gone where it should: 0, or -EIO and why. */
int cmd_flush(struct error *why);

/* What a mount's command line may ask for instead, too: their stacks are parsed, and not open. */
int cmd_erase_volume(struct stack *stack, const char *location, bool is_json, struct error *why);
/* Where nothing is, the command fails: it may be the wrong place. */
int cmd_reset_token(struct stack *stack, const char *location, bool is_command, bool is_json,
                    struct error *why);

int cmd_check(int argc, char **argv);
int cmd_copy(int argc, char **argv);
int cmd_down(int argc, char **argv);
int cmd_erase(int argc, char **argv);
int cmd_helper(int argc, char **argv);
int cmd_info(int argc, char **argv);
int cmd_key(int argc, char **argv);
int cmd_list(int argc, char **argv);
int cmd_mount(int argc, char **argv);
int cmd_plugin(int argc, char **argv);
int cmd_plugins(int argc, char **argv);
int cmd_probe(int argc, char **argv);
int cmd_reset(int argc, char **argv);
int cmd_takeover(int argc, char **argv);
int cmd_umount(int argc, char **argv);
int cmd_up(int argc, char **argv);

#endif
