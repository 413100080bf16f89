"""What the control plane answers when it fails: 503 while the database is away or busy, in the caller's own shape."""

from __future__ import annotations

import sys

from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse, JsonResponse

from proxy.errors import error_body

RETRY_AFTER_S = 5
AWAY = "The database does not answer at the moment. Try again."
FAILED = "The server failed. Its log says why."


def server_error(request: HttpRequest) -> HttpResponse:
    """Django's `handler500`, called while the exception is handled, wherever in its layers that was raised."""
    is_away = database_is_away(sys.exc_info()[1])
    status, message, code = (503, AWAY, "database_unavailable") if is_away else (500, FAILED, "internal_error")
    response = shaped(request.path_info, status, message, code)
    response["Cache-Control"] = "no-store"
    if is_away:
        response["Retry-After"] = str(RETRY_AFTER_S)
    return response


def database_is_away(error: BaseException | None) -> bool:
    """SQLite tells of a table that is missing by the same class as of a lock: that is no matter of waiting."""
    return isinstance(error, OperationalError | InterfaceError) and "no such" not in str(error)


def shaped(path: str, status: int, message: str, code: str) -> HttpResponse:
    if path.startswith("/v1/"):
        body = error_body(message, "api_error", None, code)
        return HttpResponse(body, status=status, content_type="application/json")
    if path.startswith("/api/"):
        return JsonResponse({"detail": message, "code": code}, status=status)
    return HttpResponse(f"<!doctype html><title>Sluice</title><h1>{message}</h1>", status=status)
