/* SPDX-License-Identifier: Apache-2.0 */
/* bucketdisk/plugin.h: the whole contract between bucketdisk and its plugins.
 *
 * A plugin is one shared object that exports one function, bd_plugin_query().  It returns a
 * constant descriptor: who the plugin is, its options, and what it provides: at most one
 * backend (a store of objects), any number of codecs (compression, encryption), any number of
 * key wraps (passphrase to key).  What the plugin needs from the host arrives as a table of
 * functions, `struct bd_host`; a plugin has no undefined symbol of ours.
 *
 *   bd_plugin_query(host)                 once, before any thread; no side effects
 *     check(options)                      may reject a combination of options
 *       backend->open(host, options, lower, &handle)      one instance; threads may start here
 *         backend->info(handle, &info)    once, right after open
 *         backend->submit(handle, io)     any thread, many at once
 *           host->complete(io, status)    any thread, exactly once for each submit
 *       backend->close(handle)            one thread, nothing in flight; nothing is called after
 *
 * VERSIONS.  Every table begins with `struct bd_head`.  `abi_major` must match exactly.
 * Within a major, members are only appended: the host copies min(theirs, ours) bytes of a table
 * into a zeroed struct of its own, so a member that one side does not know is absent (zero),
 * which always means "as before the member existed".  Members are never reordered, retyped
 * or reused.  Arrays of structs carry their stride.  Structs that the host passes carry their
 * `size`; before it uses a member newer than abi_minor 0, a plugin asks BD_REACHES(type, size,
 * member).
 * bd_head, bd_bytes and bd_buf never grow.  `reserved` members are 0: the host refuses a table in which
 * one is not, a plugin does not look at them.
 *
 * Numbers have no size to look at.  abi_minor counts the additions, so for them, and for them
 * alone, a plugin looks at host->abi_minor; each that comes later says since which minor it is.
 *   what the host does not know          it does
 *   a capability, an unused member       ignores it: what it does not know it does not ask for
 *   a flag, a trait, an option's type    refuses the plugin: it could change what the rest means
 *   a status                             takes it for BD_FATAL, so give none that it does not know
 * A plugin completes an op that it does not know as BD_UNSUPPORTED, and ignores such flags of bd_coding.
 * So whatever changes what a call means comes with a capability or a trait by which the plugin says
 * that it heeds it, and is not asked of others.
 *
 * THREADS, in these words:
 *  1. submit may be called from any thread, concurrently, also before earlier requests
 *     complete.  It returns promptly: no network, no disk, no sleep.
 *  2. complete may be called from any thread, also from inside submit.  It never calls back into
 *     the plugin and never blocks: the host only queues.
 *  3. The daemon forks before any open(), so threads may be made in open().
 *  4. Everything that submit took completes by its deadline, at shutdown too.  From then on nothing
 *     that changes the store is begun or goes on, also if the process was stopped meanwhile:
 *     somebody else may have the volume by then.  To a server's client that means that the last byte of
 *     such a request leaves by then or never; for what the server does later there is --settle-time.
 *     To complete some milliseconds late is no harm.
 *  5. close is called on one thread with nothing in flight.  Nothing is called after it.
 *  6. Plugins are never unloaded while the process lives.
 *  7. Instances may be opened and closed at the same time on several threads.  A thread that is not
 *     made by host->thread_new must block all signals.
 *
 * OWNERSHIP.  "Borrows": until the call returns or, for a request, until complete().  "Gives":
 * the caller frees.  After complete() a plugin touches neither the request nor what it points to.
 *
 * Units are in the names: _ns (CLOCK_BOOTTIME), _ms, _bytes.  Strings are UTF-8, end in NUL.
 * Everything here is C11, and C++17 when compiled so; BD_FIELD needs C++20.
 */
#ifndef BUCKETDISK_PLUGIN_H
#define BUCKETDISK_PLUGIN_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define BD_ABI_MAJOR 1u
#define BD_ABI_MINOR 0u

/* The kinds of tables, as `magic`. */
#define BD_MAGIC_HOST 0x42446801u
#define BD_MAGIC_PLUGIN 0x42447001u
#define BD_MAGIC_BACKEND 0x42446201u
#define BD_MAGIC_CODEC 0x42446301u
#define BD_MAGIC_KEYWRAP 0x42446b01u

#ifdef __cplusplus
#define BD_LINKAGE extern "C"
#else
#define BD_LINKAGE
#endif
#if defined(__GNUC__)
#define BD_PRINTF(fmt, first) __attribute__((format(printf, fmt, first)))
#define BD_EXPORT BD_LINKAGE __attribute__((visibility("default")))
#else
#define BD_PRINTF(fmt, first)
#define BD_EXPORT BD_LINKAGE
#endif

