/* SPDX-License-Identifier: Apache-2.0 */
/* How rows ask: for this directory alone.
 *
 * A row is a function, and a line in the table at the end of its file: what must be true, and the words of plugin.h that
 * demand it.  It opens a store, or a coder (coder.h), makes requests of it and looks at what came:
 *
 *     struct store *store = store_open(check, plain);
 *
 *     if (store == NULL || !put_text(store, "a", "a"))
 *         return;                                                 // which has failed the row, and said why
 *     asked_expect(asked_get(store, "none", 8), BD_ABSENT, "GET");
 *
 * What it takes from here (memory, requests, stores) is given back when it returns, so a row that has found something wrong
 * just returns.  It fails once check_fail was called.  It must ask nothing that the contract does not say: where that leaves
 * a choice, either answer passes.  tests/check has a way to be wrong for each row, which fails that one.
 *
 *   check.c    the parent: starts a child for each group of rows, prints TAP
 *   child.c    a child: reports, loads, asks
 *   host.c     the host that the plugin sees; speech.c what it says to it; results.c what it answers
 *   store.c    its backend, opened; ask.c requests to it; coder.c its codecs
 *   command.c  what its user gave to be run
 *   memory.c   guarded memory and contents; threads.c threads; files.c descriptors; exports.c an ELF file
 *   tidy.c     removes what was made
 *   all others a group of rows each */
#ifndef CORE_CHECK_IMPL_H
#define CORE_CHECK_IMPL_H

#include "attrs.h"
#include "base/pool.h"
#include "base/util.h"
#include "check.h"
#include "coding.h"
#include "plugin.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#define CHECK_PREFIX "bucketdisk-check-" /* of the names of all objects that are made */
#define CHECK_LAYERS_MAX 8
#define CHECK_SALT "bucket/prefix/"
#define CHECK_PASSPHRASE "correct horse battery staple"
#define CHECK_PLAINTEXT "this plaintext must reach no log" /* that is what texts are made of */
#define CHECK_KEY_BYTES 64u

/* ------------------------------------------------------------------ the runner: check.c, child.c */

struct check;

struct check_row {
    const char *what; /* what must be true */
    void (*ask)(struct check *check);
    const char *contract; /* words of plugin.h that demand it, as they stand there */
};

/* One child process. */
struct check {
    const struct check_config *config;
    int report;                 /* to the parent */
    unsigned group;             /* its number */
    unsigned skip;              /* rows that a child before this one has asked */
    unsigned ordinal;           /* of the row at work, from 1 */
    bool is_failed, has_quoted; /* the row; and what the plugin said of it */
    uint64_t row_began_ns;
    atomic_bool has_made;        /* something in the store */
    bool is_held_up;             /* the store may answer nothing, for it was not told to go on */
    struct check_memory *memory; /* of the row */
    struct store *stores;        /* of the row */
    struct check_host *hosts;    /* all that were made */
    struct pool *pool;           /* what runs timers and ends of child requests; made when needed */

    /* from check_load on */
    struct plugins plugins;
    const struct plugin *plugin; /* the one that is checked */
    struct options *options;
    const char *backend, *location; /* NULL: not given */
    /* What is checked now. */
    const struct bd_codec *codec;
    const struct bd_keywrap *keywrap;
};

/* The groups, in their order; one is only asked if the plugin has something of its kind. */
void check_loading(struct check *check);
void check_options(struct check *check);
void check_opening(struct check *check);
void check_places(struct check *check);
void check_objects(struct check *check);
void check_labels(struct check *check);
void check_names(struct check *check);
void check_requests(struct check *check);
void check_conditions(struct check *check);
void check_listings(struct check *check);
void check_busy(struct check *check);
void check_stalling(struct check *check);
void check_vanishing(struct check *check);
void check_codecs(struct check *check);
void check_blocks(struct check *check);
void check_damage(struct check *check);
void check_keywraps(struct check *check);
/* A row of check_loading. */
void check_exports(struct check *check);
/* The last group, asked also when stopped: removes what was made. */
void check_tidy(struct check *check);
/* A file, or a directory and all in it. */
void check_remove(const char *path);

