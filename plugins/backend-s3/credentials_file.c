/* SPDX-License-Identifier: Apache-2.0 */
/* Files of ID:SECRET lines, as s3backer reads them: the first line, or that of a given ID.
 *
 * Blank lines and those that begin with # don't count; blanks and a CR around a line are
 * dropped. */
#include "credentials_parts.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define PASSWD_FILE ".s3backer_passwd"

/* An ID may hold a colon (Swift's "lab:s3"); secrets, of AWS and of all others that we know,
 * hold none.  So the last one divides. */
static bool
pair_parse(const char *line, size_t bytes, struct file_pair *pair)
{
    const char *colon = memrchr(line, ':', bytes);

    if (colon == NULL)
        return false;
    *pair = (struct file_pair){
        .access_id = line,
        .access_id_bytes = (size_t)(colon - line),
        .secret = colon + 1,
        .secret_bytes = bytes - (size_t)(colon - line) - 1,
    };
    for (size_t i = 0; i < bytes; i++) {
        if ((unsigned char)line[i] < ' ' || line[i] == 0x7f)
            return false;
    }
    return pair->access_id_bytes > 0 && pair->secret_bytes > 0;
}

static bool
is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

bool
file_find(const char *text, size_t bytes, const char *access_id, struct file_pair *pair,
          unsigned *bad_line)
{
    const char *end = text + bytes, *next;
    unsigned number = 0;

    *bad_line = 0;
    for (const char *line = text; line < end; line = next) {
        const char *stop = memchr(line, '\n', (size_t)(end - line));

        number++;
        stop = stop == NULL ? end : stop;
        next = stop + (stop < end);
        while (stop > line && is_blank(stop[-1]))
            stop--;
        while (line < stop && is_blank(*line))
            line++;
        if (line == stop || *line == '#')
            continue;
        if (!pair_parse(line, (size_t)(stop - line), pair)) {
            *bad_line = *bad_line == 0 ? number : *bad_line;
            continue;
        }
        if (access_id == NULL
            || (strlen(access_id) == pair->access_id_bytes
                && memcmp(access_id, pair->access_id, pair->access_id_bytes) == 0))
            return true;
    }
    return false;
}

/* The pair's strings end where the text goes on, so copies of them are made. */
static const char *
pair_keys(const struct file_pair *pair, struct keys *keys)
{
    struct secret access_id = { 0 }, secret = { 0 };
    const char *why = "out of memory";

    if (secret_append(&access_id, pair->access_id, pair->access_id_bytes)
        && secret_append(&secret, pair->secret, pair->secret_bytes))
        why = keys_set(keys, access_id.text, secret.text, NULL, 0);
    secret_clear(&access_id);
    secret_clear(&secret);
    return why;
}

static void
warn_about(struct lookup *lookup, const char *path, unsigned bad_line)
{
    struct stat info;

    if (bad_line != 0)
        lookup->host->log(lookup->host, BD_WARNING, "%s: line %u is not ID:SECRET, and is ignored",
                          path, bad_line);
    if (stat(path, &info) == 0 && S_ISREG(info.st_mode) && (info.st_mode & S_IROTH) != 0)
        lookup->host->log(lookup->host, BD_WARNING,
                          "%s holds secrets and may be read by everybody: chmod 600 %s", path,
                          path);
}

/* BD_ABSENT: there is no such file, no pair in it, or not that of `access_id`. */
static enum bd_status
file_look(struct lookup *lookup, const char *path, const char *shown, const char *access_id,
          struct found *found)
{
    enum bd_status status = BD_ABSENT;
    struct secret text = { 0 };
    struct file_pair pair;
    const char *why;
    unsigned bad_line;
    int error = secret_read_file(&text, path);

    if (error != 0) {
        status = lookup_failed(lookup,
                               error == ENOENT || error == ENOTDIR ? BD_ABSENT
                               : error == EACCES || error == EPERM ? BD_DENIED
                                                                   : BD_INVALID,
                               "cannot read %s: %s", path, strerror(error));
        goto clear_text;
    }
    if (!file_find(text.text, text.bytes, access_id, &pair, &bad_line)) {
        warn_about(lookup, path, bad_line);
        goto clear_text;
    }
    warn_about(lookup, path, bad_line);
    why = pair_keys(&pair, &found->keys);
    if (why != NULL) {
        status = lookup_failed(lookup, BD_FATAL, "%s: %s", path, why);
        goto clear_text;
    }
    snprintf(found->source, sizeof found->source, "%s", shown);
    status = BD_OK;

clear_text:
    secret_clear(&text);
    return status;
}

enum bd_status
source_access_file(struct lookup *lookup, struct found *found)
{
    const char *path = lookup->options->access_file;
    enum bd_status status;

    if (path == NULL)
        return BD_ABSENT;
    lookup->why[0] = '\0';
    status = file_look(lookup, path, path, NULL, found);
    if (status == BD_ABSENT)
        status = lookup->why[0] != '\0'
                     ? BD_INVALID
                     : lookup_failed(lookup, BD_INVALID, "%s holds no line ID:SECRET", path);
    return status;
}

enum bd_status
source_passwd_file(struct lookup *lookup, struct found *found)
{
    char *path = home_path(PASSWD_FILE);
    enum bd_status status;

    if (path == NULL)
        return BD_ABSENT;
    status = file_look(lookup, path, "~/" PASSWD_FILE, NULL, found);
    /* Nobody asked for it: somebody else's home must not stop the disk. */
    if (status == BD_DENIED) {
        lookup->host->log(lookup->host, BD_WARNING, "%s; it is not used", lookup->why);
        status = BD_ABSENT;
    }
    free(path);
    return status;
}

enum bd_status
file_look_id(struct lookup *lookup, struct found *found)
{
    const struct credential_options *options = lookup->options;
    char *path =
        options->access_file != NULL ? strdup(options->access_file) : home_path(PASSWD_FILE);
    enum bd_status status = BD_ABSENT;

    if (path != NULL)
        status = file_look(lookup, path, options->access_file != NULL ? path : "~/" PASSWD_FILE,
                           options->access_id, found);
    if (status == BD_ABSENT)
        status = lookup_failed(
            lookup, BD_INVALID,
            "access id %s was given without its secret: give that, too, or write "
            "a line %s:SECRET to %s",
            options->access_id, options->access_id, path != NULL ? path : "~/" PASSWD_FILE);
    free(path);
    return status;
}