/* The first bytes of every table, for all time. */
struct bd_head {
    uint32_t magic;
    uint32_t abi_major;
    uint32_t size;  /* of this whole table, in bytes, as its side was compiled */
    uint32_t flags; /* 0; a flag the reader does not know makes it refuse the table */
};

#define BD_HEAD(kind, type)                                                                        \
    {                                                                                              \
        BD_MAGIC_##kind, BD_ABI_MAJOR, sizeof(type), 0                                             \
    }

/* Does the struct behind `ptr`, whose own size is `bytes`, reach as far as `member`? */
#define BD_REACHES(type, bytes, member)                                                            \
    ((bytes) >= offsetof(type, member) + sizeof(((const type *)0)->member))

/* ------------------------------------------------------------------ statuses */

/* What became of a request.  A closed set, never an errno: a stray ENOENT of a directory that was
 * removed must not become "this block is zero".  Any other value is treated as BD_FATAL and
 * logged as a bug of the plugin. */
enum bd_status {
    BD_OK = 0,
    BD_ABSENT = 1,      /* GET, HEAD_OBJECT: this object does not exist, and the container that it
                         * would be in does.  One that is gone is BD_INVALID or BD_FATAL */
    BD_RETRY = 2,       /* not done; asking again later may help.  See bd_io.retry_after_ms */
    BD_UNKNOWN = 3,     /* may have been done, or may still be done later: no answer came after
                         * the last byte of the request had left */
    BD_CONDITION = 4,   /* if_match or if_none_match did not hold; nothing was done */
    BD_DENIED = 5,      /* no right to do this; asking again soon will not help */
    BD_FULL = 6,        /* no room */
    BD_CORRUPT = 7,     /* damaged or not authentic */
    BD_INVALID = 8,     /* the request or the options make no sense to this plugin */
    BD_UNSUPPORTED = 9, /* this plugin, or this store, cannot do that */
    BD_FATAL = 10,      /* nothing will work any more */
    BD_DECLINED = 11,   /* encode only, with BD_CODEC_MAY_DECLINE: leave this layer out */
    BD_BUSY = 12,       /* as BD_RETRY, and the store asks for fewer requests at once */
};

enum bd_log_level {
    BD_ERROR = 0,
    BD_WARNING = 1,
    BD_INFO = 2,
    BD_DEBUG = 3,
};

/* ------------------------------------------------------------------ requests */

#define BD_NAME_BYTES_MAX 1024u      /* object names, without the NUL */
#define BD_TAG_BYTES_MAX 256u        /* tags, without the NUL */
#define BD_ENCODING_BYTES_MAX 1024u  /* Content-Encoding, without the NUL */
#define BD_TOKEN_BYTES_MAX 63u       /* one of its tokens, without the NUL */
#define BD_ATTR_VALUE_BYTES_MAX 256u /* one attribute value */
#define BD_ATTRS_BYTES_MAX 2048u     /* all names and values of one object together */

enum bd_op {
    BD_GET = 1,
    BD_HEAD_OBJECT = 2,
    BD_PUT = 3,
    BD_DELETE = 4,
    BD_DELETE_MANY = 5,
    BD_LIST = 6,
};

/* A value stored beside an object under a name of [a-z0-9-]: 1 byte or more of printable ASCII, without
 * spaces at its ends.  What it means is the core's and the codecs' business; S3 keeps it as the header
 * x-amz-meta-NAME. */
struct bd_attr {
    const char *name;
    const void *value;
    size_t value_bytes;
};

