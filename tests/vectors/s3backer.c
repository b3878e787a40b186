/* SPDX-License-Identifier: Apache-2.0 */
/* Objects that s3backer wrote: each is read through core/chain.c as what it holds, knowing nothing but the password;
 * and, with the options of s3backer's command line, written as s3backer did.
 *
 *   vectors_s3backer PLUGIN-DIRECTORY BUILT FILE.json…
 *
 * BUILT is the list of the plugins that were built; an object that needs another is left out. */
#include "built.h"
#include "chain.h"
#include "codecs.h"
#include "keyring.h"
#include "stack.h"

#include <jansson.h>

#define BODY_BYTES_MAX ((size_t)1 << 20)
#define FLAGS_MAX 16

static _Noreturn void
fail(const char *what, const char *why)
{
    fprintf(stderr, "vectors: %s: %s\n", what, why);
    exit(1);
}

static void
expect(const char *name, const char *what, bool is_so)
{
    if (!is_so)
        fail(name, what);
}

/* ---- an object of s3backer's */

struct vector {
    const char *name; /* of its file */
    json_t *json;
    uint64_t block;
    uint32_t block_bytes;
    const char *encoding;        /* NULL: none */
    const char *tag;             /* of its encryption; NULL: none */
    const char *password, *salt; /* NULL: not encrypted */
    uint8_t *body, *plain;
    size_t body_bytes;
    struct attrs attrs;
};

/* With `kind` for "json" at the end of the name.  Gives it. */
static uint8_t *
file_read(const char *name, const char *kind, size_t *bytes)
{
    uint8_t *data = malloc(BODY_BYTES_MAX);
    char path[1024];
    FILE *file;

    snprintf(path, sizeof path, "%.*s%s", (int)(strlen(name) - strlen("json")), name, kind);
    file = fopen(path, "rb");
    if (file == NULL || data == NULL)
        fail(path, "cannot be read");
    *bytes = fread(data, 1, BODY_BYTES_MAX, file);
    fclose(file);
    return data;
}

/* Of the request's; NULL: none. */
static const char *
header(const struct vector *vector, const char *name)
{
    size_t i;
    json_t *pair;

    json_array_foreach(json_object_get(vector->json, "headers"), i, pair)
    {
        if (strcasecmp(json_string_value(json_array_get(pair, 0)), name) == 0)
            return json_string_value(json_array_get(pair, 1));
    }
    return NULL;
}

static void
vector_read(const char *name, struct vector *vector)
{
    size_t bytes;
    json_t *encryption;

    memset(vector, 0, sizeof *vector);
    vector->name = name;
    vector->json = json_load_file(name, 0, NULL);
    expect(name, "is no JSON", vector->json != NULL);
    vector->block = (uint64_t)json_integer_value(json_object_get(vector->json, "block_number"));
    vector->block_bytes = (uint32_t)json_integer_value(json_object_get(vector->json, "block_size"));
    vector->encoding = header(vector, "content-encoding");
    vector->tag = header(vector, "x-amz-meta-s3backer-hmac");
    encryption = json_object_get(vector->json, "encryption");
    vector->password = json_string_value(json_object_get(encryption, "password"));
    vector->salt = json_string_value(json_object_get(encryption, "pbkdf2_salt"));
    vector->body = file_read(name, "body", &vector->body_bytes);
    vector->plain = file_read(name, "plain", &bytes);
    expect(name, "holds no block", bytes > 0 && bytes == vector->block_bytes);
    expect(name, "has a tag, or a password, and not both",
           (vector->tag == NULL) == (vector->password == NULL));
    if (vector->tag != NULL
        && attrs_add(&vector->attrs, "s3backer-hmac", vector->tag, strlen(vector->tag)) != 0)
        fail(name, "out of memory");
}

static void
vector_clear(struct vector *vector)
{
    attrs_clear(&vector->attrs);
    free(vector->body);
    free(vector->plain);
    json_decref(vector->json);
}

/* ---- through the chain */

/* `command` are the words of s3backer's command line; NULL: none. */
static void
stack_begin(const struct vector *vector, const char *plugins, json_t *command, struct stack *stack)
{
    char *argv[FLAGS_MAX + 3] = { strdup("bucketdisk") }, *words[FLAGS_MAX + 2];
    int argc = 1, count;
    struct error why;
    size_t i;
    json_t *flag;

    expect(vector->name, "has too many flags", json_array_size(command) <= FLAGS_MAX);
    if (asprintf(&argv[argc++], "--plugin-path=%s", plugins) == -1)
        fail(vector->name, "out of memory");
    json_array_foreach(command, i, flag) argv[argc++] = strdup(json_string_value(flag));
    memset(stack, 0, sizeof *stack);
    if (pool_new(1, &stack->pool) != 0 || stats_new(&stack->stats) != 0)
        fail(vector->name, "out of memory");
    if (stack_parse(stack, NULL, argc, argv, words, &count, &why) != 0)
        fail(vector->name, why.text);
    expect(vector->name, "has a word that is no flag", count == 0);
    while (argc > 0)
        free(argv[--argc]);
    if (vector->password != NULL
        && keyring_set_passphrase(&stack->keyring, passphrase_text(vector->password), vector->salt)
               != 0)
        fail(vector->name, "out of memory");
}

