/* SPDX-License-Identifier: Apache-2.0 */
/* What was written last and before that, for reads that are to be stale.
 *
 * Of each name that was written, the latest version and the one before are kept, until the bodies
 * are more than they may be: then whole names are forgotten, the longest unwritten first. */
#include "chaos.h"

#include <stdlib.h>
#include <string.h>

/* What a PUT stored, shared by counting: the object's latest version may be read as stale while
 * newer ones come. `child` is the finished PUT, kept because it holds the tag. */
struct version {
    unsigned references; /* under the lock of versions */
    struct bd_io *put;   /* a copy; NULL: there was no object */
    struct bd_io *child;
};

/* What is remembered of one name.  NULL: that version is not known. */
struct memory {
    struct memory *next;          /* in its bucket */
    struct memory *older, *newer; /* by last write */
    struct version *latest, *before;
    char name[];
};

static void
version_unref_locked(struct versions *versions, struct version *version)
{
    if (version == NULL || --version->references > 0)
        return;
    versions->host->child_free(version->child);
    if (version->put != NULL) {
        versions->bytes -= version->put->body_bytes;
        copy_free(version->put);
    }
    free(version);
}

/* Takes `put`.  NULL when out of memory, and then the version is simply not known. */
static struct version *
version_new(struct bd_io *put)
{
    struct version *version = calloc(1, sizeof *version);

    if (version != NULL) {
        version->references = 1;
        version->put = put;
    } else if (put != NULL) {
        copy_free(put);
    }
    return version;
}

struct version *
version_of_put(struct versions *versions, const struct bd_io *io)
{
    struct bd_io *put = copy_new(io);
    struct version *version = put != NULL ? version_new(put) : NULL;

    if (version != NULL) {
        pthread_mutex_lock(&versions->lock);
        versions->bytes += put->body_bytes;
        pthread_mutex_unlock(&versions->lock);
    }
    return version;
}

static struct memory *
memory_find_locked(struct versions *versions, const char *name)
{
    struct memory *memory = versions->buckets[hash_text(name) % BUCKETS];

    while (memory != NULL && strcmp(memory->name, name) != 0)
        memory = memory->next;
    return memory;
}

static void
memory_unlink_locked(struct versions *versions, struct memory *memory)
{
    *(memory->older == NULL ? &versions->oldest : &memory->older->newer) = memory->newer;
    *(memory->newer == NULL ? &versions->newest : &memory->newer->older) = memory->older;
}

static void
memory_append_locked(struct versions *versions, struct memory *memory)
{
    memory->newer = NULL;
    memory->older = versions->newest;
    *(versions->newest == NULL ? &versions->oldest : &versions->newest->newer) = memory;
    versions->newest = memory;
}

static void
memory_free_locked(struct versions *versions, struct memory *memory)
{
    struct memory **link = &versions->buckets[hash_text(memory->name) % BUCKETS];

    while (*link != memory)
        link = &(*link)->next;
    *link = memory->next;
    memory_unlink_locked(versions, memory);
    version_unref_locked(versions, memory->latest);
    version_unref_locked(versions, memory->before);
    free(memory);
}

void
versions_init(struct versions *versions, const struct bd_host *host, uint64_t bytes_max)
{
    versions->host = host;
    versions->bytes_max = bytes_max;
    pthread_mutex_init(&versions->lock, NULL);
}

void
versions_free(struct versions *versions)
{
    pthread_mutex_lock(&versions->lock);
    while (versions->oldest != NULL)
        memory_free_locked(versions, versions->oldest);
    pthread_mutex_unlock(&versions->lock);
    pthread_mutex_destroy(&versions->lock);
}

/* The object has a new latest version (taken; NULL: not known which). */
static void
memory_write(struct versions *versions, const char *name, struct version *version)
{
    struct memory *memory;

    pthread_mutex_lock(&versions->lock);
    memory = memory_find_locked(versions, name);
    if (memory == NULL) {
        struct memory **bucket = &versions->buckets[hash_text(name) % BUCKETS];

        memory = calloc(1, sizeof *memory + strlen(name) + 1);
        if (memory == NULL) {
            version_unref_locked(versions, version);
            goto unlock;
        }
        strcpy(memory->name, name);
        memory->next = *bucket;
        *bucket = memory;
    } else {
        memory_unlink_locked(versions, memory);
    }
    memory_append_locked(versions, memory);
    version_unref_locked(versions, memory->before);
    memory->before = memory->latest;
    memory->latest = version;
    while (versions->bytes > versions->bytes_max && versions->oldest != NULL)
        memory_free_locked(versions, versions->oldest);
unlock:
    pthread_mutex_unlock(&versions->lock);
}

bool
versions_know(struct versions *versions, const char *name)
{
    const struct memory *memory;
    bool knows;

    pthread_mutex_lock(&versions->lock);
    memory = memory_find_locked(versions, name);
    knows = memory != NULL && memory->latest != NULL;
    pthread_mutex_unlock(&versions->lock);
    return knows;
}

void
version_drop(struct versions *versions, struct version *version)
{
    pthread_mutex_lock(&versions->lock);
    version_unref_locked(versions, version);
    pthread_mutex_unlock(&versions->lock);
}

void
versions_put(struct versions *versions, const char *name, struct version *version,
             struct bd_io *child)
{
    if (version != NULL)
        version->child = child;
    else
        versions->host->child_free(child);
    memory_write(versions, name, version);
}

void
versions_delete(struct versions *versions, const char *name)
{
    memory_write(versions, name, version_new(NULL));
}

bool
versions_give(struct versions *versions, struct bd_io *io, enum bd_status *status)
{
    const struct bd_host *host = versions->host;
    const struct memory *memory;
    struct version *version = NULL;

    pthread_mutex_lock(&versions->lock);
    memory = memory_find_locked(versions, io->name);
    if (memory != NULL && memory->before != NULL) {
        version = memory->before;
        version->references++;
    }
    pthread_mutex_unlock(&versions->lock);
    if (version == NULL)
        return false;
    *status = version->put == NULL ? BD_ABSENT : BD_OK;
    if (version->put != NULL) {
        const struct bd_io *put = version->put;
        size_t left = io->offset < put->body_bytes ? put->body_bytes - io->offset : 0;

        host->child_result(version->child, io); /* the tag */
        io->object_bytes = put->body_bytes;
        io->len = left < io->cap ? left : io->cap;
        if (io->len > 0)
            memcpy(io->data, (const char *)put->body + io->offset, io->len);
        if (put->encoding != NULL)
            host->encoding_set(io, put->encoding);
        for (uint32_t i = 0; i < put->attr_count; i++)
            host->attr_add(io, put->attrs[i].name, put->attrs[i].value, put->attrs[i].value_bytes);
    }
    version_drop(versions, version);
    return true;
}