/* Ask these rows, "SUBJECT: WHAT" each; subject may be "". */
void check_rows(struct check *check, const char *subject, const struct check_row *rows,
                unsigned count);
/* The row fails, and why: what was expected, what came. */
void check_fail(struct check *check, const char *format, ...) BD_PRINTF(2, 3);
/* The row cannot be asked: it counts as passed unless it has failed. */
void check_skip(struct check *check, const char *format, ...) BD_PRINTF(2, 3);
/* What fails it is not what its words of the contract are about: they are not quoted. */
void check_quote_nothing(struct check *check);
/* A line beside the row. */
void check_note(struct check *check, const char *format, ...) BD_PRINTF(2, 3);
/* The row has failed, and this process is of no use any more: a request that never ended is still the plugin's. */
_Noreturn void check_abandon(struct check *check);
/* Before something is made in the store: it will have to be removed.  Any thread. */
void check_makes(struct check *check);
/* Nothing can be asked. */
_Noreturn void check_refuse(struct check *check, const char *format, ...) BD_PRINTF(2, 3);
#define CHECK_ABANDONED 77 /* a child's status then */
/* Load all plugins and set the options; once for each child. */
void check_load(struct check *check);
void check_unload(struct check *check);
/* What the daemon finds when it is told of the plugin's file. */
int check_search(const struct check *check, struct plugins *plugins, struct error *why);
const struct plugin *check_found(const struct check *check, const struct plugins *plugins);

/* ------------------------------------------------------------------ memory: memory.c */

/* Zeroed. */
void *check_alloc(struct check *check, size_t bytes);
/* Zeroed bytes behind which nothing may be touched: whoever does crashes.  Aligned only if `bytes` is. */
void *check_guarded(struct check *check, size_t bytes);
/* The whole pages that check_guarded gave become untouchable, or usable again. */
void check_lock(void *guarded, size_t bytes, bool is_locked);
void check_memory_free(struct check *check);

enum check_content { CONTENT_ZEROS, CONTENT_TEXT, CONTENT_NOISE };
extern const char *const check_content_names[3];
/* The same for the same seed. */
void check_fill(void *out, size_t bytes, enum check_content content, unsigned seed);

#define CHECK_CANARY_BYTES 64u
/* Bytes behind something, which must stay as they are. */
void check_canary_set(void *at);
bool check_canary_is_whole(const void *at);

/* ------------------------------------------------------------------ threads: threads.c */

/* On `count` threads at once, each with its own of `args`, of `arg_bytes` each; until all have ended. */
void check_threads(struct check *check, unsigned count, void (*run)(void *arg), void *args,
                   size_t arg_bytes);

#define THREADS_SEEN_MAX 256u
/* Those that this process has. */
struct threads_seen {
    unsigned count;
    int ids[THREADS_SEEN_MAX];
};
void check_threads_see(struct threads_seen *out);
unsigned check_thread_count(void);
/* How many of those that were made since do not block the signals that stop a daemon, or tell it something. */
unsigned check_threads_interruptible(const struct threads_seen *before);

/* ------------------------------------------------------------------ commands: command.c */

/* By a shell; one that fails ends the check.  `option`: where it was given. */
void check_command(struct check *check, const char *option, const char *command);
/* One that fails is noted: false. */
bool check_command_try(struct check *check, const char *option, const char *command);
/* The store answers nothing; it goes on.  Whoever ends in between has that done by the next child. */
void check_stall(struct check *check);
void check_resume(struct check *check);
/* If it does not, that is noted, and check->is_held_up stays. */
void check_resume_try(struct check *check);

/* ------------------------------------------------------------------ files: files.c */

#define FILES_SEEN_MAX 1024
/* The descriptors that this process has open. */
struct files_seen {
    bool is_open[FILES_SEEN_MAX];
};
void check_files_see(struct files_seen *out);
/* How many were opened since, and what one of them is. */
unsigned check_files_new(const struct files_seen *before, char one[200]);

