"""The objects that all requests of a process share. They are made when the process starts, and passed to the steps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.admission.admit import Admission
from proxy.body_room import BodyRoom
from proxy.bounds import Bounds
from proxy.configuration.snapshot import Snapshot
from proxy.heavy.reader import HeavyReader
from proxy.running_cache import RunningCache
from proxy.server.deadlines import RequestDeadlines
from proxy.stored.owners import Owners
from proxy.upstream.client import Upstream
from proxy.upstream.model_lists import OpenModels
from usage.telemetry.reporter import Reporter

if TYPE_CHECKING:
    from keys.limits.base import LimitsBackend
    from proxy.admission.baselines import Baselines
    from proxy.stored.background import Background
    from usage.bodies.keep import BodyKeeper
    from usage.bodies.show import Showing
    from usage.journal.spool import Spool
    from usage.telemetry.metrics import RequestMetrics
    from usage.telemetry.request_log import RequestLog
    from usage.telemetry.traces import Traces


class Components:
    """The steps use these objects. None of them is replaced."""

    __slots__ = (
        "admission",
        "background",
        "baselines",
        "bodies",
        "body_room",
        "bounds",
        "cache",
        "heavy",
        "journal",
        "limits",
        "logged_bodies",
        "metrics",
        "open_models",
        "owners",
        "reporter",
        "request_deadlines",
        "request_log",
        "running_cache",
        "shown_errors",
        "snapshot",
        "traces",
        "upstream",
    )

    def __init__(
        self,
        *,
        bounds: Bounds,
        snapshot: Snapshot,
        admission: Admission,
        limits: LimitsBackend,
        baselines: Baselines,
        upstream: Upstream,
        owners: Owners,
        journal: Spool,
        metrics: RequestMetrics,
        request_log: RequestLog,
        logged_bodies: Showing | None,
        traces: Traces | None,
        bodies: BodyKeeper,
        background: Background,
        shown_errors: Showing,
        running_cache: RunningCache | None,
    ) -> None:
        self.bounds = bounds
        self.body_room = BodyRoom(bounds.body_room_bytes)
        self.heavy = HeavyReader(bounds.payload_bytes)
        self.snapshot = snapshot
        self.admission = admission
        self.limits = limits
        self.baselines = baselines
        self.upstream = upstream
        self.owners = owners
        self.open_models = OpenModels(upstream)
        self.journal = journal
        self.metrics = metrics
        self.request_log = request_log
        self.logged_bodies = logged_bodies
        self.traces = traces
        self.bodies = bodies
        self.background = background
        self.shown_errors = shown_errors
        """Redacts excerpts of providers' answers that should have been JSON."""
        self.running_cache = running_cache
        self.cache = running_cache.cache if running_cache is not None else None
        """None where it is switched off."""
        self.reporter = Reporter(metrics, request_log, traces)
        self.request_deadlines = RequestDeadlines()
