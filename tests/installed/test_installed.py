#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What `cmake --install` installs: the daemon finds its plugins where it is and knows nothing of the build; the SDK's examples
are built out of tree with what is installed, and serve a disk of the installed daemon.  Needs BUCKETDISK_BUILD, a build
directory."""
import filecmp
import json
import os
import re
import shutil
import subprocess
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "e2e"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "plugins"))
import disk  # noqa: E402
import make_headers  # noqa: E402

BUILD = Path(os.environ.get("BUCKETDISK_BUILD", disk.TOP / "build")).resolve()
SDK = disk.TOP / "sdk"
EXAMPLES = {"backend-memory": "memory.c", "codec-reverse": "reverse.c"}
PAYLOAD = bytes(range(256)) * 64


class MemoryStore(disk.Store):
    backend = "memory"
    location = "example"


class Installed(disk.Story):
    def setUp(self):
        super().setUp()
        self.prefix = self.directory("prefix")
        self.run_in(self.tmp, "cmake", "--install", BUILD, "--prefix", self.prefix, "--strip")
        self.addCleanup(setattr, disk, "BINARY", disk.BINARY)
        disk.BINARY = str(self.prefix / "bin/bucketdisk")
        [self.libraries] = {path.parent for path in self.prefix.glob("lib/**/libbucketdisk-sdk.a")}
        self.plugins = self.directory("plugins")

    def run_in(self, where, *command, **environment):
        done = subprocess.run([str(word) for word in command], cwd=where, capture_output=True, text=True,
                              env={**os.environ, **environment})
        self.assertEqual(done.returncode, 0, f"{command}\n{done.stdout}{done.stderr}")
        return done.stdout

    def listed(self, *options):
        return json.loads(self.run_in(self.tmp, disk.BINARY, "plugins", "--json", *options))

    def pkg_config(self, *words):
        return self.run_in(self.tmp, "pkg-config", *words, "bucketdisk-plugin",
                           PKG_CONFIG_PATH=str(self.libraries / "pkgconfig")).split()

    def compiled_plainly(self, name, *sources, cflags=None):
        cflags = cflags or self.pkg_config("--cflags")
        self.run_in(self.tmp, "gcc", *cflags, *sources, *self.pkg_config("--libs"), "-o", self.plugins / f"{name}.so")

    def exports(self, plugin):
        return [line.split()[-1] for line in self.run_in(self.tmp, "nm", "-D", "--defined-only", plugin).splitlines()]

    def serves_a_disk(self, *options):
        mounted = disk.Disk(self, "1M", "16K", f"--plugin-path={self.plugins}", *options, store=MemoryStore()).mount("--blockCacheSize=4")
        try:
            with open(mounted.file, "r+b", buffering=0) as file:
                for at in range(0, 1 << 20, len(PAYLOAD)):
                    file.write(PAYLOAD)
                os.fsync(file.fileno())
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
                file.seek(0)
                self.assertEqual(file.read(len(PAYLOAD)), PAYLOAD)
                self.assertEqual(os.pread(file.fileno(), len(PAYLOAD), (1 << 20) - len(PAYLOAD)), PAYLOAD)
            return mounted.stats()
        finally:
            mounted.umount()

    def test_daemon_finds_its_plugins_and_knows_no_build(self):
        built = {path.stem for path in (BUILD / "plugins").glob("*.so")} - set(EXAMPLES)
        listed = {plugin["name"]: plugin for plugin in self.listed()}
        self.assertEqual(set(listed), built)
        for plugin in listed.values():
            self.assertTrue(plugin["usable"], plugin)
            self.assertEqual(Path(plugin["path"]).parent, self.libraries / "bucketdisk")
        for path in [Path(disk.BINARY), *(self.libraries / "bucketdisk").iterdir()]:
            for place in (disk.TOP, BUILD):
                self.assertNotIn(str(place).encode(), path.read_bytes(), path)
        for link in (self.prefix / "sbin").iterdir():
            self.assertEqual(link.resolve(), Path(disk.BINARY), link)
        moved = self.tmp / "moved"          # it may lie anywhere
        shutil.move(self.prefix, moved)
        disk.BINARY = str(moved / "bin/bucketdisk")
        self.assertEqual({plugin["name"] for plugin in self.listed("--plugin-builtin-only")}, built)

    @unittest.skipUnless(shutil.which("pandoc"), "manual pages are made by pandoc")
    def test_manual_pages_are_installed(self):
        pages = {page.name for page in (self.prefix / "share/man").glob("man*/*")}
        self.assertLessEqual({"bucketdisk.1", "bucketdisk-plugin.7"}, pages)
        for plugin in (self.libraries / "bucketdisk").iterdir():
            self.assertIn(f"bucketdisk-{plugin.stem}.7", pages)

    def test_examples_are_built_out_of_tree_by_cmake(self):
        examples = self.prefix / "share/doc/bucketdisk/sdk/example"
        for name, source in EXAMPLES.items():
            for file in (source, "CMakeLists.txt"):
                self.assertTrue(filecmp.cmp(examples / name / file, SDK / "example" / name / file, shallow=False))
            build = self.directory("build")
            self.run_in(build, "cmake", "-G", "Ninja", f"-DCMAKE_PREFIX_PATH={self.prefix}", examples / name)
            self.run_in(build, "cmake", "--build", build)
            self.assertEqual(self.exports(build / f"{name}.so"), ["bd_plugin_query"])
            shutil.copy(build / f"{name}.so", self.plugins)
        stats = self.serves_a_disk("--codec=reverse")
        self.assertIn("reverse_blocks", str(stats))

    def test_examples_are_built_out_of_tree_by_the_compiler_alone(self):
        examples = self.prefix / "share/doc/bucketdisk/sdk/example"
        for name, source in EXAMPLES.items():
            self.compiled_plainly(name, examples / name / source)
            self.assertEqual(self.exports(self.plugins / f"{name}.so"), ["bd_plugin_query"])
        self.serves_a_disk("--codec=reverse")
        [plugin_dir] = self.pkg_config("--variable=plugindir")
        self.assertEqual(Path(plugin_dir).resolve(), self.libraries / "bucketdisk")
        self.assertNotIn("//", plugin_dir)

    def test_a_program_is_linked_with_the_helpers(self):
        (self.tmp / "hex.c").write_text('#include <bucketdisk/sdk.h>\n#include <stdio.h>\n'
                                        'int main(void) { char text[5]; bd_hex("hi", 2, text); puts(text); return 0; }\n')
        [libraries] = self.pkg_config("--variable=libdir")
        self.run_in(self.tmp, "gcc", *self.pkg_config("--cflags"), "hex.c", f"-L{libraries}", "-lbucketdisk-sdk", "-pthread", "-o", "hex")
        self.assertEqual(self.run_in(self.tmp, "./hex"), "6869\n")

    def serve_a_disk_built_with(self, header):
        include = self.directory("include")
        shutil.copytree(SDK / "include/bucketdisk", include / "bucketdisk")
        (include / "bucketdisk/plugin.h").write_text(header)
        helpers = [SDK / "lib/blocking.c", SDK / "lib/attrs.c"]
        cflags = ["-D_GNU_SOURCE", "-I", include, "-pthread", "-fPIC", "-fvisibility=hidden"]
        for name, source in EXAMPLES.items():
            self.compiled_plainly(name, SDK / "example" / name / source, *helpers, cflags=cflags)
        self.serves_a_disk("--codec=reverse")
        [minor] = {plugin["abi_minor"] for plugin in self.listed(f"--plugin-path={self.plugins}", *EXAMPLES)}
        return minor

    def test_examples_built_with_the_frozen_header_serve_a_disk(self):
        self.assertEqual(self.serve_a_disk_built_with((SDK / "abi/plugin-1.h").read_text()), 0)

    def test_examples_built_with_a_later_header_serve_a_disk(self):
        current = (SDK / "include/bucketdisk/plugin.h").read_text()
        self.assertEqual(self.serve_a_disk_built_with(make_headers.newer(current)), 900)

    def test_the_readme_s_plugin_is_built_and_found_as_it_says(self):
        readme = (self.prefix / "share/doc/bucketdisk/sdk/README.md").read_text()
        source = re.search(r"```c\n(.*?)```", readme, re.S).group(1)
        commands = re.search(r"```sh\n(.*?)```", readme, re.S).group(1).replace("/opt/bucketdisk", str(self.plugins))
        promised = re.search(r"```\n(codec-swap .*?)```", readme, re.S).group(1).replace("/opt/bucketdisk", str(self.plugins))
        (self.tmp / "codec-swap.c").write_text(source)
        (self.tmp / "CMakeLists.txt").write_text(re.search(r"```cmake\n(.*?)```", readme, re.S).group(1))
        said = self.run_in(self.tmp, "sh", "-ec", commands, PKG_CONFIG_PATH=str(self.libraries / "pkgconfig"),
                           PATH=f"{self.prefix}/bin:{os.environ['PATH']}")
        self.assertEqual(said, promised)
        stage = self.directory("stage")
        self.run_in(self.tmp, "cmake", "-G", "Ninja", "-S", ".", "-B", "swap", f"-DCMAKE_PREFIX_PATH={self.prefix}")
        self.run_in(self.tmp, "cmake", "--build", "swap")
        self.run_in(self.tmp, "cmake", "--install", "swap", "--prefix", "/nowhere", DESTDIR=str(stage))
        self.assertTrue(Path(f"{stage}{self.libraries}/bucketdisk/codec-swap.so").exists())


disk.main()
