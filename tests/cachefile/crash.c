/* SPDX-License-Identifier: Apache-2.0 */
/* Crash tests of the cache file: crash [--seed N] [--seconds S] [--runs N].
 *
 * A run is all that one seed decides: a geometry, and a few lives of the cache file on one disk (disk.h).  A
 * life puts, marks as stored, drops and syncs blocks, and ends in an orderly close, a kill, or a power cut.
 *  After each write and each sync of it, the opening included, the power is cut: of the writes since the last
 * sync all orders of all choices if they are few, a sample if not, and each may be torn anywhere.  What was on
 * the disk then is opened, and each block must be what it was when the last sync began that has returned, or
 * what anybody tried to make of it since; whole, with its tag.  Now and then, the power is cut in that opening
 * as well.
 *
 * In a strict run there is room for everything; else a clean block may be absent, too. */
#include "disk.h"
#include "run.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define BLOCKS_MAX 12u
#define VERSIONS_MAX 64u
#define BLOCK_BYTES_MAX 4096u
#define SEAL_BYTES 24u
#define RUN_SECONDS_MAX 60 /* then it hangs, and ends by SIGALRM */

struct version {
    bool is_gone, is_zeros;
    enum cachefile_state state;
    enum cachefile_base base;
    uint32_t content, tag;
    uint64_t valid;
};

/* What the block may be after a crash: the first one is synced.  The process sees `current`. */
struct truth {
    struct version list[VERSIONS_MAX];
    unsigned count, current;
    uint64_t sent; /* its version in the file, if it is dirty */
    bool is_fresh; /* the current one */
};

static struct {
    uint64_t seed, run_seed, run;
    struct cachefile_config config;
    unsigned blocks;
    bool is_strict;
    bool is_unlucky; /* this life has a disk with faults */
    unsigned samples;
    unsigned zeros_in, clean_in, drops_of_100; /* what is done how often */
    struct truth truth[BLOCKS_MAX];
    uint32_t notes[VERSIONS_MAX];
    unsigned note_count, note_current;
    uint32_t contents;
    struct disk disk, after; /* the one that lives; one after a power cut */
    struct image image, nested_image;
    uint64_t operations, states, opened, cuts_all_orders;
    const char *doing;
} world;

static uint64_t
chance(uint64_t below)
{
    return chance_next(&world.run_seed) % below;
}

static void __attribute__((format(printf, 1, 2), noreturn)) failed(const char *format, ...)
{
    va_list args;

    printf("FAILED (while: %s)\n", world.doing);
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    printf("\nrun %" PRIu64 ", operation %" PRIu64 "; to see it again: --seed %" PRIu64
           " --runs 1\n",
           world.run, world.operations, world.seed);
    fflush(stdout);
    _Exit(1);
}

/* ---- what blocks look like */

static void
fill(uint64_t block, const struct version *version, unsigned char *data)
{
    uint32_t sectors = world.config.block_bytes / CACHEFILE_SECTOR_BYTES;

    for (uint32_t i = 0; i < sectors; i++) {
        uint64_t word = (block << 40) + ((uint64_t)version->content << 8) + i;
        unsigned char *sector = data + (size_t)i * CACHEFILE_SECTOR_BYTES;

        if (version->is_zeros) {
            memset(sector, 0, CACHEFILE_SECTOR_BYTES);
            continue;
        }
        word = chance_next(&word);
        for (uint32_t at = 0; at < CACHEFILE_SECTOR_BYTES; at += sizeof word, word++)
            memcpy(sector + at, &word, sizeof word);
    }
}

static void
make_tag(uint32_t number, char tag[BD_TAG_BYTES_MAX + 1])
{
    int len = snprintf(tag, BD_TAG_BYTES_MAX + 1, "\"%08x\"", number);

    if (number % 5 == 0) /* a long one */
        memset(tag + len, 'x', number % 240);
    tag[len + (number % 5 == 0 ? (int)(number % 240) : 0)] = '\0';
}

static uint64_t
all_valid(void)
{
    return (1ull << (world.config.block_bytes / CACHEFILE_SECTOR_BYTES)) - 1;
}

