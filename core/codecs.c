/* SPDX-License-Identifier: Apache-2.0 */
/* Which chain a mount writes with. */
#include "codecs.h"

#include "base/util.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* What s3backer's switches mean without a value. */
#define COMPRESSOR "deflate"
#define CIPHER "AES-128-CBC"

/* What a volume of format 2 is made with when nothing is said. */
#define FORMAT_2_OPEN "zstd"
#define FORMAT_2_SEALED "zstd,xaes-256-gcm"

#define CIPHER_USUAL "aes" /* CIPHER, by a shorter name of ours */
static const char *const s3backers[] = { "deflate", "zstd" };

static bool
is_encrypting(const char *token)
{
    return strncasecmp(token, CODECS_ENCRYPTS, sizeof CODECS_ENCRYPTS - 1) == 0
           || strcasecmp(token, CIPHER_USUAL) == 0;
}

bool
codecs_encrypt(const char *encoding)
{
    struct encoding parsed;
    bool is = false;

    encoding_parse(encoding, &parsed, NULL);
    for (unsigned i = 0; i < parsed.count; i++)
        is = is || is_encrypting(parsed.tokens[i]);
    return is;
}

bool
codecs_are_s3backers(const char *list)
{
    struct encoding parsed;
    bool are = encoding_parse(list, &parsed, NULL) == 0;

    for (unsigned i = 0; i < parsed.count; i++) {
        bool is = is_encrypting(parsed.tokens[i]);

        for (size_t j = 0; j < ARRAY_LEN(s3backers); j++)
            is = is || strcasecmp(parsed.tokens[i], s3backers[j]) == 0;
        are = are && is;
    }
    return are;
}

const char *
codecs_plugin(const char *token)
{
    static const struct {
        const char *token, *plugin;
    } ours[] = {
        { "deflate", "codec-deflate" },
        { "zstd", "codec-zstd" },
        { "xaes-256-gcm", "crypto-openssl" },
        { "xchacha20-poly1305", "crypto-sodium" },
    };

    for (size_t i = 0; i < ARRAY_LEN(ours); i++) {
        if (strcasecmp(token, ours[i].token) == 0)
            return ours[i].plugin;
    }
    return is_encrypting(token) ? "crypto-openssl" : NULL;
}

static bool
is_number(const char *text)
{
    const char *digits = text[0] == '-' ? text + 1 : text;

    return digits[0] != '\0' && digits[strspn(digits, "0123456789")] == '\0';
}

/* --compress, --compress=9, --compress=zstd; 0 is s3backer's word for none.  Also implied by --encrypt. */
static int
choose_compressor(const char *compress, struct encoding *list, char *level, struct error *why)
{
    const char *token = COMPRESSOR;

    if (compress != NULL && is_number(compress)) {
        if (atoi(compress) == 0)
            return 0;
        if (atoi(compress) > 0) /* -1 is zlib's word for the usual one */
            snprintf(level, BD_TOKEN_BYTES_MAX + 1, "%s", compress);
    } else if (compress != NULL && compress[0] != '\0') {
        token = compress;
    }
    if (strlen(token) > BD_TOKEN_BYTES_MAX || strchr(token, ',') != NULL)
        return error_set(why, -EINVAL, "--compress=%s is neither a level nor one codec", compress);
    encoding_add(list, token);
    return 0;
}

static int
choose_cipher(const char *cipher, struct encoding *list, struct error *why)
{
    char token[BD_TOKEN_BYTES_MAX + 1] = CODECS_ENCRYPTS;
    size_t len = sizeof CODECS_ENCRYPTS - 1;

    if (cipher[0] == '\0')
        cipher = CIPHER;
    if (len + strlen(cipher) > BD_TOKEN_BYTES_MAX || strpbrk(cipher, ", \t") != NULL)
        return error_set(why, -EINVAL, "--encrypt=%s is not the name of one cipher", cipher);
    for (; *cipher != '\0'; cipher++)
        token[len++] = (char)toupper((unsigned char)*cipher);
    token[len] = '\0';
    encoding_add(list, token);
    return 0;
}

/* What is stored goes on: its cipher, compressed as that block was, or as s3backer does. */
static int
continue_stored(const char *stored, struct encoding *list, struct error *why)
{
    struct encoding found;
    int rc = encoding_parse(stored, &found, why);

    if (rc != 0)
        return rc;
    if (found.count == 1 && is_encrypting(found.tokens[0]))
        encoding_add(list, COMPRESSOR);
    for (unsigned i = 0; i < found.count && list->count < ENCODING_LAYERS_MAX; i++)
        encoding_add(list, found.tokens[i]);
    return 0;
}

int
codecs_choose(const struct codecs_wish *wish, char list[ENCODING_JOINED_BYTES],
              char level[BD_TOKEN_BYTES_MAX + 1], struct error *why)
{
    struct encoding chosen = { 0 };
    int rc = 0;

    level[0] = '\0';
    if (wish->codec != NULL && (wish->compress != NULL || wish->encrypt != NULL))
        return error_set(why, -EINVAL, "--codec and --%s say the same thing; leave one out",
                         wish->compress != NULL ? "compress" : "encrypt");
    if (wish->codec != NULL)
        rc = encoding_parse(wish->codec, &chosen, why);
    else if (wish->compress != NULL || wish->encrypt != NULL) {
        rc = choose_compressor(wish->compress, &chosen, level, why);
        if (rc == 0 && wish->encrypt != NULL)
            rc = choose_cipher(wish->encrypt, &chosen, why);
    } else if (wish->is_new_format_2) {
        rc = encoding_parse(wish->has_password ? FORMAT_2_SEALED : FORMAT_2_OPEN, &chosen, why);
    } else if (wish->stored != NULL) {
        rc = continue_stored(wish->stored, &chosen, why);
    }
    return rc != 0 ? rc : encoding_join(&chosen, chosen.count, list, ENCODING_JOINED_BYTES);
}
