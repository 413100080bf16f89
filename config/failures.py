"""What Django answers where no view does, in the shape of the address that was asked.

503 while the database is away or busy; what is refused before a view is asked; what nobody foresaw.
"""

from __future__ import annotations

import re
import sys

from django.conf import settings
from django.core.exceptions import DisallowedHost
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.utils.html import escape

from proxy.shapes import shaped_body
from strict.errors import is_management

RETRY_AFTER_S = 5
AWAY = "The database does not answer at the moment. Try again."
HOST = re.compile(r"[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\]")
"""What may be shown of a header that anybody can write."""

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


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Django's `handler400`. A host that is not allowed is mostly that of an operator who opened a server to others."""
    if not isinstance(exception, DisallowedHost):
        return shaped(request.path_info, 400, "The request cannot be understood.", "bad_request")
    host = re.sub(r":\d+$", "", request.META.get("HTTP_HOST", ""))
    if not HOST.fullmatch(host):
        return shaped(request.path_info, 400, "The Host header is no host name.", "host_not_allowed")
    allowed = ",".join([*settings.ALLOWED_HOSTS, host])
    message = (
        f"Sluice is not set up to be reached as {host}. Whoever runs it sets ALLOWED_HOSTS={allowed} and restarts it."
    )
    return shaped(request.path_info, 400, message, "host_not_allowed")


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    return shaped(request.path_info, 404, "There is nothing at this address.", "not_found")


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    return shaped(request.path_info, 403, "You may not do this.", "permission_denied")


def database_is_away(error: BaseException | None) -> bool:
    """SQLite tells of a table that is missing by the same class as of a lock: that is no matter of waiting."""
    return isinstance(error, OperationalError | InterfaceError) and "no such" not in str(error)


def shaped(path: str, status: int, message: str, code: str) -> HttpResponse:
    """JSON for programs, a page for people."""
    if path.startswith("/v1/") or is_management(path):
        return HttpResponse(shaped_body(path, status, message, code), status=status, content_type="application/json")
    return HttpResponse(f"<!doctype html><title>Sluice</title><p>{escape(message)}</p>", status=status)