/* A toy cipher with a toy tag: it is to be called rightly, that is all. */
static int
toy_seal(void *arg, uint64_t block, const void *plain, size_t bytes, void *sealed)
{
    const unsigned char *from = plain;
    unsigned char *to = sealed;
    uint64_t key = block * 77 + 5, sum = block;

    (void)arg;
    if (bytes != world.config.block_bytes)
        failed("%zu bytes are sealed", bytes);
    for (size_t i = 0; i < bytes; i++) {
        if (i % 64 == 0)
            key = key * 6364136223846793005u + 1442695040888963407u;
        to[i] = from[i] ^ (unsigned char)(key >> 33);
        sum = sum * 31 + from[i];
    }
    memset(to + bytes, (int)(sum & 0xff), SEAL_BYTES);
    memcpy(to + bytes, &sum, sizeof sum);
    return 0;
}

static int
toy_unseal(void *arg, uint64_t block, const void *sealed, size_t bytes, void *plain)
{
    unsigned char mark[SEAL_BYTES], again[SEAL_BYTES];
    unsigned char *room = malloc(bytes + SEAL_BYTES);
    int rc;

    memcpy(mark, (const unsigned char *)sealed + bytes, SEAL_BYTES);
    toy_seal(arg, block, sealed, bytes, room);
    memcpy(plain, room, bytes);
    toy_seal(arg, block, plain, bytes, room);
    memcpy(again, room + bytes, SEAL_BYTES);
    rc = memcmp(mark, again, SEAL_BYTES) == 0 ? 0 : -EBADMSG;
    free(room);
    return rc;
}

/* ---- what is true */

static unsigned
version_begin(unsigned block, const struct version *version)
{
    struct truth *truth = &world.truth[block];

    if (truth->count == VERSIONS_MAX)
        failed("block %u has too many versions", block);
    truth->list[truth->count] = *version;
    return truth->count++;
}

static void
all_synced(void)
{
    for (unsigned i = 0; i < world.blocks; i++) {
        struct truth *truth = &world.truth[i];

        memmove(truth->list, truth->list + truth->current,
                (truth->count - truth->current) * sizeof truth->list[0]);
        truth->count -= truth->current;
        truth->current = 0;
    }
}

static bool
is_version(unsigned block, const struct version *version, const struct cachefile_info *info,
           const unsigned char *data, uint64_t valid)
{
    unsigned char expected[BLOCK_BYTES_MAX];
    char tag[BD_TAG_BYTES_MAX + 1] = "";

    if (version->base == CACHEFILE_TAG)
        make_tag(version->tag, tag);
    if (version->is_gone || version->state != info->state || version->base != info->base
        || version->valid != valid || strcmp(tag, info->tag) != 0
        || version->is_zeros != info->is_zeros)
        return false;
    fill(block, version, expected);
    for (unsigned i = 0; valid >> i != 0; i++) {
        size_t at = (size_t)i * CACHEFILE_SECTOR_BYTES;

        if (valid >> i & 1 && memcmp(expected + at, data + at, CACHEFILE_SECTOR_BYTES) != 0)
            return false;
    }
    return true;
}

static bool
may_be_absent(const struct version *version)
{
    return version->is_gone || (!world.is_strict && version->state == CACHEFILE_CLEAN);
}

/* Which of these versions the file has, or -1.  Absent: info->version is 0. */
static int
find_version(struct cachefile *file, unsigned block, unsigned first, unsigned end,
             struct cachefile_info *info)
{
    struct truth *truth = &world.truth[block];
    unsigned char data[BLOCK_BYTES_MAX];
    struct error why;
    uint64_t valid;
    int rc;

    memset(data, 0xee, sizeof data);
    rc = cachefile_get(file, block, info, data, &valid, &why);
    if (cachefile_holds(file, block) != (rc == 0)
        || cachefile_holds_dirty(file, block) != (rc == 0 && info->state == CACHEFILE_DIRTY))
        failed("what is said to be there of block %u is not what there is", block);
    if (rc == 0 && (info->block != block || info->version == 0))
        failed("block %u is told to be another one", block);
    if (rc != 0 && rc != -ENOENT)
        failed("block %u: %s", block, why.text);
    for (unsigned i = end; i-- > first;) {
        const struct version *version = &truth->list[i];

        if (rc == 0 ? is_version(block, version, info, data, valid) : may_be_absent(version)) {
            if (rc != 0)
                info->version = 0;
            return (int)i;
        }
    }
    if (rc == 0)
        printf("block %u: state %d base %d tag %.20s valid %" PRIx64 " zeros %d version %" PRIu64
               "\n",
               block, info->state, info->base, info->tag, valid, info->is_zeros, info->version);
    else
        printf("block %u is absent: %s\n", block, why.text);
    for (unsigned i = 0; i < truth->count; i++)
        printf("  %s%u: gone %d state %d base %d tag %08x valid %" PRIx64 " zeros %d\n",
               i == truth->current ? "now " : "", i, truth->list[i].is_gone, truth->list[i].state,
               truth->list[i].base, truth->list[i].tag, truth->list[i].valid,
               truth->list[i].is_zeros);
    return -1;
}

