"""Types of ASGI (https://asgi.readthedocs.io/en/latest/specs/www.html), and what Sluice adds to its scope."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from providers.kinds.base import Headers

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

CALL = "sluice.call"
"""The scope's key for the `Call` of Sluice's own server. Other servers do not set it."""

REFUSED = "sluice.refused"
"""The scope's type for a head that Sluice's own server refuses. Only the target of such a head can be relied on."""

__all__ = ["CALL", "REFUSED", "Headers", "Receive", "Scope", "Send"]
