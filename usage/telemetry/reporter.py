"""A thread that counts finished requests for the metrics, writes their lines to the log, and makes their spans."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from usage.loops import LOOPS
from usage.telemetry.metrics import RequestMetrics
from usage.telemetry.request_log import RequestLog

if TYPE_CHECKING:
    from usage.telemetry.traces import Traces

EVERY_S = 0.1


class Reporter:
    """One for each process. The event loop only queues what has ended; this thread does the expensive part."""

    def __init__(self, metrics: RequestMetrics, request_log: RequestLog, traces: Traces | None) -> None:
        self._metrics, self._request_log, self._traces = metrics, request_log, traces
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="reporter", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Report what is left, and end the thread."""
        self._stopping.set()
        self._thread.join()
        if self._traces is not None:
            self._traces.stop()

    def _run(self) -> None:
        LOOPS.named("reporter").run_until(self._stopping, self._step)
        self._report(last=True)

    def _step(self) -> None:
        if not self._stopping.wait(EVERY_S):
            self._report()

    def _report(self, *, last: bool = False) -> None:
        """Run each report by itself, so that a failure of one does not affect the others."""
        reports: list[Callable[[], None]] = [partial(self._metrics.hand_over, last=last), self._request_log.write]
        if self._traces is not None:
            reports.append(self._traces.write)
        for report in reports:
            try:
                report()
            except Exception as error:
                LOOPS.named("reporter").failed_alone(error)