static int
find_note(struct cachefile *file)
{
    unsigned char note[CACHEFILE_TEXT_BYTES_MAX + 1];
    size_t bytes = cachefile_note(file, note);

    for (unsigned i = world.note_count; i-- > 0;) {
        uint32_t expected = world.notes[i];

        if (expected == 0 ? bytes == 0
                          : bytes == sizeof expected && memcmp(note, &expected, bytes) == 0)
            return (int)i;
    }
    failed("the note is none that was ever there");
}

/* ---- after a power cut */

static void verify(const struct image *image, bool is_nested);

static void
cut_again(struct disk *disk)
{
    struct landed landed[64];
    unsigned count = 0;

    if (chance_next(&world.run_seed) % 12 != 0)
        return;
    for (unsigned i = 0; i < disk->op_count && count < 64; i++) {
        uint64_t dice = chance_next(&world.run_seed);

        if (dice % 2 == 0)
            landed[count++] =
                (struct landed){ i, 0,
                                 dice % 8 == 0 ? dice / 8 % (disk->ops[i].bytes + 1) : UINT64_MAX };
    }
    disk_cut(disk, landed, count, &world.nested_image);
    verify(&world.nested_image, true);
}

static void
verify(const struct image *image, bool is_nested)
{
    struct disk nested, *disk = is_nested ? &nested : &world.after;
    struct cachefile_config config = world.config;
    struct cachefile *file;
    struct error why;

    world.states++;
    if (is_nested)
        disk_init(&nested);
    disk_restart(disk, image);
    disk->is_dead = false;
    disk->after = is_nested ? NULL : cut_again;
    config.io = &disk->io;
    if (cachefile_open(&config, &why, &file) != 0)
        failed("after a power cut: %s", why.text);
    world.opened++;
    disk->after = NULL;
    for (unsigned i = 0; i < world.blocks; i++) {
        struct cachefile_info info;

        if (find_version(file, i, 0, world.truth[i].count, &info) == -1)
            failed("after a power cut, block %u is none of these", i);
        if (info.version != 0 && info.is_fresh)
            failed("after a power cut, block %u is fresh", i);
    }
    find_note(file);
    disk->is_dead = true;
    cachefile_close(file, NULL);
    if (is_nested)
        disk_free(&nested);
}

static void
cut(const struct landed *landed, unsigned count)
{
    disk_cut(&world.disk, landed, count, &world.image);
    verify(&world.image, false);
}

/* Each choice of `left` operations (a bit each), in each order, after these. */
static void
cut_all_orders(struct landed *landed, unsigned count, unsigned left)
{
    cut(landed, count);
    for (unsigned i = 0; left >> i != 0; i++) {
        if (left >> i & 1) {
            landed[count] = (struct landed){ i, 0, UINT64_MAX };
            cut_all_orders(landed, count + 1, left & ~(1u << i));
        }
    }
}

static unsigned
sample(const struct disk *disk, struct landed *landed)
{
    uint64_t way = chance(6), one = chance(disk->op_count);
    unsigned count = 0, tear = (unsigned)chance(4) == 0 ? 1 : 4;

    for (unsigned i = 0; i < disk->op_count; i++) {
        struct landed *next = &landed[count];
        uint64_t bytes = disk->ops[i].bytes;

        *next = (struct landed){ i, 0, UINT64_MAX };
        if ((way == 1 && i == one) || (way == 2 && i > one) || (way == 3 && chance(2) == 0)
            || (way == 4 && chance(8) != 0) || (way == 5 && chance(8) == 0))
            continue;
        count++;
        if (disk->ops[i].is_resize || bytes == 0 || (way != 1 && chance(tear) != 0))
            continue;
        if (chance(2) == 0)
            next->from = chance(bytes);
        if (chance(2) == 0)
            next->to = chance(bytes + 1);
    }
    if (chance(2) == 0) {
        for (unsigned i = count; i > 1; i--) {
            unsigned with = (unsigned)chance(i);
            struct landed other = landed[with];

            landed[with] = landed[i - 1];
            landed[i - 1] = other;
        }
    }
    return count;
}

