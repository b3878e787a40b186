/* SPDX-License-Identifier: Apache-2.0 */
/* Which word is which command. */
#include "cmd.h"

#include "base/spelling.h"
#include "base/util.h"

#include <string.h>

static const struct cmd_word commands[] = {
    { "mount", cmd_mount }, { "umount", cmd_umount },   { "info", cmd_info },
    { "list", cmd_list },   { "check", cmd_check },     { "erase", cmd_erase },
    { "reset", cmd_reset }, { "key", cmd_key },         { "takeover", cmd_takeover },
    { "probe", cmd_probe }, { "plugins", cmd_plugins }, { "up", cmd_up },
    { "down", cmd_down },   { "plugin", cmd_plugin },   { "copy", cmd_copy },
};

const struct cmd_word *
cmd_find(const char *word)
{
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        if (strcmp(word, commands[i].word) == 0)
            return &commands[i];
    }
    return NULL;
}

const char *
cmd_near(const char *word)
{
    const size_t len = strlen(word);
    size_t best = spelling_slip_max(len) + 1;
    const char *nearest = NULL;

    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        size_t distance = spelling_distance(word, len, commands[i].word, strlen(commands[i].word));

        if (distance < best && distance < len) {
            best = distance;
            nearest = commands[i].word;
        }
    }
    return nearest;
}