/* One request.  The host makes it, with the backend's scratch_bytes behind `scratch`, and owns it;
 * the plugin borrows it and all it points to from submit until complete.
 *
 *   op            reads                                        results, beside the status
 *   GET           name offset cap if_match if_none_match       data[0..len) object_bytes tag attrs encoding
 *   HEAD_OBJECT   name                                         object_bytes tag attrs encoding
 *   PUT           name body body_bytes encoding media_type     tag
 *                 attrs if_match if_none_match
 *   DELETE        name if_match                                -
 *   DELETE_MANY   names name_count                             statuses[0..name_count)
 *   LIST          name (a prefix) start_after limit            list_add for each, more
 *   any other     -                                            completes as BD_UNSUPPORTED
 *
 * What may come: BD_OK, BD_RETRY, BD_BUSY, BD_DENIED, BD_INVALID, BD_UNSUPPORTED, BD_FATAL from each op;
 * BD_UNKNOWN from what changes the store (a GET, HEAD_OBJECT or LIST without an answer is BD_RETRY);
 * BD_ABSENT and BD_CORRUPT from GET and HEAD_OBJECT, BD_FULL from PUT, BD_CONDITION from what had a
 * condition; BD_DECLINED from none.  The host asks again after RETRY, BUSY and UNKNOWN, after CORRUPT
 * a few times; any other failure ends this one request, and later ones are sent all the same.
 *
 * To who uses the disk that means: RETRY, BUSY and UNKNOWN are tried again, with pauses of up to 30 s, for
 * 2 minutes of a read, 10 minutes of a write (the user may say otherwise: --max-retry-pause, --stall) and 30 s
 * while mounting.  After the UNKNOWN of a write no other version of that block is sent before
 * --settle-time is over.  Any other failure is an error at once, of CORRUPT the third: ENOSPC for FULL,
 * EACCES for DENIED, else EIO.  A write that ended so fails the fsync; it is kept, and sent again 5 s later
 * and at the next fsync.  So what an administrator can mend within minutes is RETRY.
 *
 * GET writes min(cap, object_bytes - offset) bytes to `data`, from an `offset` past the end none,
 * never more than `cap`, and sets `len`; a body that ends early is BD_RETRY, not a short `len`.
 * object_bytes is the length of the whole object, also where a part was asked for.  GET with
 * if_none_match that matches is BD_CONDITION, with if_match that does not, too.
 * GET of an absent object is BD_ABSENT, whatever the condition.
 * PUT replaces the object, its encoding and its attributes whole, atomically to any reader, and
 * is durable when it completes with BD_OK.
 * PUT with if_match to an absent object is BD_CONDITION; BD_ABSENT never answers a PUT.
 * DELETE of an absent object is BD_OK, with if_match BD_CONDITION.  DELETE_MANY sets a status for
 * every name; the request itself completes BD_OK when the statuses are valid, else none of them is
 * looked at.  It must work also where BD_CAP_DELETE_MANY is not claimed.
 * There are never more names than info's delete_many_max, nor is `limit` more than its list_max.
 * LIST gives names with the prefix (NULL: all names), greater than start_after, in byte order, at
 * most `limit`, which is not 0.  start_after need not exist and may be NULL.  `more` = 0 says that
 * the listing is complete.
 * Tags are opaque.  GET, HEAD_OBJECT and PUT always give one, the same for the same version, and a
 * listing gives that one or none; for a store that has none the backend makes them.  The tag changes
 * whenever the body does; it may stay when the same bytes are put again, with other attributes, too.
 * if_none_match "*" matches any tag.
 * Conditions count when the backend's info says that it honours them; any other is BD_UNSUPPORTED, and
 * nothing is done.  No condition comes that the table does not name, and if_match is never "*".
 * An object of which the store has lost a part is BD_CORRUPT to GET and HEAD_OBJECT.  A PUT without a
 * condition replaces it, DELETE removes it; what has a condition that cannot be judged any more is
 * BD_INVALID (after BD_UNSUPPORTED the host may ask again without the condition).
 *
 * Names have 1 to BD_NAME_BYTES_MAX bytes, any but NUL; "/" means nothing.  One that the store cannot
 * hold is BD_INVALID, and so is a body that is longer than object_bytes_max.  `body` and
 * `data` are aligned to nothing, and may be NULL where there are no bytes.  What a request says a
 * plugin may change for its own use, if all is as it was again when it calls complete(). */
struct bd_io {
    uint32_t size;        /* of this struct, as the host was compiled */
    uint32_t op;          /* enum bd_op, and later ones */
    uint64_t deadline_ns; /* in the time of host->now_ns; never 0 */
    const char *name;
    void *scratch; /* scratch_bytes of the backend, zeroed, aligned for any type; the plugin's until
                    * complete.  NULL if these are 0 */

    const void *body; /* PUT */
    size_t body_bytes;
    const char *encoding;   /* PUT: Content-Encoding, or NULL */
    const char *media_type; /* PUT: Content-Type, or NULL; for people who look at the store: nobody
                             * reads it back, and a store without such a thing ignores it */
    const struct bd_attr *attrs;
    uint32_t attr_count;
    uint32_t attr_stride; /* bytes from one attr to the next, and how much of it there is */
    const char *if_match; /* a tag, or NULL */
    const char *if_none_match;

    void *data; /* GET */
    size_t cap;
    uint64_t offset;

    const char *const *names; /* DELETE_MANY */
    uint32_t *statuses;       /* enum bd_status of each */
    uint32_t name_count;

