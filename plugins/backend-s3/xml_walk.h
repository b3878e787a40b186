/* SPDX-License-Identifier: Apache-2.0 */
/* Walk an XML document that cannot be trusted, element by element.
 *
 * expat finds what is not well formed.  Beyond that are refused: a document type (so no entity
 * is ever declared, and nothing expands), nesting deeper than XML_DEPTH_MAX.  Memory is bounded
 * by the document.
 * Pure: any thread. */
#ifndef S3_XML_WALK_H
#define S3_XML_WALK_H

#include <stdbool.h>
#include <stddef.h>

#define XML_DEPTH_MAX 16
/* Longest text of an element, without the NUL: a name of 1024 bytes, percent-encoded. */
#define XML_TEXT_BYTES_MAX 3072

/* `path` names the elements from the root on, without namespace prefixes:
 * "/ListBucketResult/Contents/Key".  An element with a name that no document of S3 has (over 63
 * bytes) is "?". */
struct xml_walk {
    /* Each returns false to stop: then, too, xml_walk returns false, with `why` as it is. */
    bool (*open)(void *arg, const char *path);
    /* `text` is NULL if the element has elements in it; `is_cut` if it was longer than
     * XML_TEXT_BYTES_MAX. */
    bool (*close)(void *arg, const char *path, const char *text, bool is_cut);
    void *arg;
};

/* True if the whole document was walked.  False with a reason in `why`, unless a callback
 * stopped it. */
bool xml_walk(const void *xml, size_t bytes, const struct xml_walk *walk, char *why,
              size_t why_bytes);

#endif
