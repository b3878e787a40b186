/* SPDX-License-Identifier: Apache-2.0 */
/* The spill file.
 *
 *   DIRECTORY/NAME.spill     a cache file; its note is the token, once all is in it
 *   DIRECTORY/NAME.zeros     a line for each range: first block, number of blocks; then a sum of these.  Empty: none, or no
 *                            more, for they have been zeroed
 *
 * Zeros come first, since blocks that were written before a range was zeroed are not in the cache any more. */
#include "spill.h"

#include "base/human.h"
#include "base/log.h"
#include "cache.h"
#include "wait.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#define SUM_FORMAT "sum %016" PRIx64 "\n"
#define SUM_SCAN "sum %16" SCNx64
#define ZEROS_BYTES_MAX (1 << 20)

struct spill {
    char *path, *zeros_path;
    struct cachefile *file;
    uint32_t tokens[2];
};

/* ---- where */

static int
usual_directory(char **out)
{
    const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");

    if (geteuid() == 0)
        return asprintf(out, "/var/lib/bucketdisk");
    if (state != NULL && state[0] == '/')
        return asprintf(out, "%s/bucketdisk", state);
    return asprintf(out, "%s/.local/state/bucketdisk", home != NULL ? home : "");
}

static struct spill *
spill_new(const struct spill_config *config)
{
    struct spill *spill = calloc(1, sizeof *spill);
    char *directory = NULL;

    if (spill == NULL)
        return NULL;
    if ((config->directory != NULL ? asprintf(&directory, "%s", config->directory)
                                   : usual_directory(&directory))
        == -1)
        directory = NULL;
    if (directory == NULL || asprintf(&spill->path, "%s/%s.spill", directory, config->name) == -1)
        spill->path = NULL;
    if (spill->path == NULL
        || asprintf(&spill->zeros_path, "%s/%s.zeros", directory, config->name) == -1)
        spill->zeros_path = NULL;
    free(directory);
    if (spill->zeros_path == NULL) {
        spill_close(spill);
        return NULL;
    }
    return spill;
}

char *
spill_place(const struct spill_config *config)
{
    struct spill *spill = spill_new(config);
    char *path = spill != NULL ? spill->path : NULL;

    if (spill != NULL)
        spill->path = NULL;
    spill_close(spill);
    return path;
}

/* What is not there yet is made in what is. */
int
spill_check(const struct spill_config *config, struct error *why)
{
    char *path = spill_place(config), *slash;
    struct stat info;
    int rc = 0;

    if (path == NULL)
        return error_set(why, -ENOMEM, "out of memory");
    do {
        slash = strrchr(path, '/');
        slash[slash == path] = '\0';
    } while (stat(path, &info) != 0 && (errno == ENOENT || errno == ENOTDIR) && slash != path);
    if (stat(path, &info) != 0)
        rc = -errno;
    else if (!S_ISDIR(info.st_mode))
        rc = -ENOTDIR;
    else if (faccessat(AT_FDCWD, path, W_OK | X_OK, AT_EACCESS) != 0)
        rc = -errno;
    if (rc != 0)
        error_set(why, rc, "spill files cannot be written in %s: %s", path, strerror(-rc));
    free(path);
    return rc;
}

/* All directories on the way to the file. */
static int
make_directories(const char *path, struct error *why)
{
    char *upto = strdup(path);
    int rc = upto == NULL ? error_set(why, -ENOMEM, "out of memory") : 0;

    for (char *slash = upto; rc == 0 && (slash = strchr(slash + 1, '/')) != NULL; *slash = '/') {
        *slash = '\0';
        if (mkdir(upto, 0700) != 0 && errno != EEXIST)
            rc = error_set(why, -errno, "cannot make the directory %s: %s", upto, strerror(errno));
    }
    free(upto);
    return rc;
}

static int
remove_both(const struct spill *spill, struct error *why)
{
    int rc = 0;

    /* The one that counts first: zeros alone are nothing. */
    if (unlink(spill->path) != 0 && errno != ENOENT)
        rc = error_set(why, -errno, "cannot remove %s: %s", spill->path, strerror(errno));
    else if (unlink(spill->zeros_path) != 0 && errno != ENOENT)
        rc = error_set(why, -errno, "cannot remove %s: %s", spill->zeros_path, strerror(errno));
    return rc;
}

