#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""An S3 server in memory that checks signatures and misbehaves on command; README.md says how.

  server.py [--port N] [--tls CERTIFICATE KEY] [--bucket NAME]… [--access-id ID] [--secret SECRET] [--seed N]

Listens on 127.0.0.1 and prints PORT=, PORT_TLS= (with --tls) and CONTROL= before it serves.  Ends at SIGTERM."""
import argparse
import asyncio
import collections
import json
import signal
import ssl
import sys
import time
from dataclasses import asdict

from bucket import Object
from faults import Cut, Faults, Rule, parse
from s3 import S3, Settings
from wire import HEAD_MAX, Answer, BadRequest, Manner, cut, http_date, read_request, write_answer

REQUESTS_KEPT = 20000


class Server:
    def __init__(self, arguments):
        self.s3 = S3(arguments.access_id, arguments.secret, arguments.bucket or ["testbucket"])
        self.faults = Faults(self.s3, arguments.seed)
        self.writers = set()
        self.listeners = []                 # (port, TLS context or None, the listening server or None)
        self.connections = self.under_way = 0
        self.forget()

    def forget(self):
        self.served = 0
        self.log = collections.deque(maxlen=REQUESTS_KEPT)
        self.counters = collections.Counter()
        self.under_way_max = self.under_way

    # The store ------------------------------------------------------------------------------------------------------

    async def listen(self, port, context):
        server = await asyncio.start_server(self.connection, "127.0.0.1", port, ssl=context, limit=HEAD_MAX, backlog=1024)
        return server.sockets[0].getsockname()[1], server

    async def connection(self, reader, writer):
        self.connections += 1
        self.counters["connections"] += 1
        number, served, idle = self.connections, 0, None
        secure = writer.get_extra_info("ssl_object") is not None
        loop = asyncio.get_running_loop()
        self.writers.add(writer)
        try:
            while True:
                settings = self.s3.settings
                if settings.idle_seconds:
                    idle = loop.call_later(settings.idle_seconds, writer.close)
                request, answer = await read_request(reader, writer, number, secure, self.refuse)
                if idle is not None:
                    idle.cancel()
                if request is None:
                    break
                served += 1
                if not await self.serve(writer, request, answer, served):
                    break
        except BadRequest as error:
            self.counters["bad requests"] += 1
            self.log.append({"connection": number, "error": str(error), "time": time.time()})
        except (ConnectionError, ssl.SSLError, TimeoutError):
            self.counters["connections lost"] += 1
        finally:
            if idle is not None:
                idle.cancel()
            self.writers.discard(writer)
            writer.close()

    def refuse(self, request):
        """The early answer to a request that waits for 100 Continue, or None."""
        self.s3.locate(request)
        return self.s3.refuse(request) if self.s3.settings.expect == "early" else None

    async def serve(self, writer, request, answer, served):
        """Answer one request.  False if the connection is over."""
        if request.raw_path.startswith("/_control"):
            return await write_answer(writer, request, await self.control(request), Manner())
        self.s3.locate(request)
        settings, started = self.s3.settings, time.time()
        rules = self.faults.pick(request) if answer is None else []
        entry = {"time": started, "connection": request.connection, "method": request.method, "bucket": request.bucket,
                 "key": request.key, "op": self.s3.operation(request), "query": request.raw_query,
                 "headers": dict(request.headers), "bytes": len(request.body), "fault": "+".join(rule.fault for rule in rules),
                 "status": None, "carried_out": None, "code": ""}
        self.log.append(entry)
        self.served += 1
        self.under_way += 1
        self.under_way_max = max(self.under_way, self.under_way_max)
        for rule in rules:
            self.counters[f"fault {rule.fault}"] += 1
        way = Manner(nagle=settings.nagle)
        try:
            if answer is None:
                answer, way = await self.faults.answer(request, rules, entry)
            entry["status"], entry["code"] = answer.status, answer.note
            self.counters[f"{request.method} {answer.status}"] += 1
            self.counters[entry["op"]] += 1
            self.complete(answer, settings, served)
            return await write_answer(writer, request, answer, way)
        except Cut as end:
            self.counters[f"{request.method} cut"] += 1
            cut(writer, end.with_reset)
            return False
        finally:
            self.under_way -= 1
            entry["seconds"] = round(time.time() - started, 6)

    def complete(self, answer, settings, served):
        """The headers that every answer has."""
        if answer.get("Date") is None:
            answer.set("Date", http_date(self.s3.now))
        answer.set("Server", "faulty")
        if settings.request_ids and answer.note not in ("html", "empty"):      # those are not the store's
            answer.set("x-amz-request-id", f"{self.served:016X}")
            answer.set("x-amz-id-2", "faulty")
        if settings.keep_alive_header and settings.idle_seconds:
            answer.set("Keep-Alive", f"timeout={int(settings.idle_seconds)}")
        if settings.requests_per_connection and served >= settings.requests_per_connection:
            answer.set("Connection", "close")

    def go_down(self, with_reset):
        """Nobody listens from now on; with a reset, connections that are there end, too."""
        for _, _, server in self.listeners:
            server.close()
        for writer in list(self.writers) if with_reset else []:
            cut(writer, True)

    async def come_back(self, seconds):
        await asyncio.sleep(seconds)
        self.listeners = [(port, context, (await self.listen(port, context))[1]) for port, context, _ in self.listeners]

    # Control --------------------------------------------------------------------------------------------------------

    async def control_connection(self, reader, writer):
        try:
            while True:
                request, answer = await read_request(reader, writer, 0, False, lambda _: None)
                if request is None:
                    break
                if not await write_answer(writer, request, answer or await self.control(request), Manner()):
                    break
        except (BadRequest, ConnectionError):
            pass
        finally:
            writer.close()

    async def control(self, request):
        try:
            if request.raw_path == "/_control":
                return json_answer(200, self.state(request) if request.method == "GET" else self.command(parse(request.body)))
            if request.raw_path == "/_control/objects":
                return json_answer(200, self.objects(request))
            if request.raw_path == "/_control/object":
                return self.object(request)
            return json_answer(404, {"error": f"no {request.raw_path}"})
        except (ValueError, KeyError, TypeError) as error:
            return json_answer(400, {"error": str(error)})

    def state(self, request):
        first = int(request.param("from", "0"))
        return {"requests": list(self.log)[first:], "counters": dict(self.counters), "settings": asdict(self.s3.settings),
                "faults": [rule.state() for rule in self.faults.rules], "under_way_max": self.under_way_max,
                "connections_open": len(self.writers)}

    def command(self, words):
        """{"reset": true} first, then "settings", "faults" (all anew), "add" (faults), "empty", "down"."""
        known = {"reset", "settings", "faults", "add", "empty", "down", "forget"}
        if unknown := set(words) - known:
            raise ValueError(f"no command {', '.join(unknown)}; there are {', '.join(sorted(known))}")
        rules = [Rule(rule) for rule in words.get("faults", [])]
        more = [Rule(rule) for rule in words.get("add", [])]
        if words.get("reset"):
            self.faults.reset()
            self.s3.settings = Settings()
        if words.get("reset") or words.get("forget"):
            self.forget()
        self.s3.settings.change(words.get("settings", {}))
        if "faults" in words:
            self.faults.rules = rules
        self.faults.rules += more
        if words.get("empty"):
            self.s3.buckets = {name: type(bucket)() for name, bucket in self.s3.buckets.items()}
        if down := words.get("down"):
            down = down if isinstance(down, dict) else {"seconds": down}
            self.go_down(down.get("reset", False))
            self.coming_back = asyncio.create_task(self.come_back(down["seconds"]))
        return {"ok": True}

    def objects(self, request):
        """What is stored, by key; `bucket` chooses one."""
        bucket = self.s3.buckets[request.param("bucket", next(iter(self.s3.buckets)))]
        return {key: {"bytes": len(thing.body), "etag": thing.etag, "headers": dict(thing.headers), "time": thing.time}
                for key, thing in sorted(bucket.objects.items())}

    def object(self, request):
        """GET, PUT or DELETE one, unsigned and without faults."""
        bucket, key = self.s3.buckets[request.param("bucket", next(iter(self.s3.buckets)))], request.param("key")
        if request.method == "PUT":
            headers = tuple((name, value) for name, value in request.headers if name.startswith(("content-e", "x-amz-meta-")))
            request.key = key
            bucket.put(key, Object(request.body, headers, self.s3._etag(request.body), self.s3.now))
        elif request.method == "DELETE":
            bucket.delete(key)
        else:
            return Answer(200, [["Content-Type", "application/octet-stream"]], bucket.objects[key].body)
        return json_answer(200, {"ok": True})

    async def run(self, arguments):
        ended = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, ended.set)
        port, server = await self.listen(arguments.port, None)
        self.listeners.append((port, None, server))
        print(f"PORT={port}")
        if arguments.tls:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(*arguments.tls)
            port, server = await self.listen(0, context)
            self.listeners.append((port, context, server))
            print(f"PORT_TLS={port}")
        control = await asyncio.start_server(self.control_connection, "127.0.0.1", 0, limit=HEAD_MAX)
        print(f"CONTROL={control.sockets[0].getsockname()[1]}", flush=True)
        await ended.wait()
        for writer in list(self.writers):
            writer.transport.abort()


def json_answer(status, thing):
    body = json.dumps(thing, default=lambda other: repr(other), ensure_ascii=True).encode()
    return Answer(status, [["Content-Type", "application/json"]], body)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--tls", nargs=2, metavar=("CERTIFICATE", "KEY"))
    parser.add_argument("--bucket", action="append")
    parser.add_argument("--access-id", default="faultyid")
    parser.add_argument("--secret", default="faultysecret")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    asyncio.run(Server(arguments).run(arguments))
    sys.exit(0)


if __name__ == "__main__":
    main()
