/* SPDX-License-Identifier: Apache-2.0 */
/* What this build must be able to read: a plugin that was built serves its tokens, or the test fails; only what
 * others would serve may be left unread. */
#ifndef TESTS_BUILT_H
#define TESTS_BUILT_H

#include "encoding.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define BUILT_KEYWRAP "argon2id"

/* `built`: the plugins' names, joined by ",".  Ends the program where nobody is known to serve the token. */
static inline bool
built_serves(const char *built, const char *token)
{
    static const struct {
        const char *token; /* with "-" at the end: all that begin so */
        const char *plugin;
    } known[] = {
        { "deflate", "codec-deflate" },       { "zstd", "codec-zstd" },
        { "aes", "crypto-openssl" },          { "encrypt-", "crypto-openssl" },
        { "xaes-256-gcm", "crypto-openssl" }, { "xchacha20-poly1305", "crypto-sodium" },
        { BUILT_KEYWRAP, "crypto-sodium" },
    };

    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        const char *plugin = known[i].plugin;
        size_t len = strlen(known[i].token);

        if (known[i].token[len - 1] == '-' ? strncasecmp(token, known[i].token, len) != 0
                                           : strcasecmp(token, known[i].token) != 0)
            continue;
        for (const char *at = built; *at != '\0'; at += strcspn(at, ",")) {
            at += *at == ',';
            if (strncmp(at, plugin, strlen(plugin)) == 0 && strcspn(at, ",") == strlen(plugin))
                return true;
        }
        return false;
    }
    fprintf(stderr, "built.h does not know which plugin serves \"%s\"\n", token);
    exit(1);
}

/* All tokens of a Content-Encoding, and of the keys if they are a volume's. */
static inline bool
built_reads(const char *built, const char *encoding_text, bool has_volume_key)
{
    struct encoding encoding;
    bool does = !has_volume_key || built_serves(built, BUILT_KEYWRAP);

    if (encoding_parse(encoding_text, &encoding, NULL) != 0) {
        fprintf(stderr, "\"%s\" is no list of tokens\n", encoding_text);
        exit(1);
    }
    for (unsigned i = 0; i < encoding.count; i++)
        does = built_serves(built, encoding.tokens[i]) && does;
    return does;
}

/* The first of the words: built=NAME,NAME; NULL: it is another. */
static inline const char *
built_word(const char *word)
{
    return strncmp(word, "built=", 6) == 0 ? word + 6 : NULL;
}

#endif
