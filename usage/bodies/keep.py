"""Write captured bodies from the event loop to the database, and redact them on the way.

A thread does the work; it is started for the first body. Unlike the ledger it is best effort: the bodies that wait are
bounded, beyond that they are dropped and counted, and a killed process loses those that wait. Nothing reaches a disk
before it is redacted.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Collection
from datetime import UTC, datetime
from typing import NamedTuple

from django.db import DatabaseError, DataError, IntegrityError, InterfaceError, connection
from prometheus_client import Counter

from usage.bodies.record import RequestBodies
from usage.bodies.show import RawBody, Showing
from usage.loops import LOOPS

log = logging.getLogger("sluice.bodies")

WAITING_BYTES = 32 * 1024 * 1024
WRITTEN_AT_ONCE = 50
EVERY_S = 0.2
TRY_AGAIN_S = 1.0
UNFIT = (DataError, IntegrityError, ValueError)
"""Errors about a row. All others are about the database: it is away, read-only, or lacks something."""

AWAY = (DatabaseError, InterfaceError)

_dropped = Counter("llm_proxy_bodies_dropped", "Captured bodies lost because the database did not take them in time.")


class CapturedBodies(NamedTuple):
    """The bodies of a request. `secrets` are those that the request used. `at` is in Unix seconds."""

    id: str
    at: float
    request: RawBody
    answer: RawBody
    secrets: Collection[bytes]

    @property
    def size(self) -> int:
        return len(self.request.start) + len(self.answer.start) + 1024


class BodyKeeper:
    """One for each process. The event loop calls `add`; the thread does the rest."""

    def __init__(self, showing: Showing) -> None:
        """`showing` decides what is kept of each body."""
        self._showing = showing
        self._waiting: deque[CapturedBodies] = deque()
        self._waiting_bytes = 0
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._ready: list[RequestBodies] = []
        """Redacted, and not in the database yet."""
        self._is_away = False

    def add(self, captured: CapturedBodies) -> None:
        """Queue bodies; drop them if too many wait. Neither blocks nor raises."""
        size = captured.size
        with self._lock:
            if self._waiting_bytes + size > WAITING_BYTES:
                _dropped.inc()
                return
            self._waiting_bytes += size
            self._waiting.append(captured)
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="bodies", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Write what waits, if the database takes it, and end the thread."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        loop = LOOPS.named("bodies")
        loop.run_until(self._stopping, self._step)
        try:
            self._write(self._ready)
        except Exception as error:
            loop.failed(error)
        connection.close()
        if lost := len(self._waiting) + len(self._ready):
            _dropped.inc(lost)
            log.error("Stopped with the bodies of %d requests that the database did not take.", lost)

    def _step(self) -> None:
        self._stopping.wait(TRY_AGAIN_S if self._is_away else EVERY_S)
        was_away, self._is_away = self._is_away, not self._write(self._ready)
        if self._is_away and not was_away:
            log.warning("The database takes no bodies; they wait in memory.")

    def _write(self, ready: list[RequestBodies]) -> bool:
        """Redact and write all bodies that wait. `ready` has those that the database did not take before.

        Returns False if the database is away.
        """
        while ready or self._waiting:
            while self._waiting and len(ready) < WRITTEN_AT_ONCE:
                captured = self._next()
                try:
                    ready.append(self._render(captured))
                except Exception as error:  # one must not keep the others from being written
                    _dropped.inc()
                    # The error's text and traceback are not logged, because they may contain the body.
                    log.error("The bodies of request %s are not kept: %s", captured.id, type(error).__name__)
            try:
                keep_rows(ready)
            except AWAY:
                connection.close()  # else a broken connection would be used again
                return False
            except Exception as error:  # a wrong row would fail the next time as well
                connection.close()
                _dropped.inc(len(ready))
                log.error("The database refused the bodies of %d requests (%s).", len(ready), type(error).__name__)
            ready.clear()
        return True

    def _next(self) -> CapturedBodies:
        with self._lock:
            captured = self._waiting.popleft()
            self._waiting_bytes -= captured.size
        return captured

    def _render(self, captured: CapturedBodies) -> RequestBodies:
        request = self._showing.of(captured.request, captured.secrets)
        answer = self._showing.of(captured.answer, captured.secrets)
        return RequestBodies(
            id=captured.id,
            created_at=datetime.fromtimestamp(captured.at, UTC),
            request=request.body,
            request_type=captured.request.content_type[:100],
            request_note=request.note,
            answer=answer.body,
            answer_type=captured.answer.content_type[:100],
            answer_note=answer.note,
        )


def keep_rows(rows: list[RequestBodies]) -> None:
    """Write rows. If the database refuses one, all others are written. Raises the errors in `AWAY`."""
    try:
        RequestBodies.objects.bulk_create(rows, ignore_conflicts=True)
    except UNFIT as error:
        connection.close()
        if len(rows) == 1:
            _dropped.inc()
            log.error("The database refused the bodies of request %s (%s).", rows[0].pk, type(error).__name__)
            return
        middle = len(rows) // 2
        keep_rows(rows[:middle])
        keep_rows(rows[middle:])
