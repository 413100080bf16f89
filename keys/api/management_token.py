"""Access to the management API without a user account: with `MANAGEMENT_TOKEN`, or by a local command."""

from __future__ import annotations

import hmac
from typing import Any

from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.core.handlers.wsgi import WSGIRequest
from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from keys.user_tokens import looks_like_one


class Operator(AnonymousUser):
    """Has every permission, and no row in the table of users."""

    is_staff: Any = True
    is_superuser: Any = True
    is_active: Any = True
    username: Any = "operator"

    def __str__(self) -> str:
        return str(self.username)

    @property
    def is_anonymous(self) -> Any:
        return False

    @property
    def is_authenticated(self) -> Any:
        return True

    def has_perm(self, perm: str, obj: Any = None) -> bool:
        return True

    def has_perms(self, perm_list: Any, obj: Any = None) -> bool:
        return True

    def has_module_perms(self, module: str) -> bool:
        return True


class LocalRequest(WSGIRequest):
    """A request that a command makes in its own process. Who can run a command can change the database anyway.

    The server never makes such a request, so no request of a client can pass for one.
    """

    is_local_command = True
    """For code that needs the kind of caller without importing this class."""

    def get_host(self) -> str:
        return "localhost"


class ManagementTokenAuthentication(BaseAuthentication):
    """`Authorization: Bearer <MANAGEMENT_TOKEN>`. Without that setting no management token is valid."""

    def authenticate(self, request: Request) -> tuple[Operator, None] | None:
        if isinstance(request._request, LocalRequest):
            return Operator(), None
        scheme, _, token = get_authorization_header(request).strip().partition(b" ")
        if scheme.lower() != b"bearer":
            return None
        expected = settings.MANAGEMENT_TOKEN.encode()
        if not expected or not hmac.compare_digest(token.strip(), expected):
            if looks_like_one(token.strip()):
                return None  # it may be a user's token, which the next class checks
            raise AuthenticationFailed("This is not the management token.")
        return Operator(), None

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="Sluice management API"'
