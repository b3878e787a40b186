/* SPDX-License-Identifier: Apache-2.0 */
/* Where a passphrase comes from: --password, the first line of --password-file, or the terminal. */
#ifndef CORE_PASSPHRASE_H
#define CORE_PASSPHRASE_H

#include "base/error.h"

#define PASSPHRASE_BYTES_MAX 1023u /* s3backer reads no more of a file */

/* Of these at most one is given (not NULL and not ""); neither: *out is NULL.
 * A file's first line without its LF; a CR belongs to it, as for s3backer.
 * Gives *out, which is freed with secret_free. */
int passphrase_given(const char *password, const char *file, char **out, struct error *why);

/* Ask who sits at standard input, without echo; `prompt` goes to the terminal.  -ENOTTY when nobody does.
 * -EINTR: a signal came that the caller has blocked, or that has not ended the process.
 * Gives *out, which is freed with secret_free. */
int passphrase_ask(const char *prompt, char **out, struct error *why);

#endif