    uint32_t limit; /* LIST */
    const char *start_after;

    /* Results that are plain fields; the others go through the host table.  They count with BD_OK,
     * retry_after_ms with what it names. */
    size_t len;
    uint64_t object_bytes;
    uint32_t more;
    uint32_t retry_after_ms; /* with BD_RETRY, BD_BUSY: the time that the store named, or 0 */
};

/* ------------------------------------------------------------------ the host */

struct bd_lower;
struct bd_coding;
struct bd_host;
struct bd_thread;
struct bd_counter;

typedef void bd_io_done(struct bd_io *io, enum bd_status status, void *arg);
typedef void bd_callback(void *arg);

/* Services of the host.  One table for each instance (so two disks in one process have two): what
 * open got is valid until close has returned, what wrap and unwrap got until they return, what
 * bd_plugin_query got until the process ends.  All services may be called from any thread; texts
 * and names that are passed to them are copied. */
struct bd_host {
    struct bd_head head;
    uint32_t abi_minor; /* which statuses, flags and types this host knows: see VERSIONS */
    uint32_t reserved;

    /* Log one line, without a newline.  Never data of blocks, never a secret.  In open, wrap and
     * unwrap the first BD_ERROR of the calling thread is the sentence that the user gets. */
    void (*log)(const struct bd_host *host, enum bd_log_level level, const char *format, ...)
        BD_PRINTF(3, 4);

    /* Finish a request.  Exactly once for each submit; see THREADS. */
    void (*complete)(struct bd_io *io, enum bd_status status);

    /* One sentence on why the request did not end well: the place that knows most says it.
     * Before complete(); the last call counts. */
    void (*error)(struct bd_io *io, const char *format, ...) BD_PRINTF(2, 3);

    /* Results of GET and HEAD_OBJECT (attr, encoding, tag), PUT (tag) and LIST (entry).
     * The bytes are copied.  What is over the limits above makes the host treat the object as
     * damaged.  list_add returns 0 to say "enough": this entry was taken; stop, and set `more` if
     * there are others.  `tag` may be NULL. */
    void (*attr_add)(struct bd_io *io, const char *name, const void *value, size_t value_bytes);
    void (*encoding_set)(struct bd_io *io, const char *encoding);
    void (*tag_set)(struct bd_io *io, const char *tag);
    int (*list_add)(struct bd_io *io, const char *name, uint64_t object_bytes, const char *tag);

    /* Requests to the backend below, for one that is stacked on another.
     * child_new gives a request like `like` (same op and request fields, borrowed from it; no
     * results) or an empty one if `like` is NULL; NULL when out of memory.  Change its fields
     * before child_submit, not its size and scratch.  `done` then runs once, on a thread of the
     * host, never inside child_submit; it must be short, and may submit the same child again.
     * child_result copies every result of a finished child to another request.
     * child_free ends it, any time that it is not in flight; close() needs all of them freed. */
    struct bd_io *(*child_new)(const struct bd_host *host, const struct bd_lower *lower,
                               const struct bd_io *like);
    void (*child_submit)(struct bd_io *child, bd_io_done *done, void *arg);
    void (*child_result)(const struct bd_io *child, struct bd_io *to);
    void (*child_free)(struct bd_io *child);

    /* Run callback(arg) once, on a thread of the host, at or after `at_ns`.  It must be short.
     * Returns 0, or -1 out of memory.  A timer cannot be taken back, and close() must not return
     * before the callbacks have: for what may be far ahead use a thread. */
    int (*timer)(const struct bd_host *host, uint64_t at_ns, bd_callback *callback, void *arg);
    uint64_t (*now_ns)(void); /* CLOCK_BOOTTIME */

    /* A thread with all signals blocked.  thread_join waits for its end and frees it.
     * thread_new returns NULL on failure. */
    struct bd_thread *(*thread_new)(const struct bd_host *host, const char *name,
                                    bd_callback *callback, void *arg);
    void (*thread_join)(struct bd_thread *thread);

    /* A counter in the volume's statistics, PLUGIN_NAME, which only grows; it is the host's.  PLUGIN is
     * what stands in front of the plugin's options; where the host has a statistic of that name
     * itself, it is plugin_PLUGIN_NAME.  `name` is 1 to 80 bytes of [a-z0-9_], and a "-" becomes a "_".
     * The same name gives the same counter.  NULL for any other name, when out of memory, or where
     * there are no statistics; counter_add takes NULL and does nothing. */
    struct bd_counter *(*counter)(const struct bd_host *host, const char *name, const char *help);
    void (*counter_add)(struct bd_counter *counter, int64_t delta);

