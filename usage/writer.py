"""The batch writer: takes finished requests off the request's path, to the ledger and to the log.

The event loop appends to a queue; a thread takes what has gathered, several times a second. A later issue puts a
durable journal in the place of this queue.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Sequence

from django.db import DatabaseError, InterfaceError, OperationalError, connection

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

AWAY = (OperationalError, InterfaceError)
"""The database is not there or not able; what else it raises is about the row."""

LAST_TRIES = 5


class BatchWriter:
    """One for each process. `add` may be called from the event loop; all else happens in the writer's thread."""

    def __init__(self, metrics: RequestMetrics) -> None:
        self._events: deque[RequestEvent] = deque()
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
        fresh = [self._events.popleft() for _ in range(len(self._events))]
        if fresh and self._logs_requests:
            requests_log.info("%s", "\n".join(log_line(event) for event in fresh))
        self._backlog += fresh
        while self._backlog:
            batch = self._backlog[:BATCH]
            try:
                write_events(batch)
                del self._backlog[: len(batch)]
            except AWAY as error:
                return self._wait_for_database(error)
            except DatabaseError:
                connection.close()
                if not self._write_singly(batch):
                    return False
        return True

    def _write_singly(self, batch: Sequence[RequestEvent]) -> bool:
        """A batch with a row that the database refuses: that one is told of and dropped, the others are written."""
        for event in batch:
            try:
                write_events([event])
            except AWAY as error:
                return self._wait_for_database(error)
            except DatabaseError as error:
                connection.close()
                log.error("The ledger refused the row of request %s: %s", event.id, type(error).__name__)
            del self._backlog[0]
        return True

    def _wait_for_database(self, error: DatabaseError | InterfaceError) -> bool:
        connection.close()
        log.warning("The ledger does not take rows (%s); %d wait.", type(error).__name__, len(self._backlog))
        self._bound()
        return False

    def _bound(self) -> None:
        excess = len(self._backlog) - KEPT
        if excess > 0:
            del self._backlog[:excess]
            self._metrics.dropped(excess)
            log.error("Dropped %d rows that the database did not take.", excess)
