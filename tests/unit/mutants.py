#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Plant bugs in what makes a volume one writer's (token, lock, lease, takeover) and in the spill file, one at a time, and show
that the unit test of each finds it.

    mutants.py BUILD_DIRECTORY [--seconds S] [WORD…]

As tests/sim/mutants.py: a bug is a piece of text that occurs once in a file, and what replaces it.  WORD picks bugs by their
names; else it is all of them in the long form, and in the short one those that are not RARE."""
import re
import subprocess
import sys
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import planted

TOKEN, CONDITIONS, BEATS = "test_token", "test_token_conditions", "test_token_beats"
FILES, NEIGHBOURS, REMOVAL = "test_token_files", "test_token_neighbours", "test_token_removal"
SHARING, LOCK = "test_token_sharing", "test_lock"
LEASE, TAKEOVER, SPILL = "test_lease", "test_takeover", "test_spill"

# name: program that is to find it, file, what is there, what is put there
BUGS = {
    "a beat is confirmed at its answer": (LEASE, "core/lease.c", """\
        counter_add(lease->beats, 1);
        pthread_mutex_lock(&lease->lock);
        confirm_locked(lease, sent_ns);
""", """\
        counter_add(lease->beats, 1);
        pthread_mutex_lock(&lease->lock);
        confirm_locked(lease, clock_now_ns());
