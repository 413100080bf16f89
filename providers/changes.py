"""Signals that providers or credentials have changed, for code that keeps a copy of them, and for the audit log."""

from __future__ import annotations

from django.dispatch import Signal

# Sent inside the transaction that makes the change, as changed.send(sender=Model, ids=[…primary keys…]).
changed = Signal()

# Sent for the audit log when a query has changed rows without the signals of Django's models, in the same transaction:
# acted.send(sender=Model, action="reencrypt", ids=[…]).
acted = Signal()
