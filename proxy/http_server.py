"""uvicorn's HTTP protocol, made strict at the door: what never becomes a request is answered here.

uvicorn waits for a request's head for ever and takes one of any size; both are bounded here. What it cannot parse it
answers in plain text; here that has OpenAI's shape, since whoever sent it expects that.
"""

from __future__ import annotations

import asyncio
from typing import Any

from django.conf import settings
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from proxy.errors import error_body, reason_phrase

MAX_HEAD_BYTES = 64 * 1024
LINGER_S = 5.0
LINGER_BYTES = 256 * 1024 * 1024


class Door(HttpToolsProtocol):
    """One client connection."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._head_bytes = 0
        self._in_head = True
        self._message_done = True
        self._lingered_bytes = 0
        self._patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._calm()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._in_head:
            if not self._head_bytes and self._patience is None:
                self._await_head()
            self._head_bytes += len(data)
        super().data_received(data)
        if self._in_head and self._head_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
            self._refuse(431, "headers_too_large", f"The request's head is larger than {MAX_HEAD_BYTES:,} bytes.")
        elif not self._message_done and self.cycle is not None and self.cycle.response_complete:
            self._linger(len(data))

    def on_headers_complete(self) -> None:
        self._calm()
        self._in_head = False
        self._message_done = False
        self._head_bytes = 0
        if b"\0" in self.url:
            self.send_400_response("")
            return
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._message_done = True
        self._in_head = True
        self._head_bytes = 0
        self._lingered_bytes = 0
        self._calm()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if not self._message_done:
            # Answered before the body was all here. Closing now would reset the connection and could take the answer
            # with it, so the rest is read and dropped, for a while.
            self._calm()
            self._patience = self.loop.call_later(LINGER_S, self.transport.close)

    def _linger(self, size: int) -> None:
        self._lingered_bytes += size
        if self._lingered_bytes > LINGER_BYTES:
            self.transport.close()

    def send_400_response(self, msg: str) -> None:
        self._refuse(400, "invalid_http", "The request is not valid HTTP/1.1.")

    def _await_head(self) -> None:
        self._patience = self.loop.call_later(settings.HEADER_TIMEOUT_SECS, self._head_is_late)

    def _head_is_late(self) -> None:
        if self._head_bytes:
            self._refuse(408, "request_timeout", "The request's head did not arrive in time.")
        else:
            self.transport.close()

    def _calm(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _refuse(self, status: int, code: str, message: str) -> None:
        """Answer and close, unless an answer is under way on this connection: then only close."""
        if self.transport.is_closing():
            return
        if self.cycle is None or self.cycle.response_complete:
            body = error_body(message, "invalid_request_error", None, code)
            self.transport.write(
                b"HTTP/1.1 %d %s\r\ncontent-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%s"
                % (status, reason_phrase(status).encode(), len(body), body)
            )
        self.transport.close()
