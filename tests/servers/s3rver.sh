# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# s3rver 3.7.1 of npm, which knows no conditions and closes idle connections early: sourced by `up`.
for program in node npm; do
    command -v $program >/dev/null || skip "s3rver: no $program"
done
"$HERE/s3rver/install" 2>"$DIRECTORY/log/npm.log" >"$DIRECTORY/log/where" || {
    tail -n 5 "$DIRECTORY/log/npm.log" >&2
    skip "s3rver: npm cannot install it"
}
# The key pair is fixed in its source.  Its continuation tokens use DES, which OpenSSL 3 has in its legacy provider only.
ACCESS=S3RVER SECRET=S3RVER
mkdir "$DATA/store"
start s3rver node --openssl-legacy-provider "$HERE/s3rver/serve.js" "$(cat "$DIRECTORY/log/where")" "$DATA/store" \
    "$DATA/tls/key.pem" "$DATA/tls/cert.pem"
for _ in $(seq 300); do
    read -r plain secure < <(sed -n 's/^listening //p' "$DIRECTORY/log/s3rver.log") && break
    all_run || break
    sleep 0.1
done
[ -n "${secure:-}" ] || { tail -n 5 "$DIRECTORY/log/s3rver.log" >&2; skip "s3rver: does not start"; }
ENDPOINT=http://127.0.0.1:$plain/ ENDPOINT_TLS=https://127.0.0.1:$secure/
