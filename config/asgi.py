"""Both planes as one ASGI application. `SLUICE_SURFACE` chooses which of them are served."""

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

control_plane: Application = get_asgi_application()  # this sets Django up, which the imports below need

from proxy.app import DataPlane  # noqa: E402
from proxy.health.endpoints import PATHS  # noqa: E402
from proxy.server.trusted_proxies import TrustedProxies, for_django  # noqa: E402
from proxy.shapes import shaped_body  # noqa: E402
from proxy.wire.asgi import REFUSED  # noqa: E402

CONTROL = ("/admin", "/api", "/static/", "/favicon.ico", "/v1/auth/", "/v1/keys/")
"""The prefixes of the control plane's paths. A path that nothing serves gets an error in the shape of its prefix.

Two of them, and `/v1/keys` itself, lie under /v1/, which otherwise belongs to the data plane. Clients of this API
expect signing up, signing in and their own keys there. But these hash passwords and write rows, which the data plane
never does. No provider has these paths, and none may ever see what is sent to them: if the control plane is not served,
they are refused, not forwarded.
"""

CONTROL_EXACTLY = frozenset({"/", "/v1/keys"})

SURFACE = settings.SLUICE_SURFACE
log = logging.getLogger("sluice")
data_plane = DataPlane()


def planes(scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
    """Call the data plane, which never enters Django, or the control plane.

    This is no coroutine: it returns the one of the plane that it chose, which saves every request a frame.
    """
    path = scope["path"]
    if path.startswith(CONTROL) or path in CONTROL_EXACTLY:
        if SURFACE != "proxy":
            return control_plane(for_django(scope), receive, send)
    elif SURFACE != "admin" or path in PATHS:
        return data_plane(scope, receive, send)
    return not_served(path, send)


async def refused(scope: Scope, receive: Receive, send: Send) -> None:
    """A head that Sluice's server refuses.

    The data plane records its own in the ledger; the server answers the others.
    """
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
    """Load before the first request, and flush after the last one."""
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
    """Channels' router as no coroutine: like `planes`, it returns the coroutine that it chose."""

    _asgi_single_callable = True
    """Tells asgiref, and so daphne, that this is ASGI 3.

    They recognize other applications by their being coroutines.
    """

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        plane: Application = self.application_mapping[scope["type"]]
        return plane(scope, receive, send)


http_planes = {"http": behind_proxies(planes), REFUSED: behind_proxies(refused)}
application = PlaneRouter({**http_planes, "lifespan": lifespan, "websocket": no_websocket})