static void
cut_everywhere(struct disk *disk)
{
    struct landed *landed;

    world.operations++;
    if (disk->op_count == 0) {
        cut(NULL, 0);
        return;
    }
    landed = malloc(disk->op_count * sizeof *landed);
    if (disk->op_count <= 3) {
        world.cuts_all_orders++;
        cut_all_orders(landed, 0, (1u << disk->op_count) - 1);
    }
    for (unsigned i = 0; i < world.samples; i++)
        cut(landed, sample(disk, landed));
    free(landed);
}

/* ---- a life */

static void
random_version(struct version *version)
{
    memset(version, 0, sizeof *version);
    version->content = ++world.contents;
    version->state = chance(world.clean_in) == 0 ? CACHEFILE_CLEAN : CACHEFILE_DIRTY;
    version->base = (enum cachefile_base)chance(3);
    version->tag = (uint32_t)chance(1u << 31);
    version->is_zeros = chance(world.zeros_in) == 0;
    version->valid = all_valid();
    if (chance(3) == 0) {
        version->valid &= chance_next(&world.run_seed);
        if (version->valid == 0)
            version->valid = 1;
    }
}

/* A call that changes something has returned. */
static void
ended(unsigned block, unsigned version, int rc, const struct error *why)
{
    struct truth *truth = &world.truth[block];

    if (rc == 0) {
        truth->current = version;
        return;
    }
    if (rc == -ENOBUFS || rc == -ESTALE) { /* it was not even tried */
        truth->count--;
        if (rc == -ESTALE && world.disk.faults == 0)
            failed("block %u: %s", block, why->text);
    } else if (world.disk.faults == 0) {
        failed("block %u: %s", block, why->text);
    }
}

/* For the process. */
static bool
is_dirty_now(unsigned block)
{
    const struct truth *truth = &world.truth[block];
    const struct version *version = &truth->list[truth->current];

    return !version->is_gone && version->state == CACHEFILE_DIRTY;
}

static void
put(struct cachefile *file, unsigned block)
{
    unsigned char data[BLOCK_BYTES_MAX];
    char tag[BD_TAG_BYTES_MAX + 1];
    struct cachefile_block put = { .block = block };
    struct version version;
    struct error why;
    unsigned number;
    bool was_dirty;
    int rc;

    random_version(&version);
    number = version_begin(block, &version);
    fill(block, &version, data);
    for (unsigned i = 0; i < world.config.block_bytes / CACHEFILE_SECTOR_BYTES; i++) {
        if (!(version.valid >> i & 1))
            memset(data + (size_t)i * CACHEFILE_SECTOR_BYTES, 0xdd, CACHEFILE_SECTOR_BYTES);
    }
    put.state = version.state;
    put.base = version.base;
    make_tag(version.tag, tag);
    put.tag = tag;
    put.valid = version.valid == all_valid() && chance(2) == 0 ? NULL : &version.valid;
    put.data = version.is_zeros ? NULL : data;
    rc = cachefile_put(file, &put, &world.truth[block].sent, &was_dirty, &why);
    if (rc == -ENOBUFS && world.is_strict)
        failed("no room for block %u", block);
    if (rc == 0 && was_dirty != is_dirty_now(block))
        failed("block %u was %s when it was put", block, was_dirty ? "not dirty" : "dirty");
    ended(block, number, rc, &why);
    if (rc == 0)
        world.truth[block].is_fresh = true;
}

