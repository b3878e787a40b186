/* SPDX-License-Identifier: Apache-2.0 */
/* Who has a volume, and does that one live? */
#include "holder.h"

#include "ask.h"
#include "base/clock.h"
#include "base/log.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LOOK_EVERY_NS NS_PER_S
#define TELL_EVERY_NS (30 * NS_PER_S)

int
holder_look(struct backend *backend, const struct layout *layout, struct lock *lock,
            struct error *why)
{
    struct backend_io *io = backend_io_new(backend);
    object_name name;
    enum bd_status status;
    int rc = 0;

    memset(lock, 0, sizeof *lock);
    if (io == NULL)
        return error_set(why, -ENOMEM, "out of memory");
    lock_name(layout, name);
    io->io.op = BD_HEAD_OBJECT;
    io->io.name = name;
    status = ask(io, NULL);
    if (status == BD_OK)
        lock_parse(io, lock);
    else if (status != BD_ABSENT)
        rc = ask_failed(io, "look for the mount token", why);
    backend_io_free(io);
    return rc;
}

int
holder_find(struct backend *backend, bool is_described, struct layout *layout, struct lock *lock,
            struct error *why)
{
    const struct layout format_2 = { .prefix = layout->prefix, .is_format_2 = true };
    struct lock begun;
    int rc = holder_look(backend, layout, lock, why);

    if (rc != 0 || is_described || (lock->is_there && !lock_is_fence(lock)))
        return rc;
    rc = holder_look(backend, &format_2, &begun, why);
    if (rc == 0 && begun.is_there) {
        layout->is_format_2 = true;
        *lock = begun;
    }
    return rc;
}

/* ---- this machine */

static void
first_word_of(const char *path, char *out, size_t out_bytes)
{
    FILE *file = fopen(path, "re");

    snprintf(out, out_bytes, "-");
    if (file == NULL)
        return;
    if (fgets(out, (int)out_bytes, file) == NULL || out[0] == '\n')
        snprintf(out, out_bytes, "-");
    out[strcspn(out, " \n")] = '\0';
    fclose(file);
}

void
holder_format(const char *lock_id, char *out, size_t out_bytes)
{
    char machine[48], boot[48], host[100] = "-";

    first_word_of("/etc/machine-id", machine, sizeof machine);
    first_word_of("/proc/sys/kernel/random/boot_id", boot, sizeof boot);
    gethostname(host, sizeof host - 1);
    host[sizeof host - 1] = '\0';
    snprintf(out, out_bytes, "%s %s %s %s", machine, boot, lock_id, host);
}

/* Of one boot, the very local lock that we hold counts: containers share a boot, but not the directory of locks; who
 * named the volume otherwise has another lock, and may live.  Of another boot all of that time is gone, where the machine has an id
 * by which to know it (a container or a fresh system may have none); but a restored or cloned machine has the id of one that may
 * live.  If it has beaten since this boot, by the clock of the day, it does; if not, only watching it tells. */
enum holder_kin
holder_kin(const struct lock *lock, const char *lock_id)
{
    const char *theirs = lock_is_shared(lock) ? "" : lock->owner; /* of others, too, who may live */
    char ours[BD_ATTR_VALUE_BYTES_MAX + 1];
    char machine[2][64], boot[2][64], local[2][64], host[2][128];

    holder_format(lock_id, ours, sizeof ours);
    if (sscanf(theirs, "%63s %63s %63s %127s", machine[0], boot[0], local[0], host[0]) != 4
        || sscanf(ours, "%63s %63s %63s %127s", machine[1], boot[1], local[1], host[1]) != 4)
        return HOLDER_OTHER;
    if (strcmp(machine[0], machine[1]) != 0 || strcmp(host[0], host[1]) != 0
        || strcmp(boot[0], "-") == 0 || strcmp(boot[1], "-") == 0)
        return HOLDER_OTHER;
    if (strcmp(boot[0], boot[1]) == 0)
        return strcmp(local[0], local[1]) == 0 ? HOLDER_DEAD : HOLDER_OTHER;
    if (strcmp(machine[0], "-") == 0
        || (lock->lease.beat > 0
            && lock->lease.at_s > (uint64_t)time(NULL) - clock_now_ns() / NS_PER_S))
        return HOLDER_OTHER;
    return HOLDER_BEFORE_BOOT;
}

/* ---- does it beat? */

int
holder_watch(struct backend *backend, const struct layout *layout, uint64_t wanted_ns,
             struct lock *lock, struct error *why)
{
    uint64_t since_ns = clock_now_ns(), told_ns = since_ns, looked_ns;
    const char *host = lock_host(lock);
    struct lock now;
    sigset_t signals;
    int rc;

    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    host = host != NULL ? host : "another machine";
    log_line(BD_INFO,
             "the volume's lock is that of %s; watching for %llu s whether it stands still", host,
             (unsigned long long)(wanted_ns / NS_PER_S));
    do {
        if (ask_sleep_or(LOOK_EVERY_NS, &signals) != 0)
            return error_set(why, -EINTR, "interrupted; the volume is as it was");
        looked_ns = clock_now_ns(); /* before the question: the answer is not older */
        rc = holder_look(backend, layout, &now, why);
        if (rc != 0)
            return rc;
        if (now.is_there && !lock_is_same(lock, &now)) {
            host = lock_host(&now);
            return error_set(why, -EBUSY,
                             "the volume is in use on %s, which lives: it has just renewed its "
                             "lock; unmount it there",
                             host != NULL ? host : "another machine");
        }
        *lock = now;
        if (!now.is_there)
            return 0;
        if (looked_ns >= told_ns + TELL_EVERY_NS) {
            log_line(BD_INFO, "the lock has stood still for %llu s of %llu",
                     (unsigned long long)((looked_ns - since_ns) / NS_PER_S),
                     (unsigned long long)(wanted_ns / NS_PER_S));
            told_ns = looked_ns;
        }
    } while (looked_ns - since_ns < wanted_ns);
    return 0;
}
