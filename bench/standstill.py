"""How long other clients of a worker wait while one client sends a body that takes long to read."""

from __future__ import annotations

import json
import socket
import sys
import threading
import time
import zlib
from collections.abc import Callable
from typing import NamedTuple

from bench import machine
from bench.result import Result
from bench.servers import MODEL, Server, Servers
from bench.wrk import Failed
from proxy.bench.tally import percentile

MIB = 1024 * 1024
QUIET_S = 2.0
TIMEOUT_S = 120
LIGHT = b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n"
CHAT, EMBEDDINGS = "/v1/chat/completions", "/v1/embeddings"
MESSAGE = '{"role":"user","content":"How many messages are these?"},'


class Kind(NamedTuple):
    """A kind of request: its path, a function that makes a body of a size, and headers beside the usual ones."""

    path: str
    body: Callable[[int], bytes]
    headers: str = ""


def filled(before: str, unit: str, after: str) -> Callable[[int], bytes]:
    """Makes bodies of about a size: of as many units as go into it, without the last one's comma."""

    def body(size: int) -> bytes:
        encoded = unit.encode()
        return before.encode() + (encoded * (size // len(encoded))).removesuffix(b",") + after.encode()

    return body


def gzipped(body: Callable[[int], bytes]) -> Callable[[int], bytes]:
    def packed(size: int) -> bytes:
        packer = zlib.compressobj(1, wbits=31)
        return packer.compress(body(size)) + packer.flush()

    return packed


HEAD = f'{{"model":"{MODEL}",'
MESSAGES = filled(HEAD + '"messages":[', MESSAGE, "]}")
FORM = "content-type: multipart/form-data; boundary=b\r\n"
FIELD = '--b\r\ncontent-disposition: form-data; name="model"\r\n\r\n' + MODEL + "\r\n"
FILE = '--b\r\ncontent-disposition: form-data; name="image"; filename="a"\r\n\r\n'

KINDS = {
    "one text of base64": Kind(CHAT, filled(HEAD + '"messages":[{"role":"user","content":"', "QUJD", '"}]}')),
    "many small messages": Kind(CHAT, MESSAGES),
    "the same, and another model's name": Kind(
        CHAT, filled('{"model":"auto","messages":[', MESSAGE, "]}"), f"x-preferred-model: {MODEL}\r\n"
    ),
    "the same, with spaces": Kind(CHAT, filled(HEAD + ' "messages": [', MESSAGE + " ", '{"role":"user"}]}')),
    "the same, searched for files": Kind(CHAT, filled(HEAD + '"messages":[{"content":"file_id"},', MESSAGE, "]}")),
    "the same, packed by gzip": Kind(CHAT, gzipped(MESSAGES), "content-encoding: gzip\r\n"),
    "small arrays": Kind(CHAT, filled(HEAD + '"messages":[', "[],", "]}")),
    "deep arrays": Kind(CHAT, filled(HEAD + '"messages":[', "[" * 400 + "]" * 400 + ",", "]}")),
    "escapes": Kind(CHAT, filled(HEAD + '"messages":[{"role":"user","content":"', "\\n", '"}]}')),
    "text that is not ASCII": Kind(CHAT, filled(HEAD + '"messages":[{"role":"user","content":"', "日本", '"}]}')),
    "numbers": Kind(CHAT, filled(HEAD + '"messages":[', "1,", "]}")),
    "embeddings: texts": Kind(EMBEDDINGS, filled(HEAD + '"input":[', '"a text",', "]}")),
    "embeddings: tokens": Kind(EMBEDDINGS, filled(HEAD + '"input":[', "[1,22,333],", "]}")),
    "passed on: many small objects": Kind("/v1/moderations", filled(HEAD + '"input":[', '{"type":"text"},', "]}")),
    "a form": Kind("/v1/images/edits", filled(FIELD + FILE, "content", "\r\n--b--\r\n"), FORM),
    "an answer with vectors": Kind(EMBEDDINGS + "?answer_mib={}", lambda _: HEAD.encode() + b'"input":"a text"}'),
}


def standstill(servers: Servers, *, quick: bool) -> list[Result]:
    """A light client asks for `/health` on a connection that stays open, again and again."""
    mib = 20 if quick else 60
    upstream = servers.sink()
    sluice = servers.sluice(upstream)
    results = gaps("nothing else", sluice, lambda: time.sleep(QUIET_S))
    for name, kind in KINDS.items():
        body = kind.body(mib * MIB)
        head = request_head(kind, sluice, len(body), mib)
        results += gaps(f"{name}, {mib} MiB", sluice, lambda head=head, body=body: post(sluice, head, body))  # type: ignore[misc]
        machine.wait_until_idle([sluice.pid])
    return results


def request_head(kind: Kind, server: Server, length: int, mib: int) -> bytes:
    headers = kind.headers if "content-type" in kind.headers else "content-type: application/json\r\n" + kind.headers
    return (
        f"POST {kind.path.format(mib)} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {server.key}\r\n"
        f"{headers}content-length: {length}\r\nconnection: close\r\n\r\n"
    ).encode()


def gaps(name: str, server: Server, work: Callable[[], None]) -> list[Result]:
    """Measure how long the light client waits for each of its answers while the work goes on."""
    failures: list[BaseException] = []

    def worked() -> None:
        try:
            work()
        except (OSError, Failed) as error:
            failures.append(error)

    waited_ms: list[float] = []
    worked_ms: list[float] = []
    with socket.create_connection(("127.0.0.1", server.port), timeout=TIMEOUT_S) as light:
        light.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        thread = threading.Thread(target=worked)
        thread.start()
        while thread.is_alive():
            began, before = time.perf_counter(), processor_s(server.pid)
            light.sendall(LIGHT)
            if not light.recv(65536).startswith(b"HTTP/1.1 200"):
                raise Failed("the light client was refused")
            waited_ms.append((time.perf_counter() - began) * 1000)
            worked_ms.append((processor_s(server.pid) - before) * 1000)
        thread.join()
    if failures:
        raise Failed(f"{name}: {failures[0]}")
    waited_ms.sort()
    busiest_ms = max(worked_ms)
    print(f"{name}: {waited_ms[-1]:.1f}, {busiest_ms:.1f} ms at most, {sum(waited_ms) / 1000:.1f} s", file=sys.stderr)
    return [
        Result("standstill", f"{name}: at most", waited_ms[-1], "ms", at_most=100),
        Result("standstill", f"{name}: p99", percentile(waited_ms, 99), "ms"),
        Result("standstill", f"{name}: at most, of the worker's own time", busiest_ms, "ms"),
    ]


def processor_s(pid: int) -> float:
    """The CPU time of a process with all its threads, by the clock that Linux has for each process."""
    return time.clock_gettime((~pid << 3) | 2)


def post(server: Server, head: bytes, body: bytes) -> None:
    """Send a request. Raises `Failed` unless the answer is a 200."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=TIMEOUT_S) as heavy:
        heavy.sendall(head)
        heavy.sendall(body)
        begun = heavy.recv(65536)
        while heavy.recv(MIB):
            pass
    if not begun.startswith(b"HTTP/1.1 200"):
        raise Failed(json.dumps(begun[-300:].decode("latin-1")))