static void
mark_stored(struct cachefile *file, unsigned block)
{
    struct truth *truth = &world.truth[block];
    struct version version = truth->list[truth->current];
    char tag[BD_TAG_BYTES_MAX + 1];
    struct error why;
    unsigned number;
    int rc;

    if (version.is_gone || version.state != CACHEFILE_DIRTY)
        return;
    rc = cachefile_stored(file, block, truth->sent + 1, CACHEFILE_UNKNOWN, NULL, &why);
    if (rc == 0)
        failed("a version of block %u was stored that never was", block);
    version.state = CACHEFILE_CLEAN;
    version.base = (enum cachefile_base)chance(3);
    version.tag = (uint32_t)chance(1u << 31);
    make_tag(version.tag, tag);
    number = version_begin(block, &version);
    rc = cachefile_stored(file, block, truth->sent, version.base, tag, &why);
    ended(block, number, rc, &why);
    if (rc == 0)
        truth->is_fresh = true;
}

/* A dirty one, upon what an older version made of the store. */
static void
rebase(struct cachefile *file, unsigned block)
{
    struct truth *truth = &world.truth[block];
    struct version version = truth->list[truth->current];
    char tag[BD_TAG_BYTES_MAX + 1];
    struct cachefile_info info;
    struct error why;
    unsigned number;
    int rc;

    if (version.is_gone || version.state != CACHEFILE_DIRTY) {
        rc = cachefile_rebase(file, block, CACHEFILE_ABSENT, "", &why);
        if (rc != 0 && world.disk.faults == 0)
            failed("block %u: %s", block, why.text);
        return;
    }
    version.base = (enum cachefile_base)chance(3);
    version.tag = (uint32_t)chance(1u << 31);
    make_tag(version.tag, tag);
    number = version_begin(block, &version);
    rc = cachefile_rebase(file, block, version.base, tag, &why);
    ended(block, number, rc, &why);
    if (rc == 0 && cachefile_get(file, block, &info, NULL, NULL, &why) == 0) {
        truth->is_fresh = true;
        truth->sent = info.version;
    }
}

/* One that made room, if there is one: it must not come back. */
static unsigned
some_evicted(struct cachefile *file, unsigned block)
{
    for (unsigned i = 0; i < world.blocks; i++) {
        const struct truth *truth = &world.truth[i];
        struct cachefile_info info;

        if (!truth->list[truth->current].is_gone && truth->count < VERSIONS_MAX - 4
            && cachefile_get(file, i, &info, NULL, NULL, NULL) == -ENOENT)
            return i;
    }
    return block;
}

static void
drop(struct cachefile *file, unsigned block)
{
    struct version gone = { .is_gone = true };
    unsigned number = version_begin(block, &gone);
    struct error why;
    int rc = cachefile_drop(file, block, 0, &why);

    ended(block, number, rc, &why);
}

/* Some that follow each other, or all from one on. */
static void
drop_range(struct cachefile *file, unsigned first)
{
    unsigned left = world.blocks - first, numbers[BLOCKS_MAX];
    unsigned count = 1 + (unsigned)chance(chance(4) == 0 || left < 3 ? left : 3);
    uint64_t last = first + count - 1;
    unsigned faults = world.disk.write_faults;
    struct version gone = { .is_gone = true };
    struct error why;
    int rc;

    for (unsigned i = 0; i < count; i++) {
        if (world.truth[first + i].count > VERSIONS_MAX - 4)
            return;
    }
    for (unsigned i = 0; i < count; i++)
        numbers[i] = version_begin(first + i, &gone);
    if (last + 1 == world.blocks && chance(2) == 0)
        last = chance(2) == 0 ? UINT64_MAX : last + chance(200);
    if (world.is_unlucky && chance(4) == 0)
        world.disk.write_faults = 1000;
    rc = cachefile_drop_range(file, first, last, &why);
    world.disk.write_faults = faults;
    for (unsigned i = 0; i < count; i++)
        ended(first + i, numbers[i], rc, &why);
}

static void
drop_either(struct cachefile *file, unsigned block)
{
    if (chance(2) == 0)
        drop(file, block);
    else
        drop_range(file, block);
}

static bool sync_all(struct cachefile *file);

/* What chance alone seldom makes: somebody made room for a put that failed; */
static bool
fail_and_drop(struct cachefile *file, unsigned block)
{
    unsigned faults = world.disk.write_faults;

    world.disk.write_faults = 1000;
    put(file, block);
    world.disk.write_faults = faults;
    drop_either(file, chance(2) == 0 ? block : some_evicted(file, block));
    return sync_all(file);
}

