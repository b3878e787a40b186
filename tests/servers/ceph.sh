# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# The RADOS gateway of Ceph over one monitor and one OSD in memory, without systemd and cephx: sourced by `up`.
#
# CEPH_NODELAY=1 has radosgw set TCP_NODELAY.  By default it does not, and a small answer waits 40 ms unless the client
# acknowledges its first part at once; this is how it is installed, so this is how it is tested.
for program in radosgw radosgw-admin ceph ceph-mon ceph-osd monmaptool; do
    command -v $program >/dev/null || skip "ceph: no $program"
done
ACCESS=cephid SECRET=cephsecret
port=$(free_ports 16)                           # S3, TLS, the monitor, and what the OSD wants
ENDPOINT=http://127.0.0.1:$port/ ENDPOINT_TLS=https://127.0.0.1:$((port + 1))/
monitor="[v2:127.0.0.1:$((port + 2))]"
fsid=$(cat /proc/sys/kernel/random/uuid)
mkdir "$DATA"/{mon,osd,rgw,run}
export CEPH_ARGS="--conf $DATA/ceph.conf"
cat >"$DATA/ceph.conf" <<CONF
[global]
fsid = $fsid
mon_host = $monitor
ms_bind_msgr1 = false
# radosgw asks for an encrypted connection to the monitor by default, which needs cephx.
ms_mon_client_mode = crc
ms_mon_service_mode = crc
ms_mon_cluster_mode = crc
auth_cluster_required = none
auth_service_required = none
auth_client_required = none
public_network = 127.0.0.0/8
cluster_network = 127.0.0.0/8
ms_bind_port_min = $((port + 3))
ms_bind_port_max = $((port + 15))
run_dir = $DATA/run
admin_socket = $DATA/run/\$name.asok
pid_file = $DATA/run/\$name.pid
log_file = $DIRECTORY/log/\$name.ceph.log
log_to_stderr = false
err_to_stderr = true
crash_dir = $DIRECTORY/log
osd_pool_default_size = 1
osd_pool_default_min_size = 1
mon_allow_pool_size_one = true
osd_crush_chooseleaf_type = 0
osd_crush_initial_weight = 1
osd_pool_default_pg_num = 8
osd_pool_default_pgp_num = 8
osd_pool_default_pg_autoscale_mode = off
mon_max_pg_per_osd = 1000
# An OSD in memory loses count of what it holds, in both directions: below zero it would be 2^24 times full.
mon_osd_nearfull_ratio = 1e10
mon_osd_backfillfull_ratio = 2e10
mon_osd_full_ratio = 3e10
osd_failsafe_full_ratio = 4e10
mon_data_avail_warn = 2
mon_data_avail_crit = 1

[mon]
mon_data = $DATA/mon
mon_initial_members = a

[osd]
osd_data = $DATA/osd
osd_objectstore = memstore
memstore_device_bytes = $((1 << 40))
osd_memory_target = 1073741824
osd_class_update_on_start = false

[client.rgw]
rgw_data = $DATA/rgw
rgw_frontends = beast endpoint=127.0.0.1:$port ssl_endpoint=127.0.0.1:$((port + 1)) ssl_certificate=$DATA/tls/cert.pem ssl_private_key=$DATA/tls/key.pem${CEPH_NODELAY:+ tcp_nodelay=1}
rgw_dns_name = localhost
debug_rgw = 0/0
rgw_enable_usage_log = false
rgw_enable_ops_log = false
rgw_run_sync_thread = false
rgw_gc_obj_min_wait = 10
rgw_gc_processor_period = 10
CONF
ceph_step() {
    timeout 100 "$@" >>"$DIRECTORY/log/setup.log" 2>&1 || {
        tail -n 5 "$DIRECTORY/log/setup.log" >&2
        skip "ceph: $1 failed, see $DIRECTORY/log"
    }
}
ceph_step monmaptool --create --fsid "$fsid" --addv a "$monitor" --clobber "$DATA/monmap"
ceph_step ceph-mon --mkfs -i a --monmap "$DATA/monmap"
start mon ceph-mon -f -i a
osd=$(cat /proc/sys/kernel/random/uuid)
ceph_step ceph --connect-timeout 55 osd new "$osd"
ceph_step ceph-osd -i 0 --mkfs --osd-uuid "$osd"
start osd ceph-osd -f -i 0
start rgw radosgw -f -n client.rgw
server_ready() {
    ceph_step radosgw-admin user create --uid=lab --display-name=lab --access-key="$ACCESS" --secret-key="$SECRET"
}
