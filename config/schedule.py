"""The one table of what happens by the clock, for Celery's beat and for Sluice's own scheduler alike."""

from __future__ import annotations

from datetime import time

from usage.periodic.table import Periodic

SCHEDULE = (
    Periodic("expire-keys", "keys.tasks.expire_keys", every_s=60),
    Periodic("clear-sessions", "keys.tasks.clear_sessions", at=time(3, 10)),
    Periodic("prune-totals", "usage.tasks.prune_totals", at=time(3, 20)),
    Periodic("prune-audit", "usage.tasks.prune_audit", at=time(3, 30)),
    Periodic("check-rollups", "usage.tasks.check_rollups", at=time(4, 10)),
)