    /* Cryptographically strong random bytes.  Does not fail. */
    void (*random)(void *out, size_t bytes);

    /* Memory for keys and plaintext secrets: locked where the limits allow, left out of core
     * dumps, wiped when freed.  NULL when out of memory. */
    void *(*secret_alloc)(size_t bytes);
    void (*secret_free)(void *secret);

    /* Derive `bytes` (16 to 64) of key for one purpose from the volume's key; the same for ever.  The
     * purpose is "codec TOKEN", with the codec's own token ("codec xchacha20-poly1305"), or that and
     * more behind a blank where it needs several; any other, and any other size, is BD_INVALID.
     * For codecs; BD_UNSUPPORTED when the volume has no key, and to all others. */
    enum bd_status (*key)(const struct bd_host *host, const char *purpose, void *out, size_t bytes);
    /* The passphrase itself, and what s3backer salts it with ("BUCKET/PREFIX"): only for codecs of
     * old formats that derive their keys from it.  Gives a secret_alloc'ed string of `bytes` and a
     * NUL; `salt` is borrowed until close.  BD_UNSUPPORTED when the user gave none. */
    enum bd_status (*passphrase)(const struct bd_host *host, char **out, size_t *bytes,
                                 const char **salt);

    /* For a codec at work: why it failed; the attributes stored with the object.  Encode adds,
     * decode looks up.  What is added is as struct bd_attr says, and of a name that no codec of the chain
     * has used before, so begin names with the token: else the block is not stored, and the write fails.
     * attr_get returns NULL when there is no such attribute, and the bytes are borrowed until the call
     * into the codec returns. */
    void (*coding_error)(struct bd_coding *coding, const char *format, ...) BD_PRINTF(2, 3);
    void (*coding_attr_add)(struct bd_coding *coding, const char *name, const void *value,
                            size_t value_bytes);
    const void *(*coding_attr_get)(const struct bd_coding *coding, const char *name,
                                   size_t *value_bytes);
};

/* ------------------------------------------------------------------ options */

enum bd_option_type {
    BD_OPT_STRING = 1,   /* const char *        */
    BD_OPT_PATH = 2,     /* const char *        made absolute before the daemon changes directory */
    BD_OPT_SECRET = 3,   /* const char *        never shown; "@FILE" and "env:NAME" are resolved */
    BD_OPT_BOOL = 4,     /* uint8_t 0 or 1      --name, or --name=yes|no */
    BD_OPT_UINT = 5,     /* uint32_t, uint64_t  decimal or 0x; min and max apply */
    BD_OPT_SIZE = 6,     /* uint64_t bytes      K M G T P E suffixes, powers of 1024; min, max */
    BD_OPT_DURATION = 7, /* uint64_t ms         us ms s m h d suffixes; bare: see flags; min, max */
    BD_OPT_ENUM = 8,     /* uint32_t            index into choices */
    BD_OPT_OCTAL = 9,    /* uint32_t            file modes */
};

enum bd_option_flags {
    BD_OPTF_REQUIRED = 1u << 0, /* to use the backend; an empty text is none */
    BD_OPTF_LOCATION = 1u << 1, /* also filled by the first word of the command line: where the
                                 * store is (a bucket, a directory).  One row of a plugin at most */
    BD_OPTF_SECONDS = 1u << 2,  /* a bare DURATION is in seconds, not milliseconds */
    BD_OPTF_HIDDEN = 1u << 3,   /* not in --help: for tests and debugging */
    BD_OPTF_BARE = 1u << 4,     /* STRING, ENUM: the value may be left out, which means "" or the
                                 * first choice; then the next word is never taken for it */
};

/* One option, as data.  From these rows come parsing, --help, the manual's tables and all checks.
 * A plugin's option NAME is written --PLUGIN-NAME, where PLUGIN is the plugin's name without
 * "backend-", "codec-" or "crypto-"; where the host or another plugin has that name, or an alias, too, it
 * is reached as --PLUGIN:NAME.  Option names compare without dashes and case.  A `level` of a plugin
 * whose codec compresses is also what --compress-level and --compress=LEVEL set. */
