/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the cache share; nobody else's.  The theory is in cache.c. */
#ifndef CORE_CACHE_IMPL_H
#define CORE_CACHE_IMPL_H

#include "cache.h"

#include "base/clock.h"
#include "evict.h"
#include "frames.h"
#include "readahead.h"

#include <pthread.h>
#include <stdatomic.h>

#define SLOT_NONE UINT32_MAX
#define ZEROS_MAX 256u
#define FAILED_PAUSE_NS (5 * NS_PER_S)
#define NO_MEMORY_PAUSE_NS (100 * NS_PER_MS)
/* Then the block goes first that has been due for longest. */
#define OVERDUE_NS NS_PER_S
#define PICK_STEPS 64u
/* Writers are slowed from three quarters of the dirty limit on, so that they never find it reached. */
#define SLOW_FROM(limit) ((limit) - (limit) / 4)
#define SLOW_LIMIT_MIN 16u
#define SLOW_MIN_NS (100000ull)
#define SLOW_MAX_NS (NS_PER_S)

/* Which list an entry is in; those of dirty ones are in the order of `since`. */
enum list {
    LIST_NONE,
    LIST_FULL,   /* every sector is dirty: nothing to wait for */
    LIST_SOME,   /* oldest first */
    LIST_HOT,    /* likewise; with more patience */
    LIST_FAILED, /* likewise */
    LIST_AHEAD,  /* not dirty: fetched ahead and not read, in the order in which they came */
    LIST_COUNT,
};

/* A request that waits. */
struct waiter {
    struct store_req *req;
    struct waiter *next;
    struct cache *cache;
    struct timer timer;
    bool needs_data;   /* waits for the fetch, and fails with it */
    bool is_admitted;  /* has been slowed */
    struct gate *gate; /* that it has waited at last */
    uint64_t came_ns;
    int rc;
};

/* First in, first out: a ring. */
struct queue {
    struct waiter *last;
};

/* Where requests wait for room.  They are called one by one: the next one when the one before has tried. */
struct gate {
    struct queue queue;
    bool is_calling;
};

struct entry {
    uint64_t since; /* dirty */
    /* dirty: since when, or when storing it failed; clean: stored, or used if idle_ns is set */
    uint64_t at_ns;
    struct queue waiting;
    uint32_t block;
    uint32_t hash_next;                /* or the next free slot */
    uint32_t next, prev;               /* in its dirty list */
    uint32_t frame, fetched;           /* FRAME_NONE: none */
    uint32_t valid_count, dirty_count; /* sectors */
    uint32_t dirty_s;                  /* when it became dirty, in seconds of the clock */
    uint16_t readers;
    uint8_t list;
    bool is_used : 1; /* the slot */
    bool is_changing : 1;
    bool is_wanted : 1; /* a writer waits for the readers: no new ones */
    bool is_fetching : 1;
    bool has_arrived : 1; /* `fetched` holds the block */
    bool is_dirty : 1;
    bool is_flying : 1;
    bool is_hot : 1;        /* dirty again soon after it was stored */
    bool is_parked : 1;     /* dirty under a zero that is not stored yet */
    bool is_completing : 1; /* fetched to be stored */
    bool is_due : 1;        /* dirty and fetched to be stored: goes first */
    bool is_ahead : 1;      /* fetched ahead and not read yet */
    bool is_evictable : 1;  /* evict may choose it */
};

_Static_assert(sizeof(struct entry) <= 72,
               "with what evict, frames and the hash table need at most 128 bytes a block");

/* One request to the next layer. */
struct trip {
    struct store_req below; /* its `valid` map follows the trip */
    struct cache *cache;
    struct trip *next;
    uint32_t slot, frame;
    uint64_t since;
    bool is_ahead;
    bool is_zeros; /* of a block that is known to be zeros: nobody is asked */
};

struct zero {
    struct trip trip;
    struct zero *next;
    uint64_t first, last;
    uint64_t since;
    uint64_t pending; /* busy entries in its range */
    uint64_t due_ns;  /* failed: when it is tried again */
    uint64_t came_s;  /* in seconds of the clock */
    bool is_sent;     /* once */
    bool is_under_way;
    bool has_parked;       /* entries wait for it, or did */
    struct waiter *waiter; /* who asked, until it is sent */
    struct queue waiting;
};

struct flush {
    struct flush *next;
    struct waiter *waiter;
    uint64_t since; /* all until then is stored at once */
    uint64_t only;  /* it waits for this number alone; 0: for all until then */
    uint64_t left;  /* unsaved things that it waits for */
    int rc;
};

struct cache {
    struct store store;
    struct cache_config config; /* these: fixed after cache_new */
    struct store *next;
    struct pool *pool;
    uint32_t sectors;   /* in a block */
    uint32_t map_words; /* of one map */
    uint32_t slot_count, reserve;
    uint32_t dirty_max;
    uint32_t hash_shift;

