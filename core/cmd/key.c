/* SPDX-License-Identifier: Apache-2.0 */
/* bucketdisk key list|add|change|remove LOCATION: the passphrases of a volume of format 2.
 *
 * A change replaces the volume's description in one put, under the mount token: nobody else mounts or changes it
 * meanwhile.  No block is read or written.
 *
 * All that takes long, questions and key derivations, comes before the token is taken.  What was read by then is read
 * again under it, and must be the same as far as the change depends on it.  From the token's take to its end nothing
 * interrupts the command: whoever is left with a token of another machine has to clear it by hand.
 *
 * Where a daemon died on this machine, its lock is put back at the end: it still keeps other machines off for as long as
 * what that daemon sent may be carried out, and it tells the next mount whose the data in a cache file are. */
#include "cmd.h"

#include "ask.h"
#include "base/clock.h"
#include "base/interrupts.h"
#include "base/log.h"
#include "base/secret.h"
#include "base/util.h"
#include "keyslots.h"
#include "locallock.h"
#include "passphrase.h"
#include "stack.h"
#include "token.h"

#include <errno.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct key_settings {
    const char *new_password, *new_password_file, *new_key_file, *label;
    uint32_t slot;
    uint8_t last_slot, json;
};

static const struct bd_option key_rows[] = {
    { .name = "new-password",
      .type = BD_OPT_SECRET,
      BD_FIELD(struct key_settings, new_password),
      .help = "what shall open the volume" },
    { .name = "new-password-file",
      .type = BD_OPT_PATH,
      BD_FIELD(struct key_settings, new_password_file),
      .help = "the same, in the first line of a file" },
    { .name = "new-key-file",
      .type = BD_OPT_PATH,
      BD_FIELD(struct key_settings, new_key_file),
      .help = "the same, all bytes of a file" },
    { .name = "label",
      .type = BD_OPT_STRING,
      BD_FIELD(struct key_settings, label),
      .def = "",
      .help = "a word to know the slot by" },
    { .name = "slot",
      .type = BD_OPT_UINT,
      BD_FIELD(struct key_settings, slot),
      .max = MANIFEST_SLOTS - 1,
      .help = "which slot to fill, else a free one; or to change or remove, else the opened one" },
    { .name = "last-slot",
      .type = BD_OPT_BOOL,
      BD_FIELD(struct key_settings, last_slot),
      .help = "remove also the last slot: then nobody can read the volume any more" },
    CMD_JSON_ROW(struct key_settings, json),
};

/* One command at work. */
struct key_command {
    struct stack stack;
    struct key_settings settings;
    struct locallock *lock;
    struct passphrase passphrase; /* the one that opens the volume */
    unsigned opened;              /* the slot that it opened */
    unsigned slot;                /* the one to change */
    struct key_slot content;      /* what it shall hold; nothing: it shall be free */
    sigset_t held, before;        /* signals; `before` is set again at the end */
};

/* ---- the volume */

static struct manifest *
manifest_of(struct key_command *command)
{
    return &command->stack.description.manifest;
}

static int
read_description(struct key_command *command, struct error *why)
{
    struct stack *stack = &command->stack;
    int rc;

    stack->layout = (struct layout){ .prefix = stack->settings.prefix, .is_format_2 = true };
    rc = volume_manifest_read(stack->backend, &stack->layout, &stack->description, why);
    if (rc != 0)
        return rc;
    if (!stack->description.is_there)
        return error_set(why, -ENOENT,
                         "there is no volume of format 2 here; only such have keys that can be "
                         "changed");
    if (!manifest_is_encrypted(manifest_of(command)))
        return error_set(why, -EINVAL, "the volume is not encrypted; it has no keys");
    return 0;
}

/* Nobody on this machine changes the description from here on, and the volume key is known. */
static int
open_volume(struct key_command *command, struct error *why)
{
    struct stack *stack = &command->stack;
    const struct settings *settings = &stack->settings;
    const struct passphrase_options given = { settings->password, settings->password_file,
                                              settings->key_file };
    char *identity = NULL, *volume = NULL;
    int rc = stack_names(stack, &identity, &volume, why);

    if (rc == 0)
        rc = locallock_take(identity, volume, why, &command->lock);
    if (rc == 0)
        rc = read_description(command, why);
    if (rc == 0)
        rc = passphrase_given(&given, &command->passphrase, why);
    if (rc == 0 && command->passphrase.data == NULL) {
        rc = passphrase_ask("Password of the volume: ", &command->passphrase, why);
        if (rc == -ENOTTY)
            rc = error_set(why, -EINVAL,
                           "a password that opens the volume is needed; give "
                           "--password-file or --key-file");
    }
    if (rc == 0)
        rc = keyslots_open(manifest_of(command), &stack->plugins,
                           passphrase_bytes(&command->passphrase), &stack->keyring,
                           &command->opened, why);
    if (rc == 0)
        rc = manifest_verify(manifest_of(command), &stack->keyring, why);
    free(identity);
    free(volume);
    return rc;
}

