#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Scripts parse, source files open with their licence, and no path of somebody's machine is in the tree.
set -u
cd "$(dirname "$(readlink -f "$0")")/../.." || exit 1
failed=0
complain() { echo "$1"; failed=1; }

for script in demo core/debian/{build,check,boot,prerm,postinst,postrm} core/debian/inside/{clone,packages,boot,dev} tests/run tests/install tests/{abi,lint}/*.sh tests/servers/{up,down,certificate.sh,s3rver/install}; do
    bash -n "$script" || complain "$script: does not parse"
    [ -x "$script" ] || complain "$script: is not executable"
done
for script in tests/servers/*.sh core/debian/inside/*.sh; do
    bash -n "$script" || complain "$script: does not parse"
done
while IFS= read -r source; do
    /usr/bin/python3 -c 'import ast, sys; ast.parse(open(sys.argv[1]).read())' "$source" || complain "$source: does not parse"
done < <(find tests -name '*.py')
while IFS= read -r source; do
    head -n 2 "$source" | grep -q 'SPDX-License-Identifier: Apache-2.0' || complain "$source: no SPDX line"
done < <(find core sdk plugins tests -size +0 \( -name '*.[ch]' -o -name '*.py' -o -name '*.sh' -o -name '*.js' -o -name '*.lua' -o -name CMakeLists.txt \) 2>/dev/null)
hits=$(grep -rnE '(^|[^A-Za-z0-9._-])/(home|work)/' --include='*.[ch]' --include='*.py' --include='*.sh' --include='*.md' \
       --include=CMakeLists.txt core sdk plugins tests ./*.md 2>/dev/null | grep -v '^tests/lint/')
[ -z "$hits" ] || complain "paths of a machine:
$hits"
exit $failed