struct bd_option {
    const char *name;     /* words joined by dashes */
    const char *alias;    /* further full names, separated by spaces, e.g. s3backer's; or NULL */
    uint32_t type;        /* enum bd_option_type */
    uint32_t flags;       /* enum bd_option_flags */
    uint32_t offset;      /* of the field in the options struct */
    uint32_t field_bytes; /* sizeof the field; checked against the type when loading */
    const char *def;      /* default, as the user would write it; NULL: zero, or none */
    uint64_t min, max;    /* UINT, SIZE, DURATION (in ms); max 0: no limit */
    const char *const *choices; /* ENUM: NULL-terminated */
    const char *metavar;        /* name of the value in --help, or NULL for the type's usual one */
    const char *help;           /* one line, no full stop */
};

#define BD_FIELD(type, member)                                                                     \
    .offset = (uint32_t)offsetof(type, member), .field_bytes = sizeof(((type *)0)->member)

/* ------------------------------------------------------------------ backends */

enum bd_capability {
    BD_CAP_CONDITIONS_PUT = 1u << 0, /* if_match, if_none_match on PUT; atomic */
    BD_CAP_CONDITIONS_GET = 1u << 1,
    BD_CAP_CONDITIONS_DELETE = 1u << 2,
    BD_CAP_CONSISTENT = 1u << 3,  /* a read after a finished write sees it */
    BD_CAP_RANGES = 1u << 4,      /* GET with offset, or cap below the object's size, costs less */
    BD_CAP_DELETE_MANY = 1u << 5, /* cheaper than as many DELETEs */
    BD_CAP_ATTRS = 1u << 6,       /* attributes and encodings are stored; else a PUT ignores them */
    /* No network, nor another process: latencies are short, a listing is cheap, so that all is listed at
     * each mount; and nothing that a process sent is carried out once it has ended, so that the next
     * mount need not wait for that.  Not for a server on this machine. */
    BD_CAP_LOCAL = 1u << 7,
};

/* What an instance is and can do; it does not change until close, and the strings are the plugin's.  If
 * something is wrong in it, the host says so and closes the instance again.
 *
 * Not to be said here: how long the store may carry out what it did not answer (--settle-time is the
 * user's; say in the plugin's manual what it must be), that it cannot be written (BD_DENIED to what tries;
 * the user mounts with --read-only), that it forgets (then refuse to open, unless an option of the
 * plugin's accepts that).
 *
 * The identity of most backends is "TYPE:" and something unique, without a "/" at its end, and they have
 * no container: that is for stores that s3backer knows, too.
 * `concurrency` is heeded: what is more waits in the host, where its deadline does not run yet; unless the
 * user says how many (--blockCacheThreads), and but for a few requests that are not for blocks.  With
 * bd_blocking of sdk.h it is the number of threads. */
struct bd_backend_info {
    uint32_t size; /* as the host was compiled, zeroed; fill no more than that */
    uint32_t reserved;
    uint64_t capabilities;     /* enum bd_capability */
    uint64_t object_bytes_max; /* largest body; 0: no limit.  Blocks that may become larger are
                                * refused when mounting */
    uint32_t delete_many_max;  /* names in one DELETE_MANY; 0: 1000 */
    uint32_t list_max;         /* entries of one LIST; 0: 1000 */
    uint32_t concurrency;      /* requests in flight that make sense at most; 0: no opinion */
    uint32_t reserved2;
    const char *identity; /* the same for every way to name the same store on this machine,
                                 * different for any other: "dir:8:1:131073"; one that ends in
                                 * "/" is what the names of objects begin with: with a prefix
                                 * "b/", "s3:host/a/" is the same as "s3:host/a/b/" without */
    const char
        *display; /* what people call it: "/srv/disk", "s3://bucket".  As identity not NULL */
    const char *container; /* "bucket/", with what the location adds: "bucket/sub/dir/"; s3backer's
                                 * keys depend on it.  NULL: it has no such name */
};

/* The backend below, for one that is stacked on another: --backend=outer,inner.  It is closed after
 * the one above it.  `info` may be shorter than this header's: it has a size. */
struct bd_lower {
    uint32_t size;
    uint32_t reserved;
    const struct bd_backend_info *info;
    void *instance; /* the host's */
};

enum bd_backend_traits {
    BD_BACKEND_STACKS = 1u << 0, /* needs a backend below; others must be innermost */
};

struct bd_backend {
    struct bd_head head;
    uint32_t traits;        /* enum bd_backend_traits */
    uint32_t scratch_bytes; /* the host adds so much to each request.  With bd_blocking of sdk.h:
                             * BD_BLOCKING_SCRATCH */

