/* SPDX-License-Identifier: Apache-2.0 */
/* mount.bucketdisk, which mount(8) calls: the disk, or with fs=... among the options the filesystem on it. */
#include "cmd.h"

#include "base/log.h"
#include "helper.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int
cmd_helper(int argc, char **argv)
{
    struct error why = { "" };
    struct helper_call call;
    char *words[6] = { NULL };
    int count = 0, status = EXIT_FAILED;

    if (helper_parse(argc, (const char *const *)argv, &call, &why) != 0) {
        log_line(BD_ERROR, "%s", why.text);
        return EXIT_FAILED;
    }
    words[count++] = argv[0];
    if (call.list != NULL) {
        /* There may be a secret in it, and what is read is the other one. */
        memset((char *)(uintptr_t)call.given, 'x', strlen(call.given));
        words[count++] = strdupa("-o");
        words[count++] = call.list;
    }
    words[count++] = (char *)(uintptr_t)call.source;
    words[count++] = (char *)(uintptr_t)call.directory;
    if (call.is_fake)
        status = EXIT_DONE;
    else
        status = call.wants_up ? cmd_up(count, words) : cmd_mount(count, words);
    if (call.list != NULL)
        explicit_bzero(call.list, strlen(call.list));
    free(call.list);
    return status;
}
