"""How often one address may try, and how often one account may be tried."""

from __future__ import annotations

import hashlib
from typing import Any

from rest_framework.request import Request

from keys.shared_throttle import SharedThrottle


class ByAddress(SharedThrottle):
    """Behind a reverse proxy it counts the proxy, so its rate leaves room for many people."""

    scope = "login_address"
    rate = "60/min"

    def get_cache_key(self, request: Request, view: Any) -> str:
        return f"sluice-login-address-{self.get_ident(request)}"


class ByEmail(SharedThrottle):
    """Attempts at one account, from wherever they come, right ones too: only those who fail know they are counted."""

    scope = "login_email"
    rate = "10/min"

    def get_cache_key(self, request: Request, view: Any) -> str | None:
        email = request.data.get("email") if isinstance(request.data, dict) else None
        if not isinstance(email, str):
            return None
        return f"sluice-login-email-{hashlib.sha256(email.strip().lower().encode()).hexdigest()}"
