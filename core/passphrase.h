/* SPDX-License-Identifier: Apache-2.0 */
/* Where a passphrase comes from: --password, the first line of --password-file, all of --key-file, or the terminal. */
#ifndef CORE_PASSPHRASE_H
#define CORE_PASSPHRASE_H

#include "base/error.h"

#include <bucketdisk/plugin.h>

#define PASSPHRASE_BYTES_MAX 1023u /* s3backer reads no more of a file */
#define KEY_FILE_BYTES_MAX 8192u

struct passphrase {
    void *data; /* NULL: there is none */
    size_t bytes;
};

/* Of these at most one is given (not NULL and not ""). */
struct passphrase_options {
    const char *password;
    const char
        *password_file;   /* its first line without its LF; a CR belongs to it, as for s3backer */
    const char *key_file; /* all its bytes, whatever they are */
    const char *kind;     /* what their names begin with, "new-"; NULL: with nothing */
};

/* Gives *out, which is ended by passphrase_clear; without data if no option is given. */
int passphrase_given(const struct passphrase_options *options, struct passphrase *out,
                     struct error *why);

/* Ask who sits at standard input, without echo; `prompt` goes to the terminal.  -ENOTTY when nobody does.
 * -EINTR: a signal came that the caller has blocked, or that has not ended the process.
 * Gives *out, which is ended by passphrase_clear. */
int passphrase_ask(const char *prompt, struct passphrase *out, struct error *why);

/* The same for a new one, which is asked for twice.  -EINVAL: these are two. */
int passphrase_ask_new(const char *prompt, struct passphrase *out, struct error *why);

/* Wipes. */
void passphrase_clear(struct passphrase *passphrase);
/* Both borrow. */
struct bd_bytes passphrase_bytes(const struct passphrase *passphrase);
struct bd_bytes passphrase_text(const char *text);

#endif
