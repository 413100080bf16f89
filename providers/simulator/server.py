"""Plays scripts over sockets: a provider for load tests, for faults, and for people without an account anywhere.

It is an `asyncio.Protocol` with httptools. A web framework would answer a third as many requests, and cannot drop a
connection.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import deque
from collections.abc import Mapping
from typing import Any, NamedTuple, cast

import httptools
import msgspec

from providers.simulator.actions import Cut, Head, Malformed, Pause, Piece, Stall
from providers.simulator.memory import Memory
from providers.simulator.refusals import RefusedError
from providers.simulator.script import Request, script
from providers.simulator.wire import CONTINUE, LAST_CHUNK, Ready, at_once, chunk, head_bytes

BASE = "/v1"
STATS = b"/_simulator/stats"
MOST_BODY_BYTES = 64 * 1024 * 1024
MOST_HEADERS = 200
MOST_HEADER_BYTES = 64 * 1024
# With so many pipelined requests waiting, the connection is not read until the current one is answered.
MOST_PIPELINED = 32
RESET = struct.pack("ii", 1, 0)


class Stats(msgspec.Struct):
    """The counts that `/_simulator/stats` returns. Requests for it are not counted."""

    requests: int = 0
    open: int = 0
    """Answers that are being sent now."""
    peak_open: int = 0
    closed_by_peer: int = 0
    """Answers that were being sent when the peer closed the connection."""
    connections: int = 0


class Simulator:
    """What all connections of one server share."""

    def __init__(self, defaults: Mapping[str, Any] | None = None) -> None:
        self.defaults = defaults
        self.memory = Memory()
        self.ready = Ready()
        self.stats = Stats()
        self.connections: set[Connection] = set()

    async def listen(self, host: str, port: int) -> asyncio.Server:
        """Listen, and serve until the server is closed. Port 0 takes a free one."""
        loop = asyncio.get_running_loop()
        return await loop.create_server(lambda: Connection(self), host, port, backlog=4096)

    def drop_connections(self) -> None:
        for connection in [*self.connections]:
            connection.transport.abort()


class Received(NamedTuple):
    """A complete request."""

    method: str
    target: bytes
    headers: dict[str, str]
    body: bytes
    keep_alive: bool
    chunks: bool
    """False for HTTP/1.0, which has no chunked encoding."""


class Connection(asyncio.Protocol):
    """One client's connection. Requests are parsed as they come, and answered one after the other."""

    transport: asyncio.Transport

    def __init__(self, simulator: Simulator) -> None:
        self.simulator = simulator
        self.parser = httptools.HttpRequestParser(self)
        self.waiting: deque[Received] = deque()
        self.playing: asyncio.Task[None] | None = None
        self.writable = asyncio.Event()
        self.writable.set()
        self.dropped = False
        self.on_message_begin()

    # The transport's side.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # A cast and no assert: uvloop's transports are not subclasses of asyncio's.
        self.transport = cast(asyncio.Transport, transport)
        self.simulator.connections.add(self)
        self.simulator.stats.connections += 1

    def connection_lost(self, exc: Exception | None) -> None:
        self.simulator.connections.discard(self)
        self.simulator.stats.connections -= 1
        if self.playing:
            if not self.dropped:
                self.simulator.stats.closed_by_peer += 1
            self.playing.cancel()
        self.waiting.clear()

    def pause_writing(self) -> None:
        self.writable.clear()

    def resume_writing(self) -> None:
        self.writable.set()

    def data_received(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            # The request is complete, and gets an answer. The bytes behind it belong to a protocol we do not offer.
            self.transport.pause_reading()
        except httptools.HttpParserCallbackError:
            # A bug in one of our callbacks, not the client's fault: asyncio logs it and closes the connection.
            raise
        except httptools.HttpParserError:
            self.refuse(400, "This is not a request of HTTP/1.1.")

    # The parser's side.

    def on_message_begin(self) -> None:
        self.target = b""
        self.headers: dict[str, str] = {}
        self.header_bytes = 0
        self.pieces: list[bytes] = []
        self.size = 0

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.header_bytes += len(name) + len(value)
        if len(self.headers) >= MOST_HEADERS or self.header_bytes > MOST_HEADER_BYTES:
            self.refuse(431, "The header is too large.")
            return
        self.headers[name.lower().decode("latin-1")] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        if self.headers.get("expect", "").lower() == "100-continue" and not self.playing and not self.dropped:
            self.transport.write(CONTINUE)

    def on_body(self, body: bytes) -> None:
        self.size += len(body)
        if self.size > MOST_BODY_BYTES:
            self.refuse(413, f"At most {MOST_BODY_BYTES} bytes.")
            self.pieces.clear()
        elif not self.dropped:
            self.pieces.append(body)

    def on_message_complete(self) -> None:
        if self.dropped or self.transport.is_closing():
            return
        method = self.parser.get_method().decode()
        body = self.pieces[0] if len(self.pieces) == 1 else b"".join(self.pieces)
        keep_alive, chunks = self.parser.should_keep_alive(), self.parser.get_http_version() != "1.0"
        # HTTP/1.0 needs a `connection: keep-alive` in the answer to keep the connection. Closing it is simpler.
        keep_alive = keep_alive and chunks and not self.parser.should_upgrade()
        self.waiting.append(Received(method, self.target, self.headers, body, keep_alive, chunks))
        if self.playing is None:
            self.answer_waiting()
        elif len(self.waiting) == MOST_PIPELINED:
            self.transport.pause_reading()

    # Answers.

    def answer_waiting(self) -> None:
        """Answer the waiting requests, up to the first one whose answer takes time. That one is played in a task."""
        while self.waiting and not self.transport.is_closing():
            received = self.waiting.popleft()
            if not self.answered(received):
                return

    def answered(self, received: Received) -> bool:
        """Answer a request. False: a task plays the answer, or the connection ends with it."""
        method, target, _, body, keep_alive, _ = received
        if target == STATS:
            self.tell_stats(received)
            return keep_alive
        stats = self.simulator.stats
        stats.requests += 1
        simple = method == "POST" and keep_alive and self.writable.is_set()
        answer = self.simulator.ready.find(target, body) if simple else None
        if answer is None:
            path = target.partition(b"?")[0].decode("latin-1").removeprefix(BASE)
            request = Request(method, path, received.headers, body)
            played = script(request, self.simulator.memory, self.simulator.defaults)
            answer = at_once(played) if simple else None
            if answer is None:
                self.playing = asyncio.get_running_loop().create_task(self.play(played.actions, received))
                return False
            if played.repeatable:
                self.simulator.ready.keep(target, body, answer)
        stats.peak_open = max(stats.peak_open, stats.open + 1)
        self.transport.write(answer)
        return True

    async def play(self, actions: Any, received: Received) -> None:
        stats = self.simulator.stats
        stats.open += 1
        stats.peak_open = max(stats.peak_open, stats.open)
        whole = False
        try:
            whole = await self.perform(actions, received)
        finally:
            stats.open -= 1
            self.playing = None
        if not whole:
            self.dropped = True
            self.transport.abort()
        elif not received.keep_alive:
            self.transport.close()
        elif not self.transport.is_closing():
            self.transport.resume_reading()
            self.answer_waiting()

    async def perform(self, actions: Any, received: Received) -> bool:
        """Perform the actions. False: the script ended with `Cut`, so the connection must be aborted."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        chunked, headless = False, True
        for action in actions:
            match action:
                case Piece(data) | Malformed(data):
                    self.transport.write(chunk(data) if chunked else data)
                    if not self.writable.is_set():
                        await self.writable.wait()
                case Pause(seconds):
                    due += seconds
                    await asyncio.sleep(max(0.0, due - loop.time()))
                case Head() as head:
                    sized = any(name == b"content-length" for name, _ in head.headers)
                    chunked, headless = received.chunks and not sized, False
                    self.transport.write(head_bytes(head, chunked=chunked, close=not received.keep_alive))
                case Cut():
                    if headless:
                        self.reset_on_close()
                    await self.flushed()
                    return False
                case Stall():
                    await loop.create_future()
        if chunked:
            self.transport.write(LAST_CHUNK)
        return True

    def reset_on_close(self) -> None:
        """Have the close of the socket send RST in place of FIN."""
        self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)

    async def flushed(self) -> None:
        """Wait until all that was written has left: an abort would throw away the rest."""
        self.transport.set_write_buffer_limits(high=0)
        await self.writable.wait()

    def tell_stats(self, received: Received) -> None:
        data = msgspec.json.encode(self.simulator.stats)
        head = Head(200, ((b"content-type", b"application/json"), (b"content-length", b"%d" % len(data))))
        self.transport.write(head_bytes(head, chunked=False, close=not received.keep_alive) + data)
        if not received.keep_alive:
            self.transport.close()

    def refuse(self, status: int, message: str) -> None:
        """Answer a request that cannot be read to its end with an error, and close the connection."""
        if self.dropped:
            return
        self.dropped = True
        if self.playing:
            self.transport.abort()
            return
        data = RefusedError(message, status=status).body()
        head = Head(status, ((b"content-type", b"application/json"), (b"content-length", b"%d" % len(data))))
        self.transport.write(head_bytes(head, chunked=False, close=True) + data)
        self.transport.close()
