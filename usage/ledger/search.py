"""What people paste into a search box: an id of some kind, or how a model's name begins."""

from __future__ import annotations

from django.db.models import Q

from usage.ids import time_of
from usage.ledger.walk import FIRST_TIMEOUT_MS, ended_after
from usage.records import RequestQuerySet

MEANS = "A request's id, correlation id or response id, or how a model's name begins."


def search(records: RequestQuerySet, term: str) -> RequestQuerySet:
    """The first question that finds something, those first that an index answers; all in one OR would use none.

    Raises `walk.Slow`.
    """
    # The indexes leave blank ids out; saying so again is what lets SQLite use them.
    answered = ~Q(response_id="") & Q(response_id=term)
    correlated = ~Q(correlation_id="") & Q(correlation_id=term)
    for question in (Q(pk=term), answered, correlated):
        matches = records.filter(question)
        with ended_after(FIRST_TIMEOUT_MS):
            if matches.exists():
                return matches
    if time_of(term):
        return records.none()  # an id of ours that is not there, and no model's name
    return records.filter(model__startswith=term)