/* ------------------------------------------------------------------ the host: host.c */

/* What one instance sees of us, and what is noted of it. */
struct check_host {
    struct bd_host table; /* first: the plugin's pointer to it is a pointer to us */
    unsigned char canary[CHECK_CANARY_BYTES]; /* where a longer table goes on */
    struct check *check;
    unsigned char key[CHECK_KEY_BYTES];
    const char *passphrase; /* NULL: the user gave none */
    bool has_key;           /* the volume has one */
    bool has_statistics;    /* the volume has them */
    atomic_bool is_closed;  /* nothing may be called any more */
    atomic_uint calls_after_close;
    atomic_uint calls;  /* of any service */
    atomic_uint errors; /* lines at BD_ERROR */
    struct check_host *next;
};

/* Of all instances of this process: made and not ended. */
struct check_counts {
    atomic_int threads, secrets, children;
    atomic_int timers; /* set, and not begun */
};
extern struct check_counts check_counts;

/* `extra` bytes are added to the size that the table says.  Lives as long as the process. */
struct check_host *check_host_new(struct check *check, uint32_t extra);
void check_hosts_free(struct check *check);
struct pool *check_pool(struct check *check);

/* ------------------------------------------------------------------ what it says: speech.c */

/* What a plugin says is searched for secrets, and a complaint is kept.  NULL: forget what it said. */
void check_said(const char *text, bool is_complaint);
const char *check_said_last(void);
/* From now on this is a secret; a key in any spelling of its bytes in hexadecimal.  `what` is kept. */
void check_secret(const char *what, const char *text);
void check_secret_key(const char *what, const unsigned char *key, size_t bytes);
/* If a secret was said in this process the row fails, and shows where, blacked out.  `what` it is; NULL: as was said of it. */
void check_expect_no_leak(struct check *check, const char *what);

/* ------------------------------------------------------------------ backends: store.c */

/* One opened backend. */
struct instance {
    struct check *check;
    const struct plugin *plugin;
    struct check_host *host;
    void *handle;
    struct bd_backend_info *info;
    unsigned char *info_canary; /* behind it; NULL: nothing may be touched there */
    struct bd_lower lower;
    uint32_t extra;
    bool is_open;
    enum bd_status status; /* of open */
};

/* The stack that --backend names, outermost first: that is the plugin that is checked. */
struct store {
    struct instance layers[CHECK_LAYERS_MAX];
    unsigned layer_count;
    struct store *next;
};

struct store_how {
    uint32_t extra;  /* so many bytes longer than the plugin knows are all structs of the host */
    bool is_guarded; /* the info ends where nothing may be touched */
    bool has_no_statistics;
    const char *location; /* NULL: as given */
};

/* On failure the row has failed: NULL.  Where nothing of `how` is what the row is about, its words are not quoted then. */
struct store *store_open(struct check *check, struct store_how how);
/* On failure store->layers[0].is_open is false. */
struct store *store_try(struct check *check, struct store_how how);
void store_close(struct store *store);
/* At the end of a row. */
void stores_close(struct check *check);
static inline const struct bd_backend_info *
store_info(const struct store *store)
{
    return store->layers[0].info;
}
/* The innermost plugin's row that says where; NULL: it has none. */
const struct bd_option *store_location_row(struct check *check);
/* Its value. */
const char *store_location(struct check *check);

/* ------------------------------------------------------------------ requests: ask.c, results.c */

struct entry {
    uint64_t bytes;
    bool has_tag;
    char name[BD_NAME_BYTES_MAX + 1];
    char tag[BD_TAG_BYTES_MAX + 1];
};

struct asked;

/* What the plugin sees of a request; its scratch is behind it. */
struct shown {
    struct bd_io io;                          /* first */
    unsigned char canary[CHECK_CANARY_BYTES]; /* where a longer one goes on */
    struct asked *owner;
};

