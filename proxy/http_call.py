"""One request and its answer on a client connection: ASGI's `receive` and `send`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import MutableMapping
from typing import TYPE_CHECKING, Any

from proxy.errors import reason_phrase

if TYPE_CHECKING:
    from proxy.http_server import Door

Message = MutableMapping[str, Any]

log = logging.getLogger("sluice.server")

_status_lines = {status: b"HTTP/1.1 %d %s\r\n" % (status, reason_phrase(status).encode()) for status in range(100, 600)}
_WITHOUT_BODY = (204, 304)


class ClientDisconnected(ConnectionError):
    """An answer for nobody. ASGI asks for an OSError here, so that whoever makes the answer stops."""


class InvalidAnswer(RuntimeError):
    """The application said something that is not a valid answer."""


class Call:
    """The head of the answer waits for the first piece of its body, so that the two leave as one write."""

    __slots__ = (
        "_body",
        "_chunked",
        "_door",
        "_event",
        "_head",
        "_keeps_alive",
        "_left",
        "_more",
        "_owes_continue",
        "_told_all",
        "_without_body",
        "has_begun",
        "is_answered",
        "is_lost",
        "scope",
    )

    def __init__(self, door: Door, scope: dict[str, Any], *, keeps_alive: bool) -> None:
        self._door = door
        self.scope = scope
        self._keeps_alive = keeps_alive
        self._body = bytearray()
        self._more = True
        self._event: asyncio.Future[None] | None = None
        self.has_begun = False
        self._head: bytes | None = None
        self._chunked = False
        self._left: int | None = None
        """Bytes that the answer's own content-length still promises."""
        self._without_body = scope["method"] == "HEAD"
        self._told_all = False
        self._owes_continue = (b"expect", b"100-continue") in scope["headers"]
        self.is_answered = False
        self.is_lost = False

    async def run(self, app: Any) -> None:
        try:
            await app(self.scope, self.receive, self.send)
        except (asyncio.CancelledError, ClientDisconnected):
            pass  # the server's grace has run out, or nobody is there
        except Exception:
            log.exception("An application failed on %s.", self.scope["path"])
            if not self.has_begun and not self.is_lost:
                await self._send_failure()
        if not self.is_answered and not self.is_lost:
            self._door.broke_off()

    async def _send_failure(self) -> None:
        headers = [(b"content-type", b"text/plain"), (b"content-length", b"21"), (b"connection", b"close")]
        await self.send({"type": "http.response.start", "status": 500, "headers": headers})
        await self.send({"type": "http.response.body", "body": b"Internal Server Error"})

    # --- what the door says -----------------------------------------------------------------------------

    def take(self, body: bytes) -> int:
        """A piece of the request's body. Returns how much nobody has asked for yet."""
        self._body += body
        self._wake()
        return len(self._body)

    def complete(self) -> None:
        self._more = False
        self._wake()

    def lose(self) -> None:
        self.is_lost = True
        self._wake()

    def _wake(self) -> None:
        event = self._event
        if event is not None and not event.done():
            event.set_result(None)

    # --- ASGI -------------------------------------------------------------------------------------------

    async def receive(self) -> Message:
        if self._owes_continue and not self.is_lost:
            self._owes_continue = False
            if not self._body and self._more:
                self._door.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        while not (self.is_lost or self.is_answered):
            if self._body or (not self._more and not self._told_all):
                body, self._body = bytes(self._body), bytearray()
                self._told_all = not self._more
                self._door.resume_reading()
                return {"type": "http.request", "body": body, "more_body": self._more}
            self._event = self._door.loop.create_future()
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
        self._door.write(self._framed(message.get("body", b""), more))
        if not more:
            self._end()
        elif self._door.drained is not None:
            await self._door.drained

    def _begin(self, status: int, headers: Any) -> None:
        lines = [_status_lines[status]]
        lines += [b"%s: %s\r\n" % header for header in self._door.server_state.default_headers]
        framed = False
        for name, value in headers:
            lines.append(b"%s: %s\r\n" % (name, value))
            known = name.lower()
            if known == b"content-length":
                self._left = int(value)
                framed = True
            elif known == b"transfer-encoding":
                self._chunked = framed = True
            elif known == b"connection" and value.lower() == b"close":
                self._keeps_alive = False
        if status in _WITHOUT_BODY:
            self._without_body = framed = True
        if not framed:
            if self.scope["http_version"] == "1.1":
                self._chunked = True
                lines.append(b"transfer-encoding: chunked\r\n")
            else:
                self._keeps_alive = False
        if not self._keeps_alive or not self._door.keeps_alive:
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
        self._door.answered(self, keeps_alive=self._keeps_alive)
