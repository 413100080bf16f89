"""The request log: one JSON line for each request. It contains no secrets, and bodies only with `LOG_BODIES`."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Sequence

log = logging.getLogger("sluice.requests")


class RequestLog:
    """Queues lines on the event loop. Another thread writes them, because the log's destination may be slow."""

    def __init__(self) -> None:
        self._ended: deque[bytes] = deque()
        self.is_on = log.isEnabledFor(logging.INFO)

    def add(self, document: bytes) -> None:
        """Queue a request's event, which is JSON."""
        if self.is_on:
            self._ended.append(document)

    def write(self) -> None:
        """Write the lines that were queued. Must run in one thread at a time."""
        fresh = [self._ended.popleft() for _ in range(len(self._ended))]
        if fresh:
            log.info("%s", log_lines(fresh, time.time()))


def log_lines(documents: Sequence[bytes], now: float) -> str:
    """Return a line for each event: the fields with which every log line begins, then those of the event.

    `time` is when the line is written. An encoded event contains no line break, so one join makes all lines.
    """
    stamp = f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(now))}.{int(now % 1 * 1000):03d}+00:00"
    prefix = f'{{"time":"{stamp}","level":"info","logger":"sluice.requests",'
    return prefix + f"\n{prefix}".join([document[1:].decode() for document in documents])
