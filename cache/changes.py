"""The signal that something was purged, for processes that hold entries."""

from __future__ import annotations

from django.dispatch import Signal

# Sent inside the transaction that purges, as changed.send(sender=CachePurge, ids=[…primary keys…]).
changed = Signal()
