/* SPDX-License-Identifier: Apache-2.0 */
/* Walk an XML document that cannot be trusted, element by element. */
#include "xml_walk.h"

#include <expat.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#define ELEMENT_BYTES_MAX 63

struct walker {
    XML_Parser expat;
    const struct xml_walk *walk;
    const char *refused; /* why we stopped it; NULL: we did not */
    bool is_stopped;     /* by a callback */

    unsigned depth;
    char path[XML_DEPTH_MAX * (ELEMENT_BYTES_MAX + 1) + 1];
    size_t path_bytes;

    char text[XML_TEXT_BYTES_MAX + 1]; /* of the innermost element, so far */
    size_t text_bytes;
    bool is_cut;
    bool is_leaf; /* no element was closed since the innermost one was opened */
};

static void
stop(struct walker *walker, const char *why)
{
    walker->is_stopped = true;
    walker->refused = why;
    XML_StopParser(walker->expat, XML_FALSE);
}

static void
text_clear(struct walker *walker)
{
    walker->text_bytes = 0;
    walker->is_cut = false;
}

/* expat may call some handlers once more after it was stopped, so each looks. */
static void XMLCALL
on_open(void *arg, const XML_Char *name, const XML_Char **attributes)
{
    struct walker *walker = arg;
    const char *colon = strrchr(name, ':');
    const char *local = colon == NULL ? name : colon + 1;
    size_t bytes = strlen(local);

    (void)attributes;
    if (walker->is_stopped)
        return;
    if (walker->depth == XML_DEPTH_MAX) {
        stop(walker, "nested too deeply");
        return;
    }
    if (bytes == 0 || bytes > ELEMENT_BYTES_MAX) {
        local = "?";
        bytes = 1;
    }
    walker->depth++;
    walker->path[walker->path_bytes++] = '/';
    memcpy(walker->path + walker->path_bytes, local, bytes + 1);
    walker->path_bytes += bytes;
    walker->is_leaf = true;
    text_clear(walker);
    if (!walker->walk->open(walker->walk->arg, walker->path))
        stop(walker, NULL);
}

static void XMLCALL
on_close(void *arg, const XML_Char *name)
{
    struct walker *walker = arg;
    const char *text = NULL;

    (void)name;
    if (walker->is_stopped)
        return;
    if (walker->is_leaf) {
        walker->text[walker->text_bytes] = '\0';
        text = walker->text;
    }
    if (!walker->walk->close(walker->walk->arg, walker->path, text, walker->is_cut)) {
        stop(walker, NULL);
        return;
    }
    while (walker->path[--walker->path_bytes] != '/')
        ;
    walker->path[walker->path_bytes] = '\0';
    walker->depth--;
    walker->is_leaf = false;
    text_clear(walker);
}

static void XMLCALL
on_text(void *arg, const XML_Char *text, int bytes)
{
    struct walker *walker = arg;
    size_t room = XML_TEXT_BYTES_MAX - walker->text_bytes, count = (size_t)bytes;

    if (count > room) {
        walker->is_cut = true;
        count = room;
    }
    memcpy(walker->text + walker->text_bytes, text, count);
    walker->text_bytes += count;
}

static void XMLCALL
on_doctype(void *arg, const XML_Char *name, const XML_Char *system_id, const XML_Char *public_id,
           int has_internal_subset)
{
    (void)name;
    (void)system_id;
    (void)public_id;
    (void)has_internal_subset;
    stop(arg, "has a document type");
}

bool
xml_walk(const void *xml, size_t bytes, const struct xml_walk *walk, char *why, size_t why_bytes)
{
    struct walker walker = { .walk = walk };
    bool is_whole;

    if (bytes > INT_MAX) {
        snprintf(why, why_bytes, "XML: too long");
        return false;
    }
    walker.expat = XML_ParserCreate(NULL);
    if (walker.expat == NULL) {
        snprintf(why, why_bytes, "XML: out of memory");
        return false;
    }
    XML_SetUserData(walker.expat, &walker);
    XML_SetElementHandler(walker.expat, on_open, on_close);
    XML_SetCharacterDataHandler(walker.expat, on_text);
    XML_SetStartDoctypeDeclHandler(walker.expat, on_doctype);
    is_whole = XML_Parse(walker.expat, bytes == 0 ? "" : xml, (int)bytes, 1) == XML_STATUS_OK
               && !walker.is_stopped;
    if (!is_whole && walker.refused != NULL)
        snprintf(why, why_bytes, "XML: %s", walker.refused);
    else if (!is_whole && !walker.is_stopped)
        snprintf(why, why_bytes, "XML: %s at byte %lld",
                 XML_ErrorString(XML_GetErrorCode(walker.expat)),
                 (long long)XML_GetCurrentByteIndex(walker.expat));
    XML_ParserFree(walker.expat);
    return is_whole;
}
