"""The batch writer: takes finished requests off the request's path, to the ledger and to the log.

The event loop appends to a list; a thread takes what has gathered, several times a second. A later issue puts a
durable journal in the place of this list.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence

from django.db import DatabaseError, connection

from usage.event import RequestEvent
from usage.ledger import write_events
from usage.metrics import RequestMetrics
from usage.request_log import log_line

log = logging.getLogger("sluice.ledger")
requests_log = logging.getLogger("sluice.requests")

EVERY_S = 0.1
BATCH = 2_000
KEPT = 200_000
"""Events held while the database does not take them. Beyond that the oldest are dropped, and counted."""

LAST_TRIES = 5


class BatchWriter:
    """One for each process. `add` may be called from the event loop; all else happens in the writer's thread."""

    def __init__(self, metrics: RequestMetrics) -> None:
        self._events: list[RequestEvent] = []
        self._backlog: list[RequestEvent] = []
        self._stopping = threading.Event()
        self._metrics = metrics
        self._logs_requests = requests_log.isEnabledFor(logging.INFO)
        self._thread = threading.Thread(target=self._run, name="ledger", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def add(self, event: RequestEvent) -> None:
        self._events.append(event)

    def stop(self) -> None:
        """Write what is left, and return when it is written or given up."""
        self._stopping.set()
        self._thread.join()

    @property
    def waiting(self) -> int:
        return len(self._events) + len(self._backlog)

    def _run(self) -> None:
        while not self._stopping.wait(EVERY_S):
            self._flush()
        for attempt in range(LAST_TRIES):
            if self._flush():
                break
            time.sleep(0.2 * (attempt + 1))
        if self._backlog:
            log.error("Stopped with %d requests that the database did not take.", len(self._backlog))
        connection.close()

    def _flush(self) -> bool:
        """Write what has gathered. False when the database took not all of it; it is kept for the next time."""
        self._metrics.hand_over()
        fresh, self._events = self._events, []
        if fresh and self._logs_requests:
            requests_log.info("%s", "\n".join(log_line(event) for event in fresh))
        self._backlog += fresh
        while self._backlog:
            batch = self._backlog[:BATCH]
            try:
                write_events(batch)
            except DatabaseError as error:
                connection.close()
                if len(batch) > 1 and self._write_singly(batch):
                    del self._backlog[: len(batch)]
                    continue
                log.warning("The ledger does not take rows (%s); %d wait.", type(error).__name__, len(self._backlog))
                self._bound()
                return False
            del self._backlog[: len(batch)]
        return True

    def _write_singly(self, batch: Sequence[RequestEvent]) -> bool:
        """After a failed batch: a single bad row must not hold up the rest. False when not even one was taken."""
        taken = 0
        for event in batch:
            try:
                write_events([event])
                taken += 1
            except DatabaseError as error:
                connection.close()
                if not taken:
                    return False
                log.error("The ledger refused the row of request %s: %s", event.id, type(error).__name__)
        return True

    def _bound(self) -> None:
        excess = len(self._backlog) - KEPT
        if excess > 0:
            del self._backlog[:excess]
            self._metrics.dropped(excess)
            log.error("Dropped %d rows that the database did not take.", excess)
