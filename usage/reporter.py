"""The thread that tells of requests: their numbers to the metrics, their lines to the log."""

from __future__ import annotations

import threading

from usage.metrics import RequestMetrics
from usage.request_log import RequestLog

EVERY_S = 0.1


class Reporter:
    """One for each process. The event loop only hangs up what ended; what that costs beyond is paid here."""

    def __init__(self, metrics: RequestMetrics, request_log: RequestLog) -> None:
        self._metrics, self._request_log = metrics, request_log
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="reporter", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Tell what is left, and return."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.wait(EVERY_S):
            self._report()
        self._report(last=True)

    def _report(self, *, last: bool = False) -> None:
        self._metrics.hand_over(last=last)
        self._request_log.write()
