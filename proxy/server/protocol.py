"""The server's side of HTTP/1.1: the protocol of one client connection, which uvicorn runs.

uvicorn's own protocol waits for a head without a limit, accepts a head of any size, and answers invalid requests in
plain text. This one is strict, and writes a complete answer in one piece. It speaks ASGI
(https://asgi.readthedocs.io/en/latest/specs/www.html), so any other server can replace it. This one adds its `Call` to
the scope, through which the data plane answers at a lower cost.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from math import inf
from typing import Any, cast

import httptools
from uvicorn.config import Config
from uvicorn.server import ServerState

from providers.kinds.base import header_lines
from proxy.errors import reason_phrase
from proxy.server.call import STALLED, Call
from proxy.server.head import Head
from proxy.server.parser import MAX_HEAD_BYTES, RequestParser
from proxy.server.target import Place, place_of
from proxy.server.timeouts import connection_timeouts_of
from proxy.shapes import shaped_body
from proxy.wire.asgi import CALL, REFUSED
from proxy.wire.coalesced import coalesced_writes_of
from proxy.wire.fault import Fault

MAX_SILENT_BYTES = 64 * 1024
"""Bytes that may arrive without any content of the body: chunk extensions and trailers."""

BUFFERED_BYTES = 256 * 1024
"""Bytes of a body that may wait for the application. While more wait, nothing is read from the client."""

LAST_CALL_S = 0.2
"""How long an idle connection stays open after a stop began: the next request of a busy client may be on its way."""

LINGER_S = 5.0
LINGER_BYTES = 256 * 1024 * 1024
"""How long, and how many bytes of, the rest of a body is read and dropped after its request was answered."""


class HttpProtocol(RequestParser, asyncio.Protocol):
    """Starts requests one after the other, and keeps the timeouts. If a client sends a request before it has the answer
    to the one before, it gets that answer, and the connection closes: the server keeps no queue of requests.
    """

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__()
        if not config.loaded:
            config.load()
        self.app = config.loaded_app
        self.app_state = app_state
        self.server_state = server_state
        self.loop = _loop or asyncio.get_running_loop()
        self.writes = coalesced_writes_of(self.loop)
        self.transport: asyncio.Transport
        self.scheme = "https" if config.is_ssl else "http"
        self.server: tuple[str, int] | None = None
        self.client: tuple[str, int] | None = None
        self.call: Call | None = None
        """The request that is being answered."""
        self.incoming: Call | None = None
        """The request whose body is arriving; mostly the same as `call`."""
        self.drained: asyncio.Future[None] | None = None
        self.keeps_alive = True
        self.is_reading = True
        self._silent_bytes = 0
        self._dropped_bytes = 0
        self._unsent_bytes = 0
        self._progress_at = 0.0
        self._timeouts = connection_timeouts_of(self.loop)
        self.deadline = inf
        self._when_late: Callable[[], None] = self.close

    # --- the transport ----------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's has the methods, but not this base class
        self.server_state.connections.add(cast(Any, self))
        self._timeouts.connections.add(self)
        self.server = _address(transport.get_extra_info("sockname"))
        self.client = _address(transport.get_extra_info("peername"))
        self._wait(self._timeouts.head_s, self._head_is_late)
        if getattr(self.server_state, "is_stopping", False):  # another server's state does not tell
            self.shutdown()

    def connection_lost(self, exc: Exception | None) -> None:
        self.server_state.connections.discard(cast(Any, self))
        self._timeouts.connections.discard(self)
        self._calm()
        if self.call is not None:
            self._hold(self.call)
        for call in (self.call, self.incoming):
            if call is not None:
                call.lose()
        self.resume_writing()

    def eof_received(self) -> None:
        """The transport closes by itself: a client that has closed its sending side counts as gone."""

    def pause_writing(self) -> None:
        self.drained = self.loop.create_future()

    def resume_writing(self) -> None:
        drained, self.drained = self.drained, None
        if drained is not None and not drained.done():
            drained.set_result(None)

    def write(self, data: bytes) -> None:
        self.writes.write(self.transport, data)

    def close(self) -> None:
        """Close after what was written before. Requests that still arrive are ignored: no answer could be sent."""
        self._broken = True
        self.writes.close(self.transport)

    def shutdown(self) -> None:
        """uvicorn calls this when a stop begins. Requests under way may finish, also one that is still arriving."""
        self.keeps_alive = False
        if self.call is None:
            self.loop.call_later(LAST_CALL_S, self._close_idle)
        else:
            self._hold(self.call)

    def _close_idle(self) -> None:
        if self.call is None and not self._head_begun:
            self.close()

    def _hold(self, call: Call) -> None:
        """Tell uvicorn to wait for the call's task, and to cancel it when the grace period is over."""
        tasks = self.server_state.tasks
        tasks.add(call.task)
        call.task.add_done_callback(tasks.discard)

    def data_received(self, data: bytes) -> None:
        if self._broken:
            return
        if self._in_head:
            if not self._head_bytes and self.call is None:
                self._wait(self._timeouts.head_s, self._head_is_late)
            self._head_bytes += len(data)
        else:
            self._silent_bytes += len(data)
        try:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                self._parse_behind(upgrade.args[0], data)
        except (httptools.HttpParserError, ValueError):
            self._refuse(400, "invalid_http", "The request is not valid HTTP/1.1.")
        else:
            if not self._in_head:
                if self._silent_bytes > MAX_SILENT_BYTES:
                    self._refuse_trailers()
            elif self._head_bytes > MAX_HEAD_BYTES:
                self._refuse_head()

    # --- called by the parser ---------------------------------------------------------------------------

    def _begin(self, version: str, place: Place, head: Head) -> None:
        self.deadline = inf
        self._silent_bytes = 0
        if self.call is not None:
            # It gets no answer: the client repeats it on another connection (RFC 9112, section 9.3.2).
            self._broken = True
            self.keeps_alive = False
            return
        keeps_alive = version == "1.1" and self.parser.should_keep_alive()
        call = self._new_call("http", self._method_name, version, place, head, self._length, keeps_alive)
        self.incoming = call
        self._start(call)

    def _new_call(
        self, type_: str, method: str, version: str, place: Place, head: Head, length: bytes | None, keeps_alive: bool
    ) -> Call:
        headers = head.headers
        scope: dict[str, Any] = {
            "type": type_,
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": version,
            "server": self.server,
            "client": self.client,
            "scheme": self.scheme,
            "root_path": "",
            "method": method,
            "path": place.path,
            "raw_path": place.raw_path,
            "query_string": place.query,
            "headers": headers if length is None else [*headers, (b"content-length", length)],
            "state": self.app_state.copy(),
        }
        scope[CALL] = call = Call(self, scope, head, length, keeps_alive=keeps_alive)
        return call

    def on_body(self, body: bytes) -> None:
        self._silent_bytes = 0
        call = self.incoming
        if call is None:
            return
        if call.is_answered:
            self._dropped_bytes += len(body)
            if self._dropped_bytes > LINGER_BYTES:
                self.close()
        elif call.take(body) > BUFFERED_BYTES and self.is_reading:
            self.is_reading = False
            self.transport.pause_reading()

    def _complete(self) -> None:
        call, self.incoming = self.incoming, None
        if call is None:
            return
        call.complete()
        if call.is_answered:
            self._rest()

    # --- the calls --------------------------------------------------------------------------------------

    def _start(self, call: Call) -> None:
        self.call = call
        call.task = self.loop.create_task(call.run(self.app))
        if not self.keeps_alive:
            self._hold(call)

    def default_lines(self) -> bytes:
        """The header lines of every answer. They contain the date, so uvicorn renews the headers each second."""
        headers = self.server_state.default_headers
        if headers is not self._timeouts.default_headers:
            self._timeouts.default_headers = headers
            self._timeouts.default_lines = header_lines(headers)
        return self._timeouts.default_lines

    def resume_reading(self) -> None:
        if not self.is_reading:
            self.is_reading = True
            if not self.transport.is_closing():
                self.transport.resume_reading()

    def answered(self, call: Call, *, keeps_alive: bool) -> None:
        """The call's answer is complete. Wait for the next request, or close the connection."""
        self.server_state.total_requests += 1
        self.call = None
        if not keeps_alive or not self.keeps_alive or self._broken:
            self._close_softly()
        elif self.incoming is call:
            # The request was answered before all of its body had arrived. Closing now would reset the connection, and
            # the client could lose the answer. So the rest is read and dropped for a while.
            self._dropped_bytes = 0
            self.resume_reading()
            self._wait(LINGER_S, self.close)
        else:
            self._rest()

    def broke_off(self, call: Call, fault: Fault | None) -> None:
        """A call ended without a complete answer. If none was begun and the request has a fault, the fault is the
        answer. Otherwise the connection is closed: nothing else tells the client that the answer is incomplete.
        """
        self.call = None
        if fault is not None:
            self.write_refusal(fault, call.scope["path"])
        else:
            self.close()

    def _rest(self) -> None:
        self.resume_reading()
        if self._head_begun:
            self._wait(self._timeouts.head_s, self._head_is_late)
        else:
            self._wait(self._timeouts.idle_s, self.close)

    def _close_softly(self) -> None:
        """Close once the client has its answer. What it sends until then is read and dropped: closing earlier would
        reset the connection, and the client could lose the answer.
        """
        if self.incoming is None and not self._broken:
            self.close()
            return
        self._broken = True
        self.resume_reading()
        self.loop.call_soon(self._end_writing)  # after the writes of this turn of the event loop
        self._wait(LINGER_S, self.close)

    def _end_writing(self) -> None:
        if self.transport.can_write_eof() and not self.transport.is_closing():
            self.transport.write_eof()

    # --- timeouts ---------------------------------------------------------------------------------------

    def _wait(self, seconds: float, then: Callable[[], None]) -> None:
        self.deadline = self.loop.time() + seconds
        self._when_late = then

    def _calm(self) -> None:
        self.deadline = inf

    def be_late(self) -> None:
        self._calm()
        self._when_late()

    def has_stalled(self, now: float, most_s: float) -> bool:
        """Whether the client has taken nothing for `most_s` seconds. This shows only while no more data is added to
        what waits for it: while `send` waits, or after the answer.
        """
        if self.drained is None and self.call is not None:
            self._unsent_bytes = 0
            return False
        unsent = self.transport.get_write_buffer_size()
        if not self._unsent_bytes or unsent < self._unsent_bytes:
            self._progress_at = now
        self._unsent_bytes = unsent
        return bool(unsent) and now - self._progress_at >= most_s

    def be_stalled(self) -> None:
        if self.call is not None:
            self.call.lost_as = STALLED
        self.transport.abort()

    def _head_is_late(self) -> None:
        if self._head_begun:
            self._refuse(408, "request_timeout", "The request's head did not arrive in time.")
        else:
            self.close()

    def _refuse_trailers(self) -> None:
        self._refuse(431, "headers_too_large", f"What follows the body is larger than {MAX_SILENT_BYTES:,} bytes.")

    def _refuse(self, status: int, code: str, message: str) -> None:
        """Answer what never became a request, and close the connection. If an earlier request is still being answered,
        the connection closes after that answer, and this error is not sent. Nor is it if the request was answered
        before all of it had arrived.

        If the target is known, the application answers, and can record the request.
        """
        self._broken = True
        self.keeps_alive = False
        self._calm()
        fault, call = Fault(status, code, message), self.call
        if call is None and self.incoming is not None:  # the client would take a second answer for the next request's
            self._close_softly()
        elif call is None:
            place = place_of(self._url) if self._url else None
            if place is None:
                self.write_refusal(fault)
                return
            method = self.parser.get_method().decode("ascii")
            call = self._new_call(REFUSED, method, "1.1", place, Head([], fault), None, keeps_alive=False)
            call.fault = fault
            self._start(call)
        elif self.incoming is call:  # the invalid bytes are in the body of the request that is being answered
            if call.has_begun:
                call.lose()
                self.close()
            else:
                call.break_off(fault)

    def write_refusal(self, fault: Fault, path: str = "") -> None:
        if not self.transport.is_closing():
            body = shaped_body(path, fault.status, fault.message, fault.code)
            self.write(
                b"HTTP/1.1 %d %s\r\ncontent-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%s"
                % (fault.status, reason_phrase(fault.status).encode(), len(body), body)
            )
            self.close()


def _address(info: Any) -> tuple[str, int] | None:
    return (str(info[0]), int(info[1])) if isinstance(info, tuple) else None
