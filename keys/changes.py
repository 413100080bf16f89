"""Signals that keys or projects have changed, for code that keeps copies of them."""

from __future__ import annotations

from django.dispatch import Signal

# Sent inside the transaction that makes the change, as changed.send(sender=Model, ids=[…primary keys…]).
changed = Signal()

# Sent, in the same transaction, when a query changed many rows, because models send no signals then:
# acted.send(sender=Model, action="revoke", ids=[…]). For the audit log.
acted = Signal()
