"""Django's answers where no view answers, in the shape that fits the address.

503 while the database is away or busy; errors for requests that are refused before a view; 500 for unexpected errors.
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
"""Hosts that may be repeated in a message: any client can write this header."""

FAILED = "The server failed. Its log says why."


def server_error(request: HttpRequest) -> HttpResponse:
    """Django's `handler500`. Django calls it while it handles the exception, whichever layer raised that."""
    is_away = database_is_away(sys.exc_info()[1])
    status, message, code = (503, AWAY, "database_unavailable") if is_away else (500, FAILED, "internal_error")
    response = shaped(request.path_info, status, message, code)
    response["Cache-Control"] = "no-store"
    if is_away:
        response["Retry-After"] = str(RETRY_AFTER_S)
    return response


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Django's `handler400`.

    A host that is not allowed is mostly that of an operator who opened the server to others.
    """
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
    """Whether the database is away or busy.

    SQLite raises the same class for a missing table, which no waiting cures.
    """
    return isinstance(error, OperationalError | InterfaceError) and "no such" not in str(error)


def shaped(path: str, status: int, message: str, code: str) -> HttpResponse:
    """An error as JSON for programs, as a page for people."""
    if path.startswith("/v1/") or is_management(path):
        return HttpResponse(shaped_body(path, status, message, code), status=status, content_type="application/json")
    return HttpResponse(f"<!doctype html><title>Sluice</title><p>{escape(message)}</p>", status=status)