/* or for one whose slot belongs to a third one soon. */
static bool
replace_and_drop(struct cachefile *file, unsigned block)
{
    put(file, block);
    drop(file, some_evicted(file, block)); /* of a range, others would make a record */
    put(file, block);
    if (!sync_all(file))
        return false;
    put(file, (unsigned)chance(world.blocks));
    return true;
}

static bool
sync_all(struct cachefile *file)
{
    struct error why;
    int rc = cachefile_sync(file, &why);

    if (rc == 0)
        all_synced();
    else if (world.disk.faults == 0)
        failed("%s", why.text);
    return rc == 0;
}

static void
set_note(struct cachefile *file)
{
    uint32_t note = (uint32_t)chance(3);
    struct error why;
    int rc;

    if (world.note_count == VERSIONS_MAX)
        return;
    world.notes[world.note_count++] = note;
    rc = cachefile_set_note(file, &note, note == 0 ? 0 : sizeof note, &why);
    if (rc == 0) {
        world.notes[0] = note;
        world.note_count = 1;
    } else if (world.disk.faults == 0) {
        failed("%s", why.text);
    }
}

static void
check_now(struct cachefile *file, unsigned block)
{
    struct truth *truth = &world.truth[block];
    struct cachefile_info info;

    if (find_version(file, block, truth->current, truth->current + 1, &info) == -1)
        failed("block %u is not what was put", block);
    if (info.version == 0)
        return;
    if (info.is_fresh != truth->is_fresh)
        failed("block %u is %sfresh", block, info.is_fresh ? "" : "not ");
    cachefile_confirm(file, block, info.version - 1);
    if (chance(2) == 0) {
        cachefile_confirm(file, block, info.version);
        truth->is_fresh |= info.state == CACHEFILE_CLEAN;
    }
}

/* What it was is what it is from now on. */
static void
settle(struct cachefile *file)
{
    int note = find_note(file);
    unsigned dirty = 0;
    struct cachefile_stats stats;

    for (unsigned i = 0; i < world.blocks; i++) {
        struct truth *truth = &world.truth[i];
        struct version gone = { .is_gone = true };
        struct cachefile_info info;
        int found = find_version(file, i, 0, truth->count, &info);

        if (found == -1)
            failed("block %u is none of these", i);
        truth->sent = info.version;
        truth->is_fresh = false;
        truth->list[0] = truth->sent == 0 ? gone : truth->list[found];
        truth->count = 1;
        truth->current = 0;
        dirty += !truth->list[0].is_gone && truth->list[0].state == CACHEFILE_DIRTY;
    }
    world.notes[0] = world.notes[note];
    world.note_count = 1;
    cachefile_stats(file, &stats);
    if (stats.dirty != dirty)
        failed("%u blocks are dirty, not %u", stats.dirty, dirty);
}

static unsigned
dirty_possible(void)
{
    unsigned dirty = 0;

    for (unsigned i = 0; i < world.blocks; i++) {
        for (unsigned j = 0; j < world.truth[i].count; j++) {
            if (!world.truth[i].list[j].is_gone
                && world.truth[i].list[j].state == CACHEFILE_DIRTY) {
                dirty++;
                break;
            }
        }
    }
    return dirty;
}

static struct cachefile *
life_open(void)
{
    struct cachefile *file;
    struct error why;
    int rc;

    world.disk.is_dead = false;
    world.disk.after = cut_everywhere;
    world.config.io = &world.disk.io;
    rc = cachefile_open(&world.config, &why, &file);
    if (rc != 0 && world.disk.faults > 0) {
        world.disk.write_faults = world.disk.sync_faults = 0;
        world.disk.dies_at = 0;
        world.disk.is_dead = false;
        rc = cachefile_open(&world.config, &why, &file);
    }
    if (rc != 0)
        failed("%s", why.text);
    return file;
}

