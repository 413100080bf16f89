"""One TCP connection to the upstream. It parses requests, and performs the scripts that answer them."""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from collections import deque
from typing import TYPE_CHECKING, cast

import httptools

from tests.kit.upstream.received import Received
from tests.kit.upstream.scripts import Chunk, Close, EndChunks, Head, Reset, Script, Send, Wait, WaitFor

if TYPE_CHECKING:
    from tests.kit.upstream.server import Upstream

BAD_REQUEST = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class Hangup(Exception):
    """The script closed the connection."""


class Connection(asyncio.Protocol):
    """Answers requests one after the other, also if the peer pipelines them."""

    def __init__(self, upstream: Upstream, number: int) -> None:
        self.upstream = upstream
        self.number = number
        self.parser = httptools.HttpRequestParser(self)
        self.waiting: deque[tuple[Received, bool]] = deque()
        self.current: Received | None = None
        self.task: asyncio.Task[None] | None = None
        self.writable = asyncio.Event()
        self.writable.set()

    # --- asyncio's side ------------------------------------------------------------------------------------
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        # A small buffer, so that `sent_bytes` is close to what the peer has taken.
        self.transport.set_write_buffer_limits(high=64 * 1024)
        self.upstream.opened(self)

    def data_received(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            pass  # a WebSocket handshake: the script answers it, and the bytes after it are not parsed
        except httptools.HttpParserError:
            self.transport.write(BAD_REQUEST)
            self.transport.close()

    def eof_received(self) -> bool:
        # Closing would wait until the write buffer is empty. A peer that has gone never empties it.
        self._peer_has_gone()
        self.transport.abort()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._peer_has_gone()
        self.writable.set()
        if self.task is not None:
            self.task.cancel()
        self.upstream.closed(self)

    def pause_writing(self) -> None:
        self.writable.clear()

    def resume_writing(self) -> None:
        self.writable.set()

    # --- httptools' side -----------------------------------------------------------------------------------
    def on_message_begin(self) -> None:
        self.target = b""
        self.headers: list[tuple[str, str]] = []

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.decode("latin-1"), value.decode("latin-1")))

    def on_headers_complete(self) -> None:
        path, _, query = self.target.decode("latin-1").partition("?")
        method = self.parser.get_method().decode()
        self.incoming = Received(method, path, query, self.headers, self.number)
        if (self.incoming.header("expect") or "").lower() == "100-continue":
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        self.incoming_early = self.upstream.received(self.incoming)
        if self.incoming_early:
            self._answer(self.incoming)

    def on_body(self, data: bytes) -> None:
        self.incoming.add(data)
        self.upstream.changed()

    def on_message_complete(self) -> None:
        self.incoming.complete.set()
        self.upstream.changed()
        if not self.incoming_early:
            self._answer(self.incoming)

    # --- answering -----------------------------------------------------------------------------------------
    def _answer(self, received: Received) -> None:
        self.waiting.append((received, self.parser.should_keep_alive()))
        if self.task is None or self.task.done():
            self.task = asyncio.get_running_loop().create_task(self._answer_waiting())

    async def _answer_waiting(self) -> None:
        while self.waiting:
            self.current, keep_alive = self.waiting.popleft()
            try:
                keep_alive &= await self._perform(self.current, self.upstream.script_for(self.current))
            except Hangup:
                keep_alive = False
            except Exception as error:
                self.upstream.failed(error)
                self.transport.abort()
                return
            answered, self.current = self.current, None
            self.upstream.done(answered)
            answered.answered.set()
            if not keep_alive:
                self.transport.close()
                return

    async def _perform(self, received: Received, script: Script) -> bool:
        """Perform the script. Returns whether its head keeps the connection open."""
        keep_alive = True
        for action in script:
            match action:
                case Head():
                    stays = {name.lower(): value.lower() for name, value in action.pairs()}
                    keep_alive = stays.get("connection") != "close"
                    await self._write(received, action.encoded())
                case Send():
                    await self._write(received, action.data)
                case Chunk() | EndChunks():
                    await self._write(received, action.encoded())
                case Wait():
                    await asyncio.sleep(action.seconds)
                case WaitFor():
                    # A thread's event cannot be awaited, and a helper thread could not be cancelled.
                    while not action.event.is_set():  # noqa: ASYNC110
                        await asyncio.sleep(0.002)
                case Reset():
                    self._reset()
                    raise Hangup
                case Close():
                    self.transport.close()
                    raise Hangup
        return keep_alive

    async def _write(self, received: Received, data: bytes) -> None:
        self.transport.write(data)
        received.sent_bytes += len(data)
        self.upstream.changed()
        # Yield to the event loop after each write, so that a long script notices a lost connection.
        await asyncio.sleep(0)
        await self.writable.wait()

    def _reset(self) -> None:
        """Close the connection with RST: a socket that lingers for zero seconds sends it."""
        own: socket.socket = self.transport.get_extra_info("socket")
        own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()

    def _peer_has_gone(self) -> None:
        unfinished = [received for received, _ in self.waiting]
        if self.current is not None:
            unfinished.append(self.current)
        incoming: Received | None = getattr(self, "incoming", None)
        if incoming is not None and not incoming.complete.is_set() and incoming not in unfinished:
            unfinished.append(incoming)
        self.waiting.clear()
        self.current = None
        for received in unfinished:
            if received.closed_by_peer.is_set() or received.answered.is_set():
                continue
            received.closed_at = time.monotonic()
            self.upstream.done(received)
            received.closed_by_peer.set()
