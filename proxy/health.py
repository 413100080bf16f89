"""Health and metrics: answered without a key, without a row, without the database."""

from __future__ import annotations

import asyncio

import msgspec

from proxy.exchange import Scope, Send
from usage.metrics import exposition

VERSION = "0.1.0"
ALIVE = frozenset({"/health", "/healthz", "/live", "/v1/health"})
PATHS = ALIVE | {"/ready", "/metrics"}


async def answer_health(scope: Scope, send: Send, *, ready: bool) -> None:
    path = scope["path"]
    if scope["method"] not in ("GET", "HEAD"):
        await _send(
            scope, send, 405, b"application/json", b'{"status":"method not allowed"}', [(b"allow", b"GET, HEAD")]
        )
    elif path == "/metrics":
        # Adding up the workers' files reads them: not on the event loop.
        body = await asyncio.to_thread(exposition)
        await _send(scope, send, 200, b"text/plain; version=0.0.4; charset=utf-8", body)
    elif path == "/ready" and not ready:
        body = msgspec.json.encode({"status": "not ready", "version": VERSION})
        await _send(scope, send, 503, b"application/json", body, [(b"retry-after", b"1")])
    else:
        await _send(scope, send, 200, b"application/json", msgspec.json.encode({"status": "ok", "version": VERSION}))


async def _send(
    scope: Scope,
    send: Send,
    status: int,
    content_type: bytes,
    body: bytes,
    more: list[tuple[bytes, bytes]] | None = None,
) -> None:
    headers = [(b"content-type", content_type), (b"content-length", b"%d" % len(body)), *(more or [])]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body, "more_body": False})
