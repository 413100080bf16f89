"""Throttles for signing in: by client address and by account, for the API and the admin together."""

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
    """Attempts from one address.

    Behind a proxy that is not trusted it counts the proxy, so its rate is for many people.
    """

    scope = "login_address"
    rate = "60/min"

    def get_cache_key(self, request: Request, view: Any) -> str:
        return f"sluice-login-address-{self.get_ident(request)}"


class ByEmail(SharedThrottle):
    """Attempts at one account from all addresses. Successful ones count, too, which only a refused client notices."""

    scope = "login_email"
    rate = "10/min"

    def get_cache_key(self, request: Request, view: Any) -> str | None:
        email = request.data.get("email") if isinstance(request.data, dict) else None
        return account_key(email) if isinstance(email, str) else None


class ByUsername(SharedThrottle):
    """Attempts in the admin's form, counted with the API's: a user's name is the account's e-mail address."""

    scope = "login_email"
    rate = "10/min"

    def get_cache_key(self, request: Request, view: Any) -> str | None:
        username = request.POST.get("username")
        return account_key(username) if username else None


def account_key(name: str) -> str:
    return f"sluice-login-email-{hashlib.sha256(name.strip().lower().encode()).hexdigest()}"


class ThrottledLoginForm(AdminAuthenticationForm):
    """The admin's form, which does not check the password if there were too many attempts."""

    def clean(self) -> dict[str, Any]:
        wait_s = throttled_for(self.request) if self.request is not None else None
        if wait_s is not None:
            raise ValidationError(f"Too many tries. Wait {wait_s} seconds.", code="throttled")
        return super().clean()


def throttled_for(request: HttpRequest) -> int | None:
    """Count an attempt. Returns the seconds until the next one is allowed if this one was too many, else None."""
    readable: Any = request  # Django's requests have what the throttles read
    throttles = (ByAddress(), ByUsername())
    waits = [math.ceil(throttle.wait() or 1) for throttle in throttles if not throttle.allow_request(readable, None)]
    if not waits:
        return None
    request.throttled_for_s = max(waits)  # type: ignore[attr-defined]  # for the answer's head
    return max(waits)
