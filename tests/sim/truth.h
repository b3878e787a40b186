/* SPDX-License-Identifier: Apache-2.0 */
/* What the disk may hold, by what was asked of it and what was answered.
 *
 * The disk is divided into cells, a few to each sector, at odd places; requests cover whole cells.  Each
 * cell is a register of its own that must be linearizable: of the versions that were ever written to
 * it, these may be read from `start` to `end`:
 *
 *   - one whose write had begun by the end of the read,
 *   - unless a write that began after it was done, was done before the read began,
 *   - unless an earlier read, over before this one began, found another version that must be newer.
 *
 * And these may be found after the daemon died: as above, but a version is gone for good only when one that began
 * after it was done had been made durable: was done before a successful flush began, or its write was durable when it was done.
 *
 * A write that failed, or whose daemon died, may have happened or not (`is_maybe`): it makes no other version go.
 *
 * Times are steps: one for each beginning and each end, of whatever. */
#ifndef SIM_TRUTH_H
#define SIM_TRUTH_H

#include <stdbool.h>
#include <stdint.h>

#define SECTOR 512u

void truth_new(uint64_t sectors, unsigned cells_per_sector);
void truth_free(void);

uint64_t truth_cells(void);
/* Where the cell begins; that of truth_cells() is the end of the disk. */
uint64_t truth_offset(uint64_t cell);
/* The cell that begins at or before the offset. */
uint64_t truth_cell_at(uint64_t offset);

uint64_t truth_step(void); /* takes one */
/* The oldest step that a read in progress began at, UINT64_MAX: none.  To be told whenever it changes. */
void truth_oldest_read(uint64_t step);

/* Gives the number of a new version of cells [first, end); write 0 is what was there in the beginning, zeros. */
uint32_t truth_write_begin(uint64_t first, uint64_t end, bool is_zero, uint64_t start);
/* The content of that version, from the beginning of cell `first` on. */
void truth_fill(uint32_t write, uint64_t first, uint64_t end, char *data);
void truth_write_end(uint32_t write, uint64_t first, uint64_t end, uint64_t start, int rc,
                     bool is_durable);

/* Fails the run if `data` (NULL: zeros) is not what a read that began at `start` and ends now may find. */
void truth_read(uint64_t first, uint64_t end, const char *data, uint64_t start, const char *who);

void truth_flushed(uint64_t start);
/* Fails the run if a crash now could lose something: data_of() gives the content of a cell in the store. */
void truth_check_durable(const char *(*data_of)(uint64_t cell), const char *when);
/* The daemon died.  With `data_of`: nothing can change any more, so what is there is what it is. */
void truth_crash(const char *(*data_of)(uint64_t cell));
/* What is in the store is all there is (no request is under way). */
void truth_check_stored(const char *(*data_of)(uint64_t cell), const char *when);

#endif
