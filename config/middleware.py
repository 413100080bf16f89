"""What every request of the control plane passes through."""

from __future__ import annotations

import logging
from collections.abc import Callable

from django.db import DatabaseError, connection, transaction
from django.http import HttpRequest, HttpResponse, JsonResponse

from keys.api_errors import Conflict, collided
from proxy.changes import notes_last
from proxy.errors import error_body

READING = frozenset({"GET", "HEAD", "OPTIONS"})
log = logging.getLogger(__name__)


def atomic_changes(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """A request that changes something is one transaction: the change, and the note that spreads it to every process.

    Locks are taken in one order: the row that the address names, the rows that go with it, those that it refers to, and
    that of the notes. Not Django's `ATOMIC_REQUESTS`: that opens one for reading as well, which in SQLite waits for the
    ledger's writer.
    """

    def middleware(request: HttpRequest) -> HttpResponse:
        if request.method in READING:
            return get_response(request)
        try:
            with transaction.atomic(), notes_last() as write_notes:
                response = get_response(request)
                # What failed has been made a response by now, so that no exception tells of it here.
                if response.status_code >= 400:
                    transaction.set_rollback(True)
                else:
                    check_references()
                    write_notes()
        except DatabaseError as error:
            if not collided(error):
                raise
            log.warning("A change collided with another one", exc_info=error)
            return conflict(request)
        return response

    return middleware


def check_references() -> None:
    """Whether all that was written refers to what is there. PostgreSQL would look at the commit, behind the notes.

    SQLite looks then as well; it has no second writer that could have deleted anything.
    """
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")


def conflict(request: HttpRequest) -> HttpResponse:
    """409, in the shape of the address that was asked."""
    status, code, message = Conflict.status_code, Conflict.default_code, Conflict.default_detail
    if request.path.startswith("/v1/"):
        body = error_body(message, "invalid_request_error", None, code)
        return HttpResponse(body, status=status, content_type="application/json")
    if request.path.startswith("/api/"):
        return JsonResponse({"detail": message, "code": code}, status=status)
    return HttpResponse(message, status=status, content_type="text/plain")
