"""Both planes as one ASGI application. `SLUICE_SURFACE` chooses which of them are mounted."""

from __future__ import annotations

import logging
import os
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

from channels.routing import ProtocolTypeRouter
from django.conf import settings
from django.core.asgi import get_asgi_application

control_plane = get_asgi_application()  # sets Django up, which the imports below need

from proxy.app import DataPlane
from proxy.errors import error_body

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

log = logging.getLogger("sluice")
data_plane = DataPlane()


async def planes(scope: Scope, receive: Receive, send: Send) -> None:
    """The data plane goes first and never sees Django; the rest is Django's."""
    if data_plane.serves(scope["path"]):
        if settings.SLUICE_SURFACE != "admin" or scope["path"] in ("/health", "/healthz", "/live", "/ready", "/metrics"):
            await data_plane(scope, receive, send)
            return
    elif settings.SLUICE_SURFACE != "proxy":
        await control_plane(scope, receive, send)
        return
    body = error_body("This surface does not serve this path.", "invalid_request_error", None, "not_found")
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 404, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def lifespan(scope: Scope, receive: Receive, send: Send) -> None:
    """Load before the first request, flush after the last."""
    await receive()
    try:
        await data_plane.start()
    except Exception as error:
        log.error("Sluice cannot start: %s", error)
        await send({"type": "lifespan.startup.failed", "message": str(error)})
        return
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await data_plane.stop()
    await send({"type": "lifespan.shutdown.complete"})


async def no_websocket(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "websocket.close", "code": 1000})


application = ProtocolTypeRouter({"http": planes, "lifespan": lifespan, "websocket": no_websocket})