/* Read the description again.  A mount that came and went meanwhile is no harm. */
static int
read_again(struct key_command *command, struct error *why)
{
    struct stack *stack = &command->stack;
    struct stored_manifest before = stack->description;
    int rc;

    stack->description = (struct stored_manifest){ .is_there = false };
    rc = read_description(command, why);
    if (rc == 0 && !manifest_has_slots_of(manifest_of(command), &before.manifest))
        rc = error_set(why, -EBUSY,
                       "somebody else has just changed the volume's keys; nothing was changed");
    /* The key of another volume that is here now would be another. */
    if (rc == 0)
        rc = manifest_verify(manifest_of(command), &stack->keyring, why);
    manifest_clear(&before.manifest);
    return rc;
}

/* With the token taken. */
static int
put_slot(struct key_command *command, struct error *why)
{
    struct stack *stack = &command->stack;
    struct manifest *manifest = manifest_of(command);
    int rc = read_again(command, why);

    if (rc == 0 && interrupts_came(&command->held))
        rc = error_set(why, -EINTR, "interrupted; nothing was changed");
    if (rc != 0)
        return rc;
    keyslots_remove(manifest, command->slot);
    manifest->slots[command->slot] = command->content;
    command->content = (struct key_slot){ NULL };
    rc = manifest_renew(manifest, &stack->keyring, why);
    if (rc == 0)
        rc = volume_manifest_write(stack->backend, &stack->layout, &stack->description, why);
    return rc;
}

/* Let the slot hold what was made for it.  Signals are held from here on. */
static int
change_slot(struct key_command *command, struct error *why)
{
    struct stack *stack = &command->stack;
    struct error left = { "" };
    const uint64_t settle_ms = stack->settings.settle_time_ms;
    char lock_id[64];
    const struct token_wish wish = { .lock_id = lock_id,
                                     .is_passing = true,
                                     .settle_ms = settle_ms };
    struct token token;
    int rc;

    passphrase_clear(&command->passphrase);
    locallock_id(command->lock, lock_id, sizeof lock_id);
    interrupts_hold(&command->held, NULL);
    rc = token_take(stack->backend, &stack->layout, &wish, &token, why);
    if (rc != 0)
        return rc;
    /* What a dead owner has sent may still be carried out, over what we put. */
    if (!token.has_if_match)
        ask_wait_settled(token_hold_until_ns(&token));
    rc = put_slot(command, why);
    if (rc != 0 && stack->description.unknown_at_ns != 0)
        error_set(
            why, rc,
            "%s; it may have been changed all the same: keep both passwords until one of them "
            "opens the volume",
            strdupa(why->text));
    ask_wait_settled(stack_settled_at_ns(stack));
    if (token_give_back(stack->backend, &stack->layout, &token, &left) != 0)
        log_line(BD_WARNING, "%s; --reset-mounted-flag clears it%s", left.text,
                 token.before.is_there ? ", as does a mount on this machine" : "");
    return rc;
}

/* ---- passphrases */

static int
new_passphrase(const struct key_settings *settings, struct passphrase *out, struct error *why)
{
    const struct passphrase_options given = { settings->new_password, settings->new_password_file,
                                              settings->new_key_file, "new-" };
    int rc = passphrase_given(&given, out, why);

    if (rc != 0 || out->data != NULL)
        return rc;
    rc = passphrase_ask_new("New password: ", out, why);
    if (rc == -ENOTTY)
        return error_set(why, -EINVAL,
                         "a new password is needed; give --new-password-file or --new-key-file");
    return rc;
}

/* What the slot shall hold. */
static int
wrap_new(struct key_command *command, const char *label, struct error *why)
{
    struct passphrase passphrase = { NULL, 0 };
    int rc = manifest_check_label(label, why);

    if (rc == 0)
        rc = new_passphrase(&command->settings, &passphrase, why);
    if (rc == 0)
        rc = keyslots_wrap(manifest_of(command), &command->stack.plugins, &command->stack.keyring,
                           passphrase_bytes(&passphrase), label, &command->content, why);
    passphrase_clear(&passphrase);
    return rc;
}

