/* SPDX-License-Identifier: Apache-2.0 */
/* What the disk may hold. */
#include "truth.h"

#include "world.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define NEVER UINT64_MAX
#define CELLS_PER_SECTOR_MAX 4u

struct version {
    uint32_t write;
    bool is_zero, is_maybe, is_durable;
    uint64_t start, end; /* end is NEVER while it is under way */
    uint64_t dead;       /* reads that begin later may not find it */
};

struct cell {
    uint32_t count, room, purge_at;
    struct version *versions; /* oldest first by start */
};

static struct {
    struct cell *cells;
    uint64_t cell_count;
    unsigned per_sector;
    uint32_t cuts[CELLS_PER_SECTOR_MAX + 1]; /* where cells of a sector begin */
    uint32_t writes;
    uint64_t step, oldest_read, durable; /* all that ended before `durable` is durable */
} truth;

/* ---- places */

uint64_t
truth_cells(void)
{
    return truth.cell_count;
}

uint64_t
truth_offset(uint64_t cell)
{
    return cell / truth.per_sector * SECTOR + truth.cuts[cell % truth.per_sector];
}

uint64_t
truth_cell_at(uint64_t offset)
{
    unsigned i = truth.per_sector - 1;

    while (truth.cuts[i] > offset % SECTOR)
        i--;
    return offset / SECTOR * truth.per_sector + i;
}

static uint32_t
cell_bytes(uint64_t cell)
{
    return truth.cuts[cell % truth.per_sector + 1] - truth.cuts[cell % truth.per_sector];
}

/* ---- content */

static uint64_t
seed_of(uint32_t write, uint64_t cell)
{
    uint64_t x = (write + 1) * 0x9e3779b97f4a7c15u + cell * 0xd6e8feb86659fd93u;

    x = (x ^ x >> 32) * 0xd6e8feb86659fd93u;
    return x ^ x >> 29;
}

static void
cell_fill(const struct version *version, uint64_t cell, char *data)
{
    uint32_t bytes = cell_bytes(cell), i = 0;
    uint64_t word = seed_of(version->write, cell);

    if (version->is_zero) {
        memset(data, 0, bytes);
        return;
    }
    for (; i + 8 <= bytes; i += 8, word += 0x9e3779b97f4a7c15u)
        memcpy(data + i, &word, 8);
    memcpy(data + i, &word, bytes - i);
}

/* `data` is NULL for zeros. */
static bool
is_content(const struct version *version, uint64_t cell, const char *data)
{
    uint32_t bytes = cell_bytes(cell), i = 0;
    uint64_t word = seed_of(version->write, cell);
    static const char zeros[SECTOR];

    if (version->is_zero)
        return data == NULL || memcmp(data, zeros, bytes) == 0;
    if (data == NULL)
        data = zeros;
    for (; i + 8 <= bytes; i += 8, word += 0x9e3779b97f4a7c15u) {
        if (memcmp(data + i, &word, 8) != 0)
            return false;
    }
    return memcmp(data + i, &word, bytes - i) == 0;
}

void
truth_fill(uint32_t write, uint64_t first, uint64_t end, char *data)
{
    struct version version = { .write = write };

    for (; first < end; data += cell_bytes(first), first++)
        cell_fill(&version, first, data);
}

/* ---- versions */

uint64_t
truth_step(void)
{
    return ++truth.step;
}

void
truth_oldest_read(uint64_t step)
{
    truth.oldest_read = step;
}

/* Is it gone, even after a crash? */
static bool
is_superseded(const struct cell *cell, const struct version *version)
{
    for (uint32_t i = 0; i < cell->count; i++) {
        const struct version *other = &cell->versions[i];

        if (!other->is_maybe && (other->is_durable || other->end < truth.durable)
            && version->end < other->start)
            return true;
    }
    return false;
}