static void
life(unsigned operations)
{
    struct cachefile *file;
    bool is_failed = false;
    struct error why;

    world.doing = "opening";
    world.config.slots = world.is_strict ? 64 : dirty_possible() + 1 + (unsigned)chance(8);
    world.config.journal_spare_bytes = 512 + (uint32_t)chance(6) * 1024;
    world.disk.faults = 0;
    world.is_unlucky = chance(4) == 0;
    if (world.is_unlucky) {
        world.disk.write_faults = (unsigned)chance(chance(3) == 0 ? 300 : 30);
        world.disk.sync_faults = chance(2) == 0 ? 0 : (unsigned)chance(100);
        world.disk.fault = chance(2) == 0 ? -EIO : -ENOSPC;
    }
    world.disk.dies_at = chance(3) == 0 ? 1 + chance(chance(2) == 0 ? 16 : 200) : 0;
    file = life_open();
    settle(file);
    for (unsigned i = 0; i < operations && !is_failed; i++) {
        unsigned block = (unsigned)chance(world.blocks);
        uint64_t dice = chance(100);

        is_failed = world.disk.is_dead;

        if (world.truth[block].count > VERSIONS_MAX - 4)
            dice = 99;
        world.doing = "operating";
        if (dice < 50)
            put(file, block);
        else if (dice < 57)
            mark_stored(file, block);
        else if (dice < 60)
            rebase(file, block);
        else if (dice < 60 + world.drops_of_100)
            drop(file, chance(2) == 0 ? block : some_evicted(file, block));
        else if (dice < 76)
            set_note(file);
        else if (dice < 77 && world.drops_of_100 > 0)
            drop_range(file, block);
        else if (dice < 85)
            check_now(file, block);
        else if (dice < 89 && !world.is_strict)
            is_failed = !replace_and_drop(file, block);
        else if (dice < 92 && !world.is_strict && world.is_unlucky)
            is_failed = !fail_and_drop(file, block);
        else
            is_failed = !sync_all(file);
    }
    world.doing = "ending";
    for (unsigned i = 0; i < world.blocks && !is_failed; i++)
        check_now(file, i);
    if (chance(3) == 0 && !is_failed) {
        int rc = cachefile_close(file, &why);

        if (rc == 0)
            all_synced();
        else if (world.disk.faults == 0)
            failed("%s", why.text);
    } else {
        world.disk.is_dead = true;
        cachefile_close(file, NULL);
        if (chance(2) == 0) {
            struct landed *landed = malloc((world.disk.op_count + 1) * sizeof *landed);
            unsigned count = world.disk.op_count == 0 ? 0 : sample(&world.disk, landed);

            disk_cut(&world.disk, landed, count, &world.image);
            disk_restart(&world.disk, &world.image);
            free(landed);
        }
    }
    world.disk.write_faults = world.disk.sync_faults = 0;
    world.disk.dies_at = 0;
}

static void
run(uint64_t seed)
{
    struct version gone = { .is_gone = true };

    alarm(RUN_SECONDS_MAX);
    world.run_seed = world.seed = seed;
    memset(&world.config, 0, sizeof world.config);
    world.config.path = "cache";
    world.config.volume = "the volume";
    world.config.identity = "identity";
    world.config.identity_bytes = 8;
    world.config.block_bytes = 512u << chance(4);
    if (chance(3) == 0) {
        world.config.seal = toy_seal;
        world.config.unseal = toy_unseal;
        world.config.seal_bytes = SEAL_BYTES;
    }
    world.blocks = 1 + (unsigned)chance(BLOCKS_MAX);
    world.is_strict = chance(2) == 0;
    world.samples = 2;
    world.zeros_in = 1 + (unsigned)chance(10);
    world.clean_in = 1 + (unsigned)chance(4);
    world.drops_of_100 = (unsigned)chance(16);
    for (unsigned i = 0; i < BLOCKS_MAX; i++) {
        world.truth[i].list[0] = gone;
        world.truth[i].count = 1;
        world.truth[i].current = 0;
    }
    world.notes[0] = 0;
    world.note_count = 1;
    disk_init(&world.disk);
    disk_init(&world.after);
    world.disk.seed = &world.run_seed;
    for (unsigned lives = 2 + (unsigned)chance(4); lives > 0; lives--)
        life(5 + (unsigned)chance(60));
    disk_free(&world.disk);
    disk_free(&world.after);
    image_free(&world.image);
    image_free(&world.nested_image);
}

int
main(int argc, char **argv)
{
    struct run options = run_begin(argc, argv);

    for (; run_goes_on(&options, world.run); world.run++)
        run(options.seed + world.run);
    printf("%" PRIu64 " runs, %" PRIu64 " writes and syncs cut at (%" PRIu64
           " in all orders), %" PRIu64 " states of the disk opened\n",
           world.run, world.operations, world.cuts_all_orders, world.states);
    return 0;
}
