/* SPDX-License-Identifier: Apache-2.0 */
/* Runs codecs for a test in another language: one request a line, one answer a line.
 *
 *     encode|decode plugin=NAME token=TOKEN data=HEX [cap=N] [block=N] [associated=HEX] [attr=NAME:HEX]
 *         [key=HEX] [password=HEX] [salt=HEX] [random=HEX] [key-length=N]
 *     ok HEX [NAME:HEX]
 *     error STATUS SENTENCE
 *
 * A key has 64 bytes, as the host's longest; `cap` is the room that decode has.  Every request opens the codec anew. */
#include "fake_codec.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct bytes {
    unsigned char *data; /* NULL: not given */
    size_t len;
};

struct request {
    const char *plugin, *token, *key_length, *attr;
    uint64_t block;
    size_t cap;
    struct bytes data, associated, key, password, salt, random;
};

static void
die(const char *what)
{
    fprintf(stderr, "codec_run: %s\n", what);
    exit(2);
}

/* With a NUL behind. */
static struct bytes
unhex(const char *digits)
{
    struct bytes bytes = { .len = strlen(digits) / 2 };

    bytes.data = calloc(1, bytes.len + 1);
    if (bytes.data == NULL)
        die("out of memory");
    fake_unhex(digits, bytes.data, bytes.len);
    return bytes;
}

static void
print_hex(const void *data, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        printf("%02x", ((const unsigned char *)data)[i]);
}

static void
read_word(struct request *request, char *word)
{
    const struct {
        const char *name;
        const char **text;
        struct bytes *bytes;
    } known[] = {
        { "plugin", &request->plugin, NULL },
        { "token", &request->token, NULL },
        { "key-length", &request->key_length, NULL },
        { "attr", &request->attr, NULL },
        { "data", NULL, &request->data },
        { "associated", NULL, &request->associated },
        { "key", NULL, &request->key },
        { "password", NULL, &request->password },
        { "salt", NULL, &request->salt },
        { "random", NULL, &request->random },
    };
    char *value = strchr(word, '=');

    if (value == NULL)
        die(word);
    *value++ = '\0';
    if (strcmp(word, "block") == 0) {
        request->block = strtoull(value, NULL, 10);
        return;
    }
    if (strcmp(word, "cap") == 0) {
        request->cap = strtoull(value, NULL, 10);
        return;
    }
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (strcmp(word, known[i].name) != 0)
            continue;
        if (known[i].text != NULL)
            *known[i].text = value;
        else
            *known[i].bytes = unhex(value);
        return;
    }
    die(word);
}

static void
print_answer(const struct fake_coded *coded)
{
    if (coded->status != BD_OK) {
        printf("error %d %s\n", (int)coded->status, coded->why.text);
        return;
    }
    printf("ok ");
    print_hex(coded->data, coded->len);
    for (uint32_t i = 0; i < coded->attrs.count; i++) {
        printf(" %s:", coded->attrs.list[i].name);
        print_hex(coded->attrs.list[i].value, coded->attrs.list[i].value_bytes);
    }
    printf("\n");
}

static struct fake_coded
run(struct fake_codec *codec, const struct request *request, bool is_encoding)
{
    struct fake_place place = { request->block,
                                { request->associated.data, request->associated.len } };
    struct bd_bytes data = { request->data.data, request->data.len };
    struct attrs attrs = { 0 };
    struct fake_coded coded;
    struct bytes value;
    char *name;

    if (is_encoding)
        return fake_encode_in(codec, NULL, place, data, 0);
    if (request->attr != NULL) {
        name = strdup(request->attr);
        if (name == NULL || strchr(name, ':') == NULL)
            die("an attribute is NAME:HEX");
        value = unhex(strchr(name, ':') + 1);
        *strchr(name, ':') = '\0';
        if (attrs_add(&attrs, name, value.data, value.len) != 0)
            die("a bad attribute");
        free(value.data);
        free(name);
    }
    coded = fake_decode_in(codec, NULL, place, data, &attrs, request->cap);
    attrs_clear(&attrs);
    return coded;
}

static void
serve(char *line)
{
    struct request request = { 0 };
    char *rest, *op = strtok_r(line, " \n", &rest), *word;
    struct fake_codec codec;
    struct fake_coded coded;
    enum bd_status status;

    if (op == NULL)
        die("an empty line");
    while ((word = strtok_r(NULL, " \n", &rest)) != NULL)
        read_word(&request, word);
    if (request.plugin == NULL || request.token == NULL || request.data.data == NULL)
        die("a request needs plugin, token and data");
    fake_codec_init(&codec, request.plugin, request.token);
    if (request.key.data != NULL && request.key.len != 64)
        die("a key has 64 bytes");
    codec.host.key = request.key.data;
    codec.host.passphrase = (const char *)request.password.data;
    codec.host.salt = (const char *)request.salt.data;
    codec.host.random = request.random.data;
    if (request.key_length != NULL)
        fake_codec_option(&codec, request.plugin, "key-length", request.key_length);
    status = fake_codec_try(&codec, request.token);
    if (status != BD_OK) {
        printf("error %d %s\n", (int)status, codec.host.error);
    } else {
        coded = run(&codec, &request, strcmp(op, "encode") == 0);
        print_answer(&coded);
        fake_coded_clear(&coded);
    }
    fflush(stdout);
    fake_codec_free(&codec);
    free(request.data.data);
    free(request.associated.data);
    free(request.key.data);
    free(request.password.data);
    free(request.salt.data);
    free(request.random.data);
}

int
main(void)
{
    char *line = NULL;
    size_t room = 0;

    while (getline(&line, &room, stdin) > 0)
        serve(line);
    free(line);
    return 0;
}