/* All its text; it ends with a NUL. */
static int
read_zeros(const struct spill *spill, char **text, size_t *bytes, struct error *why)
{
    int fd = open(spill->zeros_path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC), rc = 0;
    struct stat info;

    *text = NULL;
    if (fd == -1 || fstat(fd, &info) != 0)
        rc = -errno;
    else if (info.st_size > ZEROS_BYTES_MAX)
        rc = -EFBIG;
    if (rc == 0) {
        *bytes = (size_t)info.st_size;
        *text = calloc(1, *bytes + 1);
        rc = *text == NULL ? -ENOMEM : pread(fd, *text, *bytes, 0) != info.st_size ? -EIO : 0;
    }
    if (fd != -1)
        close(fd);
    return rc == 0 ? 0 : error_set(why, rc, "cannot read %s: %s", spill->zeros_path, strerror(-rc));
}

/* ---- writing */

struct spilling {
    struct spill *spill;
    struct cachefile *beside;
    uint32_t token;
    FILE *zeros;
    uint64_t blocks, ranges;
    struct error *why;
};

static int
count_zero(void *arg, uint64_t first, uint64_t count)
{
    (void)first, (void)count;
    ((struct spilling *)arg)->ranges++;
    return 0;
}

static int
put_zero(void *arg, uint64_t first, uint64_t count)
{
    struct spilling *spilling = arg;

    return fprintf(spilling->zeros, "%" PRIu64 " %" PRIu64 "\n", first, count) < 0
               ? -EIO
               : count_zero(arg, first, count);
}

static int
put_block(void *arg, uint64_t block, const uint64_t *valid, const uint64_t *dirty, const void *data)
{
    struct spilling *spilling = arg;
    const struct cachefile_block put = { .block = block,
                                         .state = CACHEFILE_DIRTY,
                                         .base = CACHEFILE_UNKNOWN,
                                         .valid = valid,
                                         .data = data };

    (void)dirty;
    spilling->blocks++;
    return cachefile_put(spilling->spill->file, &put, NULL, NULL, spilling->why);
}

/* Its text so far gets a sum. */
static int
seal_zeros(const struct spilling *spilling)
{
    FILE *zeros = spilling->zeros;
    const struct spill *spill = spilling->spill;
    char *text = NULL;
    size_t bytes;
    int rc = fflush(zeros) == 0 ? read_zeros(spill, &text, &bytes, spilling->why) : -errno;

    if (rc == 0
        && (fprintf(zeros, SUM_FORMAT, (uint64_t)XXH3_64bits(text, bytes)) < 0 || fflush(zeros) != 0
            || fsync(fileno(zeros)) != 0))
        rc = -errno;
    free(text);
    return rc == 0 ? 0
                   : error_set(spilling->why, rc, "cannot write %s: %s", spill->zeros_path,
                               strerror(-rc));
}

/* All of it is there: now it counts. */
static int
commit(void *arg)
{
    struct spilling *spilling = arg;
    const struct spill *spill = spilling->spill;
    struct error *why = spilling->why;
    int rc = seal_zeros(spilling);

    /* What has come into it until now is in the cache no more. */
    if (rc == 0 && spilling->beside != NULL)
        rc = cachefile_sync(spilling->beside, why);
    if (rc == 0)
        rc = cachefile_sync(spill->file, why);
    if (rc == 0 && cachefile_sync_directory(spill->path) != 0)
        rc = error_set(why, -EIO, "cannot sync the directory of %s", spill->path);
    return rc != 0 ? rc : spill_set_tokens(spilling->spill, spilling->token, spilling->token, why);
}

static int
write_all(struct spilling *spilling, struct store *cache)
{
    const struct cache_spill_ops ops = {
        .arg = spilling, .zero = put_zero, .block = put_block, .end = commit
    };
    const struct spill *spill = spilling->spill;
    struct error *why = spilling->why;
    int fd = open(spill->zeros_path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600),
        rc;

    spilling->zeros = fd != -1 ? fdopen(fd, "w") : NULL;
    if (spilling->zeros == NULL) {
        rc = error_set(why, -errno, "cannot write %s: %s", spill->zeros_path, strerror(errno));
        if (fd != -1)
            close(fd);
        return rc;
    }
    why->text[0] = '\0';
    rc = cache_spill(cache, &ops);
    if (rc != 0 && why->text[0] == '\0')
        error_set(why, rc, "cannot write %s: %s", spill->zeros_path, strerror(-rc));
    fclose(spilling->zeros);
    return rc;
}

