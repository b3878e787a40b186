#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What people type to s3backer, typed in with the one word changed.

The command lines are those of its manual page, of its wiki, and of scripts and reports of its users.  They are given to a shell
as they stand: the store and its keys are where s3backer's users have them, outside of the command.  Over the faulty server, or
over the store that BUCKETDISK_STORE names."""
import contextlib
import os
import pty
import re
import select
import shutil
import subprocess
import time
from pathlib import Path

import disk
import faulty

# A loop device lets go of its file a moment after its filesystem was unmounted.
UNMOUNT = """
    later() { for i in $(seq 100); do command "$@" && return; sleep 0.1; done; return 1; }
    umount() { later umount "$@"; }
    fusermount() { later fusermount "$@"; }
"""


class Examples(disk.Story):
    def setUp(self):
        super().setUp()
        store = faulty.FaultyStore(faulty.FaultyServer(self), "v") if disk.STORE == "dir" else disk.new_store(self)
        given = dict(option.removeprefix("--").split("=", 1) for option in store.options)
        home, bin_ = self.directory("home"), self.directory("bin")
        shutil.copy(given["accessFile"], home / ".s3backer_passwd")
        (home / ".s3backer_passwd").chmod(0o600)
        for name in ("bucketdisk", "s3backer"):
            (bin_ / name).symlink_to(os.path.abspath(disk.BINARY))
        self.store, self.home, self.bin = store, home, bin_
        key_id, secret = (home / ".s3backer_passwd").read_text().strip().split(":")
        self.words = {**disk.environment(self), "HOME": str(home), "PATH": f"{bin_}:/usr/sbin:/usr/bin:/sbin:/bin", "BIN": str(bin_),
                      "AWS_ENDPOINT_URL_S3": given["baseURL"], "AWS_REGION": given["region"], "URL": given["baseURL"],
                      "REGION": given["region"], "KEYS": str(home / ".s3backer_passwd"), "ID": key_id, "SECRET": secret,
                      "BUCKET": store.location, "CACHE": str(self.path("cache")), "CONF": str(self.path("conf")),
                      "FSTAB": str(self.path("fstab")), "MNT": self.place("mnt"), "DATA": self.place("data")}

    def _finish(self):
        """A script that failed leaves its daemon, which is known by the story's directory in its arguments."""
        for pid in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError):
                if os.path.samefile(f"/proc/{pid}/exe", disk.BINARY) and os.fsencode(self.tmp) in Path(f"/proc/{pid}/cmdline").read_bytes():
                    disk.RECORD.add("process", pid, disk.process_start(int(pid)))
        super()._finish()

    def place(self, name):
        """A mount point, which is unmounted whatever happens."""
        made = self.directory(name)
        disk.RECORD.add("mount", made)
        return str(made)

    def sh(self, script, check=True, **more):
        """As somebody types it, until something fails; standard output."""
        done = disk.run("sh", "-ec", UNMOUNT + script, check=False, env=self.words, timeout=120, **more)
        if check:
            self.assertEqual(done.returncode, 0, f"{script}\n{done.stdout}{done.stderr}")
        return done.stdout

    def gone(self):
        """umount(8) does not wait for the daemon; who mounts again does, but who counts objects must."""
        disk.wait_until("the daemon's end", lambda: not disk.run(disk.BINARY, "info", "--json", self.store.location, env=self.words,
                                                                 check=False).stdout.count('"renewed_at"'))

    # The manual page and the wiki

    def test_a_new_filesystem(self):
        """The wiki's first page: a disk of 1 TiB, a filesystem on it by loop; later without the sizes."""
        self.sh("""
            bucketdisk --blockSize=128k --size=1t --listBlocks $BUCKET $MNT
            mkfs.ext4 -q -E nodiscard,lazy_journal_init=1 -F $MNT/file
            mount -o loop $MNT/file $DATA
            echo kept > $DATA/here
            umount $DATA
            umount $MNT
            bucketdisk $BUCKET $MNT
            mount -o loop $MNT/file $DATA
            test $(cat $DATA/here) = kept
            test $(stat -c %s $MNT/file) = 1099511627776
            test $(stat -c %o $MNT/file) = 131072
            grep -q '^http_normal_blocks_read ' $MNT/stats
            rm $MNT/stats
            umount $DATA
            fusermount -u $MNT""")

    def test_xfs_on_the_file_itself(self):
        self.sh("""
            bucketdisk --directIO --debug --region=$REGION --baseURL=$URL --force --blockSize=1M --size=512M $BUCKET $MNT
            mkfs.xfs -q -f $MNT/file
            mount -o loop $MNT/file $DATA
            cp /etc/passwd $DATA
            cmp /etc/passwd $DATA/passwd
            fstrim $DATA
            umount $DATA
            umount $MNT""")

    def test_options_behind_the_bucket_and_in_the_foreground(self):
        log = self.path("log")
        with open(log, "wb") as said:
            self.logs.append(log)
            daemon = self.start("sh", "-c", "exec bucketdisk -f -d --blockSize=128k --size=1t --listBlocks $BUCKET --baseURL $URL $MNT --force",
                                stdin=subprocess.DEVNULL, stdout=said, stderr=said, env=self.words)
        file = os.path.join(self.words["MNT"], "file")
        disk.wait_until("the mount", lambda: daemon.poll() is not None or os.path.exists(file))
        self.sh("echo hello | dd of=$MNT/file conv=notrunc; test $(head -c5 $MNT/file) = hello")
        daemon.terminate()
        self.assertEqual(self.reap(daemon), 0)
        self.assertFalse(disk.is_mounted(self.words["MNT"]))

    def test_it_grows(self):
        self.sh("""
            bucketdisk --blockSize=64k --size=64m $BUCKET $MNT
            mkfs.ext4 -q -F $MNT/file
            umount $MNT
            bucketdisk --size=128m --force $BUCKET $MNT
            e2fsck -fp $MNT/file
            resize2fs $MNT/file
            umount $MNT
            bucketdisk --readOnly $BUCKET $MNT
            test $(stat -c %s $MNT/file) = 134217728
            umount $MNT""")

    def test_erase_and_reset(self):
        self.sh("bucketdisk --size=1m --blockSize=64k $BUCKET $MNT; head -c 300000 /dev/urandom | dd of=$MNT/file conv=notrunc; bucketdisk umount $MNT")
        self.assertEqual(len(self.store.objects()), 5)
        self.sh("bucketdisk --reset-mounted-flag $BUCKET")
        self.sh("! echo n | bucketdisk --erase $BUCKET")
        self.assertEqual(len(self.store.objects()), 5)
        self.sh("echo y | bucketdisk --erase $BUCKET")
        self.assertEqual(self.store.objects(), [])
        self.sh("bucketdisk --size=1m $BUCKET $MNT; umount $MNT")
        self.gone()
        self.sh("bucketdisk --erase --force --quiet $BUCKET")
        self.assertEqual(self.store.objects(), [])

    # /etc/fstab

    def fstab(self, *lines):
        with open(self.words["FSTAB"], "w", encoding="ascii") as file:
            file.writelines(self.sh(f'echo "{line}"') for line in lines)
        if not os.access("/usr/sbin/mount.fuse3", os.X_OK):
            self.skipTest("no mount.fuse3")
        # Which gives /root for a home to what it starts.
        self.words.update({"AWS_ACCESS_KEY_ID": self.words["ID"], "AWS_SECRET_ACCESS_KEY": self.words["SECRET"]})

    def test_fstab_with_the_program_before_the_bucket(self):
        self.fstab("$BIN/bucketdisk#$BUCKET $MNT fuse size=4T,blockSize=1M,blockCacheSize=10 0 0")
        self.sh("mount -T $FSTAB $MNT; test $(stat -c %s $MNT/file) = 4398046511104; umount $MNT")

    def test_fstab_with_a_filesystem_on_it(self):
        self.fstab("$BIN/s3backer#$BUCKET $MNT fuse accessFile=$KEYS,compress=9,blockCacheFile=$CACHE,size=256M,blockSize=128k,"
                   "blockCacheSize=327680,blockCacheThreads=6,blockCacheMaxDirty=10,noatime,noauto",
                   "$MNT/file $DATA ext4 loop,noatime,noauto")
        self.sh("""
            mount -T $FSTAB $MNT
            mkfs.ext4 -q $MNT/file
            mount -T $FSTAB $DATA
            cp -r /etc/skel $DATA
            sync
            umount $DATA
            umount $MNT""")

    def test_fstab_with_the_type(self):
        self.words["PASSWORD"] = str(self.path("password"))
        with open(self.words["PASSWORD"], "w", encoding="ascii") as file:
            file.write("secret\n")
        self.fstab("$BUCKET $MNT fuse.$BIN/s3backer _netdev,force,size=100G,blocksize=1M,passwordFile=$PASSWORD,encrypt,accessFile=$KEYS,"
                   "baseURL=$URL,region=$REGION,blockCacheFile=$CACHE,blockCacheSize=256 0 0")
        for _ in range(2):
            self.sh("mount -T $FSTAB $MNT; test $(findmnt -no FSTYPE $MNT) = fuse.s3backer; umount $MNT")

    # Scripts and reports

    def test_a_script_with_a_cache_file(self):
        self.sh("""
            for i in 1 2; do
                bucketdisk --accessId=$ID --accessKey=$SECRET --blockCacheFile=$CACHE --blockSize=4M --size=2G --region=$REGION \\
                    --blockCacheSize=64 --blockCacheThreads=64 -o default_permissions,allow_other -o uid=$(id -u) $BUCKET $MNT
                test $i = 2 || mkfs.ext4 -q -E nodiscard,lazy_journal_init=1 -F $MNT/file
                mount -o loop -o discard $MNT/file $DATA
                mount | grep -q $MNT
                date > $DATA/date
                umount $DATA
                umount $MNT
            done""")
        # Some reset the flag right behind the unmount, while the daemon may still be at work: here it is refused then, and harmless.
        self.gone()
        self.sh("bucketdisk --accessId=$ID --accessKey=$SECRET --region=$REGION --reset-mounted-flag $BUCKET")

    def test_a_file_of_options(self):
        with open(self.words["CONF"], "w", encoding="ascii") as file:
            file.write(self.sh("""cat <<END
              --size=512t
              --blockSize=512k
              --accessFile=$KEYS
              --listBlocks
              --listBlocksThreads=24
              --blockCacheSize=1956
              --blockCacheNumProtected=327
              --blockCacheFile=$CACHE
              --blockCacheWriteDelay=128000
              --blockCacheThreads=16
              --blockCacheNoVerify
              --blockCacheFileAdvise
              --blockHashPrefix
              --timeout=120
END
"""))
        self.sh("bucketdisk --configFile=$CONF $BUCKET $MNT; echo x | dd of=$MNT/file conv=notrunc,fsync; umount $MNT")
        self.gone()
        self.sh("bucketdisk -F $CONF $BUCKET $MNT; test $(head -c1 $MNT/file) = x; umount $MNT")

    def test_a_directory_encrypted_with_a_password_from_the_terminal(self):
        self.words.update({"LOCAL": str(self.directory("s3backer-local"))})
        for times in (2, 1):                    # a new password is asked for twice
            said = self.on_terminal("bucketdisk --blockSize=128k --size=106G --compress --encrypt=aes-256-cbc --listBlocks --test $LOCAL/ $MNT/",
                                    [b"our secret\n"] * times)
            self.sh("test $(stat -c %s $MNT/file) = 113816633344; umount $MNT")
            self.assertNotIn(b"our secret", said)

    def on_terminal(self, line, typed):
        """Type these lines, one each time that a password is asked for; what the terminal showed."""
        ours, theirs = pty.openpty()
        os.set_blocking(ours, False)
        process = self.start("setsid", "--ctty", "--wait", "sh", "-c", line, stdin=theirs, stdout=theirs, stderr=theirs, env=self.words)
        os.close(theirs)
        shown, asked, end = b"", 0, time.monotonic() + 60
        while process.poll() is None and time.monotonic() < end:
            select.select([ours], [], [], 0.1)
            with contextlib.suppress(BlockingIOError, OSError):
                shown += os.read(ours, 4096)
            if asked < len(typed) and len(re.findall(b"Password[^:]*: |Again: ", shown)) > asked:
                os.write(ours, typed[asked])
                asked += 1
        os.close(ours)
        self.assertEqual((self.reap(process), asked), (0, len(typed)), shown)
        return shown


if __name__ == "__main__":
    disk.main()
