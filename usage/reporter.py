"""The thread that tells of requests: their numbers to the metrics, their lines to the log, their spans to traces."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from usage.metrics import RequestMetrics
from usage.request_log import RequestLog

if TYPE_CHECKING:
    from usage.traces import Traces

EVERY_S = 0.1


class Reporter:
    """One for each process. The event loop only hangs up what ended; what that costs beyond is paid here."""

    def __init__(self, metrics: RequestMetrics, request_log: RequestLog, traces: Traces | None) -> None:
        self._metrics, self._request_log, self._traces = metrics, request_log, traces
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="reporter", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Tell what is left, and return."""
        self._stopping.set()
        self._thread.join()
        if self._traces is not None:
            self._traces.stop()

    def _run(self) -> None:
        while not self._stopping.wait(EVERY_S):
            self._report()
        self._report(last=True)

    def _report(self, *, last: bool = False) -> None:
        self._metrics.hand_over(last=last)
        self._request_log.write()
        if self._traces is not None:
            self._traces.write()
