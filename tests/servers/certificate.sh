#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Make a private authority and a server certificate of it for 127.0.0.1 and localhost: `certificate.sh DIRECTORY`.
#
# DIRECTORY gets ca.pem, cert.pem, key.pem, and the authority's key.  What is there already stays.
set -euo pipefail
directory=${1:?usage: certificate.sh DIRECTORY}
mkdir -p "$directory"
cd "$directory"
[ ! -e cert.pem ] || exit 0
umask 077
curve=(-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes)
{
    openssl req -x509 "${curve[@]}" -days 30 -subj '/CN=bucketdisk test authority' -keyout ca.key -out ca.pem \
        -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign
    openssl req "${curve[@]}" -subj /CN=localhost -keyout key.pem -out cert.csr
    openssl x509 -req -in cert.csr -CA ca.pem -CAkey ca.key -set_serial 1 -days 30 -out cert.new \
        -extfile <(printf 'subjectAltName=IP:127.0.0.1,DNS:localhost,DNS:*.localhost\nbasicConstraints=CA:FALSE\n')
} 2>openssl.log || { cat openssl.log >&2; exit 1; }
rm cert.csr
chmod 644 ca.pem cert.new
mv cert.new cert.pem
