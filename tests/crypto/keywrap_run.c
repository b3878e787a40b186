/* SPDX-License-Identifier: Apache-2.0 */
/* Runs key wraps for a test in another language, as codec_run.c does codecs.
 *
 *     wrap   plugin=NAME name=NAME passphrase=HEX key=HEX OPTION=N…
 *     unwrap plugin=NAME name=NAME passphrase=HEX blob=HEX OPTION=N…
 *     subkey plugin=NAME name=NAME key=HEX purpose=HEX bytes=N
 *     ok HEX
 *     error STATUS SENTENCE
 *
 * OPTION is one of the plugin's, by its own name; those that are not given are 0. */
#include "host.h"
#include "module.h"

#define OUT_BYTES 4096u

static char sentence[512];

static void keep_error(const struct bd_host *table, enum bd_log_level level, const char *format,
                       ...) BD_PRINTF(3, 4);

static void
keep_error(const struct bd_host *table, enum bd_log_level level, const char *format, ...)
{
    va_list args;

    (void)table;
    if (level != BD_ERROR)
        return;
    va_start(args, format);
    vsnprintf(sentence, sizeof sentence, format, args);
    va_end(args);
}

static void
die(const char *what)
{
    fprintf(stderr, "keywrap_run: %s\n", what);
    exit(2);
}

/* In place of the digits, with a NUL behind. */
static struct bd_bytes
unhex(char *digits)
{
    size_t len = strlen(digits) / 2;

    for (size_t i = 0; i < len; i++) {
        unsigned byte;

        if (sscanf(digits + 2 * i, "%2x", &byte) != 1)
            die("digits that are none");
        digits[i] = (char)byte;
    }
    digits[len] = '\0';
    return (struct bd_bytes){ digits, len };
}

static const struct bd_keywrap *
find(const struct bd_plugin *plugin, const char *name)
{
    for (uint32_t i = 0; i < plugin->keywrap_count; i++) {
        const struct bd_keywrap *keywrap =
            (const struct bd_keywrap *)(const void *)((const char *)plugin->keywraps
                                                      + (size_t)i * plugin->keywrap_stride);

        if (strcmp(keywrap->name, name) == 0)
            return keywrap;
    }
    die("there is no such key wrap");
    return NULL;
}

static void
answer(enum bd_status status, const struct bd_buf *out)
{
    const unsigned char *data = out->data;

    if (status != BD_OK) {
        printf("error %d %s\n", (int)status, sentence);
    } else {
        printf("ok ");
        for (size_t i = 0; i < out->len; i++)
            printf("%02x", data[i]);
        printf("\n");
    }
    fflush(stdout);
}

static void
serve(const struct bd_host *host, char *line)
{
    const struct bd_plugin *plugin = NULL;
    const struct bd_keywrap *keywrap = NULL;
    struct bd_bytes passphrase = { NULL, 0 }, key = { NULL, 0 }, blob = { NULL, 0 };
    const char *purpose = "";
    unsigned char data[OUT_BYTES];
    struct bd_buf out = { .data = data, .cap = sizeof data };
    char *rest, *op = strtok_r(line, " \n", &rest), *word;
    void *options = NULL;
    enum bd_status status;

    while ((word = strtok_r(NULL, " \n", &rest)) != NULL) {
        char *value = strchr(word, '=');

        if (value == NULL)
            die(word);
        *value++ = '\0';
        if (strcmp(word, "plugin") == 0) {
            plugin = plugin_of(value);
            options = calloc(1, plugin->options_bytes);
        } else if (plugin == NULL || options == NULL) {
            die("the plugin comes first");
        } else if (strcmp(word, "name") == 0) {
            keywrap = find(plugin, value);
        } else if (strcmp(word, "passphrase") == 0) {
            passphrase = unhex(value);
        } else if (strcmp(word, "key") == 0) {
            key = unhex(value);
        } else if (strcmp(word, "blob") == 0) {
            blob = unhex(value);
        } else if (strcmp(word, "purpose") == 0) {
            purpose = unhex(value).data;
        } else if (strcmp(word, "bytes") == 0) {
            out.cap = strtoull(value, NULL, 10);
        } else {
            field_set(plugin, options, word, value);
        }
    }
    if (op == NULL || keywrap == NULL || out.cap > sizeof data)
        die("a request needs an operation, a plugin and a name");
    sentence[0] = '\0';
    if (strcmp(op, "wrap") == 0)
        status = keywrap->wrap(host, options, passphrase, key, &out);
    else if (strcmp(op, "unwrap") == 0)
        status = keywrap->unwrap(host, options, passphrase, blob, &out);
    else
        status = keywrap->subkey(key, purpose, &out);
    answer(status, &out);
    free(options);
}

int
main(void)
{
    struct host *core;
    struct bd_host host;
    char *line = NULL;
    size_t room = 0;

    if (host_new("keywrap-test", NULL, NULL, &core) != 0)
        die("out of memory");
    host = *host_table(core);
    host.log = keep_error;
    while (getline(&line, &room, stdin) > 0)
        serve(&host, line);
    free(line);
    host_free(core);
    return 0;
}
