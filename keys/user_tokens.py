"""Tokens that users get for their password. They are signed and short-lived, and valid for the management API.

They use HS256 with a key of their own, derived from SECRET_KEY, so that nothing else that Django signs passes for one.
The algorithm is fixed here and never read from the token.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from datetime import datetime, timedelta
from typing import Any

import jwt
from django.conf import settings
from django.contrib.auth import get_user_model
from django.utils.crypto import constant_time_compare
from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from keys.models import Account

ALGORITHM = "HS256"
CLOCKS_DIFFER_S = 5
"""The clocks of an installation's machines may differ by this much, so a token may be issued in the near future. Its
expiry is exact.
"""

REQUIRED = ["sub", "iat", "exp", "pwd"]


def issue_token(user: Any, now: datetime) -> str:
    claims = {
        "sub": Account.of(user).public_id,
        "iat": now,
        "exp": now + timedelta(seconds=settings.JWT_EXPIRY_SECONDS),
        "pwd": password_mark(user),
    }
    return jwt.encode(claims, signing_key(), algorithm=ALGORITHM)


def user_of(token: str) -> Any:
    """The user of a token. Raises `AuthenticationFailed`, with the same text whatever is wrong."""
    try:
        claims = jwt.decode(
            token, signing_key(), algorithms=[ALGORITHM], options={"require": REQUIRED}, leeway=CLOCKS_DIFFER_S
        )
    except jwt.PyJWTError:
        raise AuthenticationFailed(REFUSAL) from None
    if claims["exp"] <= time.time():
        raise AuthenticationFailed(REFUSAL)
    user = get_user_model()._default_manager.filter(account__public_id=claims["sub"]).first()
    if user is None or not user.is_active or not constant_time_compare(claims["pwd"], password_mark(user)):
        raise AuthenticationFailed(REFUSAL)
    return user


REFUSAL = "This token is not valid, or no longer; sign in again."


def signing_key() -> bytes:
    return hmac.digest(settings.SECRET_KEY.encode(), b"sluice: tokens of users", hashlib.sha256)


def password_mark(user: Any) -> str:
    """A text that changes with the password, so a new password ends all earlier tokens."""
    return str(user.get_session_auth_hash())[:32]


def looks_like_one(token: bytes) -> bool:
    """Whether it has three parts with dots. The management token could have them by chance, so it is compared first."""
    return token.count(b".") == 2


class UserTokenAuthentication(BaseAuthentication):
    """`Authorization: Bearer <token>` from `POST /v1/auth/login`."""

    def authenticate(self, request: Request) -> tuple[Any, str] | None:
        scheme, _, raw = get_authorization_header(request).strip().partition(b" ")
        token = raw.strip()
        if scheme.lower() != b"bearer" or not looks_like_one(token):
            return None
        return user_of(token.decode("latin-1")), token.decode("latin-1")

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="Sluice"'
