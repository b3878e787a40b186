/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the tier share; nobody else's.  The theory is in tier.c. */
#ifndef CORE_TIER_IMPL_H
#define CORE_TIER_IMPL_H

#include "tier.h"

#include <pthread.h>

/* A request from above. */
struct job {
    struct tier *tier;
    struct store_req *req;
    struct timer timer; /* its task is what comes next */
    struct store_req below;
    struct store_version version;
    uint64_t file_version;
    uint64_t came_ns;
    uint64_t rooms;   /* tier->rooms before the file was asked for room */
    struct job *next; /* in the list of those who wait */
    char *buffer;     /* a block */
    uint64_t *valid;  /* of the file's block, or of `buffer` */
    bool is_slowed;
    void (*go_on)(struct job *job); /* when what it waits for has come, with rc; without the lock */
    struct job *hold_next;          /* in the list of those who hold */
    uint64_t first, last;           /* these blocks */
    unsigned held_up;               /* by so many flights */
    uint64_t passed;                /* the first position that was passed over for it */
    uint64_t position;              /* who waits for the queue: for what is before that */
    unsigned left;                  /* a flush's parts */
    int rc;                         /* of who waits for positions: what could not be sent */
    int file_rc;                    /* a flush's, of the file */
};

struct job_list {
    struct job *first, *last;
};

/* An element of the queue of what is to be sent. */
struct unsent {
    uint32_t block; /* NO_BLOCK: a position, and nothing more */
    uint32_t since; /* in ticks of the clock */
};

#define NO_BLOCK UINT32_MAX

enum flight_state {
    FLIGHT_UNDER_WAY,
    FLIGHT_WAITS,  /* until retry_ns, or for who waits for its position */
    FLIGHT_PARKED, /* until nobody holds the block */
};

/* A block that has left the queue, and is not stored. */
struct flight {
    struct tier *tier;
    struct flight *next;
    struct flight *start_next;
    struct task task;
    struct store_req below;
    struct store_version stored;
    enum flight_state state;
    bool is_asked;       /* the store */
    bool is_damage_told; /* that the file has it no more */
    uint32_t block;
    uint32_t since;
    uint64_t position;       /* in the queue */
    uint64_t again_position; /* of what was written during the flight; 0: nothing */
    uint64_t retry_ns;
    uint64_t version; /* of the file's block that is sent */
    char *data;
};

struct tier {
    struct store store;
    struct tier_config config; /* these: fixed after tier_new */
    struct store *next;
    struct pool *pool;
    struct pool *workers; /* who waits for the local disk */
    uint32_t sectors, map_words;
    uint64_t initial_blocks; /* in the file when it was opened */

    pthread_mutex_t lock; /* guards the rest; before cachefile's */
    pthread_cond_t idle;
    struct unsent *ring; /* the queue: ring_size elements, a power of two */
    uint64_t ring_size;
    uint64_t head,
        tail; /* positions, from 1 on: of the first element, and of the next one to come */
    uint64_t next_position; /* of the element that is looked at next; those before it are held */
    uint64_t promised;      /* elements that there must be room for */
    struct flight *flights;
    unsigned flights_count, flying, driving;
    struct job *flushes;     /* who waits for positions */
    struct job_list waiting; /* who waits for room */
    struct job *holders;
    uint64_t stored_ns;    /* when something was stored last, or there was nothing to be stored */
    uint64_t drained_ns;   /* the last flight ended, or the first one began */
    uint64_t drain_gap_ns; /* time from one flight's end to the next one's, smoothed */
    bool is_ending, is_stopped;
    bool is_lost;                     /* -EROFS came from below */
    bool has_failed;                  /* storing something did, and since then nothing was stored */
    bool file_failed;                 /* nothing can be put into the file any more */
    bool is_full;                     /* the file had no room, and has got none since */
    uint64_t rooms;                   /* how often it got some */
    uint64_t cleaned, cleaned_synced; /* how often a dirty block became clean; how often durably */
    bool timer_is_set;
    struct timer timer;

    struct counter *hits, *misses, *compared, *changed, *kept, *stored, *store_failures, *waits;
};

/* ---- tier.c */

struct job *job_of(struct task *task);
/* Run it on a worker that may wait for the local disk. */
void job_run(struct job *job, void (*run)(struct task *task));
void job_end(struct job *job, int rc);
/* On a worker.  When it fails, so has the file. */
int tier_sync_file(struct tier *tier);
/* Of a file into which nothing can be put any more: end when all that is in the queue now is stored, and the file removed. */
void end_when_removed(struct job *job);
void list_push(struct job_list *list, struct job *job);
struct job *list_pop(struct job_list *list);
/* Copy the sectors whose bits in `map` are `which`. */
void sectors_copy(const struct tier *tier, char *to, const char *from, const uint64_t *map,
                  bool which);

/* ---- tier_writes.c */

/* On a worker. */
void write_run(struct task *task);
void zero_begin(struct job *job);
/* With the lock: the file may have room. */
void room_made(struct tier *tier);
/* With the lock: may writers who waited for room try again? */
bool is_room_now(struct tier *tier, uint64_t now);
/* Without the lock: from now on the file is only read. */
void tier_file_failed(struct tier *tier, const struct error *why);

/* ---- tier_sending.c */

/* With the lock: room for that many elements more is promised.  -ENOMEM. */
int queue_promise(struct tier *tier, unsigned count);
/* With the lock, for a promise: the block is dirty in the file, and was so before, or not. */
void queue_add(struct tier *tier, uint64_t block, bool was_dirty);
/* With the lock: one of them is not needed. */
void queue_unpromise(struct tier *tier);
/* With the lock, which is given back: whatever can go on does. */
void drive(struct tier *tier);
void tier_timer_run(struct task *task);
/* Without the lock: go on when all that is in the queue now is stored. */
void await_sent(struct job *job, void (*go_on)(struct job *job));
/* Without the lock: go on when nothing of first..last is on its way, nor will be. */
void hold(struct job *job, void (*go_on)(struct job *job));
void hold_end(struct job *job);
/* With the lock: when the oldest of what is not stored was written; UINT64_MAX: all is stored. */
uint64_t oldest_ns(const struct tier *tier);

#endif
