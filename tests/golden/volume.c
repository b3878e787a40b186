/* SPDX-License-Identifier: Apache-2.0 */
/* Golden descriptions of volumes: the object bucketdisk-volume as some release wrote it, which every later one must
 * open.  README.md says what they hold.
 *
 *   golden_volume read built=PLUGIN,… FILE…   opens each with its password, and compares
 *   golden_volume write [OPTIONS] >FILE       makes one, with the options of bucketdisk itself
 *
 * A description is left out if the plugin that unwraps its key was not built; read's status is 77 if all of them are. */
#include "built.h"
#include "keyslots.h"
#include "manifest.h"
#include "stack.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SKIPPED 77
#define PASSPHRASE "golden passphrase"
#define LABEL "slot seven"
#define SLOT 7

static const uint8_t volume_id[VOLUME_ID_BYTES] = {
    0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff
};

static _Noreturn void
fail(const char *what, const char *why)
{
    fprintf(stderr, "golden_volume: %s: %s\n", what, why);
    exit(1);
}

static void
expect(const char *path, const char *what, bool is_so)
{
    if (!is_so)
        fail(path, what);
}

static void
key_make(uint8_t key[VOLUME_KEY_BYTES])
{
    for (unsigned i = 0; i < VOLUME_KEY_BYTES; i++)
        key[i] = (uint8_t)i;
}

/* ---- reading */

static void
manifest_read(const char *path, struct manifest *manifest)
{
    static char text[MANIFEST_BYTES_MAX];
    FILE *file = fopen(path, "rb");
    struct error why;
    size_t bytes;

    if (file == NULL)
        fail(path, strerror(errno));
    bytes = fread(text, 1, sizeof text, file);
    fclose(file);
    if (manifest_parse(text, bytes, manifest, &why) != 0)
        fail(path, why.text);
}

static void
check_key(const struct stack *stack, const char *path, const struct manifest *manifest)
{
    struct keyring keyring = { 0 }, none = { 0 };
    uint8_t key[VOLUME_KEY_BYTES];
    struct error why = { "" };
    unsigned slot;
    int rc = keyslots_open(manifest, &stack->plugins, passphrase_text(PASSPHRASE), &keyring, &slot,
                           &why);

    if (rc == 0)
        rc = manifest_verify(manifest, &keyring, &why);
    if (rc != 0)
        fail(path, why.text);
    key_make(key);
    expect(path, "the volume key is another", memcmp(keyring.volume_key, key, sizeof key) == 0);
    expect(path, "another slot opens", slot == SLOT);
    expect(path, "the label is another", strcmp(manifest->slots[SLOT].label, LABEL) == 0);
    expect(path, "a wrong password opens it",
           keyslots_open(manifest, &stack->plugins, passphrase_text("golden passphrases"), &none,
                         &slot, &why)
               == -EKEYREJECTED);
    keyring_clear(&keyring);
}

/* False: it needs what was not built. */
static bool
check(const struct stack *stack, const char *built, const char *path)
{
    struct manifest manifest;
    bool is_encrypted, is_read;

    manifest_read(path, &manifest);
    expect(path, "the id is another", memcmp(manifest.id, volume_id, sizeof volume_id) == 0);
    expect(path, "the sizes are others",
           manifest.disk_bytes == 1 << 30 && manifest.block_bytes == 4096);
    expect(path, "the epoch is another", manifest.epoch == 42);
    expect(path, "names are hashed", manifest.is_hashed);
    is_encrypted = manifest_is_encrypted(&manifest);
    is_read = !is_encrypted || built_serves(built, manifest.wrap);
    if (is_encrypted && is_read)
        check_key(stack, path, &manifest);
    manifest_clear(&manifest);
    return is_read;
}

static int
read_all(const struct stack *stack, const char *built, char **paths, int count)
{
    int done = 0;

    for (int i = 0; i < count; i++)
        done += check(stack, built, paths[i]);
    printf("%d of %d golden descriptions were opened\n", done, count);
    return done > 0 ? 0 : SKIPPED;
}

/* ---- writing: encrypted if --codec is */

static void
write_one(const struct stack *stack)
{
    struct manifest manifest = { .disk_bytes = 1 << 30,
                                 .block_bytes = 4096,
                                 .is_hashed = true,
                                 .epoch = 42,
                                 .wrap = "argon2id" };
    struct keyring keyring = { 0 };
    const struct plugin *owner;
    const struct bd_keywrap *keywrap = plugins_keywrap(&stack->plugins, manifest.wrap, &owner);
    const char *outermost = strrchr(stack->settings.codec, ',');
    uint8_t key[VOLUME_KEY_BYTES];
    struct error why;
    char *text;

    key_make(key);
    memcpy(manifest.id, volume_id, sizeof volume_id);
    snprintf(manifest.codec, sizeof manifest.codec, "%s", stack->settings.codec);
    if (outermost != NULL) {
        encoding_parse(outermost, &manifest.accepts, NULL);
        manifest.key_id = 1;
        if (keywrap == NULL || keyring_set_volume_key(&keyring, keywrap, key) != 0
            || keyslots_add(&manifest, &stack->plugins, &keyring, 0,
                            passphrase_text("another passphrase"), "", &why)
                   != 0
            || keyslots_add(&manifest, &stack->plugins, &keyring, SLOT, passphrase_text(PASSPHRASE),
                            LABEL, &why)
                   != 0
            || manifest_seal(&manifest, &keyring, &why) != 0)
            fail("write", "the key cannot be wrapped");
    }
    text = manifest_print(&manifest);
    if (text == NULL)
        fail("write", "it cannot be printed");
    printf("%s", text);
    free(text);
    keyring_clear(&keyring);
    manifest_clear(&manifest);
}

int
main(int argc, char **argv)
{
    struct stack stack = { 0 };
    struct error why;
    char **words = calloc((size_t)argc + 1, sizeof *words);
    int count, rc = 0;

    if (words == NULL)
        fail("start", "out of memory");
    if (stack_parse(&stack, NULL, argc, argv, words, &count, &why) != 0)
        fail("options", why.text);
    if (count > 2 && strcmp(words[0], "read") == 0 && built_word(words[1]) != NULL)
        rc = read_all(&stack, built_word(words[1]), words + 2, count - 2);
    else if (count == 1 && strcmp(words[0], "write") == 0)
        write_one(&stack);
    else
        fail("usage", "golden_volume read built=... FILE...; golden_volume write --codec=...");
    stack_close(&stack);
    free(words);
    return rc;
}
