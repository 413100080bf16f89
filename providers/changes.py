"""The word that providers or credentials changed, for whoever keeps a copy of them."""

from __future__ import annotations

from django.dispatch import Signal

# Sent inside the transaction that makes the change, as changed.send(sender=Model, ids=[…primary keys…]).
changed = Signal()

# Sent when a query did something to rows of which no model's signal tells, in the same transaction:
# acted.send(sender=Model, action="reencrypt", ids=[…]). For the audit log.
acted = Signal()
