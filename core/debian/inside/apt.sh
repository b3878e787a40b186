# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# What the scripts here share: sourced, not run.
export DEBIAN_FRONTEND=noninteractive
step() { printf '\n== %s\n' "$*"; }
die() { echo "failed: $*" >&2; exit 1; }
show() { printf '  $ %s\n' "$*"; "$@"; }
refused() { printf '  $ %s\n' "$*"; if "$@"; then die "this should have been refused"; fi; }
# Says nothing unless it fails.
apt() { apt-get -q -y "$@" >/tmp/apt.log 2>&1 || { tail -n 30 /tmp/apt.log >&2; return 1; }; }