    atomic_bool is_ending; /* fetches ahead are to end */
    pthread_mutex_t lock;  /* guards the rest; before consistency.lock */
    pthread_cond_t idle;   /* no task of ours is queued or running; a fetch has ended */
    struct entry *entries;
    uint64_t *maps; /* for each slot: valid, then dirty */
    uint32_t *buckets;
    uint32_t free_slot, free_count; /* the first of them */
    struct frames *frames;
    struct evict *evict;
    struct readahead readahead;
    struct gate starving, stopped, zeros_full; /* no frame; too many dirty; too many zeros */
    struct {
        uint32_t first, last;
        uint32_t near; /* where the last one went that was not the newest */
    } dirty[LIST_COUNT];
    uint32_t dirty_count; /* entries */
    uint32_t flight_count;
    uint32_t completing_count; /* entries */
    uint32_t ahead_count;      /* fetches ahead under way */
    uint32_t fetch_count;      /* fetches under way; nobody may wait for one any more */
    uint32_t idle_count;       /* entries that are evictable and have no readers */
    uint32_t unread_count;     /* entries with is_ahead */
    uint64_t unsaved;          /* see FLUSH */
    uint64_t sequence;         /* the last number given */
    struct zero *zeros;        /* newest first */
    uint32_t zero_count;
    struct flush *flushes;
    uint64_t admit_ns;     /* the last slowed writer goes on */
    uint64_t drained_ns;   /* the last flight ended */
    uint64_t drain_gap_ns; /* time from one flight's end to the next one's, smoothed */
    uint64_t stored_ns;    /* when something was stored last, or all was */
    bool has_failed;       /* something could not be stored; `drive` does not know yet */
    bool is_read_only;     /* -EROFS came from below: nothing will ever be stored again */
    bool is_spilled; /* what is unsaved is in other hands, or on the way there: nothing is sent */
    bool is_driving, drive_again, drive_is_queued;
    bool timer_is_set, idle_timer_is_set;
    struct task drive_task;
    struct timer timer, idle_timer;

    struct counter *read_hits, *read_misses, *write_hits, *write_misses, *evictions,
        *partial_fetches;
    struct counter *ahead_fetched, *ahead_used, *ahead_wasted, *stored, *store_failures, *copies;
    struct counter *slowed, *stopped_writes, *starved;
};

/* What to do when the lock is given back. */
struct todo {
    struct queue again; /* requests that start over */
    struct queue serve; /* reads that hold their block as readers */
    struct queue ended; /* requests that are done, with rc */
    struct trip *send, **send_last;
    bool drive;
};

/* All of these are called with cache->lock held, unless they say something else. */

/* ---- cache_entries.c */

void queue_push(struct queue *queue, struct waiter *waiter);
struct waiter *queue_pop(struct queue *queue);
void queue_push_first(struct queue *queue, struct waiter *waiter);
void queue_move(struct queue *from, struct queue *to);

/* Give back the lock and do what has come up. */
void leave(struct cache *cache, struct todo *todo);
/* Takes `waiter`, which may be NULL.  Without the lock. */
void request_end(struct store_req *req, struct waiter *waiter, int rc);
/* Task of a waiter.  Without the lock. */
void start_over(struct task *task);
/* Submit it when the lock is given back. */
void send_later(struct todo *todo, struct trip *trip);
/* Gives one for the request, or answers it (out of memory): then NULL, and the lock is given back. */
struct waiter *waiter_of(struct cache *cache, struct store_req *req, struct waiter *waiter,
                         struct todo *todo);
/* Keep the request in a queue, and give back the lock. */
void wait_in(struct cache *cache, struct queue *queue, struct store_req *req, struct waiter *waiter,
             bool needs_data, struct todo *todo);
/* The same, for a frame. */
void starve(struct cache *cache, struct store_req *req, struct waiter *waiter, struct todo *todo);
/* The same, at a gate; whoever waited there before goes in front.  Counted by `counter`, once. */
void wait_at(struct cache *cache, struct gate *gate, struct store_req *req, struct waiter *waiter,
             struct counter *counter, struct todo *todo);

uint64_t *valid_map(const struct cache *cache, const struct entry *entry);
uint64_t *dirty_map(const struct cache *cache, const struct entry *entry);
/* Sets the bits [first, end); returns how many were not set. */
uint32_t map_set(uint64_t *map, uint32_t first, uint32_t end);
/* The same for those that are set in `more`. */
uint32_t map_add(uint64_t *map, const uint64_t *more, uint32_t words);
void set_valid(struct cache *cache, struct entry *entry, uint32_t first, uint32_t end);
bool is_complete(const struct cache *cache, const struct entry *entry);
/* Is every sector valid that [offset, offset + bytes) touches? */
bool covers(const struct cache *cache, const struct entry *entry, uint32_t offset, uint32_t bytes);
/* Would writing there need what is stored: does it begin or end inside a sector that is not valid?  NULL: none is. */
bool tears_sector(const struct cache *cache, const struct entry *entry, uint32_t offset,
                  uint32_t bytes);

