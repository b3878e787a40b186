/* SPDX-License-Identifier: Apache-2.0 */
/* Which chain a mount writes with: from --codec, or s3backer's --compress and --encrypt, or what is stored.  Pure. */
#ifndef CORE_CODECS_H
#define CORE_CODECS_H

#include "base/error.h"
#include "encoding.h"

#include <stdbool.h>

struct codecs_wish {
    const char *codec;    /* NULL: not given */
    const char *compress; /* NULL: not given; "": as it is usual; a level; a token */
    const char *encrypt;  /* NULL: not given; "": the usual cipher; a cipher */
    bool is_new_format_2; /* a volume that is made now */
    bool has_password;
    /* What the volume is written with: its own word, or an encrypted block's Content-Encoding.  NULL: nothing. */
    const char *stored;
};

/* s3backer's tokens: what begins so encrypts. */
#define CODECS_ENCRYPTS "encrypt-"

/* `list` is what new objects are encoded with; `level` what was given as --compress=LEVEL, else "".
 * -EINVAL: the options contradict each other. */
int codecs_choose(const struct codecs_wish *wish, char list[ENCODING_JOINED_BYTES],
                  char level[BD_TOKEN_BYTES_MAX + 1], struct error *why);

/* Does a list name a layer of s3backer's encryption?  Also lists that cannot be parsed. */
bool codecs_encrypt(const char *encoding);

/* Does s3backer know all of a list's tokens? */
bool codecs_are_s3backers(const char *list);

/* May a volume be written with this list?  s3backer's encryption is for its own format, and a block has one place for
 * its tag.  -EINVAL. */
int codecs_check(const char *list, bool is_format_2, struct error *why);

#endif
