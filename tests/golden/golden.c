/* SPDX-License-Identifier: Apache-2.0 */
/* Golden objects: bodies as some release wrote them, which every later one must read.  README.md says how a file looks.
 *
 *   golden read built=PLUGIN,… FILE…                   decodes each through core/chain.c, and compares
 *   golden write [OPTIONS] content=… block=… >FILE     encodes one, with the options of bucketdisk itself
 *
 * An object that needs a plugin that was not built is left out; read's status is 77 if all of them are. */
#include "built.h"
#include "chain.h"
#include "keyring.h"
#include "stack.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_LINE "bucketdisk golden object 1"
#define SKIPPED 77

struct golden {
    char content[32];
    uint64_t block;
    uint32_t block_bytes;
    char encoding[BD_ENCODING_BYTES_MAX + 1];
    struct attrs attrs;
    char passphrase[256], salt[256]; /* format 1 */
    bool is_format_2;                /* and then: */
    uint8_t volume_id[VOLUME_ID_BYTES];
    uint8_t volume_key[VOLUME_KEY_BYTES];
    bool has_key;
    uint16_t key_id;
    void *body;
    size_t body_bytes;
};

static _Noreturn void
fail(const char *what, const char *why)
{
    fprintf(stderr, "golden: %s: %s\n", what, why);
    exit(1);
}

/* ---- the block that an object holds, by the name of its content */

static void
plain_make(const struct golden *golden, uint8_t *out)
{
    uint64_t state = golden->block + 1;
    size_t bytes = golden->block_bytes;

    memset(out, 0, bytes);
    if (strcmp(golden->content, "text") == 0) {
        for (size_t at = 0, line = 0; at < bytes; line++) {
            char text[64];
            int len =
                snprintf(text, sizeof text, "block %" PRIu64 ", line %zu\n", golden->block, line);

            for (int i = 0; i < len && at < bytes; i++)
                out[at++] = (uint8_t)text[i];
        }
    } else if (strcmp(golden->content, "noise") == 0) {
        for (size_t at = 0; at < bytes; at++) {
            state = state * 6364136223846793005u + 1442695040888963407u;
            out[at] = (uint8_t)(state >> 56);
        }
    } else if (strcmp(golden->content, "last") == 0) {
        out[bytes - 1] = 1; /* zeros, but for the last byte */
    } else {
        fail(golden->content, "there is no such content");
    }
}

/* ---- a file */

static size_t
unhex(const char *digits, uint8_t *out, size_t room)
{
    size_t len = strlen(digits) / 2;

    if (len > room || strlen(digits) % 2 != 0)
        fail(digits, "is no hexadecimal number that fits");
    for (size_t i = 0; i < len; i++) {
        unsigned byte;

        if (sscanf(digits + 2 * i, "%2x", &byte) != 1)
            fail(digits, "is no hexadecimal number");
        out[i] = (uint8_t)byte;
    }
    return len;
}

static void
unhex_all(const char *digits, uint8_t *out, size_t bytes)
{
    if (unhex(digits, out, bytes) != bytes)
        fail(digits, "is too short");
}

static void
take_attr(struct golden *golden, char *text)
{
    char *digits = strchr(text, ' ');
    uint8_t value[BD_ATTR_VALUE_BYTES_MAX];

    if (digits == NULL)
        fail(text, "is no attribute");
    *digits++ = '\0';
    if (attrs_add(&golden->attrs, text, value, unhex(digits, value, sizeof value)) != 0)
        fail(text, "is no attribute");
}

/* One line "NAME VALUE"; false: the program does not know such a name. */
static bool
take_line(struct golden *golden, const char *name, char *value)
{
    if (strcmp(name, "content") == 0)
        snprintf(golden->content, sizeof golden->content, "%s", value);
    else if (strcmp(name, "block") == 0)
        golden->block = strtoull(value, NULL, 10);
    else if (strcmp(name, "block-bytes") == 0)
        golden->block_bytes = (uint32_t)strtoul(value, NULL, 10);
    else if (strcmp(name, "encoding") == 0)
        snprintf(golden->encoding, sizeof golden->encoding, "%s", value);
    else if (strcmp(name, "passphrase") == 0)
        snprintf(golden->passphrase, sizeof golden->passphrase, "%s", value);
    else if (strcmp(name, "salt") == 0)
        snprintf(golden->salt, sizeof golden->salt, "%s", value);
    else if (strcmp(name, "format") == 0)
        golden->is_format_2 = strcmp(value, "2") == 0;
    else if (strcmp(name, "volume-id") == 0)
        unhex_all(value, golden->volume_id, sizeof golden->volume_id);
    else if (strcmp(name, "key-id") == 0)
        golden->key_id = (uint16_t)strtoul(value, NULL, 10);
    else if (strcmp(name, "volume-key") == 0) {
        unhex_all(value, golden->volume_key, sizeof golden->volume_key);
        golden->has_key = true;
    } else if (strcmp(name, "attr") == 0)
        take_attr(golden, value);
    else if (strcmp(name, "body-bytes") == 0)
        golden->body_bytes = strtoull(value, NULL, 10);
    else
        return false;
    return true;
}

