/* SPDX-License-Identifier: Apache-2.0 */
/* The parts that credentials are made of, a section for each file.
 *
 * A look for keys runs on one thread: in credentials_open, later on the thread that renews.  A
 * source gives BD_OK (it has something), BD_ABSENT (nothing here, and nobody asked for it) or a
 * failure with its sentence in lookup->why.  No sentence and no log line holds a secret, nor
 * text of a file that could be one.
 *
 * On the way to `struct credentials` secrets are in memory of ours that is wiped before it
 * is freed.  What libcurl, OpenSSL and jansson's lexer copy for themselves we can't reach. */
#ifndef S3_CREDENTIALS_PARTS_H
#define S3_CREDENTIALS_PARTS_H

#include "credentials.h"
#include "headers.h"

/* ---- credentials_keys.c: wiped memory, keys, one look's state */

/* A growing text that may be secret.  All zeros is an empty one. */
struct secret {
    char *text; /* with a NUL behind it; NULL while nothing was ever appended */
    size_t bytes;
    size_t cap; /* of text, the NUL included */
};

/* Make room for so many bytes more, and the NUL.  False: out of memory, nothing changed. */
bool secret_reserve(struct secret *secret, size_t bytes);
bool secret_append(struct secret *secret, const void *data, size_t bytes);
void secret_clear(struct secret *secret);
/* Append a whole file.  0, or an errno: EFBIG when it is longer than a file of keys can be. */
int secret_read_file(struct secret *secret, const char *path);
/* The text without blanks and line ends around it, in place; "" for an empty one. */
char *secret_trim(struct secret *secret);

/* Each string malloc'ed.  All zeros is anonymous. */
struct keys {
    char *access_id;
    char *secret;
    char *token;
    time_t expires;
};

/* Copies; token may be NULL or "".  NULL, or why these can't be keys: one is missing, or
 * would not fit into a header. */
const char *keys_set(struct keys *keys, const char *access_id, const char *secret,
                     const char *token, time_t expires);
void keys_clear(struct keys *keys);

struct found {
    struct keys keys;
    char source[256];  /* for people */
    bool is_renewable; /* looking again may give others */
};

struct lookup {
    const struct bd_host *host;
    const struct credential_options *options;
    int cancel_fd;   /* readable: give up at once */
    bool is_renewal; /* what is wrong for good was said when these were found first */
    char why[512];
};

/* The sentence of a failure.  Gives `status` back. */
enum bd_status lookup_failed(struct lookup *lookup, enum bd_status status, const char *format, ...)
    BD_PRINTF(3, 4);
bool lookup_is_cancelled(const struct lookup *lookup);
/* The variable's value, or NULL if it is unset or empty. */
const char *environment(const char *name);
/* ~/REST, by HOME or the user database.  Gives; NULL when there is no home, or no memory. */
char *home_path(const char *rest);

/* ---- credentials_sources.c: which sources there are, in their order */

typedef enum bd_status source_look(struct lookup *lookup, struct found *found);

/* Look through them all.  On BD_OK *source is the one to ask for a renewal.  BD_ABSENT: none
 * has anything. */
enum bd_status sources_look(struct lookup *lookup, struct found *found, source_look **source);

source_look source_environment;

/* ---- credentials_file.c: lines of ID:SECRET */

/* Not NUL-terminated. */
struct file_pair {
    const char *access_id, *secret;
    size_t access_id_bytes, secret_bytes;
};

/* The first pair, or that of `access_id` unless NULL.  *bad_line is the number of the first
 * line up to there that is none, or 0.  Pure. */
bool file_find(const char *text, size_t bytes, const char *access_id, struct file_pair *pair,
               unsigned *bad_line);

source_look source_access_file, source_passwd_file;
/* The secret of options->access_id, from the file that was named or ~/.s3backer_passwd. */
enum bd_status file_look_id(struct lookup *lookup, struct found *found);

/* ---- credentials_ini.c: the form of ~/.aws */

enum ini_kind {
    INI_CONFIG,      /* [default], [profile NAME] */
    INI_CREDENTIALS, /* [NAME] */
};

struct ini_entry {
    const char *profile;
    const char *key; /* NULL: the profile's heading */
    const char *value;
};

/* Points into the text that it was made of. */
struct ini {
    struct ini_entry *entries;
    size_t count;
};

/* Cuts `text`, which ends in NUL, to pieces in place.  False: out of memory.  Pure. */
bool ini_parse(char *text, enum ini_kind kind, struct ini *ini);
void ini_free(struct ini *ini);
bool ini_has(const struct ini *ini, const char *profile);
/* The last value, or NULL. */
const char *ini_get(const struct ini *ini, const char *profile, const char *key);

/* ---- credentials_profile.c: what a profile of ~/.aws says */

source_look source_profile;

/* ---- credentials_process.c */

/* Run a command with /bin/sh and give what it writes to its standard output. */
enum bd_status process_run(struct lookup *lookup, const char *command, struct secret *out);

/* ---- credentials_json.c */

/* YYYY-MM-DDTHH:MM:SS, a fraction, and Z or an offset; UTC without.  Pure. */
bool date_parse(const char *text, time_t *out);

enum json_kind {
    JSON_METADATA, /* of the instance and container services */
    JSON_PROCESS,  /* of a credential_process */
};

/* False with a reason in `why` that holds nothing of the document but the service's own
 * error code.  Pure. */
bool json_parse_keys(const char *text, size_t bytes, enum json_kind kind, struct keys *keys,
                     char *why, size_t why_bytes);

/* ---- credentials_xml.c */

/* The answer of a token service.  False with a reason that holds nothing of the document.
 * Pure. */
bool xml_parse_keys(const void *xml, size_t bytes, struct keys *keys, char *why, size_t why_bytes);

/* ---- credentials_web.c: one blocking HTTP request */

struct web_request {
    const char *method;
    const char *url;
    const struct headers *headers; /* or NULL */
    const char *body;              /* or NULL */
    size_t body_bytes;
    unsigned limit_ms;
    bool is_metadata; /* the machine's own service: never through a proxy */
};

struct web_answer {
    long status;
    struct secret body;
};

/* BD_OK with any answer.  The caller clears its body, also after a failure. */
enum bd_status web_exchange(struct lookup *lookup, const struct web_request *request,
                            struct web_answer *answer);

/* ---- credentials_metadata.c: the services beside a container or an instance */

source_look source_container, source_instance;
/* As if it were asked for with an option: nothing there is a failure. */
enum bd_status instance_look(struct lookup *lookup, const char *role, struct found *found);
enum bd_status container_look(struct lookup *lookup, struct found *found);

/* Which URL, of the values of the two variables (or NULL).  False with a reason when it may
 * not be asked.  Pure. */
bool container_url(const char *relative, const char *full, char *out, size_t out_bytes,
                   const char **why);
/* Is this machine an EC2 instance, by the firmware's texts in `directory`? */
bool instance_is_ec2(const char *directory);

/* ---- credentials_sts.c: the token service */

struct sts_role {
    const char *arn;
    const char *session_name;     /* or NULL */
    const char *external_id;      /* or NULL */
    const char *duration_seconds; /* or NULL */
    const char *region;           /* or NULL */
};

enum bd_status sts_assume_role(struct lookup *lookup, const struct sts_role *role,
                               const struct keys *base, struct keys *keys);
enum bd_status sts_web_identity(struct lookup *lookup, const struct sts_role *role,
                                const char *token_file, struct keys *keys);
source_look source_web_identity;

#endif