/* ---- slots */

static bool
is_slot_given(const struct key_command *command)
{
    return options_given(command->stack.options, "slot");
}

static int
pick_free(struct key_command *command, struct error *why)
{
    const struct manifest *manifest = manifest_of(command);

    command->slot = is_slot_given(command) ? command->settings.slot : keyslots_free(manifest);
    if (command->slot == MANIFEST_SLOTS)
        return error_set(why, -ENOSPC, "all %u key slots are in use; remove one first",
                         MANIFEST_SLOTS);
    if (!key_slot_is_free(&manifest->slots[command->slot]))
        return error_set(why, -EEXIST,
                         "key slot %u is in use; \"key change\" gives it a new password",
                         command->slot);
    return 0;
}

/* Whoever can open the volume may change and remove any of them. */
static int
pick_used(struct key_command *command, struct error *why)
{
    command->slot = is_slot_given(command) ? command->settings.slot : command->opened;
    if (key_slot_is_free(&manifest_of(command)->slots[command->slot]))
        return error_set(why, -ENOENT, "key slot %u is not in use", command->slot);
    return 0;
}

/* ---- the four commands */

static int
print_json(const struct manifest *manifest, struct error *why)
{
    return cmd_print_json(json_pack("{s:o, s:o}", "wrap", cmd_json_text(manifest->wrap), "slots",
                                    cmd_json_slots(manifest)),
                          why);
}

static int
key_list(struct key_command *command, struct error *why)
{
    const struct manifest *manifest = manifest_of(command);
    int rc = read_description(command, why);

    if (rc != 0)
        return rc;
    if (command->settings.json)
        return print_json(manifest, why);
    printf("slot  wrapped by  label\n");
    for (unsigned i = 0; i < MANIFEST_SLOTS; i++) {
        const struct key_slot *slot = &manifest->slots[i];

        if (slot->damage[0] != '\0')
            printf("%4u  %-10s  %s%s(damaged: %s)\n", i, manifest->wrap, slot->label,
                   slot->label[0] != '\0' ? " " : "", slot->damage);
        else if (!key_slot_is_free(slot))
            printf("%4u  %-10s  %s\n", i, manifest->wrap, slot->label);
    }
    return 0;
}

static int
key_add(struct key_command *command, struct error *why)
{
    int rc = open_volume(command, why);

    if (rc == 0)
        rc = pick_free(command, why);
    if (rc == 0)
        rc = wrap_new(command, command->settings.label, why);
    if (rc == 0)
        rc = change_slot(command, why);
    if (rc == 0)
        printf("Key slot %u opens the volume, too.\n", command->slot);
    return rc;
}

/* The new password comes and the old one goes in one put. */
static int
key_change(struct key_command *command, struct error *why)
{
    const char *label = command->settings.label;
    int rc = open_volume(command, why);

    if (rc == 0)
        rc = pick_used(command, why);
    if (rc != 0)
        return rc;
    if (label[0] == '\0')
        label = manifest_of(command)->slots[command->slot].label;
    rc = wrap_new(command, label, why);
    if (rc == 0)
        rc = change_slot(command, why);
    if (rc == 0)
        printf("Key slot %u has the new password.\n", command->slot);
    return rc;
}

static int
key_remove(struct key_command *command, struct error *why)
{
    const struct manifest *manifest = manifest_of(command);
    int rc = open_volume(command, why);

    if (rc == 0)
        rc = pick_used(command, why);
    if (rc != 0)
        return rc;
    /* Where another slot goes, the one that was opened stays. */
    if (command->slot == command->opened && !command->settings.last_slot
        && !keyslots_has_another(manifest, &command->stack.plugins,
                                 passphrase_bytes(&command->passphrase), command->slot))
        return error_set(why, -EPERM,
                         "key slot %u is the last one that opens the volume; without it nobody can "
                         "ever read the volume again. --last-slot removes it all the same",
                         command->slot);
    rc = change_slot(command, why);
    if (rc == 0)
        printf("Key slot %u is gone.\n", command->slot);
    return rc;
}

static const struct {
    const char *word;
    int (*run)(struct key_command *command, struct error *why);
} verbs[] = {
    { "list", key_list },
    { "add", key_add },
    { "change", key_change },
    { "remove", key_remove },
};