    /* Make an instance.  Borrows host, options and lower until close.  May block and make threads.
     * `lower` is NULL unless this backend is stacked on another.  On failure it logs one sentence
     * that says what is wrong and what to do, returns the class of it, and close is not called.
     * It has no deadline, so it should have one of its own, of some seconds; after a failure the command or
     * the mount ends, and it is not tried again.
     * Any handle will do, NULL too. */
    enum bd_status (*open)(const struct bd_host *host, const void *options,
                           const struct bd_lower *lower, void **handle);
    void (*info)(void *handle, struct bd_backend_info *out); /* once, right after open */
    void (*submit)(void *handle, struct bd_io *io);
    void (*close)(void *handle); /* may block; ends and joins what open began */
};

/* ------------------------------------------------------------------ codecs */

enum bd_codec_traits {
    BD_CODEC_COMPRESSES = 1u << 0,
    BD_CODEC_ENCRYPTS = 1u << 1,
    BD_CODEC_AUTHENTICATES = 1u << 2,
    BD_CODEC_MAY_DECLINE = 1u << 3,
    BD_CODEC_DECODE_ONLY = 1u << 4,
    BD_CODEC_TRANSFORMS =
        1u << 5, /* neither of the above: a teaching or test codec; inner to all */
    /* Authenticates bd_coding.associated, too: format 2 is encrypted by no other. */
    BD_CODEC_BINDS = 1u << 6,
};

struct bd_bytes {
    const void *data;
    size_t len;
};

struct bd_buf {
    void *data;
    size_t cap;
    size_t len; /* set by the callee, never more than cap */
};

enum bd_coding_flags {
    /* encode: do not decline, although the result is larger.  Whoever reads the block is not told how
     * it is encoded. */
    BD_CODING_ALWAYS = 1u << 0,
};

/* Which block a codec works on, and what is bound to it. */
struct bd_coding {
    uint32_t size;
    uint32_t block_bytes; /* of the volume */
    uint64_t block;       /* number */
    /* encode: in.len.  decode: how many bytes it must give, anything else is BD_CORRUPT; or 0 where that
     * is not known, as when another codec was applied before this one: then only out->cap limits
     * them, so a codec that needs to know stores it itself. */
    uint64_t plain_bytes;
    const char *inner; /* tokens applied before this one, joined by ","; "" for none */
    /* What an authenticating codec covers beside the data: the host makes it of volume id, block
     * number, generation, block size and `inner`.  Empty in format 1, whose codecs cover what their
     * format says. */
    struct bd_bytes associated;
    void *host_private; /* not the plugin's */
    uint32_t flags;     /* enum bd_coding_flags */
    uint32_t reserved;
};

/* A codec turns bytes into bytes, synchronously, on any thread, without I/O, and logs no data.
 *
 * `handle` is shared by all threads, and what of it changes after open the codec itself protects.
 * `worker` (NULL if worker_new is) belongs to one call at a time, not always on the same thread: for
 * what is dear to make.  It keeps nothing from one block to the next.
 * encode writes at most bound(n) bytes, and out->cap is at least that; BD_DECLINED only with
 * MAY_DECLINE, never with ENCRYPTS, AUTHENTICATES or BD_CODING_ALWAYS.  decode gets in `out->cap`
 * exactly the space that it may fill; needing more is BD_CORRUPT.  Both set out->len.  Sizes inside
 * the data are never trusted.  `in` and `out` do not overlap, and are aligned to nothing; an empty
 * `in` may be NULL.  Statuses: BD_OK, BD_DECLINED, BD_CORRUPT (decode: what is stored is at fault),
 * BD_UNSUPPORTED, BD_FATAL, with one sentence by host->coding_error. */
struct bd_codec {
    struct bd_head head;
    const char *token;          /* canonical, lower case: what is written in Content-Encoding */
    const char *const *aliases; /* further tokens that are read; NULL-terminated, or NULL */
    const char *summary;
    uint32_t traits;
    uint32_t reserved;
    /* For families of parametrised tokens: is this one, in lower case, mine?  May be NULL.  Before
     * any open, and any thread. */
    int (*match)(const char *token);
    /* As a backend's open: borrows host and options until close, may block, logs one sentence on
     * failure.  `token` is what was asked for: the codec's own, an alias, one that `match` took; its
     * case does not matter; borrowed until open returns. */
    enum bd_status (*open)(const struct bd_host *host, const void *options, const char *token,
                           void **handle);
    void (*close)(void *handle); /* all workers are freed, and no call is going on */
    /* The largest result of encode for `plain_bytes`, whatever they are.  May be NULL, as encode,
     * with BD_CODEC_DECODE_ONLY. */
    size_t (*bound)(void *handle, size_t plain_bytes);
    /* Both or neither.  worker_new returns NULL when out of memory. */
    void *(*worker_new)(void *handle);
    void (*worker_free)(void *handle, void *worker);
    enum bd_status (*encode)(void *handle, void *worker, struct bd_coding *coding,
                             struct bd_bytes in, struct bd_buf *out);
    enum bd_status (*decode)(void *handle, void *worker, struct bd_coding *coding,
                             struct bd_bytes in, struct bd_buf *out);
    /* The token that objects of this instance carry, in its usual spelling ("encrypt-AES-128-CBC"
     * when opened as "aes").  Belongs to the handle.  May be NULL: then it is `token`, or for a
     * family what open was given. */
    const char *(*written)(void *handle);
};

