/* SPDX-License-Identifier: Apache-2.0 */
/* Keys in XML, as a token service gives them.
 *
 * Not with xml_walk: the memory of this parser is wiped, and a session token has no bound
 * but the answer's. */
#include "credentials_parts.h"

#include <expat.h>
#include <openssl/crypto.h>

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum field { FIELD_ID, FIELD_SECRET, FIELD_TOKEN, FIELD_EXPIRATION, FIELDS };

static const char *const field_names[FIELDS] = {
    [FIELD_ID] = "AccessKeyId",
    [FIELD_SECRET] = "SecretAccessKey",
    [FIELD_TOKEN] = "SessionToken",
    [FIELD_EXPIRATION] = "Expiration",
};

struct answer {
    XML_Parser parser;
    struct secret texts[FIELDS];
    unsigned depth;
    unsigned within;       /* depth of <Credentials>, or 0 */
    struct secret *filled; /* the field whose text comes, or NULL */
    bool is_refused;
};

static void
answer_refuse(struct answer *answer)
{
    answer->is_refused = true;
    XML_StopParser(answer->parser, XML_FALSE);
}

static void XMLCALL
element_start(void *arg, const XML_Char *name, const XML_Char **attrs)
{
    struct answer *answer = arg;
    const char *colon = strrchr(name, ':'), *local = colon == NULL ? name : colon + 1;

    (void)attrs;
    answer->depth++;
    answer->filled = NULL;
    if (answer->within == 0 && strcmp(local, "Credentials") == 0)
        answer->within = answer->depth;
    if (answer->within == 0 || answer->depth != answer->within + 1)
        return;
    for (unsigned i = 0; i < FIELDS; i++) {
        if (strcmp(local, field_names[i]) != 0)
            continue;
        if (answer->texts[i].text != NULL) /* twice: which is it? */
            answer_refuse(answer);
        else if (!secret_reserve(&answer->texts[i], 0))
            answer_refuse(answer);
        else
            answer->filled = &answer->texts[i];
    }
}

static void XMLCALL
element_end(void *arg, const XML_Char *name)
{
    struct answer *answer = arg;

    (void)name;
    answer->filled = NULL;
    if (answer->depth == answer->within)
        answer->within = 0;
    answer->depth--;
}

static void XMLCALL
element_text(void *arg, const XML_Char *text, int bytes)
{
    struct answer *answer = arg;

    if (answer->filled != NULL && !secret_append(answer->filled, text, (size_t)bytes))
        answer_refuse(answer);
}

/* A document type can declare entities, of which no answer of STS has any. */
static void XMLCALL
doctype_start(void *arg, const XML_Char *name, const XML_Char *system_id, const XML_Char *public_id,
              int has_internal)
{
    (void)name, (void)system_id, (void)public_id, (void)has_internal;
    answer_refuse(arg);
}

/* Memory for expat that is wiped, as it holds the keys. */
union block {
    size_t bytes;
    max_align_t align;
};

static void *
wiped_malloc(size_t bytes)
{
    union block *block = bytes > SIZE_MAX - sizeof *block ? NULL : malloc(sizeof *block + bytes);

    if (block == NULL)
        return NULL;
    block->bytes = bytes;
    return block + 1;
}

static void
wiped_free(void *memory)
{
    union block *block = memory;

    if (block == NULL)
        return;
    block--;
    OPENSSL_cleanse(block, sizeof *block + block->bytes);
    free(block);
}

static void *
wiped_realloc(void *memory, size_t bytes)
{
    void *moved = wiped_malloc(bytes);

    if (memory != NULL && moved != NULL) {
        size_t old = ((union block *)memory - 1)->bytes;

        memcpy(moved, memory, old < bytes ? old : bytes);
        wiped_free(memory);
    }
    return moved;
}

bool
xml_parse_keys(const void *xml, size_t bytes, struct keys *keys, char *why, size_t why_bytes)
{
    static const XML_Memory_Handling_Suite memory = { wiped_malloc, wiped_realloc, wiped_free };
    struct answer answer = { .parser = XML_ParserCreate_MM(NULL, &memory, NULL) };
    const char *fault = "not the XML of a token service";
    time_t expires = 0;

    *keys = (struct keys){ 0 };
    if (answer.parser == NULL) {
        snprintf(why, why_bytes, "out of memory");
        return false;
    }
    XML_SetUserData(answer.parser, &answer);
    XML_SetElementHandler(answer.parser, element_start, element_end);
    XML_SetCharacterDataHandler(answer.parser, element_text);
    XML_SetStartDoctypeDeclHandler(answer.parser, doctype_start);
    if (bytes <= INT32_MAX
        && XML_Parse(answer.parser, xml == NULL ? "" : xml, (int)bytes, XML_TRUE) == XML_STATUS_OK
        && !answer.is_refused) {
        if (!date_parse(secret_trim(&answer.texts[FIELD_EXPIRATION]), &expires))
            fault = "its Expiration is not a date";
        else
            fault = keys_set(keys, secret_trim(&answer.texts[FIELD_ID]),
                             secret_trim(&answer.texts[FIELD_SECRET]),
                             secret_trim(&answer.texts[FIELD_TOKEN]), expires);
    }
    XML_ParserFree(answer.parser);
    for (unsigned i = 0; i < FIELDS; i++)
        secret_clear(&answer.texts[i]);
    if (fault != NULL)
        snprintf(why, why_bytes, "%s", fault);
    return fault == NULL;
}