"""),
    "a beat is confirmed when it is found": (LEASE, "core/lease.c", """\
    confirm_locked(lease, sent_ns);
    pthread_mutex_unlock(&lease->lock);
    if (strcmp(found.tag""", """\
    confirm_locked(lease, clock_now_ns());
    pthread_mutex_unlock(&lease->lock);
    if (strcmp(found.tag"""),
    "a beat without an answer is confirmed": (LEASE, "core/lease.c", """\
    if (io->status == BD_OK) {
        counter_add(""", """\
    if (io->status == BD_OK || io->status == BD_UNKNOWN) {
        counter_add("""),
    "writing goes on until the lease ends": (LEASE, "core/lease.c", """\
    return now < lease->confirmed_ns + lease->lease_ns / 2;
""", """\
    return now < lease->confirmed_ns + lease->lease_ns;
"""),
    "unconfirmed is never said": (LEASE, "core/lease.c", """\
is_confirmed_locked(lease, now) ? LEASE_HELD : LEASE_UNCONFIRMED;
""", """\
LEASE_HELD;
"""),
    "lost is said to be unconfirmed": (LEASE, "core/lease.c", """\
    if (lease->step != LOST) {
        state = """, """\
    if (true) {
        state = """),
    "a beat has no condition": (LEASE, "core/lease.c", """\
    io->if_match = mine->tag;
""", """\
    io->if_match = NULL;
"""),
    "a condition that does not hold is a lost lock, without a look": (LEASE, "core/lease.c", """\
    attrs_clear(&lease->text.attrs);
    if (io->status == BD_OK) {
""", """\
    attrs_clear(&lease->text.attrs);
    if (io->status == BD_CONDITION) {
        pthread_mutex_lock(&lease->lock);
        lose_locked(lease);
        pthread_mutex_unlock(&lease->lock);
        next_at(lease, 0);
        return;
    }
    if (io->status == BD_OK) {
"""),
    "who finds the lock removed goes on": (LEASE, "core/lease.c", """\
    if (sent_ns == 0) {
""", """\
    if (sent_ns == 0 && found.is_there) {
"""),
    "whoever has the lock, a beat is ours": (LEASE, "core/lease.c", """\
    if (!lock_is_of(found, lease->mine.value, lease->mine.owner) || beat > last)
""", """\
    if (beat > last)
"""),
    "a beat that was never sent is ours": (LEASE, "core/lease.c", """\
 || beat > last)
""", """\
)
"""),
    "a beat of long ago is taken for a new one": (LEASE, "core/lease.c", """\
 || last - beat >= REMEMBERED)
""", """\
)
"""),
    "two attempts of a beat look the same": (LEASE, "core/lease.c", """\
    mine->lease.beat++;
""", """\
    if (mine->lease.beat == 0)
        mine->lease.beat++;
"""),
    "a lease counts from its own beginning": (LEASE, "core/lease.c", """\
    lease->confirmed_ns = config->since_ns;
""", """\
    lease->confirmed_ns = clock_now_ns();
"""),
    "a lock that is found without a beat is confirmed now": (LEASE, "core/lease.c", """\
        return lease->config.since_ns;
""", """\
        return clock_now_ns();
"""),
    "a write may take longer than the lease": (LEASE, "core/objects.c", """\
            io->deadline_ns = until_ns;
""", """\
            (void)until_ns;
"""),
    "a deletion needs no lease": (LEASE, "core/objects.c", """\
    if (is_write(req) && !has_lease(attempt))
""", """\
    if (req->op == OBJECT_PUT && !has_lease(attempt))
"""),
    "a retry needs no lease": (LEASE, "core/objects.c", """\
    attempt->sent_ns = clock_now_ns();
    io->deadline_ns = attempt->sent_ns + objects->config.attempt_ns;
    if (is_write(req) && !has_lease(attempt))
""", """\
    bool is_first = attempt->sent_ns == 0;

    attempt->sent_ns = clock_now_ns();
    io->deadline_ns = attempt->sent_ns + objects->config.attempt_ns;
    if (is_write(req) && is_first && !has_lease(attempt))
"""),
    "a token is put whatever is there by now": (CONDITIONS, "core/token.c", """\
old->is_there ? NULL : "*", NULL, why);
""", """\
NULL, NULL, why);
"""),
    "a dead daemon's lock is replaced whatever it is by now": (CONDITIONS, "core/token.c", """\
token_put(taking, old->is_there ? old->tag : NULL,
""", """\
token_put(taking, NULL,
"""),
    "a put without an answer is not read back": (CONDITIONS, "core/token.c", """\
        if (is_ours(&now, taking->token)) {
            memcpy(""", """\
        if (false) {
            memcpy("""),
    "a put without an answer was not done": (CONDITIONS, "core/token.c", """\
taking->may_be_there || putting.is_unknown || """, """\
taking->may_be_there || """),
    "conditions of a store are taken on trust": (CONDITIONS, "core/token.c", """\
    status = token_put(taking, wrong, NULL, NULL, why);
""", """\
    status = BD_CONDITION;
"""),
    "who wrote last is not looked at": (CONDITIONS, "core/token.c", """\
    if (rc == 0)
        rc = read_back(taking, why);
""", ""),
    "who wrote last is looked at in no time": (CONDITIONS, "core/token.c", """\
        ask_sleep(READ_BACK_AFTER_NS);
""", ""),
    "a takeover does without a condition": (NEIGHBOURS, "core/token.c", """\
.never_without = true
""", """\
.never_without = false
"""),
    "a token counts from when it was taken": (BEATS, "core/token.c", """\
    taking->token->epoch = """, """\
    taking->token->since_ns = clock_now_ns();
    taking->token->epoch = """),
    "an epoch is begun twice": (BEATS, "core/token.c", """\
taking->old.lease.epoch + 1;
""", """\
taking->old.lease.epoch;
"""),
    "blocks go with whichever lock is there": (FILES, "core/token.c", """\
 || old->value != wish->vouched))
""", """\
))
"""),
    "a token does not say that blocks are on local disk alone": (FILES, "core/token.c", """\
                         .is_local = token->is_local,
""", ""),
    "a lock is put back without its beat": (NEIGHBOURS, "core/token.c", """\
    struct putting putting = { .lock = before, .when = when };
""", """\
    struct lock still = *before;
    struct putting putting = { .lock = &still, .when = when };

    still.lease.beat = 0;
"""),
    "a lock is put back over another's": (NEIGHBOURS, "core/token.c", """\
    putting.if_match = has_conditions && tag[0] != '\\0' ? tag : NULL;
""", """\
    putting.if_match = NULL;
"""),
    "a shared token is removed at the end": (SHARING, "core/token.c", """\
    if (token->is_shared) {
        log_line""", """\
    if (false) {
        log_line"""),
    "what was left here may be left behind": (FILES, "core/token.c", """\
wish->kept != NULL && old->value""", """\
false && old->value"""),
    "a removal without an answer is repeated at once": (REMOVAL, "core/token.c", """\
        ask_wait_settled(clock_now_ns() + removing->settle_ns);
""", ""),
    "what came after a lost removal is removed": (REMOVAL, "core/token.c", """\
        if (!now.is_there || (removing->tag[0] != '\\0' && strcmp(now.tag, removing->tag) != 0))
            return 0;
""", """\
        if (!now.is_there)
            return 0;
"""),
    "a reset removes what came after it": (REMOVAL, "core/token.c", """\
        if (removing->tag[0] == '\\0')
            return error_set""", """\
        if (false)
            return error_set"""),
    "a lock is removed that may be another's by now": (REMOVAL, "core/token.c", """\
        if (clock_now_ns() >= removing->until_ns)
""", """\
        if (false)
"""),
    "a removal takes longer than the lease": (REMOVAL, "core/token.c", """\
    status = ask_until(io, removing->until_ns);
    if""", """\
    status = ask_until(io, UINT64_MAX);
    if"""),
    "a copy of this machine is not watched": (BEATS, "core/token.c", """\
    if (may_be_copied) {
""", """\
    if (false) {
"""),
    "what a copy of this machine has on its way is not waited for": (BEATS, "core/token.c", """\
    taking->token->hold_ms = hold_ms(taking, wish, may_be_copied);
""", """\
    taking->token->hold_ms = hold_ms(taking, wish, false);
"""),
    "the lease of who is replaced by force does not count": (BEATS, "core/token.c", """\
hold_ms(&taking, wish, !is_dead);
""", """\
hold_ms(&taking, wish, false);
"""),
    "who is replaced by force is taken to live": (BEATS, "core/token.c", """\
hold_ms(&taking, wish, !is_dead);
""", """\
hold_ms(&taking, wish, true);
"""),
    "who died while he waited for others had not": (BEATS, "core/token.c", """\
    return ms > taking->old.hold_ms ? ms : taking->old.hold_ms;
""", """\
    return ms;
"""),
    "a token does not say how long others are waited for": (BEATS, "core/token.c", """\
                         .hold_ms = token->is_shared ? 0 : token->hold_ms };
""", """\
                         .hold_ms = 0 };
"""),
    "a beat does not say how long others are waited for": (LEASE, "core/lease.c", """\
        now < lease->config.hold_until_ns ? """, """\
        false ? """),
    "who passes by force leaves nothing": (BEATS, "core/token.c", """\
        if (is_dead || wish->is_passing)
""", """\
        if (is_dead)
"""),
    "a take by force that fails frees the volume": (CONDITIONS, "core/token.c", """\
        leave(taking->backend, taking->layout, token, &taking->old, &ignored);
""", """\
        leave(taking->backend, taking->layout, token, &token->before, &ignored);
"""),
    "whoever is on this boot is a dead neighbour": (TOKEN, "core/holder.c", """\
        return strcmp(local[0], local[1]) == 0 ? HOLDER_DEAD : HOLDER_OTHER;
""", """\
        return HOLDER_DEAD;
"""),
    "who has beaten since our boot is dead": (BEATS, "core/holder.c", """\
        || (lock->lease.beat > 0
            && lock->lease.at_s > (uint64_t)time(NULL) - clock_now_ns() / NS_PER_S))
""", """\
        )
"""),
    "who beats stands still": (TAKEOVER, "core/holder.c", """\
        if (now.is_there && !lock_is_same(lock, &now)) {
""", """\
        if (false) {
"""),
    "a version of a lock is any of its owner's": (TAKEOVER, "core/lock.c", """\
           && a->lease.beat == b->lease.beat && strcmp(a->tag, b->tag) == 0;
""", """\
        ;
"""),
    "a takeover leaves behind what was acknowledged": (TAKEOVER, "core/takeover.c", """\
    if (!lock->is_local)
        return 0;
""", """\
    if (true)
        return 0;
"""),
    "any owner of a value is us": (LEASE, "core/lock.c", """\
 && lock->value == value && strcmp(lock->owner, owner) == 0;
""", """\
 && lock->value == value;
"""),
    "any value of an owner is us": (CONDITIONS, "core/lock.c", """\
 && lock->value == value && """, """\
 && """),
    "a shared lock is somebody's": (SHARING, "core/lock.c", """\
 && lock->value == TOKEN_SHARED;
""", """\
 && false;
"""),
    "what is nearly a lease is one": (LOCK, "core/lock.c", """\
    return strcmp(text, again) == 0 ? lease : """, """\
    return again[0] != '\\0' ? lease : """),
    "a lock is read as if all were stored": (FILES, "core/lock.c", """\
    out->is_local = text != NULL && strcmp""", """\
    out->is_local = false && strcmp"""),
    "a takeover does not wait for what is settled late": (TAKEOVER, "core/takeover.c", """\
        ms += lock->lease.lease_ms;
""", """\
        ms = lock->lease.lease_ms;
"""),
    "a takeover does not wait for the lease": (TAKEOVER, "core/takeover.c", """\
        ms += lock->lease.lease_ms;
""", ""),
    "a takeover goes by the shorter settle time": (TAKEOVER, "core/takeover.c", """\
        config->settle_ms > lock->lease.settle_ms ? """, """\
        config->settle_ms < lock->lease.settle_ms ? """),
    "a takeover does not wait for whom the dead one waited": (TAKEOVER, "core/takeover.c", """\
    if (ms < lock->hold_ms)
""", """\
    if (false)
"""),
    "who never beats is dead": (TAKEOVER, "core/takeover.c", """\
        if (lock->lease.beat == 0)
            return 0;
""", ""),
    "a spill that is not complete counts": (SPILL, "core/spill.c", """\
                   && spill->tokens[0] != 0
               ? 0
               : -ENOENT;
""", """\
               ? 0
               : 0;
"""),
    "a spill counts before it is durable": (SPILL, "core/spill.c", """\
    int rc = seal_zeros(spilling);

    /* What""", """\
    int rc = seal_zeros(spilling);

    if (rc == 0)
        rc = spill_set_tokens(spilling->spill, spilling->token, spilling->token, why);
    /* What"""),
    "a spill counts before its ranges are durable": (SPILL, "core/spill.c", """\
            || fsync(fileno(zeros)) != 0))
        rc = -errno;
""", """\
            ))
        rc = -errno;
"""),
    "the name of a spill is not durable": (SPILL, "core/spill.c", """\
    if (rc == 0 && cachefile_sync_directory(spill->path) != 0)
""", """\
    if (false)
"""),
    "a spill that failed half way stays": (SPILL, "core/spill.c", """\
    else
        remove_both(spilling.spill, &ignored);
""", """\
    else
        ignored.text[0] = '\\0';
"""),
    "of a block that is spilled all sectors count": (SPILL, "core/spill.c", """\
                                         .valid = valid,
""", ""),
    "ranges are zeroed that nobody has checked": (SPILL, "core/spill.c", """\
 || sscanf(end, SUM_SCAN, &sum) != 1
        || sum != XXH3_64bits(text, (size_t)(end - text))) {
""", """\
 || sscanf(end, SUM_SCAN, &sum) != 1) {
"""),
    "ranges are zeroed again over what was stored": (SPILL, "core/spill.c", """\
O_WRONLY | O_TRUNC | """, """\
O_WRONLY | """),
    "an older file keeps what a spill supersedes": (SPILL, "core/spill.c", """\
        rc = cachefile_drop(older, info.block, 0, why);
""", """\
        rc = 0;
"""),
    "an older file keeps what was zeroed since": (SPILL, "core/spill.c", """\
    int rc = each_zero(spill, drop_zero, older, why);
""", """\
    int rc = 0;
"""),
    "a spill that was stored counts when it is back": (SPILL, "core/spill.c", """\
    int rc = spill->file != NULL ? cachefile_set_note(spill->file, "", 0, why) : 0;
""", """\
    int rc = 0;
"""),
}

# The tests that find the first three wait for what does not come; of the others there is one of the kind above.
RARE = {
    "a beat is confirmed at its answer",
    "a beat without an answer is confirmed",
    "a condition that does not hold is a lost lock, without a look",
    "a beat is confirmed when it is found",
    "lost is said to be unconfirmed",
    "a beat that was never sent is ours",
    "a lock that is found without a beat is confirmed now",
    "a deletion needs no lease",
    "a dead daemon's lock is replaced whatever it is by now",
    "a put without an answer was not done",
    "who wrote last is looked at in no time",
    "a token counts from when it was taken",
    "an epoch is begun twice",
    "any value of an owner is us",
    "what is nearly a lease is one",
    "a takeover does not wait for the lease",
    "a takeover goes by the shorter settle time",
    "a spill counts before its ranges are durable",
    "a spill that failed half way stays",
    "an older file keeps what was zeroed since",
    "ranges are zeroed again over what was stored",
}


def target_of(bug):
    return f"tests/unit/{bug[0]}"


def search(program, name, seed, seconds):
    done = subprocess.Popen([program], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    late = threading.Timer(seconds, done.kill)
    late.start()
    lines, failed = [], None
    for line in done.stdout:
        lines.append(line)
        failed = failed or re.match(r"\[  FAILED  \] (?!\d)(\w+)", line)
        # The tests behind it may wait long for what does not come.  This one is quick, and removes what it has made.
        if failed and BUGS[name][0] != SPILL:
            done.kill()
            break
    done.communicate()
    is_late = not late.is_alive()
    late.cancel()
    if failed:
        return failed[1]
    if is_late:
        return "no end"
    if done.returncode > 0 and not any("Sanitizer" in line for line in lines):
        sys.exit(f"{name}: the test did not run\n{''.join(lines)}")
    return None if done.returncode == 0 else f"status {done.returncode}"


if __name__ == "__main__":
    sys.exit(planted.main(__doc__, BUGS, RARE, target_of, search, seconds=60, control_seconds=60))