int
spill_write(const struct spill_config *config, struct store *cache, uint32_t token,
            struct error *why)
{
    struct cachefile_config file = config->file;
    struct spilling spilling = {
        .spill = spill_new(config), .beside = config->beside, .token = token, .why = why
    };
    struct error ignored;
    int rc;

    if (spilling.spill == NULL)
        return error_set(why, -ENOMEM, "out of memory");
    rc = make_directories(spilling.spill->path, why);
    if (rc == 0)
        rc = remove_both(spilling.spill, why);
    file.path = spilling.spill->path;
    if (rc == 0)
        rc = cachefile_open(&file, why, &spilling.spill->file);
    if (rc == 0)
        rc = write_all(&spilling, cache);
    if (rc == 0 && spilling.blocks + spilling.ranges > 0)
        log_line(BD_WARNING,
                 "%" PRIu64 " %s and %" PRIu64 " zeroed %s that the store does not have are in %s "
                 "now; the next mount of the volume on this machine stores them",
                 spilling.blocks, human_form(spilling.blocks, "block", "blocks"), spilling.ranges,
                 human_form(spilling.ranges, "range", "ranges"), spilling.spill->path);
    else
        remove_both(spilling.spill, &ignored);
    spill_close(spilling.spill);
    return rc;
}

/* ---- reading */

static int
read_note(struct spill *spill)
{
    char note[CACHEFILE_TEXT_BYTES_MAX + 1];

    if (spill->file == NULL)
        return -ENOENT;
    note[cachefile_note(spill->file, note)] = '\0';
    return sscanf(note, "%8" SCNx32 " %8" SCNx32, &spill->tokens[0], &spill->tokens[1]) == 2
                   && spill->tokens[0] != 0
               ? 0
               : -ENOENT;
}

int
spill_find(const struct spill_config *config, struct spill **out, struct error *why)
{
    struct spill *spill = spill_new(config);
    struct cachefile_config file = config->file;
    struct stat info;
    int rc;

    *out = NULL;
    if (spill == NULL)
        return error_set(why, -ENOMEM, "out of memory");
    if (stat(spill->path, &info) != 0) {
        spill_close(spill);
        return 0;
    }
    file.path = spill->path;
    file.slots = 0;
    rc = info.st_size == 0 ? 0 : cachefile_open(&file, why, &spill->file);
    if (rc == -ENODATA)
        rc = 0;
    if (rc == 0 && read_note(spill) != 0 && config->is_read_only) {
        spill_close(spill);
        return 0;
    }
    if (rc == 0 && read_note(spill) != 0) {
        log_line(BD_WARNING,
                 "%s is not complete, for the machine died while it was written; it is removed",
                 spill->path);
        rc = spill_remove(spill, why);
        spill = NULL;
    }
    if (rc != 0) {
        spill_close(spill);
        return rc;
    }
    *out = spill;
    return 0;
}

int
spill_discard(const struct spill_config *config, struct error *why)
{
    struct spill *spill = spill_new(config);
    int rc = spill != NULL ? remove_both(spill, why) : error_set(why, -ENOMEM, "out of memory");

    spill_close(spill);
    return rc;
}

void
spill_tokens(const struct spill *spill, uint32_t tokens[2])
{
    memcpy(tokens, spill->tokens, sizeof spill->tokens);
}

int
spill_set_tokens(struct spill *spill, uint32_t now, uint32_t next, struct error *why)
{
    char note[32];

    snprintf(note, sizeof note, "%08" PRIx32 " %08" PRIx32, now, next);
    return cachefile_set_note(spill->file, note, strlen(note), why);
}

const char *
spill_path(const struct spill *spill)
{
    return spill->path;
}

struct cachefile *
spill_file(const struct spill *spill)
{
    return spill->file;
}

