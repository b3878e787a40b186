/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzz the files that hold keys: lines of ID:SECRET, and the form of ~/.aws.  Whatever is
 * found lies inside the text, is not empty, and an ID that was found is found again by its
 * name, with the first secret that it has. */
#include "credentials_parts.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void
pairs(const char *text, size_t bytes)
{
    struct file_pair first, again;
    unsigned bad_line;
    char *name;

    if (!file_find(text, bytes, NULL, &first, &bad_line))
        return;
    assert(first.access_id_bytes > 0 && first.secret_bytes > 0);
    assert(first.access_id >= text && first.secret + first.secret_bytes <= text + bytes);
    assert(first.access_id + first.access_id_bytes + 1 == first.secret);
    assert(memchr(first.secret, ':', first.secret_bytes) == NULL);
    name = strndup(first.access_id, first.access_id_bytes);
    if (name == NULL)
        abort();
    assert(file_find(text, bytes, name, &again, &bad_line));
    assert(again.secret == first.secret);
    free(name);
}

static void
profiles(const uint8_t *data, size_t bytes, enum ini_kind kind)
{
    char *text = strndup((const char *)data, bytes);
    struct ini ini;

    if (text == NULL || !ini_parse(text, kind, &ini))
        abort();
    for (size_t i = 0; i < ini.count; i++) {
        const struct ini_entry *entry = &ini.entries[i];

        assert(ini_has(&ini, entry->profile));
        if (entry->key != NULL) {
            assert(entry->value != NULL && strchr(entry->value, '\n') == NULL);
            (void)ini_get(&ini, entry->profile, entry->key);
        }
    }
    ini_free(&ini);
    free(text);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    if (bytes > 4096) /* ini_get looks through all of it for each entry */
        return 0;
    pairs((const char *)data, bytes);
    profiles(data, bytes, INI_CONFIG);
    profiles(data, bytes, INI_CREDENTIALS);
    return 0;
}
