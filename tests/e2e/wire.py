# SPDX-License-Identifier: Apache-2.0
"""A cable that can be pulled: a network namespace whose only link ends here, and a way from there to a server on 127.0.0.1.

  cable = wire.Cable(self, server.port)
  process = cable.start(disk.BINARY, "-f", f"--baseURL={cable.endpoint}", ...)
  cable.pull(), cable.plug()

What the kernel inside has not delivered when the cable is pulled it goes on trying, as with a real one."""
import contextlib
import itertools
import os
import socket
import threading

import disk

PEER = "eth0"
numbers = itertools.count(1)


class Cable:
    def __init__(self, story, port):
        self.story, self.target = story, port
        number = next(numbers)
        self.link = f"bd{os.getpid()}n{number}"
        self.net = f"10.{os.getpid() >> 8 & 255}.{os.getpid() & 255}.{number * 4 & 255}"
        base = self.net.rpartition(".")[0]
        here, self.there = (f"{base}.{(number * 4 & 255) + offset}" for offset in (1, 2))
        thing = disk.RECORD.add("link", self.link)
        if disk.run("ip", "link", "add", self.link, "type", "veth", "peer", "name", f"{self.link}p", check=False).returncode != 0:
            disk.RECORD.drop(thing)
            story.skipTest("no link can be made here")
        disk.run("ip", "addr", "add", f"{here}/30", "dev", self.link)
        disk.run("ip", "link", "set", self.link, "up")
        self.listener = socket.create_server((here, 0))
        self.endpoint = f"http://{here}:{self.listener.getsockname()[1]}/"
        threading.Thread(target=self._accept, daemon=True).start()
        story.addCleanup(self._close)

    def _close(self):
        with contextlib.suppress(OSError):      # wakes who waits for the next one
            self.listener.shutdown(socket.SHUT_RDWR)

    def start(self, *command, **more):
        """On another machine, at the other end."""
        first = (f"until ip link set {self.link}p name {PEER} 2>/dev/null; do sleep 0.05; done; ip link set lo up; "
                 f"ip addr add {self.there}/30 dev {PEER}; ip link set {PEER} up;")
        env = {**disk.environment(self.story), "no_proxy": "*", "NO_PROXY": "*"}
        process = self.story.start_elsewhere(*command, flags=("-m", "-n"), first=first, env=env, **more)
        ours = os.readlink("/proc/self/ns/net")
        disk.wait_until("the other machine's network", lambda: os.readlink(f"/proc/{process.pid}/ns/net") != ours)
        disk.run("ip", "link", "set", f"{self.link}p", "netns", str(process.pid))
        return process

    def pull(self):
        disk.run("ip", "link", "set", self.link, "down")

    def plug(self):
        disk.run("ip", "link", "set", self.link, "up")

    def _accept(self):
        with self.listener:
            while True:
                try:
                    client, _ = self.listener.accept()
                    server = socket.create_connection(("127.0.0.1", self.target))
                except OSError:
                    return
                threading.Thread(target=self._serve, args=(client, server), daemon=True).start()

    def _serve(self, client, server):
        with client, server:
            for end in (client, server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            back = threading.Thread(target=self._carry, args=(server, client), daemon=True)
            back.start()
            self._carry(client, server)
            back.join()

    @staticmethod
    def _carry(one, other):
        with contextlib.suppress(OSError):
            while data := one.recv(1 << 18):
                other.sendall(data)
        for end in (one, other):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
