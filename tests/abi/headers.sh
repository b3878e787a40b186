#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The SDK's headers compile alone, as C11 and as C++17, and a plugin of either exports the same function.
set -eu
sdk=$(dirname "$(readlink -f "$0")")/../../sdk
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT

# exports COMPILER STANDARD LANGUAGE
exports() {
    printf '#include <bucketdisk/plugin.h>\nstatic const struct bd_plugin it = { BD_HEAD(PLUGIN, struct bd_plugin) };\nBD_PLUGIN(it)\n' |
        "$1" "-std=$2" -x "$3" -Wall -Wextra -pedantic -Werror -Wno-missing-field-initializers \
            -shared -fPIC -fvisibility=hidden -I "$sdk/include" - -o "$directory/plugin.so"
    exported=$(nm -D --defined-only "$directory/plugin.so" | awk '{ print $3 }')
    [ "$exported" = bd_plugin_query ] || { echo "$3 exports $exported"; exit 1; }
}

for header in plugin sdk; do
    "$1" -std=c11 -x c -Wall -Wextra -pedantic -Werror -fsyntax-only -I "$sdk/include" "$sdk/include/bucketdisk/$header.h"
    echo "#include <bucketdisk/$header.h>" |
        clang++ -std=c++17 -x c++ -Wall -Wextra -pedantic -Werror -fsyntax-only -I "$sdk/include" -
done
exports "$1" c11 c
exports clang++ c++17 c++
