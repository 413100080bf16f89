"""The search box of the ledger. People paste an id of some kind, or the beginning of a model's name."""

from __future__ import annotations

from django.db.models import Q

from usage.ids import time_of
from usage.ledger.walk import FIRST_TIMEOUT_MS, ended_after
from usage.records import RequestQuerySet

MEANS = "A request's id, correlation id or response id, or how a model's name begins."


def search(records: RequestQuerySet, term: str) -> RequestQuerySet:
    """Return the records of the first condition that matches any. Conditions with an index are tried first.

    One query with OR would use no index. Raises `walk.Slow`.
    """
    # The indexes contain no blank ids. SQLite uses them only if the query excludes blank ids as well.
    answered = ~Q(response_id="") & Q(response_id=term)
    correlated = ~Q(correlation_id="") & Q(correlation_id=term)
    for question in (Q(pk=term), answered, correlated):
        matches = records.filter(question)
        with ended_after(FIRST_TIMEOUT_MS):
            if matches.exists():
                return matches
    if time_of(term):
        return records.none()  # the term is an id that Sluice made, so it is not the name of a model
    return records.filter(model__startswith=term)
