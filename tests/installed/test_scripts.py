#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What the package's maintainer scripts do when it is upgraded, removed and purged.  They run as they are, where /etc, /run and
/var/lib are others, and systemctl notes what it is told."""
import os
import subprocess
import sys
import unittest
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parents[2] / "core/debian"
ELSEWHERE = """
for directory in /etc /run /var/lib; do mount -t tmpfs none $directory || exit 77; done
mkdir -p /run/systemd/system /run/bin /run/bucketdisk/up/data /var/lib/bucketdisk /etc/bucketdisk /etc/systemd/system/remote-fs.target.wants
printf '#!/bin/sh\\necho "systemctl $*"\\n' >/run/bin/systemctl
chmod 755 /run/bin/systemctl
PATH=/run/bin:$PATH
cd /etc/systemd/system/remote-fs.target.wants
free() { printf 'pid 1\\nstate done\\n' >"/run/bucketdisk/$1.lock"; }
set -x
"""


def elsewhere(script):
    """Run it; what it said, and whether it went well."""
    done = subprocess.run(["unshare", "--mount", "sh", "-euc", ELSEWHERE + script], capture_output=True, text=True,
                          env={**os.environ, "HERE": str(SCRIPTS)}, check=False)
    if done.returncode == 77 or "unshare:" in done.stderr:
        raise unittest.SkipTest("no namespace of mounts can be made here")
    return done.stdout, done.stderr, done.returncode == 0


class Scripts(unittest.TestCase):
    def done(self, script):
        out, said, is_good = elsewhere(script)
        self.assertTrue(is_good, out + said)
        return out, said

    def test_an_upgrade_takes_nothing_down(self):
        out, _ = self.done("""
            "$HERE/prerm" upgrade 0.2.0
            "$HERE/postrm" upgrade 0.2.0
            "$HERE/postinst" configure 0.1.0
            ls -d /run/bucketdisk/up/data /var/lib/bucketdisk""")
        self.assertNotIn("stop", out)
        self.assertIn("systemctl --system daemon-reload", out)

    def test_a_removal_stops_the_units(self):
        out, _ = self.done('free one; "$HERE/prerm" remove')
        self.assertIn("systemctl --system stop bucketdisk@*.service", out)
        out, _ = self.done('rmdir /run/systemd/system; free one; "$HERE/prerm" remove; "$HERE/postrm" remove')
        self.assertNotIn("systemctl", out)

    def test_a_removal_is_refused_while_anything_is_mounted_and_names_it(self):
        out, said, is_good = elsewhere("""
            free one
            mkfifo /run/held
            (exec 9>/run/bucketdisk/two.lock; flock 9; echo "pid $$" >&9; echo >/run/held; exec sleep 60) &
            read -r _ </run/held
            "$HERE/prerm" remove && status=0 || status=$?
            kill $!
            exit $status""")
        self.assertFalse(is_good, out + said)
        self.assertRegex(said, r"bucketdisk: still there is process \d+: sh -euc")
        self.assertRegex(said, r"bucketdisk: it is not removed; .*bucketdisk down")

    def test_what_is_ours_goes(self):
        out, said = self.done("""
            free one
            "$HERE/postrm" remove
            ln -s /usr/lib/systemd/system/bucketdisk@.service bucketdisk@data.service
            "$HERE/postrm" purge
            cd /
            find /etc /run /var/lib ! -type d
            find /etc /run /var/lib -name '*bucketdisk*' -o -name '*.wants'""")
        self.assertEqual([line for line in out.splitlines() if not line.startswith("systemctl")], ["/run/bin/systemctl"])
        self.assertNotIn("\nbucketdisk:", said)

    def test_what_is_nowhere_else_stays(self):
        """Writes that no store has, what tells of them, and what an administrator wrote; another's unit, too."""
        out, said = self.done("""
            printf 'pid 1\\nkept 00000042 /var/lib/bucketdisk/disk.spill\\n' >/run/bucketdisk/disk.lock
            free one
            echo >/var/lib/bucketdisk/disk.spill
            echo >/etc/bucketdisk/key
            ln -s /lib/systemd/system/nfs.service bucketdisk-like.service
            ln -s /usr/lib/systemd/system/bucketdisk@.service bucketdisk@data.service
            "$HERE/postrm" remove
            [ -L bucketdisk@data.service ]              # its configuration, until it is purged
            "$HERE/postrm" purge
            find /etc /run /var/lib ! -type d | sort""")
        self.assertEqual([line for line in out.splitlines() if not line.startswith("systemctl")],
                         ["/etc/bucketdisk/key", "/etc/systemd/system/remote-fs.target.wants/bucketdisk-like.service",
                          "/run/bin/systemctl", "/run/bucketdisk/disk.lock", "/var/lib/bucketdisk/disk.spill"])
        self.assertRegex(said, r"\nbucketdisk: /var/lib/bucketdisk stays: .*install bucketdisk again")
        self.assertRegex(said, r"\nbucketdisk: /etc/bucketdisk stays")


if __name__ == "__main__":
    if os.geteuid() != 0:
        print("skipped: only root can mount", file=sys.stderr)
        sys.exit(77)
    unittest.main()
