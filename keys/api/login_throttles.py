"""How often one address may try, and how often one account may be tried, at whichever door."""

from __future__ import annotations

import hashlib
import math
from typing import Any

from django.contrib.admin.forms import AdminAuthenticationForm
from django.core.exceptions import ValidationError
from django.http import HttpRequest
from rest_framework.request import Request

from keys.api.shared_throttle import SharedThrottle


class ByAddress(SharedThrottle):
    """Behind a reverse proxy that is not trusted it counts the proxy, so its rate leaves room for many people."""

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
        return account_key(email) if isinstance(email, str) else None


class ByUsername(SharedThrottle):
    """Those of the admin's form, counted with those of the API: an account's name is its address there."""

    scope = "login_email"
    rate = "10/min"

    def get_cache_key(self, request: Request, view: Any) -> str | None:
        username = request.POST.get("username")
        return account_key(username) if username else None


def account_key(name: str) -> str:
    return f"sluice-login-email-{hashlib.sha256(name.strip().lower().encode()).hexdigest()}"


class ThrottledLoginForm(AdminAuthenticationForm):
    """The admin's, which does not look at the password while there were too many tries."""

    def clean(self) -> dict[str, Any]:
        wait_s = throttled_for(self.request) if self.request is not None else None
        if wait_s is not None:
            raise ValidationError(f"Too many tries. Wait {wait_s} seconds.", code="throttled")
        return super().clean()


def throttled_for(request: HttpRequest) -> int | None:
    """Takes a try. The seconds to wait before the next one, where this one was too many."""
    readable: Any = request  # what the throttles read, Django's requests have too
    throttles = (ByAddress(), ByUsername())
    waits = [math.ceil(throttle.wait() or 1) for throttle in throttles if not throttle.allow_request(readable, None)]
    if not waits:
        return None
    request.throttled_for_s = max(waits)  # type: ignore[attr-defined]  # for the answer's head
    return max(waits)
