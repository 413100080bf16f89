"""The OpenAPI document of the management API."""

from __future__ import annotations

from typing import Any

from rest_framework.test import APIClient


def openapi_document() -> dict[str, Any]:
    return dict(APIClient().get("/api/schema?format=json").json())
