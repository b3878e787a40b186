/* SPDX-License-Identifier: Apache-2.0 */
/* Words of -o lists that are no options of ours: what mount(8), fstab and users of FUSE hand to every mount program. */
#include "options_table.h"
#include "util.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum word_kind {
    SO_ANYWAY, /* whether it is said or not */
    OVER_US,   /* mount(8)'s own: of the same kind, and kept for who mounts a filesystem over us */
    PASSED,    /* to the kernel, with the mount; kept, too */
    PASSED_HERE, /* to the kernel, and FUSE's alone */
    IDLE,        /* libfuse's, for programs that work in another way: told of */
};

/* A `*` at the end stands for anything. */
static const struct {
    const char *word;
    enum word_kind kind;
} words[] = {
    { "defaults", OVER_US },
    { "auto", OVER_US },
    { "noauto", OVER_US },
    { "user", OVER_US },
    { "user=*", OVER_US },
    { "nouser", OVER_US },
    { "users", OVER_US },
    { "owner", OVER_US },
    { "group", OVER_US },
    { "_netdev", OVER_US },
    { "nofail", OVER_US },
    { "x-*", OVER_US },
    { "X-*", OVER_US },
    { "comment=*", OVER_US },
    { "diratime", OVER_US },
    { "lazytime", OVER_US },
    { "strictatime", OVER_US },
    { "rw", OVER_US },
    { "relatime", OVER_US },
    { "nodev", OVER_US },
    { "nosuid", OVER_US },
    /* mount.fuse3 says these of itself for root; there are neither devices nor programs in the mount. */
    { "dev", OVER_US },
    { "suid", OVER_US },
    { "kernel_cache", SO_ANYWAY },
    { "default_permissions", SO_ANYWAY },
    { "big_writes", SO_ANYWAY },
    { "async_read", SO_ANYWAY },
    { "use_ino", SO_ANYWAY },
    { "nonempty", SO_ANYWAY },

    { "allow_root", PASSED_HERE },
    { "exec", PASSED },
    { "noexec", PASSED },
    { "sync", PASSED },
    { "async", PASSED },
    { "dirsync", PASSED },
    { "atime", PASSED },
    { "noatime", PASSED },
    { "nodiratime", PASSED },
    { "norelatime", PASSED },
    { "nostrictatime", PASSED },

    { "auto_unmount", IDLE },
    { "auto_cache", IDLE },
    { "noauto_cache", IDLE },
    { "sync_read", IDLE },
    { "entry_timeout=*", IDLE },
    { "negative_timeout=*", IDLE },
    { "attr_timeout=*", IDLE },
    { "ac_attr_timeout=*", IDLE },
    { "noforget", IDLE },
    { "remember=*", IDLE },
    { "hard_remove", IDLE },
    { "readdir_ino", IDLE },
    { "intr", IDLE },
    { "intr_signal=*", IDLE },
    { "umask=*", IDLE },
    { "max_read=*", IDLE },
    { "max_write=*", IDLE },
    { "congestion_threshold=*", IDLE },
    { "clone_fd", IDLE },
    { "max_idle_threads=*", IDLE },
    { "large_read", IDLE },
    { "atomic_o_trunc", IDLE },
    { "no_remote_lock", IDLE },
};

static bool
is_word(const char *pattern, const char *piece)
{
    size_t len = strlen(pattern);

    return pattern[len - 1] == '*' ? strncmp(piece, pattern, len - 1) == 0
                                   : strcmp(piece, pattern) == 0;
}

static int
list_append(char **list, const char *piece)
{
    char *longer;

    if (asprintf(&longer, "%s%s%s", *list != NULL ? *list : "", *list != NULL ? "," : "", piece)
        == -1)
        return -ENOMEM;
    free(*list);
    *list = longer;
    return 0;
}

int
mount_word_take(struct options *options, const char *piece)
{
    enum word_kind kind;
    int rc = 0;

    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        if (!is_word(words[i].word, piece))
            continue;
        kind = words[i].kind;
        if (kind == PASSED || kind == PASSED_HERE)
            rc = list_append(&options->mount_flags, piece);
        if (rc == 0 && (kind == PASSED || kind == OVER_US))
            rc = list_append(&options->mount_words, piece);
        return rc == 0 && kind == IDLE ? list_append(&options->idle_words, piece) : rc;
    }
    return -ENOENT;
}

const char *
options_mount_flags(const struct options *options)
{
    return options->mount_flags != NULL ? options->mount_flags : "";
}

const char *
options_idle_words(const struct options *options)
{
    return options->idle_words != NULL ? options->idle_words : "";
}

const char *
options_mount_words(const struct options *options)
{
    return options->mount_words != NULL ? options->mount_words : "";
}
