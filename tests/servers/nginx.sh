# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# nginx with nginx-s3.lua, the fast server with latency at will: sourced by `up`.
#
# From the environment, all 0 if not given: LATENCY_MS JITTER_MS RATE_KIB ERROR_PCT DROP_PCT LOST_PCT (to be changed later
# by ENDPOINT/_lab?latency_ms=30), VERIFY=1 (x-amz-content-sha256), FAKE_ETAG=1 (no MD5); WORKERS=1 and INDEX_MB=256.
PATH=$PATH:/usr/sbin
command -v nginx >/dev/null || skip "nginx: not installed"
modules=/usr/lib/nginx/modules
[ -e $modules/ngx_http_lua_module.so ] || skip "nginx: no libnginx-mod-http-lua"
ACCESS=nginxid SECRET=nginxsecret               # any will do: signatures are not looked at
port=$(free_ports 2)
ENDPOINT=http://127.0.0.1:$port/ ENDPOINT_TLS=https://127.0.0.1:$((port + 1))/
mkdir -p "$DATA/store/objects" "$DATA/tmp"
cat >"$DATA/nginx.conf" <<CONF
load_module $modules/ndk_http_module.so;
load_module $modules/ngx_http_lua_module.so;
user $(id -un);
daemon off;
worker_processes ${WORKERS:-1};
pid $DATA/nginx.pid;
error_log $DIRECTORY/log/error.log warn;
events { worker_connections 8192; }
http {
    access_log off;
    server_tokens off;
    default_type binary/octet-stream;
    sendfile on;
    tcp_nopush on;
    tcp_nodelay on;
    keepalive_timeout 65s;
    keepalive_requests 1000000000;
    client_body_timeout 60s;
    client_max_body_size 5g;
    client_body_buffer_size 16m;
    client_body_in_single_buffer on;
    client_body_temp_path $DATA/tmp;
    proxy_temp_path $DATA/tmp;
    fastcgi_temp_path $DATA/tmp;
    uwsgi_temp_path $DATA/tmp;
    scgi_temp_path $DATA/tmp;
    merge_slashes off;
    underscores_in_headers on;
    lua_transform_underscores_in_response_headers off;
    large_client_header_buffers 8 32k;
    etag off;
    if_modified_since before;
    lua_shared_dict s3_objects ${INDEX_MB:-256}m;
    lua_shared_dict s3_state 8m;
    init_by_lua_block {
        s3 = dofile("$HERE/nginx-s3.lua")
        s3.init {
            root = "$DATA/store", verify = ${VERIFY:-0} == 1, fake_etag = ${FAKE_ETAG:-0} == 1,
            latency_ms = ${LATENCY_MS:-0}, jitter_ms = ${JITTER_MS:-0}, rate_kib = ${RATE_KIB:-0},
            error_pct = ${ERROR_PCT:-0}, drop_pct = ${DROP_PCT:-0}, lost_pct = ${LOST_PCT:-0},
        }
    }
    init_worker_by_lua_block { s3.init_worker() }
    ssl_certificate $DATA/tls/cert.pem;
    ssl_certificate_key $DATA/tls/key.pem;
    ssl_session_cache shared:tls:1m;
    server {
        listen 127.0.0.1:$port backlog=4096;
        listen 127.0.0.1:$((port + 1)) ssl backlog=4096;
        location / {
            root $DATA/store;
            access_by_lua_block { s3.handle() }
        }
    }
}
CONF
ulimit -n "$(ulimit -Hn)"
start nginx nginx -e "$DIRECTORY/log/error.log" -c "$DATA/nginx.conf" -p "$DATA"