static void
cell_purge(struct cell *cell)
{
    uint32_t left = 0;

    for (uint32_t i = 0; i < cell->count; i++) {
        const struct version *version = &cell->versions[i];
        /* What supersedes it stays, and would still do so were it kept: so one may go after the other. */
        bool is_gone = version->dead < truth.oldest_read && is_superseded(cell, version);

        if (!is_gone)
            cell->versions[left++] = *version;
    }
    cell->count = left;
}

static void
cell_add(struct cell *cell, const struct version *version)
{
    if (cell->count >= cell->purge_at) {
        cell_purge(cell);
        cell->purge_at = 2 * cell->count + 4;
    }
    if (cell->count == cell->room) {
        cell->room = cell->room * 2 + 2;
        cell->versions = world_realloc(cell->versions, cell->room * sizeof cell->versions[0]);
    }
    cell->versions[cell->count++] = *version;
}

static void
version_kill(struct version *version, uint64_t step)
{
    if (version->dead > step)
        version->dead = step;
}

uint32_t
truth_write_begin(uint64_t first, uint64_t end, bool is_zero, uint64_t start)
{
    struct version version = {
        .write = ++truth.writes, .is_zero = is_zero, .start = start, .end = NEVER, .dead = NEVER
    };

    assert(first < end && end <= truth.cell_count);
    for (uint64_t i = first; i < end; i++)
        cell_add(&truth.cells[i], &version);
    return version.write;
}

void
truth_write_end(uint32_t write, uint64_t first, uint64_t end, uint64_t start, int rc,
                bool is_durable)
{
    uint64_t step = truth_step();

    for (uint64_t i = first; i < end; i++) {
        struct cell *cell = &truth.cells[i];

        for (uint32_t j = 0; j < cell->count; j++) {
            struct version *version = &cell->versions[j];

            if (version->write == write) {
                version->end = step;
                version->is_maybe = rc != 0;
                version->is_durable = is_durable;
            } else if (rc == 0 && version->end < start) {
                version_kill(version, step);
            }
        }
    }
}

/* ---- reading */

static void
tell(const struct cell *cell, uint64_t number, const char *data)
{
    printf("cell %" PRIu64 ", bytes %" PRIu64 " .. %" PRIu64 "; durable before step %" PRIu64
           "; versions:\n",
           number, truth_offset(number), truth_offset(number) + cell_bytes(number), truth.durable);
    for (uint32_t i = 0; i < cell->count; i++) {
        const struct version *version = &cell->versions[i];

        printf("  write %" PRIu32 "%s%s, steps %" PRIu64 " .. %" PRId64 ", overwritten at %" PRId64
               "%s\n",
               version->write, version->is_zero ? " (zeros)" : "",
               version->is_maybe ? " (failed or died)" : "", version->start, (int64_t)version->end,
               (int64_t)version->dead, is_content(version, number, data) ? "  <-- found" : "");
    }
    if (data == NULL)
        printf("  found nothing\n");
    else
        printf("  found %02x %02x %02x %02x\n", (unsigned char)data[0],
               (unsigned char)data[cell_bytes(number) / 2],
               (unsigned char)data[cell_bytes(number) * 3 / 4],
               (unsigned char)data[cell_bytes(number) - 1]);
}

void
truth_read(uint64_t first, uint64_t end, const char *data, uint64_t start, const char *who)
{
    uint64_t step = truth_step();

    for (uint64_t i = first; i < end; i++) {
        struct cell *cell = &truth.cells[i];
        const struct version *found = NULL;
        unsigned matches = 0;

        for (uint32_t j = cell->count; j-- > 0;) {
            const struct version *version = &cell->versions[j];

            if (version->dead >= start && is_content(version, i, data)) {
                matches++;
                found = version;
                if (cell->count > 8)
                    break; /* many at once: not worth the time */
            }
        }
        if (found == NULL) {
            tell(cell, i, data);
            world_fail("%s (began at step %" PRIu64 ") found what must not be there", who, start);
        }
        if (matches == 1 && !found->is_maybe && cell->count <= 8) {
            for (uint32_t j = 0; j < cell->count; j++) {
                struct version *version = &cell->versions[j];

                if (version != found && !version->is_maybe && version->end < start)
                    version_kill(version, step);
            }
        }
        if (data != NULL)
            data += cell_bytes(i);
    }
}

