"""A thread with a database connection of its own, which does queries for the event loop, each with a timeout.

A connection may fall silent while new ones would work: after a failover behind one address, or when a firewall has
forgotten it. TCP notices late, and never if something in between answers for the database. So if a statement has not
ended after `timeout_s`, its connection is cut, and the work is tried once more on a new one.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from django.db import DatabaseError, connection

log = logging.getLogger("sluice.database")
T = TypeVar("T")


class DatabaseThread:
    """Does one piece of work after the other. `timeout_s` is how long one statement may take."""

    def __init__(self, name: str, timeout_s: float, on_silence: Callable[[BaseException], None] | None = None) -> None:
        """`on_silence` is called with a reason each time that the work takes `timeout_s` longer."""
        self._timeout_s = timeout_s
        self._on_silence = on_silence
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)
        self._raw: Any = None
        """The driver's connection while a statement runs on it, else None."""
        self._moved_at = 0.0

    async def run(self, work: Callable[[], T], *, retry: bool = True) -> T:
        """Do some work in the thread, and return its result. Work that raises `DatabaseError` is tried a second time
        if `retry` is set. Raises what the work raises.
        """
        future = asyncio.get_running_loop().run_in_executor(self._thread, self._guarded, work, retry)
        while True:
            done, _ = await asyncio.wait({future}, timeout=self._timeout_s)
            if done:
                return future.result()
            if self._on_silence is not None:
                self._on_silence(TimeoutError(f"The database has not answered within {self._timeout_s:g} s."))
            self._cut_if_silent()

    async def close(self) -> None:
        """Close the connection, after the work that is under way. That is cut too if the database is silent."""
        await self.run(lambda: connection.close(), retry=False)  # noqa: PLW0108 (each thread has its own)
        self._thread.shutdown(wait=True)

    def _guarded(self, work: Callable[[], T], retry: bool) -> T:
        with connection.execute_wrapper(self._watched):
            try:
                return work()
            except DatabaseError:
                connection.close()  # a broken connection is not used twice
                if not retry:
                    raise
                return work()

    def _watched(self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:
        """Called in the thread around each statement. There is a cursor, so the connection is open."""
        self._moved_at = time.monotonic()
        self._raw = connection.connection
        try:
            return execute(sql, params, many, context)
        finally:
            self._raw = None

    def _cut_if_silent(self) -> None:
        """Called on the event loop. Only PostgreSQL can fall silent: SQLite has no server."""
        raw = self._raw
        if connection.vendor != "postgresql" or raw is None or time.monotonic() - self._moved_at < self._timeout_s:
            return
        # The driver waits for this socket in the other thread. Shutting the socket down makes the driver see its end.
        # Nothing else of the connection is touched from here.
        with contextlib.suppress(OSError, DatabaseError, *driver_errors()):
            log.warning("The database says nothing; its connection is cut, and another one made.")
            twin = socket.socket(fileno=os.dup(raw.fileno()))
            with twin:
                twin.shutdown(socket.SHUT_RDWR)


def driver_errors() -> tuple[type[Exception], ...]:
    """What psycopg raises for a connection that has just closed. Imported here: SQLite does not need psycopg."""
    import psycopg

    return (psycopg.Error,)