/* A request.  It lives as long as the process: a plugin may complete it again. */
struct asked {
    struct bd_io *io;
    struct shown *shown;
    struct instance *instance;
    atomic_int completions;
    enum bd_status status;
    uint64_t ended_ns;
    const char *wrong;        /* a result that no plugin may give; NULL: none */
    struct bd_io sent;        /* as it was submitted */
    bool is_changed;          /* and was not when it was completed */
    bool locks_when_complete; /* everything that the plugin sees */
    struct error why;
    bool has_tag, has_encoding;
    char tag[BD_TAG_BYTES_MAX + 1];
    char encoding[BD_ENCODING_BYTES_MAX + 1];
    struct attrs attrs;
    struct entry *entries;
    unsigned entry_count, entry_room;
    unsigned entries_wanted; /* then it is told that they are enough; 0: all */
    unsigned calls_after_enough;
    void *data; /* of a GET, with a canary behind its cap */
    /* of a child */
    struct check_host *parent; /* NULL: it is none */
    bd_io_done *done;
    void *done_arg;
    struct task task;
    struct asked *next; /* of all */
};

static inline struct asked *
asked_of(const struct bd_io *io)
{
    return ((struct shown *)(uintptr_t)io)->owner;
}

typedef char object_text[200];

/* "bucketdisk-check-GROUP-ROW-LEAF". */
const char *name_of(const struct check *check, const char *leaf, object_text out);
/* An empty one.  `shown`: zeroed, with room for the scratch and a canary; NULL: it is allocated. */
struct asked *asked_new(struct instance *instance, struct shown *shown);
/* An empty request for an object of the row's own. */
struct asked *asked_for(struct store *store, uint32_t op, const char *leaf);
struct asked *asked_put(struct store *store, const char *leaf, const void *body, size_t bytes);
struct asked *asked_get(struct store *store, const char *leaf, size_t cap);
struct asked *asked_list(struct store *store, const char *leaf, const char *after_leaf,
                         uint32_t limit);
/* All of a listing, added to its first page, which this is; a page may have less than its limit.  False: the row has failed. */
bool asked_list_whole(struct asked *first);
/* What the plugin sees of it stands in pages of its own, as do body and data. */
struct asked *asked_paged(struct store *store, uint32_t op, const char *leaf, size_t bytes);
/* A request that is not completed ends the child; its row has failed. */
void asked_submit(struct asked *asked);
enum bd_status asked_wait(struct asked *asked);
enum bd_status asked_run(struct asked *asked);
/* Wait; what was not done (RETRY, BUSY) is asked again, as the daemon does, until a third of the row's time is over. */
enum bd_status asked_settle(struct asked *asked);
/* Run it and let it settle; any other status fails the row: false. */
bool asked_expect(struct asked *asked, enum bd_status status, const char *what);
bool asked_expect_ended(struct asked *asked, enum bd_status status, const char *what);
/* The GET gave these bytes, as many; else the row fails: false. */
bool asked_gave(struct asked *asked, const void *bytes, size_t count, const char *what);
/* Put; get what is there, or is not.  False: the row has failed. */
bool put_text(struct store *store, const char *leaf, const char *text);
bool expect_text(struct store *store, const char *leaf, const char *text);
const char *status_word(enum bd_status status);
const char *op_word(uint32_t op);
void asked_free_all(void);

/* The host table's half that works on requests. */
void asked_complete(struct bd_io *io, enum bd_status status);
void asked_error(struct bd_io *io, const char *format, ...) BD_PRINTF(2, 3);
void asked_attr_add(struct bd_io *io, const char *name, const void *value, size_t value_bytes);
void asked_encoding_set(struct bd_io *io, const char *encoding);
void asked_tag_set(struct bd_io *io, const char *tag);
int asked_list_add(struct bd_io *io, const char *name, uint64_t object_bytes, const char *tag);
struct bd_io *asked_child_new(const struct bd_host *host, const struct bd_lower *lower,
                              const struct bd_io *like);
void asked_child_submit(struct bd_io *child, bd_io_done *done, void *arg);
void asked_child_result(const struct bd_io *child, struct bd_io *to);
void asked_child_free(struct bd_io *child);

#endif
