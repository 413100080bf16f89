"""What every request shares, made once when the process starts and handed to the steps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.admit import Admission
from proxy.bounds import Bounds
from proxy.open_models import OpenModels
from proxy.origins import ResponseOrigins
from proxy.snapshot import Snapshot
from proxy.upstream import Upstream
from proxy.watch import Watchman

if TYPE_CHECKING:
    from usage.metrics import RequestMetrics
    from usage.writer import BatchWriter


class Parts:
    """Read by the steps, changed by nobody."""

    __slots__ = (
        "admission",
        "bounds",
        "metrics",
        "open_models",
        "origins",
        "snapshot",
        "upstream",
        "watchman",
        "writer",
    )

    def __init__(
        self,
        *,
        bounds: Bounds,
        snapshot: Snapshot,
        admission: Admission,
        upstream: Upstream,
        origins: ResponseOrigins,
        writer: BatchWriter,
        metrics: RequestMetrics,
    ) -> None:
        self.bounds = bounds
        self.snapshot = snapshot
        self.admission = admission
        self.upstream = upstream
        self.origins = origins
        self.open_models = OpenModels(upstream)
        self.writer = writer
        self.metrics = metrics
        self.watchman = Watchman()