static void
golden_read(const char *path, struct golden *golden)
{
    FILE *file = fopen(path, "rb");
    char line[2048];

    memset(golden, 0, sizeof *golden);
    if (file == NULL)
        fail(path, strerror(errno));
    if (fgets(line, sizeof line, file) == NULL || strcmp(line, FIRST_LINE "\n") != 0)
        fail(path, "does not begin with \"" FIRST_LINE "\"");
    while (fgets(line, sizeof line, file) != NULL && strcmp(line, "\n") != 0) {
        char *value = strchr(line, ' ');

        line[strcspn(line, "\n")] = '\0';
        if (value == NULL)
            fail(path, "has a line without a value");
        *value++ = '\0';
        if (!take_line(golden, line, value))
            fail(path, "has a line that this program does not know");
    }
    golden->body = malloc(golden->body_bytes + 1);
    if (golden->body == NULL || golden->block_bytes == 0
        || fread(golden->body, 1, golden->body_bytes + 1, file) != golden->body_bytes)
        fail(path, "its body has another length than it says");
    fclose(file);
}

static void
print_hex(const char *name, const void *value, size_t bytes)
{
    printf("%s ", name);
    for (size_t i = 0; i < bytes; i++)
        printf("%02x", ((const uint8_t *)value)[i]);
    printf("\n");
}

static void
golden_print(const struct golden *golden)
{
    printf(FIRST_LINE "\ncontent %s\nblock %" PRIu64 "\nblock-bytes %u\nencoding %s\n",
           golden->content, golden->block, golden->block_bytes, golden->encoding);
    if (golden->passphrase[0] != '\0')
        printf("passphrase %s\nsalt %s\n", golden->passphrase, golden->salt);
    if (golden->is_format_2) {
        printf("format 2\nkey-id %u\n", golden->key_id);
        print_hex("volume-id", golden->volume_id, sizeof golden->volume_id);
        if (golden->has_key)
            print_hex("volume-key", golden->volume_key, sizeof golden->volume_key);
    }
    for (uint32_t i = 0; i < golden->attrs.count; i++) {
        char name[80];

        snprintf(name, sizeof name, "attr %s", golden->attrs.list[i].name);
        print_hex(name, golden->attrs.list[i].value, golden->attrs.list[i].value_bytes);
    }
    printf("body-bytes %zu\n\n", golden->body_bytes);
    fwrite(golden->body, 1, golden->body_bytes, stdout);
}

static void
golden_clear(struct golden *golden)
{
    attrs_clear(&golden->attrs);
    free(golden->body);
}

/* ---- through the chain */

static struct pool *pool;
static struct stats *stats;

/* A plugin's that is built; NULL: there is none. */
static const struct bd_keywrap *
keywrap_of(const struct plugins *plugins)
{
    for (unsigned i = 0; i < plugins->count; i++) {
        if (plugins->all[i].desc.keywrap_count > 0)
            return plugins->all[i].keywraps;
    }
    return NULL;
}

static struct chain *
chain_for(const struct stack *stack, const struct golden *golden, const char *write_list,
          struct keyring *keyring)
{
    struct chain_config config = {
        .plugins = &stack->plugins,
        .keyring = keyring,
        .block_bytes = golden->block_bytes,
        .write_list = write_list,
        .is_format_2 = golden->is_format_2,
        .key_id = golden->key_id,
    };
    const struct bd_keywrap *keywrap = keywrap_of(&stack->plugins);
    struct chain *chain;
    struct error why;