/* ---- what is in the store */

void
truth_flushed(uint64_t start)
{
    if (start > truth.durable)
        truth.durable = start;
}

void
truth_check_durable(const char *(*data_of)(uint64_t cell), const char *when)
{
    for (uint64_t i = 0; i < truth.cell_count; i++) {
        struct cell *cell = &truth.cells[i];
        const char *data = data_of(i);
        bool is_right = false;

        for (uint32_t j = cell->count; j-- > 0 && !is_right;)
            is_right =
                is_content(&cell->versions[j], i, data) && !is_superseded(cell, &cell->versions[j]);
        if (!is_right) {
            tell(cell, i, data);
            world_fail("%s: the store does not hold what a flush acknowledged", when);
        }
    }
}

static void
cell_settle(struct cell *cell, uint64_t number, const char *data)
{
    struct version version = { .write = 0 };

    for (uint32_t i = 0; i < cell->count; i++) {
        if (is_content(&cell->versions[i], number, data))
            version = cell->versions[i];
    }
    /* Others of the same content make no difference. */
    version.is_maybe = false;
    version.end = version.start;
    version.dead = NEVER;
    cell->versions[0] = version;
    cell->count = 1;
}

void
truth_crash(const char *(*data_of)(uint64_t cell))
{
    uint64_t step = truth_step();

    truth.oldest_read = NEVER;
    for (uint64_t i = 0; i < truth.cell_count; i++) {
        struct cell *cell = &truth.cells[i];
        uint32_t left = 0;

        for (uint32_t j = 0; j < cell->count; j++) {
            struct version version = cell->versions[j];

            if (is_superseded(cell, &version))
                continue;
            if (version.end == NEVER)
                version.end = step;
            version.dead = NEVER;
            cell->versions[left++] = version;
        }
        cell->count = left;
        for (uint32_t j = 0; j < left; j++)
            cell->versions[j].is_maybe = left > 1;
    }
    if (data_of == NULL)
        return;
    truth_check_durable(data_of, "after a crash");
    for (uint64_t i = 0; i < truth.cell_count; i++)
        cell_settle(&truth.cells[i], i, data_of(i));
}

void
truth_check_stored(const char *(*data_of)(uint64_t cell), const char *when)
{
    uint64_t start = truth_step();

    for (uint64_t i = 0; i < truth.cell_count; i++)
        truth_read(i, i + 1, data_of(i), start, when);
}

/* ---- life */

void
truth_new(uint64_t sectors, unsigned cells_per_sector)
{
    static const uint32_t odd[] = { 1, 3, 8, 100, 200, 256, 300, 500, 511 };

    assert(cells_per_sector > 0 && cells_per_sector <= CELLS_PER_SECTOR_MAX);
    memset(&truth, 0, sizeof truth);
    truth.per_sector = cells_per_sector;
    truth.cell_count = sectors * cells_per_sector;
    truth.oldest_read = NEVER;
    for (unsigned i = 1; i < cells_per_sector; i++)
        truth.cuts[i] = odd[(i - 1) * 3 + chance_below(3)];
    truth.cuts[cells_per_sector] = SECTOR;
    truth.cells = world_alloc(truth.cell_count * sizeof truth.cells[0]);
    for (uint64_t i = 0; i < truth.cell_count; i++)
        cell_add(&truth.cells[i], &(struct version){ .is_zero = true, .dead = NEVER });
}

void
truth_free(void)
{
    for (uint64_t i = 0; i < truth.cell_count; i++)
        world_release(truth.cells[i].versions);
    world_release(truth.cells);
}
