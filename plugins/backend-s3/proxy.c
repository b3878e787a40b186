/* SPDX-License-Identifier: Apache-2.0 */
/* Proxies of the environment. */
#include "proxy.h"

#include "mask.h"

#include <stdlib.h>
#include <string.h>

static const char *const names[] = { "http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy",
                                     "ALL_PROXY" };
#define NAMES_COUNT (sizeof names / sizeof names[0])

bool
proxy_is_set(void)
{
    for (size_t i = 0; i < NAMES_COUNT; i++) {
        if (getenv(names[i]) != NULL)
            return true;
    }
    return false;
}

/* From `begin` to `end` of the value are the user and the password. */
static void
mask_value(char *text, const char *value, size_t begin, size_t end)
{
    for (char *at = text; *at != '\0'; at++) {
        size_t common = 0;

        while (at[common] != '\0' && common < end && at[common] == value[common])
            common++;
        /* A text that ends as a value begins is one that was cut off, if it is in quotes. */
        if (common == end || (at[common] == '\0' && common > begin && at > text && at[-1] == '\''))
            memset(at + begin, '*', common - begin);
    }
}

void
proxy_mask(char *text)
{
    for (size_t i = 0; i < NAMES_COUNT; i++) {
        const char *value = getenv(names[i]);
        const char *at = value != NULL ? strrchr(value, '@') : NULL;
        const char *scheme = at != NULL ? strstr(value, "://") : NULL;

        if (at != NULL)
            mask_value(text, value,
                       scheme != NULL && scheme < at ? (size_t)(scheme + 3 - value) : 0,
                       (size_t)(at - value));
    }
    /* Last: of a value of which a part were stars, the rest would not be found. */
    mask_urls(text);
}