static int
damaged(const struct spill *spill, struct error *why)
{
    return error_set(why, -EUCLEAN,
                     "%s is damaged; it says which ranges were zeroed, and without it nothing of "
                     "the spill is stored (--block-cache-discard-dirty-blocks drops it)",
                     spill->zeros_path);
}

/* Nothing is done before all of it is known to be right. */
static int
each_zero(const struct spill *spill, int (*act)(void *arg, uint64_t first, uint64_t count),
          void *arg, struct error *why)
{
    uint64_t first, count, sum;
    char *text = NULL, *end, *line;
    size_t bytes;
    int rc = read_zeros(spill, &text, &bytes, why);

    if (rc != 0 || bytes == 0) {
        free(text);
        return rc;
    }
    end = memrchr(text, 's', bytes);
    if (end == NULL || sscanf(end, SUM_SCAN, &sum) != 1
        || sum != XXH3_64bits(text, (size_t)(end - text))) {
        free(text);
        return damaged(spill, why);
    }
    for (line = text; rc == 0 && line < end; line = strchr(line, '\n') + 1) {
        if (sscanf(line, "%" SCNu64 " %" SCNu64, &first, &count) != 2 || count == 0) {
            rc = damaged(spill, why);
            break;
        }
        rc = act(arg, first, count);
        if (rc != 0)
            error_set(why, rc, "cannot zero what %s says: %s", spill->zeros_path, strerror(-rc));
    }
    free(text);
    return rc;
}

struct zeroing {
    struct store *next;
    const struct interruption *interruption;
};

static int
send_zero(void *arg, uint64_t first, uint64_t count)
{
    const struct zeroing *zeroing = arg;
    struct store_req req = { .op = STORE_ZERO, .block = first, .count = count };
    int rc = store_submit_all_wait(zeroing->next, &req, 1, zeroing->interruption);

    return rc != 0 ? rc : req.rc;
}

/* Before any block is stored they are forgotten: zeroed once more, after this has failed half way, they would take what was
 * stored with them. */
int
spill_zero(const struct spill *spill, struct store *next, const struct interruption *interruption,
           struct error *why)
{
    struct zeroing zeroing = { next, interruption };
    int fd, rc = each_zero(spill, send_zero, &zeroing, why);

    if (rc != 0)
        return rc;
    fd = open(spill->zeros_path, O_WRONLY | O_TRUNC | O_CLOEXEC);
    if (fd == -1 || fsync(fd) != 0)
        rc = error_set(why, -errno, "cannot empty %s: %s", spill->zeros_path, strerror(errno));
    if (fd != -1)
        close(fd);
    return rc;
}

static int
name_zero(void *arg, uint64_t first, uint64_t count)
{
    (void)arg;
    log_each(BD_WARNING,
             "blocks %08" PRIx64 " to %08" PRIx64 ", which were zeroed, stay as the store has them",
             first, first + count - 1);
    return 0;
}

int
spill_name_zeros(const struct spill *spill, struct error *why)
{
    return each_zero(spill, name_zero, NULL, why);
}

static int
drop_zero(void *arg, uint64_t first, uint64_t count)
{
    struct error ignored;

    return cachefile_drop_range(arg, first, first + count - 1, &ignored);
}

int
spill_supersede(const struct spill *spill, struct cachefile *older, struct error *why)
{
    struct cachefile_info info;
    uint32_t cursor = 0;
    int rc = each_zero(spill, drop_zero, older, why);

    while (rc == 0 && cachefile_next(spill->file, &cursor, &info))
        rc = cachefile_drop(older, info.block, 0, why);
    return rc == 0 ? cachefile_sync(older, why) : rc;
}

/* It counts no more before it goes: after a power cut it may be back. */
int
spill_remove(struct spill *spill, struct error *why)
{
    int rc = spill->file != NULL ? cachefile_set_note(spill->file, "", 0, why) : 0;

    if (rc == 0)
        rc = remove_both(spill, why);

    spill_close(spill);
    return rc;
}

void
spill_close(struct spill *spill)
{
    struct error ignored;

    if (spill == NULL)
        return;
    if (spill->file != NULL)
        cachefile_close(spill->file, &ignored);
    free(spill->path);
    free(spill->zeros_path);
    free(spill);
}
