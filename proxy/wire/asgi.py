"""Names of what ASGI hands on (https://asgi.readthedocs.io/en/latest/specs/www.html), and what Sluice adds to it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from providers.kinds.base import Headers

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

CALL = "sluice.call"
"""Where Sluice's own server leaves its side of the request in the scope; other servers have nothing there."""

REFUSED = "sluice.refused"
"""The scope's type for a head that Sluice's own server refuses: of it, nothing but its target is to be believed."""

__all__ = ["CALL", "REFUSED", "Headers", "Receive", "Scope", "Send"]
