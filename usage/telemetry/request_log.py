"""The request log: one JSON line for each request. No secret is in it; prompts and answers only with `LOG_BODIES`."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Sequence

log = logging.getLogger("sluice.requests")


class RequestLog:
    """Takes lines on the event loop; another thread writes them, since where they go may be slow."""

    def __init__(self) -> None:
        self._ended: deque[bytes] = deque()
        self.is_on = log.isEnabledFor(logging.INFO)

    def add(self, document: bytes) -> None:
        """A request's event, as JSON."""
        if self.is_on:
            self._ended.append(document)

    def write(self) -> None:
        """Write what has gathered. From one thread at a time."""
        fresh = [self._ended.popleft() for _ in range(len(self._ended))]
        if fresh:
            log.info("%s", log_lines(fresh, time.time()))


def log_lines(documents: Sequence[bytes], now: float) -> str:
    """The events' own fields, behind those that every line of the log begins with: `time` is when it was written.

    All of them at once: an encoder writes no line break, so each one is the beginning of a line.
    """
    stamp = f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(now))}.{int(now % 1 * 1000):03d}+00:00"
    prefix = f'{{"time":"{stamp}","level":"info","logger":"sluice.requests",'
    return prefix + f"\n{prefix}".join([document[1:].decode() for document in documents])
