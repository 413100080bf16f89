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

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application = Callable[[Any, Any, Any], Awaitable[None]]

control_plane: Application = get_asgi_application()  # sets Django up, which the imports below need

from proxy.app import DataPlane  # noqa: E402
from proxy.health.endpoints import PATHS  # noqa: E402
from proxy.server.trusted_proxies import TrustedProxies, for_django  # noqa: E402
from proxy.shapes import shaped_body  # noqa: E402
from proxy.wire.asgi import REFUSED  # noqa: E402

CONTROL = ("/admin", "/api", "/static/", "/favicon.ico", "/v1/auth/", "/v1/keys/")
"""What the control plane's paths begin with; what is nobody's gets an error in the shape of its address.

Two of them, and `/v1/keys` itself, lie under /v1/, which is the data plane's else: signing up and in, and keys of one's
own, are where clients of this API expect them, but they hash passwords and write rows, which the data plane never does.
No provider has them, and none may ever see what is sent to them: where the control plane is not mounted they are
refused instead of passed through.
"""

CONTROL_EXACTLY = frozenset({"/", "/v1/keys"})

SURFACE = settings.SLUICE_SURFACE
log = logging.getLogger("sluice")
data_plane = DataPlane()


def planes(scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
    """The data plane goes first and never sees Django; the rest is Django's.

    Not a coroutine itself: it hands on the one that it chose, which saves every request a frame.
    """
    path = scope["path"]
    if path.startswith(CONTROL) or path in CONTROL_EXACTLY:
        if SURFACE != "proxy":
            return control_plane(for_django(scope), receive, send)
    elif SURFACE != "admin" or path in PATHS:
        return data_plane(scope, receive, send)
    return not_served(path, send)


async def refused(scope: Scope, receive: Receive, send: Send) -> None:
    """A head that Sluice's server refuses: the data plane's are in the ledger; the others it answers by itself."""
    path = scope["path"]
    is_controls = path.startswith(CONTROL) or path in CONTROL_EXACTLY
    if path.startswith("/v1/") and not is_controls and SURFACE != "admin":
        await data_plane(scope, receive, send)


async def not_served(path: str, send: Send) -> None:
    body = shaped_body(path, 404, "This surface does not serve this path.", "not_found")
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


def behind_proxies(plane: Application) -> Application:
    return TrustedProxies(settings.TRUSTED_PROXIES, plane) if settings.TRUSTED_PROXIES else plane


class PlaneRouter(ProtocolTypeRouter):  # type: ignore[misc]  # it has no types
    """Channels' router, which like `planes` hands on what it chose and is no coroutine itself."""

    _asgi_single_callable = True
    """Says to asgiref, and so to daphne, what it takes of other applications from their being coroutines."""

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        plane: Application = self.application_mapping[scope["type"]]
        return plane(scope, receive, send)


http_planes = {"http": behind_proxies(planes), REFUSED: behind_proxies(refused)}
application = PlaneRouter({**http_planes, "lifespan": lifespan, "websocket": no_websocket})