    if (golden->passphrase[0] != '\0'
        && keyring_set_passphrase(keyring, passphrase_text(golden->passphrase), golden->salt) != 0)
        fail("keyring", "out of memory");
    if (golden->has_key && keywrap != NULL
        && keyring_set_volume_key(keyring, keywrap, golden->volume_key) != 0)
        fail("keyring", "out of memory");
    memcpy(config.volume_id, golden->volume_id, sizeof config.volume_id);
    if (chain_open(&config, pool, stats, &why, &chain) != 0)
        fail(write_list, why.text);
    chain_set_epoch(chain, 1);
    return chain;
}

/* False: it needs what was not built. */
static bool
check(const struct stack *stack, const char *built, const char *path)
{
    struct keyring keyring = { 0 };
    struct golden golden;
    struct chain *chain;
    struct error why;
    uint8_t *plain, *out;

    golden_read(path, &golden);
    if (!built_reads(built, golden.encoding, golden.has_key)) {
        printf("%s: not read: its plugins are not all built\n", path);
        golden_clear(&golden);
        return false;
    }
    if (golden.has_key && keywrap_of(&stack->plugins) == NULL)
        fail(path, "no plugin makes keys of the volume's");
    chain = chain_for(stack, &golden, NULL, &keyring);
    plain = malloc(golden.block_bytes);
    out = malloc(golden.block_bytes);
    if (plain == NULL || out == NULL)
        fail(path, "out of memory");
    plain_make(&golden, plain);
    if (chain_decode(chain, golden.block, golden.encoding,
                     (struct bd_bytes){ golden.body, golden.body_bytes }, &golden.attrs, out, &why)
        != 0)
        fail(path, why.text);
    if (memcmp(plain, out, golden.block_bytes) != 0)
        fail(path, "decodes to another block than it holds");
    free(plain);
    free(out);
    chain_close(chain);
    keyring_clear(&keyring);
    golden_clear(&golden);
    return true;
}

static int
read_all(const struct stack *stack, const char *built, char **paths, int count)
{
    int done = 0;

    for (int i = 0; i < count; i++)
        done += check(stack, built, paths[i]);
    printf("%d of %d golden objects were read\n", done, count);
    return done > 0 ? 0 : SKIPPED;
}

static int
write_one(const struct stack *stack, char **words, int count)
{
    struct golden golden = { .block_bytes = (uint32_t)stack->settings.block_size };
    struct keyring keyring = { 0 };
    struct encoded encoded;
    struct chain *chain;
    struct error why;
    uint8_t *plain;

    for (int i = 0; i < count; i++) {
        char *value = strchr(words[i], '=');

        if (value == NULL)
            fail(words[i], "is no word NAME=VALUE");
        *value++ = '\0';
        if (!take_line(&golden, words[i], value))
            fail(words[i], "there is no such line");
    }
    if (golden.block_bytes == 0)
        fail("--block-size", "is needed");
    chain = chain_for(stack, &golden, stack->settings.codec, &keyring);
    plain = malloc(golden.block_bytes);
    if (plain == NULL)
        fail("write", "out of memory");
    plain_make(&golden, plain);
    if (chain_encode(chain, golden.block, plain, &encoded, &why) != 0)
        fail(stack->settings.codec, why.text);
    strcpy(golden.encoding, encoded.encoding);
    golden.attrs = encoded.attrs;
    golden.body = encoded.body;
    golden.body_bytes = encoded.body_bytes;
    golden_print(&golden);
    encoded_free(&encoded);
    free(plain);
    chain_close(chain);
    keyring_clear(&keyring);
    return 0;
}

int
main(int argc, char **argv)
{
    struct stack stack = { 0 };
    struct error why;
    char **words = calloc((size_t)argc + 1, sizeof *words);
    int count, rc;

    if (words == NULL || pool_new(1, &pool) != 0 || stats_new(&stats) != 0)
        fail("start", "out of memory");
    if (stack_parse(&stack, NULL, argc, argv, words, &count, &why) != 0)
        fail("options", why.text);
    if (count > 2 && strcmp(words[0], "read") == 0 && built_word(words[1]) != NULL)
        rc = read_all(&stack, built_word(words[1]), words + 2, count - 2);
    else if (count > 0 && strcmp(words[0], "write") == 0)
        rc = write_one(&stack, words + 1, count - 1);
    else
        fail("usage", "golden read built=... FILE...; golden write OPTIONS content=... block=...");
    stack_close(&stack);
    pool_free(pool);
    stats_free(stats);
    free(words);
    return rc;
}
