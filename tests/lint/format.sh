#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Is every C file laid out as .clang-format says?  Skipped where there is no clang-format.  Frozen headers stay as they were.
cd "$(dirname "$0")/../.." || exit 1
command -v clang-format >/dev/null || exit 77
find core plugins sdk tests -name '*.[ch]' ! -path 'sdk/abi/*' -exec clang-format --dry-run -Werror {} +