/* ------------------------------------------------------------------ key wraps */

/* Turns a passphrase into a key that wraps a volume key.  All of it synchronous, wrap and unwrap slow
 * on purpose and on one thread; they borrow everything until they return.  `key` and `blob` as in
 * bd_buf: the plugin sets `len`, the key's is what was wrapped.  A key has 16 to 64 bytes, a passphrase
 * has at least one.  `blob` is the plugin's own text
 * (salt, cost, wrapped key), at most 4096 bytes of printable ASCII without quotes and backslashes,
 * kept opaquely in the volume's key slots.  A stored
 * cost over the host's bound is BD_INVALID before any work is done; a wrong passphrase is
 * BD_DENIED, and nothing is logged: the host may have other slots to try.  Any other failure of wrap
 * and unwrap is logged as one sentence.
 *
 * subkey derives out->cap bytes, 16 to 64, from a key that was wrapped; the same for ever.  It is a
 * pseudo-random function: without the key nothing is known of the result for one text or length,
 * whatever results for others are known.  `purpose` is any text, of any length: the host also uses it
 * as a MAC of texts that it stores.  Any thread, many at once. */
struct bd_keywrap {
    struct bd_head head;
    const char *name;
    const char *summary;
    enum bd_status (*wrap)(const struct bd_host *host, const void *options,
                           struct bd_bytes passphrase, struct bd_bytes key, struct bd_buf *blob);
    enum bd_status (*unwrap)(const struct bd_host *host, const void *options,
                             struct bd_bytes passphrase, struct bd_bytes blob, struct bd_buf *key);
    enum bd_status (*subkey)(struct bd_bytes key, const char *purpose, struct bd_buf *out);
};

/* ------------------------------------------------------------------ the plugin */

struct bd_plugin {
    struct bd_head head;
    uint32_t abi_minor; /* for people and logs; no decision hangs on it */
    uint32_t reserved;
    const char *name;    /* "backend-s3": [a-z0-9-], equal to the file name without .so */
    const char *version; /* the plugin's own */
    const char *summary; /* one line */

    const struct bd_option *options;
    uint32_t option_count;
    uint32_t option_stride;
    /* Size of the struct that the rows fill, aligned for any type; the host's, and there until all of
     * the plugin's instances are closed.  Strings in it are its own, too. */
    uint32_t options_bytes;
    uint32_t reserved2;
    /* Reject a combination of options: fill `why` and return BD_INVALID.  Asked before open, wrap and
     * unwrap.  May be NULL. */
    enum bd_status (*check)(const void *options, char *why, size_t why_bytes);

    const struct bd_backend *backend; /* or NULL */
    const struct bd_codec *codecs;
    uint32_t codec_count;
    uint32_t codec_stride;
    const struct bd_keywrap *keywraps;
    uint32_t keywrap_count;
    uint32_t keywrap_stride;
};

/* The one function that a plugin exports.  `host` is for looking at its head and abi_minor (a plugin may
 * carry descriptors for two majors, or a lesser one for older hosts); no service may be called before
 * open. */
typedef const struct bd_plugin *bd_plugin_query_fn(const struct bd_host *host);

/* The descriptor and all that it points to are constant, and there for as long as the process. */

/* BD_PLUGIN(descriptor) defines it.  A static build defines BD_PLUGIN_ENTRY for each plugin to give
 * the functions different names. */
#ifndef BD_PLUGIN_ENTRY
#define BD_PLUGIN_ENTRY bd_plugin_query
#endif
#define BD_PLUGIN(descriptor)                                                                      \
    BD_EXPORT const struct bd_plugin *BD_PLUGIN_ENTRY(const struct bd_host *host);                 \
    BD_EXPORT const struct bd_plugin *BD_PLUGIN_ENTRY(const struct bd_host *host)                  \
    {                                                                                              \
        (void)host;                                                                                \
        return &(descriptor);                                                                      \
    }

#ifdef __cplusplus
}
#endif

#endif