uint32_t slot_of(const struct cache *cache, const struct entry *entry);
/* NULL: not cached. */
struct entry *entry_of(const struct cache *cache, uint64_t block);
/* For who has a frame for it. */
struct entry *entry_new(struct cache *cache, uint64_t block);
void entry_drop(struct cache *cache, struct entry *entry);
bool is_busy(const struct entry *entry);
/* Asserts what must be true of it when nobody is in the midst of a change. */
void entry_check(const struct cache *cache, const struct entry *entry);
/* Let `evict` have it if it may go, and only then. */
void entry_update_evictable(struct cache *cache, struct entry *entry);
void reader_begin(struct cache *cache, struct entry *entry);
bool reader_end(struct cache *cache, struct entry *entry); /* the last one */

/* FRAME_NONE when there is none now. */
uint32_t frame_get(struct cache *cache, bool is_completing);

/* ---- cache_fetch.c */

/* NULL: out of memory.  A WRITE is of what is valid now. */
struct trip *trip_new(struct cache *cache, enum store_op op, const struct entry *entry,
                      uint32_t frame, void (*done)(struct store_req *below));
/* Takes the frame.  False: out of memory. */
bool fetch_start(struct cache *cache, struct entry *entry, uint32_t frame, struct todo *todo);
/* For a request that needs more of the block than there is: have it fetched, now or when it has landed.  Gives the entry
 * to wait in (needs_data), which may be another one than before.
 * NULL: the request waits already, or was answered, and the lock is given back. */
struct entry *fetch_for(struct cache *cache, struct entry *entry, struct store_req *req,
                        struct waiter **waiter, struct todo *todo);
/* The block is wanted. */
void note_used(struct cache *cache, struct entry *entry);
/* The entry may be less busy than before: whatever can go on with it does.  The last thing that is done with
 * an entry, which may be gone afterwards; may give the lock away for a while. */
void entry_settle(struct cache *cache, struct entry *entry, struct todo *todo);

/* ---- cache_writeback.c */

void list_remove(struct cache *cache, struct entry *entry);
/* A dirty entry that could be stored is in a list, and one that was fetched ahead; no other one. */
void entry_list(struct cache *cache, struct entry *entry);
void entry_dirty(struct cache *cache, struct entry *entry);
void entry_not_dirty(struct cache *cache, struct entry *entry);
/* Storing it failed; it is dirty, counted as unsaved anew, and tried again later. */
void store_failed(struct cache *cache, struct entry *entry, uint64_t since, int rc,
                  struct todo *todo);

/* Answer who waits when what is unsaved now is saved, or `only` what has that number, if it is not 0. */
void flush_add(struct cache *cache, struct waiter *waiter, uint64_t only, struct todo *todo);
/* What was unsaved since that number is saved, or has failed. */
void unsaved_end(struct cache *cache, uint64_t since, int rc, struct todo *todo);
/* A zero drops a dirty entry: whoever waits for that waits for the zero from now on. */
void unsaved_moves(struct cache *cache, const struct entry *entry, struct zero *zero);

/* May another entry become dirty now?  True: the request waits, or was answered, and the lock is given back. */
bool must_wait_to_dirty(struct cache *cache, struct store_req *req, struct waiter *waiter,
                        struct todo *todo);
/* Does a flush wait for what is unsaved since that number? */
bool is_flushed(const struct cache *cache, uint64_t since);
/* Should it be stored before the timer runs, or is there no timer yet? */
bool is_due_now(const struct cache *cache, const struct entry *entry);
/* Tasks: store what is due.  Without the lock. */
void drive_run(struct task *task);
void timer_run(struct task *task);

/* ---- cache_zeros.c */

/* The zero that covers any block of [first, last]; the one that is not sent yet, if there is one. */
struct zero *zero_covering(const struct cache *cache, uint64_t first, uint64_t last);
/* Without the lock. */
void zero_start(struct cache *cache, struct store_req *req, struct waiter *waiter);
/* An idle entry goes, because of the zero that waits for it or has just begun. */
void zero_take(struct cache *cache, struct zero *zero, struct entry *entry);
/* Nothing of its range is cached any more: it is sent, and who asked can go on. */
void zero_ready(struct cache *cache, struct zero *zero, struct todo *todo);
/* Those that failed.  *due_ns becomes when the next one is tried again, if that is earlier. */
void retry_zeros(struct cache *cache, uint64_t *due_ns, struct todo *todo);

/* ---- cache.c; without the lock */

/* `waiter`: it has waited, and starts over. */
void request_start(struct cache *cache, struct store_req *req, struct waiter *waiter);
/* A read that is counted in its entry's readers. */
void serve_read(struct cache *cache, struct store_req *req, struct waiter *waiter);
/* With the lock: nothing of ours is at the next layer, and nothing is about to be sent.  `idle` tells. */
bool is_at_rest(const struct cache *cache);

#endif
