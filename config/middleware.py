"""Middlewares of the control plane."""

from __future__ import annotations

import logging
from collections.abc import Callable

from django.db import DatabaseError, connection, transaction
from django.http import HttpRequest, HttpResponse

from config.failures import shaped
from keys.api.errors import Conflict, is_collision
from keys.hashing import Hashes, HashOutside, hashes
from proxy.configuration.changes import changes_written_last
from usage.audit.acting import scope

GetResponse = Callable[[HttpRequest], HttpResponse]
HSTS = "max-age=31536000"
READING = frozenset({"GET", "HEAD", "OPTIONS"})
log = logging.getLogger(__name__)


def atomic_changes(get_response: GetResponse) -> GetResponse:
    """Run each request that changes something in one transaction: the change, and its row in the change feed.

    Locks are taken in one order: the row that the address names, the rows that belong to it, those that it refers to,
    and that of the change feed. Django's `ATOMIC_REQUESTS` is not used: it also opens a transaction for reading, which
    in SQLite waits for the ledger's writer.
    """

    def middleware(request: HttpRequest) -> HttpResponse:
        if request.method in READING:
            return get_response(request)
        own = Hashes()
        token = hashes.set(own)
        try:
            while True:
                own.begin()
                try:
                    return in_transaction(get_response, request)
                except HashOutside as wanted:
                    wanted.make()
                    begin_again(request)
        finally:
            hashes.reset(token)

    return middleware


def secure_over_https(get_response: GetResponse) -> GetResponse:
    """Mark cookies as secure and send HSTS if the request came over https, possibly as told by a trusted proxy."""

    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        if request.is_secure():
            response.headers.setdefault("Strict-Transport-Security", HSTS)
            for cookie in response.cookies.values():
                cookie["secure"] = True
        return response

    return middleware


def in_transaction(get_response: GetResponse, request: HttpRequest) -> HttpResponse:
    try:
        with transaction.atomic(), changes_written_last() as write_changes:
            response = get_response(request)
            # DRF and Django have turned exceptions into responses by now, so the status tells whether it failed.
            if response.status_code >= 400:
                transaction.set_rollback(True)
            else:
                check_references()
                write_changes()
    except DatabaseError as error:
        if not is_collision(error):
            raise
        log.warning("A change collided with another one", exc_info=error)
        return shaped(request.path_info, Conflict.status_code, Conflict.default_detail, Conflict.default_code)
    return response


def check_references() -> None:
    """Check that all written references exist. PostgreSQL would check them at the commit, after the change feed is
    written.

    SQLite also checks at the commit, but it has no second writer that could have deleted a row.
    """
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")


def begin_again(request: HttpRequest) -> None:
    """Reset the request as if nothing had handled it: its body can be read again, and nothing was done for it."""
    stream = getattr(request, "_stream", None)
    if stream is not None and not hasattr(request, "_body") and stream.seekable():  # not a form that was read
        stream.seek(0)
        request.__dict__["_read_started"] = False
    request.__dict__.pop("_cached_user", None)
    current = scope.get()
    if current is not None:
        current.done.clear()
        current.attempted.clear()