static void
chain_begin(const struct vector *vector, struct stack *stack, const char *write_list)
{
    const struct chain_config config = { .plugins = &stack->plugins,
                                         .keyring = &stack->keyring,
                                         .block_bytes = vector->block_bytes,
                                         .write_list = write_list,
                                         .list_bytes_max = CHAIN_S3BACKER_LIST_BYTES_MAX };
    struct error why;

    if (chain_open(&config, stack->pool, stack->stats, &why, &stack->chain) != 0)
        fail(vector->name, why.text);
}

static void
expect_plain(const struct vector *vector, struct chain *chain, const char *encoding,
             struct bd_bytes body, const struct attrs *attrs)
{
    uint8_t *out = malloc(vector->block_bytes);
    struct error why;

    expect(vector->name, "out of memory", out != NULL);
    if (chain_decode(chain, vector->block, encoding, body, attrs, out, &why) != 0)
        fail(vector->name, why.text);
    expect(vector->name, "decodes to another block than it holds",
           memcmp(out, vector->plain, vector->block_bytes) == 0);
    free(out);
}

/* With what is stored, the block's number and the password: cipher and key length are found. */
static void
check_reading(const struct vector *vector, const char *plugins)
{
    struct stack stack;

    stack_begin(vector, plugins, NULL, &stack);
    chain_begin(vector, &stack, NULL);
    expect_plain(vector, stack.chain, vector->encoding,
                 (struct bd_bytes){ vector->body, vector->body_bytes }, &vector->attrs);
    stack_close(&stack);
}

/* The chain that --compress, --compress-level and --encrypt mean. */
static void
choose_chain(const struct vector *vector, struct stack *stack, char list[ENCODING_JOINED_BYTES])
{
    const struct codecs_wish wish = { .compress = stack->settings.compress,
                                      .encrypt = stack->settings.encrypt };
    char level[BD_TOKEN_BYTES_MAX + 1], option[80];
    const char *chosen = stack->settings.compress_level;
    struct error why;

    if (codecs_choose(&wish, list, level, &why) != 0)
        fail(vector->name, why.text);
    if (chosen == NULL)
        chosen = level;
    snprintf(option, sizeof option, "%.*s-level", (int)strcspn(list, ","), list);
    if (chosen[0] != '\0' && options_set(stack->options, option, chosen, &why) != 0)
        fail(vector->name, why.text);
}

/* s3backer stores what it compressed even if that has grown, as it does for noise; here the token is left out, then. */
static bool
is_grown(const struct vector *vector)
{
    return vector->encoding != NULL && vector->body_bytes > vector->block_bytes;
}

static void
compare(const struct vector *vector, const struct encoded *encoded)
{
    const char *encoding = vector->encoding != NULL ? vector->encoding : "";
    const struct bd_attr *tag = attrs_find(&encoded->attrs, "s3backer-hmac");

    expect(vector->name, "gets another tag, or no tag",
           (tag != NULL) == (vector->tag != NULL)
               && (tag == NULL || is_grown(vector) || strstr(encoding, "zstd") != NULL
                   || (tag->value_bytes == strlen(vector->tag)
                       && memcmp(tag->value, vector->tag, tag->value_bytes) == 0)));
    if (is_grown(vector)) {
        encoding += strcspn(encoding, " ");
        encoding += *encoding == ' ';
    }
    expect(vector->name, "gets another token list", strcmp(encoded->encoding, encoding) == 0);
    /* The bytes of zstd are those of one version of its library. */
    if (!is_grown(vector) && strstr(encoding, "zstd") == NULL)
        expect(vector->name, "is written with other bytes",
               encoded->body_bytes == vector->body_bytes
                   && memcmp(encoded->body, vector->body, vector->body_bytes) == 0);
}

static void
check_writing(const struct vector *vector, const char *plugins)
{
    char list[ENCODING_JOINED_BYTES];
    struct encoded encoded;
    struct stack stack;
    struct error why;

    stack_begin(vector, plugins, json_object_get(vector->json, "flags"), &stack);
    choose_chain(vector, &stack, list);
    chain_begin(vector, &stack, list);
    if (chain_encode(stack.chain, vector->block, vector->plain, &encoded, &why) != 0)
        fail(vector->name, why.text);
    compare(vector, &encoded);
    expect_plain(vector, stack.chain, encoded.encoding,
                 (struct bd_bytes){ encoded.body, encoded.body_bytes }, &encoded.attrs);
    encoded_free(&encoded);
    stack_close(&stack);
}

int
main(int argc, char **argv)
{
    int done = 0;

    if (argc < 4)
        fail("usage", "PLUGIN-DIRECTORY BUILT FILE.json...");
    for (int i = 3; i < argc; i++) {
        struct vector vector;

        vector_read(argv[i], &vector);
        if (built_reads(argv[2], vector.encoding != NULL ? vector.encoding : "", false)) {
            check_reading(&vector, argv[1]);
            check_writing(&vector, argv[1]);
            done++;
        } else {
            printf("%s: left out: its plugins are not all built\n", argv[i]);
        }
        vector_clear(&vector);
    }
    printf("%d of %d objects of s3backer's were read and written\n", done, argc - 3);
    return 0;
}
