"""The signal that prices have changed, for code that keeps a copy of them."""

from __future__ import annotations

from django.dispatch import Signal

# Sent inside the transaction that makes the change, as changed.send(sender=Model, ids=[…primary keys…]).
changed = Signal()
