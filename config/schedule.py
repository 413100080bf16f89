"""The table of periodic tasks, both for Celery's beat and for Sluice's own scheduler."""

from __future__ import annotations

from datetime import time

from usage.periodic.table import Periodic

SCHEDULE = (
    Periodic("expire-keys", "keys.tasks.expire_keys", every_s=60),
    Periodic("alert", "usage.tasks.alert", every_s=10),
    Periodic("look-at-providers", "providers.tasks.look_at_providers", every_s=30),
    Periodic("prune-cache", "cache.tasks.prune_cache", every_s=60),
    Periodic("make-partitions", "usage.tasks.make_partitions", every_s=6 * 3600),
    Periodic("clear-sessions", "keys.tasks.clear_sessions", at=time(3, 10)),
    Periodic("prune-totals", "usage.tasks.prune_totals", at=time(3, 20)),
    Periodic("prune-audit", "usage.tasks.prune_audit", at=time(3, 30)),
    Periodic("prune-requests", "usage.tasks.prune_requests", at=time(3, 40)),
    Periodic("prune-bodies", "usage.tasks.prune_bodies", at=time(3, 50)),
    Periodic("check-rollups", "usage.tasks.check_rollups", at=time(4, 10)),
)
