"""The authentication schemes of the management API, for OpenAPI."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.permissions import SAFE_METHODS


class ManagementTokenScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = "keys.api.management_token.ManagementTokenAuthentication"
    name = "managementToken"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer", "description": "The value of MANAGEMENT_TOKEN."}


class UserTokenScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = "keys.user_tokens.UserTokenAuthentication"
    name = "userToken"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "JWT",
            "description": "What POST /v1/auth/login answers with.",
        }


class SessionScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """The admin's session. Changes also need its CSRF token."""

    target_class = "rest_framework.authentication.SessionAuthentication"
    name = ["session", "csrfToken"]  # noqa: RUF012 (as drf-spectacular declares it)

    def get_security_requirement(self, auto_schema: Any) -> dict[str, list[str]]:
        return {"session": []} if auto_schema.method in SAFE_METHODS else {"session": [], "csrfToken": []}

    def get_security_definition(self, auto_schema: Any) -> list[dict[str, str]]:
        return [
            {"type": "apiKey", "in": "cookie", "name": settings.SESSION_COOKIE_NAME},
            {
                "type": "apiKey",
                "in": "header",
                "name": "X-CSRFToken",
                "description": f"The value of the cookie {settings.CSRF_COOKIE_NAME}; only with a session.",
            },
        ]
