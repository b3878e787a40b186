#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Every plugin that we ship exports one function, and has nothing that is resolved late.
set -u
failed=0 count=0
for plugin in "$1"/*.so; do
    [ -e "$plugin" ] || continue
    count=$((count + 1))
    # A sanitizer and gcov put symbols of their own beside it.
    exports=$(nm -D --defined-only "$plugin" | awk '{ print $3 }' | grep -vE '^(__asan|__odr_asan|__ubsan|__tsan|__gcov|__lsan|_edata|_end|__bss_start|_init|_fini)' | sort -u)
    [ "$exports" = bd_plugin_query ] || { echo "$plugin: exports $exports"; failed=1; }
    readelf -d "$plugin" | grep -qE 'BIND_NOW|FLAGS.*NOW' || { echo "$plugin: was not linked with -z now"; failed=1; }
done
[ $count -gt 0 ] || { echo "no plugins in $1"; failed=1; }
exit $failed
