"""One request and its answer on a client connection: ASGI's `receive` and `send`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import MutableMapping
from typing import TYPE_CHECKING, Any, Protocol

from proxy.errors import reason_phrase
from proxy.shapes import shaped_body
from proxy.wire.asgi import CALL

if TYPE_CHECKING:
    from proxy.server.head import Head
    from proxy.wire.fault import Fault

Message = MutableMapping[str, Any]

log = logging.getLogger("sluice.server")

_status_lines = {status: b"HTTP/1.1 %d %s\r\n" % (status, reason_phrase(status).encode()) for status in range(100, 600)}
_WITHOUT_BODY = (204, 304)
LEFT = "client_closed"
STALLED = "client_stalled"


class ClientDisconnected(ConnectionError):
    """The client has closed its connection. ASGI asks for an `OSError` here, so that the application stops."""


class InvalidAnswer(RuntimeError):
    """The application sent something that is not a valid answer."""


class ClientConnection(Protocol):
    """What a call needs of its connection."""

    loop: asyncio.AbstractEventLoop
    drained: asyncio.Future[None] | None
    """Done when the client has taken enough of the data that waits for it; None unless too much waits."""
    keeps_alive: bool

    def write(self, data: bytes) -> None: ...

    def resume_reading(self) -> None: ...

    def default_lines(self) -> bytes:
        """The header lines of every answer."""

    def answered(self, call: Call, *, keeps_alive: bool) -> None: ...

    def broke_off(self, call: Call, fault: Fault | None) -> None:
        """The call has ended without a complete answer. The fault, if any, is sent as its answer."""


class Call:
    """The head of the answer waits for the first piece of its body, so that both leave in one write."""

    # Defaults are attributes of the class, so that creating a call sets only the values that are known then.
    task: asyncio.Task[None]
    """The task that runs the application. It is kept because Python 3.11 takes long to find the current task."""

    has_begun = False
    is_answered = False
    is_lost = False
    lost_as = LEFT
    """Why the client counts as gone, as a code for the ledger row."""
    fault: Fault | None = None
    """Set if the request's body is not valid HTTP. No more of it will come then."""

    _more = True
    _event: asyncio.Future[None] | None = None
    _waiting_bytes = 0
    _head: bytes | None = None
    _chunked = False
    _left: int | None = None
    """Bytes of the body that the answer's own content-length promises and that are not sent yet."""

    _body_is_read = False

    def __init__(
        self, protocol: ClientConnection, scope: dict[str, Any], head: Head, length: bytes | None, *, keeps_alive: bool
    ) -> None:
        self._protocol = protocol
        self.scope = scope
        self.head = head
        self.length = length
        self._keeps_alive = keeps_alive
        self._pieces: list[bytes] = []
        self._without_body = scope["method"] == "HEAD"
        self._owes_continue = b"expect" in head.fields and head.fields[b"expect"].lower() == b"100-continue"

    async def run(self, app: Any) -> None:
        try:
            await app(self.scope, self.receive, self.send)
        except (asyncio.CancelledError, ClientDisconnected):
            pass  # the server's grace period is over, or the client has left
        except Exception:
            log.exception("An application failed on %s.", self.scope["path"])
            if not self.has_begun and not self.is_lost:
                await self._send_failure()
        if not self.is_answered and not self.is_lost:
            self._protocol.broke_off(self, None if self.has_begun else self.fault)
        self.scope.pop(CALL, None)  # the scope refers to this call: a cycle, which would keep the unread body in memory

    async def _send_failure(self) -> None:
        body = shaped_body(self.scope["path"], 500, "The server failed. Its log says why.", "internal_error")
        headers = [(b"content-type", b"application/json"), (b"connection", b"close")]
        headers.append((b"content-length", b"%d" % len(body)))
        await self.send({"type": "http.response.start", "status": 500, "headers": headers})
        await self.send({"type": "http.response.body", "body": body})

    @property
    def is_held_back(self) -> bool:
        """Whether `send` would wait until the client has taken more."""
        return self._protocol.drained is not None

    # --- called by the connection -----------------------------------------------------------------------

    def take(self, body: bytes) -> int:
        """Add a piece of the request's body. Returns how many bytes wait for the application."""
        self._pieces.append(body)
        self._waiting_bytes += len(body)
        self._wake()
        return self._waiting_bytes

    def complete(self) -> None:
        self._more = False
        self._wake()

    def lose(self) -> None:
        self.is_lost = True
        self._wake()

    def break_off(self, fault: Fault) -> None:
        """The rest of the body cannot be parsed. `receive` returns a disconnect, and the application may still answer
        with the fault.
        """
        self.fault = fault
        self._wake()

    def _wake(self) -> None:
        event = self._event
        if event is not None and not event.done():
            event.set_result(None)

    # --- called by the application ------------------------------------------------------------------------

    def whole_body(self, below: int) -> bytes | None:
        """The whole body of the request, without messages of `receive`. Returns None and takes nothing if the body is
        not complete, has `below` bytes or more, or was read before, or if the client is gone.
        """
        if self._more or self._body_is_read or self._waiting_bytes >= below or self.is_lost:
            return None
        pieces, self._pieces = self._pieces, []
        self._body_is_read = True
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def receive(self) -> Message:
        if self._owes_continue and not self.is_lost:
            self._owes_continue = False
            if not self._pieces and self._more:
                self._protocol.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        while not (self.is_lost or self.is_answered or self.fault):
            if self._pieces or (not self._more and not self._body_is_read):
                pieces, self._pieces = self._pieces, []
                body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
                self._waiting_bytes = 0
                self._body_is_read = not self._more
                self._protocol.resume_reading()
                return {"type": "http.request", "body": body, "more_body": self._more}
            self._event = self._protocol.loop.create_future()
            try:
                await self._event
            finally:
                self._event = None
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        if self.is_lost:
            raise ClientDisconnected("the client has closed its connection")
        if message["type"] == "http.response.start":
            self._begin(message["status"], message.get("headers", ()))
            return
        if not self.has_begun or self.is_answered:
            raise InvalidAnswer("a body before its head or after its end")
        more = message.get("more_body", False)
        self._protocol.write(self._framed(message.get("body", b""), more))
        if not more:
            self._end()
        elif self._protocol.drained is not None:
            await self._protocol.drained

    def answer(self, status: int, lines: bytes, body: bytes) -> None:
        """Send a complete answer in one call, instead of two messages of `send`. `lines` are header lines.

        Raises `ClientDisconnected`.
        """
        if self.is_lost:
            raise ClientDisconnected("the client has closed its connection")
        protocol = self._protocol
        if not protocol.keeps_alive:
            self._keeps_alive = False
        if not self._keeps_alive:
            lines += b"connection: close\r\n"
        self.has_begun = True
        first = _status_lines[status] + protocol.default_lines()
        if status in _WITHOUT_BODY:
            protocol.write(b"%s%s\r\n" % (first, lines))
        elif self._without_body:
            protocol.write(b"%s%scontent-length: %d\r\n\r\n" % (first, lines, len(body)))
        else:
            protocol.write(b"%s%scontent-length: %d\r\n\r\n%s" % (first, lines, len(body), body))
        self._end()

    def _begin(self, status: int, headers: Any) -> None:
        lines = [_status_lines[status]]
        lines += self._protocol.default_lines().splitlines(keepends=True)
        framed = False
        for name, value in headers:
            lines.append(b"%s: %s\r\n" % (name, value))
            lower_name = name.lower()
            if lower_name == b"content-length":
                self._left = int(value)
                framed = True
            elif lower_name == b"transfer-encoding":
                self._chunked = framed = True
            elif lower_name == b"connection" and value.lower() == b"close":
                self._keeps_alive = False
        if status in _WITHOUT_BODY:
            self._without_body = framed = True
        if not framed:
            if self.scope["http_version"] == "1.1":
                self._chunked = True
                lines.append(b"transfer-encoding: chunked\r\n")
            else:
                self._keeps_alive = False
        if not self._keeps_alive or not self._protocol.keeps_alive:
            self._keeps_alive = False
            lines.append(b"connection: close\r\n")
        lines.append(b"\r\n")
        head = b"".join(lines)
        if head.count(b"\n") != len(lines) or head.count(b"\r") != len(lines) or b"\0" in head:
            raise InvalidAnswer("a header with a line break in it")
        self._head = head
        self.has_begun = True

    def _framed(self, body: bytes, more: bool) -> bytes:
        head, self._head = self._head or b"", None
        if self._without_body:
            return head
        if self._chunked:
            if body and more:
                return b"%s%x\r\n%s\r\n" % (head, len(body), body)
            if body:
                return b"%s%x\r\n%s\r\n0\r\n\r\n" % (head, len(body), body)
            return head if more else head + b"0\r\n\r\n"
        if self._left is not None:
            self._left -= len(body)
            if self._left < 0 or (self._left and not more):
                raise InvalidAnswer("a body of another length than its head says")
        return head + body if head else body

    def _end(self) -> None:
        self.is_answered = True
        self._wake()
        self._protocol.answered(self, keeps_alive=self._keeps_alive)