static void
help(void)
{
    printf("usage: bucketdisk key list   [--json] [options] LOCATION\n"
           "       bucketdisk key add    [--slot=N] [options] LOCATION\n"
           "       bucketdisk key change [--slot=N] [options] LOCATION\n"
           "       bucketdisk key remove [--slot=N] [options] LOCATION\n"
           "\n"
           "Passwords that open an encrypted volume of format 2.  Each has a slot with the\n"
           "volume's key, so no block is written when they change.  Only list may be asked\n"
           "while the volume is mounted.\n"
           "\n"
           "--password, --password-file, --key-file: what opens the volume; asked for at a\n"
           "terminal.\n"
           "--new-password, --new-password-file, --new-key-file: what to add, likewise.\n"
           "--label=TEXT: a word to know the slot by.\n"
           "--slot=N: the slot to fill, else a free one; to change or remove, else the one\n"
           "that the password opens.\n"
           "--last-slot: remove also the last slot: then nobody can read the volume any\n"
           "more.\n"
           "--json: list prints one JSON object.\n"
           "\n"
           "All other options are those of the mount: --backend and its options, --prefix.\n"
           "None goes over another machine's mount token; see bucketdisk reset.\n");
}

/* What would be ignored is refused. */
static int
check_options(const struct key_command *command, bool is_list, struct error *why)
{
    static const char *const of_changes[] = { "new-password", "new-password-file",
                                              "new-key-file", "label",
                                              "slot",         "last-slot" };

    if (command->settings.json && !is_list)
        return error_set(why, -EINVAL, "--json is for \"key list\" alone");
    for (size_t i = 0; is_list && i < ARRAY_LEN(of_changes); i++) {
        if (options_given(command->stack.options, of_changes[i]))
            return error_set(why, -EINVAL, "\"key list\" lists all keys; leave --%s out",
                             of_changes[i]);
    }
    return 0;
}

static int
run(struct key_command *command, const char *verb, const char *location, struct error *why)
{
    int rc;

    if (command->stack.settings.force)
        return error_set(why, -EINVAL,
                         "keys are not changed by force over a mount token; if nobody uses the "
                         "volume, clear it with --reset-mounted-flag");
    for (size_t i = 0; i < ARRAY_LEN(verbs); i++) {
        if (strcmp(verbs[i].word, verb) != 0)
            continue;
        rc = check_options(command, verbs[i].run == key_list, why);
        if (rc == 0)
            rc = stack_open(&command->stack, location, why);
        return rc != 0 ? rc : verbs[i].run(command, why);
    }
    return error_set(why, -EINVAL, "key %s? usage: bucketdisk key list|add|change|remove LOCATION",
                     verb);
}

int
cmd_key(int argc, char **argv)
{
    struct key_command command = { .lock = NULL };
    const struct stack_rows rows = { key_rows, ARRAY_LEN(key_rows), &command.settings };
    char **words = calloc((size_t)argc + 1, sizeof *words);
    struct error why = { "" };
    int word_count = 0;
    int rc;

    if (words == NULL)
        return EXIT_FAILED;
    pthread_sigmask(SIG_BLOCK, NULL, &command.before);
    rc = stack_parse(&command.stack, &rows, argc, argv, words, &word_count, &why);
    if (rc == 0 && command.stack.settings.help) {
        help();
    } else if (rc == 0) {
        log_level_max(command.stack.settings.debug ? BD_DEBUG : BD_INFO);
        if (word_count > 2)
            rc = error_set(&why, -EINVAL,
                           "too many words: what is \"%s\"? usage: bucketdisk key "
                           "list|add|change|remove [options] LOCATION",
                           words[2]);
        else if (word_count != 2)
            rc = error_set(&why, -EINVAL,
                           "usage: bucketdisk key list|add|change|remove [options] LOCATION");
        else
            rc = run(&command, words[0], words[1], &why);
    }
    if (rc != 0 && why.text[0] != '\0')
        log_line(BD_ERROR, "%s", why.text);
    fflush(stdout);
    passphrase_clear(&command.passphrase);
    key_slot_clear(&command.content);
    stack_close(&command.stack);
    locallock_release(command.lock);
    free(words);
    pthread_sigmask(SIG_SETMASK, &command.before, NULL); /* a signal that came is served now */
    return rc == 0 ? EXIT_DONE : EXIT_FAILED;
}
