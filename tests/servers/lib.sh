# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# What `up`, `down` and the servers' own parts share: sourced, not run.
#
# A server's directory holds
#   pids      a line for each process: pid, start time (from /proc), name
#   env       what `up` tells, NAME=VALUE
#   log/      one file for each process
#   data ->   what it stores, in memory if there is enough of it; gone after `down`
# A pid is ours only while its start time is the same, so that nobody else's process is ever signalled.

die()  { echo "tests/servers: $*" >&2; exit 1; }
skip() { echo "skipped: $*" >&2; exit 77; }

# When a process started, in ticks since boot; nothing if it is gone.
process_start() {
    local stat
    stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 0
    # shellcheck disable=SC2086  # fields after the name, which may hold anything
    set -- ${stat##*) }
    [[ $1 = [ZX] ]] || echo "${20}"
}

is_same() { [ -n "$2" ] && [ "$(process_start "$1")" = "$2" ]; }

# Start a process of the server in a session of its own.
start() {
    local name=$1; shift
    setsid "$@" >>"$DIRECTORY/log/$name.log" 2>&1 </dev/null &
    echo "$! $(process_start $!) $name" >>"$DIRECTORY/pids"
}

all_run() {
    local pid started
    while read -r pid started _; do
        is_same "$pid" "$started" || return 1
    done <"$DIRECTORY/pids"
}

# End what was started, the last first, and throw away what it stored.  Not the caller, if it is recorded too.
end_all() {
    local pid started data
    [ ! -e "$DIRECTORY/pids" ] || tac "$DIRECTORY/pids" | while read -r pid started _; do
        [ "$pid" != $$ ] && is_same "$pid" "$started" || continue
        kill -TERM "$pid" 2>/dev/null || true
        for _ in $(seq 50); do
            is_same "$pid" "$started" || continue 2
            sleep 0.1
        done
        kill -KILL "$pid" 2>/dev/null || true
    done
    data=$(readlink "$DIRECTORY/data" || true)
    [[ $data != */bucketdisk-server-* ]] || rm -rf --one-file-system "$data"
    rm -f "$DIRECTORY/pids" "$DIRECTORY/env" "$DIRECTORY/data"
}

# N ports in a row that nobody has, below those that the system gives to clients.
free_ports() {
    /usr/bin/python3 - "$1" <<'PYTHON'
import random, socket, sys
count = int(sys.argv[1])
def is_free(port):
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
while True:
    first = random.randrange(12000, 32000 - count)
    if all(map(is_free, range(first, first + count))):
        sys.exit(print(first))
PYTHON
}

# Any HTTP answer will do.
wait_http() {
    local url=$1 seconds=$2
    for _ in $(seq $((seconds * 10))); do
        ! curl -s -k -o /dev/null --max-time 5 "$url" || return 0
        all_run || return 1
        sleep 0.1
    done
    return 1
}

make_bucket() {
    local status
    for _ in $(seq 40); do
        status=$(curl -s -o "$DIRECTORY/log/bucket.log" -w '%{http_code}' --max-time 20 -X PUT --aws-sigv4 "aws:amz:$REGION:s3" \
                 --config <(echo "user = \"$ACCESS:$SECRET\"") -H 'x-amz-content-sha256: UNSIGNED-PAYLOAD' "$ENDPOINT$BUCKET") || true
        case $status in 200|409) return 0 ;; esac
        sleep 0.5
    done
    return 1
}
