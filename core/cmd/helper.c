/* SPDX-License-Identifier: Apache-2.0 */
/* mount.bucketdisk, which mount(8) calls: the disk, or with fs=... among the options the filesystem on it. */
#include "cmd.h"

#include "base/log.h"
#include "helper.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* There may be secrets in them, and what is read is a copy. */
static void
hide_lists(int argc, char **argv)
{
    for (int i = 2; i < argc; i++) {
        const char *before = argv[i - 1];

        if (before[0] == '-' && before[strlen(before) - 1] == 'o')
            memset(argv[i], 'x', strlen(argv[i]));
    }
}

int
cmd_helper(int argc, char **argv)
{
    struct error why = { "" };
    struct helper_call call;
    char *words[6] = { NULL };
    int count = 0, status = EXIT_FAILED;

    if (helper_parse(argc, (const char *const *)argv, &call, &why) != 0) {
        log_line(BD_ERROR, "%s", why.text);
        helper_clear(&call);
        return EXIT_FAILED;
    }
    words[count++] = strdupa("mount"); /* and so no word behind it is a command */
    if (call.list != NULL) {
        words[count++] = strdupa("-o");
        words[count++] = call.list;
    }
    words[count++] = (char *)(uintptr_t)call.source;
    words[count++] = (char *)(uintptr_t)call.directory;
    hide_lists(argc, argv);
    if (call.is_fake)
        status = EXIT_DONE;
    else
        status = call.wants_up ? cmd_up(count, words) : cmd_mount(count, words);
    helper_clear(&call);
    return status;
}
