/* SPDX-License-Identifier: Apache-2.0 */
/* Secrets in text that comes from elsewhere. */
#include "mask.h"

#include <string.h>
#include <strings.h>

#define COMMON_BYTES 12u /* less is found by chance */

/* The ID in `authorization` is no secret, but a signature is good for fifteen minutes. */
static const char *const secret_lines[] = {
    "authorization:", "proxy-authorization:", "x-amz-security-token:",
    "cookie:",        "set-cookie:",          "x-aws-ec2-metadata-token:",
};

void
mask_line(char *line)
{
    for (size_t i = 0; i < sizeof secret_lines / sizeof secret_lines[0]; i++) {
        size_t bytes = strlen(secret_lines[i]);

        if (strncasecmp(line, secret_lines[i], bytes) == 0)
            strcpy(line + bytes, strlen(line) >= bytes + 4 ? " ***" : "");
    }
}

void
mask_secret(char *text, const char *secret)
{
    size_t bytes = strlen(text), secret_bytes = secret != NULL ? strlen(secret) : 0;
    size_t at = 0;

    while (secret_bytes >= COMMON_BYTES && at + COMMON_BYTES <= bytes) {
        const char *found = memmem(secret, secret_bytes, text + at, COMMON_BYTES);
        size_t common = 0;

        if (found == NULL) {
            at++;
            continue;
        }
        while (text[at + common] != '\0' && text[at + common] == found[common])
            common++;
        memset(text + at, '*', common);
        at += common;
    }
}

void
mask_sent(char *text, const struct headers *sent)
{
    const char *authorization = headers_get(sent, "authorization");
    const char *signature = NULL;

    if (authorization != NULL)
        signature = strrchr(authorization, strncmp(authorization, "AWS ", 4) == 0 ? ':' : '=');
    mask_secret(text, signature != NULL ? signature + 1 : NULL);
    mask_secret(text, headers_get(sent, "x-amz-security-token"));
}

void
mask_urls(char *text)
{
    while ((text = strstr(text, "://")) != NULL) {
        size_t bytes = strcspn(text + 3, "/?# '\"");
        char *at = memrchr(text + 3, '@', bytes);

        text += 3;
        if (at != NULL)
            memset(text, '*', (size_t)(at - text));
    }
}
