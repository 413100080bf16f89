"""What every request shares, made once when the process starts and handed to the steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from proxy.admit import Admission
from proxy.open_models import OpenModels
from proxy.origins import ResponseOrigins
from proxy.snapshot import Snapshot
from proxy.upstream import Upstream

if TYPE_CHECKING:
    from usage.metrics import RequestMetrics
    from usage.writer import BatchWriter


@dataclass(frozen=True, slots=True)
class Parts:
    snapshot: Snapshot
    admission: Admission
    upstream: Upstream
    origins: ResponseOrigins
    open_models: OpenModels
    writer: BatchWriter
    metrics: RequestMetrics
