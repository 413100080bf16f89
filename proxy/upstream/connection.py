"""One HTTP/1.1 connection to a provider, built on `asyncio.Protocol` and httptools.

It carries one request at a time, and knows nothing of pools, timeouts or dialects. This file exists for one reason: a
general client library costs more than all the rest of the gateway (docs/benchmarks.md).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import cast

import httptools

from proxy.wire.asgi import Headers
from proxy.wire.coalesced import coalesced_writes_of

BUFFERED_BYTES = 64 * 1024
"""Bytes that are read ahead of the client at most. Beyond that, TCP holds the provider back."""

MAX_HEAD_BYTES = 256 * 1024
FRAMING = frozenset({b"content-length", b"transfer-encoding"})


class ConnectionFailed(Exception):
    """The connection could not be made, or broke. `code` names the reason. Neither code nor message is secret."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code

    def __reduce__(self) -> tuple[type[ConnectionFailed], tuple[str, str]]:
        return type(self), (self.code, str(self))  # else a copy could not be made


class NotConnected(ConnectionFailed):
    """No connection could be made, so nothing was sent to the provider."""


class BrokenBeforeAnswer(ConnectionFailed):
    """The connection closed before the first byte of an answer. If it was pooled, a fresh one is worth a try."""


class Connection(asyncio.Protocol):
    """Sends a request and reads its answer. `status` and `headers` are valid once `read_head` has returned."""

    def __init__(self, loop: asyncio.AbstractEventLoop, released: Callable[[Connection], None]) -> None:
        self._loop = loop
        self._released = released
        self._writes = coalesced_writes_of(loop)
        self.transport: asyncio.Transport
        self.is_open = False
        self.was_used = False
        self.idle_since = 0.0
        self._waiter: asyncio.Future[None] | None = None
        self._drain: asyncio.Future[None] | None = None
        self._busy = False
        self._upload: asyncio.Task[None] | None = None
        self._error: ConnectionFailed | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._begin("GET")

    def _begin(self, method: str) -> None:
        self._without_body = method == "HEAD"
        self.status = 0
        self.headers: Headers = []
        self._pieces: list[bytes] = []
        self._buffered = 0
        self._paused = False
        self._head_bytes = 0
        self._has_head = False
        self._complete = False
        self._keeps_alive = False

    # --- called by the relay ----------------------------------------------------------------------------

    def start(self, method: str, data: bytes) -> None:
        """Send the head of a request, and as much of its body as there is."""
        if self.was_used:
            self._begin(method)
        else:
            self._without_body = method == "HEAD"
        self.was_used = True
        self._busy = True
        self._error = None
        self._writes.write(self.transport, data)

    async def write(self, data: bytes) -> None:
        """Send more of the body, no faster than the provider takes it. Raises `ConnectionFailed`."""
        if self._error is not None:
            raise self._failure(self._error)
        self._writes.write(self.transport, data)
        if self._drain is not None:
            await self._drain

    def upload(self, sending: Coroutine[None, None, None]) -> asyncio.Task[None]:
        """Send the rest of the body while the answer is read. `sending` must raise unless it sends all that the head
        promised: otherwise the provider would read the next request on this connection as the rest of this one.
        """
        self._upload = self._loop.create_task(sending)
        self._upload.add_done_callback(self._uploaded)
        return self._upload

    def _uploaded(self, upload: asyncio.Task[None]) -> None:
        if self._upload is not upload:
            return
        if upload.cancelled() or upload.exception() is not None:
            self._fail(ConnectionFailed("request_broken_off", "The request's body broke off."))
            self._wake()
        else:
            self._upload = None

    async def read_head(self) -> None:
        """Wait for status and headers. Raises `ConnectionFailed`."""
        while not self._has_head:
            if self._error is not None:
                raise self._failure(self._error)
            await self._wait()

    async def comes_by(self, deadline: float) -> bool:
        """Wait until more of the body, its end or a failure comes. Returns False if `deadline`, in the loop's time,
        passes first.
        """
        while not self._pieces and not self._complete and self._error is None:
            if self._loop.time() >= deadline:
                return False
            timer = self._loop.call_at(deadline, self._wake)
            try:
                await self._wait()
            finally:
                timer.cancel()
        return True

    async def read(self) -> bytes:
        """All of the body that has come, as soon as there is some; b"" at its end. Raises `ConnectionFailed`."""
        while not self._pieces:
            if self._complete:
                self.abort()
                return b""
            if self._error is not None:
                raise self._failure(self._error)
            await self._wait()
        pieces = self._pieces
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        self._pieces = []
        self._buffered = 0
        if self._paused:
            self._paused = False
            if not self.transport.is_closing():
                self.transport.resume_reading()
        return data

    def put_back(self, data: bytes) -> None:
        """Give back what was read: the next `read` returns it again. Not possible after the end was read."""
        self._pieces.insert(0, data)

    def rest(self) -> bytes | None:
        """All that is left of the body, if its end has come; else None, and nothing is taken."""
        if not self._complete:
            return None
        pieces, self._pieces = self._pieces, []
        self.abort()
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def abort(self) -> None:
        """Finish with this answer. If it was read to its end, the connection returns to the pool; else it is closed."""
        if not self._busy:
            return
        whole = self._complete and not self._pieces and self._upload is None and self._keeps_alive
        if whole and not self.transport.is_closing() and not self.transport.get_write_buffer_size():
            self._busy = False
            self._released(self)
        else:
            self.close()

    def close(self) -> None:
        """Close at once, whatever is under way."""
        self._busy = False
        self.is_open = False
        upload, self._upload = self._upload, None
        if upload is not None:
            upload.cancel()
        self.transport.abort()

    @staticmethod
    def _failure(error: ConnectionFailed) -> ConnectionFailed:
        """A copy of the error. The kept one, if raised, would refer to frames, and through them to the request."""
        return type(error)(error.code, str(error))

    async def _wait(self) -> None:
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    # --- asyncio.Protocol -------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's has the methods, but not this base class
        self.is_open = True

    def data_received(self, data: bytes) -> None:
        if not self._busy:
            self.close()  # data without a request: the framing on this connection cannot be trusted any more
            return
        if not self._has_head:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES and not self._has_head:
                self._fail(ConnectionFailed("upstream_malformed", "The provider's headers are too large."))
                return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._fail(ConnectionFailed("upstream_malformed", "The provider changed the protocol unasked."))
        except httptools.HttpParserError:
            if not self._complete:
                self._fail(ConnectionFailed("upstream_malformed", "The provider's answer is not valid HTTP."))
            else:
                self._keeps_alive = False
        if self._buffered > BUFFERED_BYTES and not self._paused and not self._complete and self.is_open:
            self._paused = True
            self.transport.pause_reading()
        self._wake()

    def eof_received(self) -> None:
        """The transport closes by itself; `connection_lost` says what that means."""

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_open = False
        self._keeps_alive = False
        if not self._complete and self._error is None:
            if self._has_head and exc is None and not any(name in FRAMING for name, _ in self.headers):
                self._complete = True  # a body without a length ends where its connection does
            elif self._has_head or self._head_bytes:
                self._error = ConnectionFailed("upstream_disconnected", "The provider closed the connection too soon.")
            else:
                self._error = BrokenBeforeAnswer(
                    "upstream_disconnected", "The provider closed the connection without an answer."
                )
        self._wake()
        self.resume_writing()

    def pause_writing(self) -> None:
        self._drain = self._loop.create_future()

    def resume_writing(self) -> None:
        drain, self._drain = self._drain, None
        if drain is not None and not drain.done():
            drain.set_result(None)

    def _fail(self, error: ConnectionFailed) -> None:
        self._error = self._error or error
        self._keeps_alive = False
        self.is_open = False
        self.transport.abort()

    # --- httptools --------------------------------------------------------------------------------------

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._has_head:
            self._keeps_alive = self._keeps_alive and not self._complete
            return  # a trailer, or a second answer, for which there was no request
        self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        if self._complete:
            self._keeps_alive = False  # a second answer, for which there was no request
            return
        status = self._parser.get_status_code()
        if status < 200:
            self.headers = []  # 100 Continue and other interim responses only announce the answer
            return
        self.status = status
        self._has_head = True
        self._keeps_alive = self._parser.should_keep_alive()
        if self._without_body:
            # The parser expects a body of the announced length, so this connection cannot be used again.
            self._complete = True
            self._keeps_alive = False

    def on_body(self, body: bytes) -> None:
        if self._without_body or self._complete:
            return
        self._pieces.append(body)
        self._buffered += len(body)

    def on_message_complete(self) -> None:
        if self._has_head:
            self._complete = True
