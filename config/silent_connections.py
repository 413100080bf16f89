"""Gives up connections to PostgreSQL that have fallen silent.

A connection may fall silent while new ones would work: after a failover behind one address, or when something in
between goes on answering for a database that is gone. TCP does not notice the latter, and a statement may also just be
slow. So if PostgreSQL says nothing for `DATABASE_TIMEOUT_SECS`, it is asked on a new connection what the process of the
old one does. Unless that is at work, the old connection is closed, and the statement fails.
"""

from __future__ import annotations

import logging
import select
import time
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db.backends.base.base import BaseDatabaseWrapper

if TYPE_CHECKING:
    import psycopg

log = logging.getLogger("sluice.database")

Waiting = Generator[Any, Any, Any]
"""The driver's: it yields what it waits for, is sent what is ready (nothing, ten times a second), and returns."""

AT_WORK = """
SELECT pg_backend_pid(), EXISTS (
  SELECT FROM pg_stat_activity WHERE pid = %s AND state = 'active' AND wait_event_type IS DISTINCT FROM 'Client'
)
"""
"""A process that waits for its client has nothing to say, or cannot say it."""


def watch(connection: BaseDatabaseWrapper, **_: Any) -> None:
    """A receiver of `connection_created`."""
    if connection.vendor == "postgresql":
        raw: Any = connection.connection
        raw.wait = watched(raw.wait, lambda waited_s: give_up_if_silent(connection, raw, waited_s))


def watched(wait: Callable[..., Any], on_silence: Callable[[float], None]) -> Callable[..., Any]:
    """`psycopg.Connection.wait`, which calls `on_silence` with the seconds of a wait each time that it is too long."""

    def bounded(waiting: Waiting, *args: Any, **options: Any) -> Any:
        return wait(heeded(waiting, on_silence), *args, **options)

    return bounded


def heeded(waiting: Waiting, on_silence: Callable[[float], None]) -> Waiting:
    began = heard_at = time.monotonic()
    try:
        wish = next(waiting)
        while True:
            ready = yield wish
            now = time.monotonic()
            if ready:
                began = heard_at = now
            elif now - heard_at >= settings.DATABASE_TIMEOUT_SECS:
                on_silence(now - began)
                heard_at = time.monotonic()
            wish = waiting.send(ready)
    except StopIteration as end:
        return end.value


def give_up_if_silent(connection: BaseDatabaseWrapper, raw: psycopg.Connection[Any], waited_s: float) -> None:
    """Raises `psycopg.OperationalError`."""
    import psycopg

    if is_at_work(connection, raw.info.backend_pid, waited_s) or select.select([raw.fileno()], [], [], 0)[0]:
        return
    log.warning("The database says nothing on a connection, which is closed.")
    raw.close()
    raise psycopg.OperationalError(f"The database has not answered within {settings.DATABASE_TIMEOUT_SECS:g} s.")


def is_at_work(connection: BaseDatabaseWrapper, process: int, waited_s: float) -> bool:
    """Whether PostgreSQL works on the statement of the connection that this process of it serves."""
    import psycopg

    def gone(_: float) -> None:
        raise psycopg.OperationalError("The database does not answer.")

    try:
        with psycopg.connect(**connection.get_connection_params()) as other:
            other.wait = watched(other.wait, gone)  # type: ignore[method-assign]
            row = other.execute(AT_WORK, [process]).fetchone()
            if row is not None and row[0] == other.info.backend_pid:
                return bool(row[1])
    except (psycopg.Error, OSError):
        return False
    # A pooler is in between, and its numbers say nothing. PostgreSQL itself ends a statement that takes too long.
    longest_s = settings.DATABASE_STATEMENT_TIMEOUT_SECS
    return not longest_s or waited_s < longest_s + settings.DATABASE_TIMEOUT_SECS
