"""What every request of the control plane passes through."""

from __future__ import annotations

from collections.abc import Callable

from django.db import transaction
from django.http import HttpRequest, HttpResponse

READING = frozenset({"GET", "HEAD", "OPTIONS"})


def atomic_changes(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """A request that changes something is one transaction: the change, and the note that spreads it to every process.

    Not Django's `ATOMIC_REQUESTS`: that opens one for reading as well, which in SQLite waits for the ledger's writer.
    """

    def middleware(request: HttpRequest) -> HttpResponse:
        if request.method in READING:
            return get_response(request)
        with transaction.atomic():
            response = get_response(request)
            # What failed has been made a response by now, so that no exception tells of it here.
            if response.status_code >= 400:
                transaction.set_rollback(True)
        return response

    return middleware
