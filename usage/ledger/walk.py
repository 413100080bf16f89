"""Look for requests newest first (or oldest first) in steps of time, for as long as somebody may be kept waiting.

A database asked for "the fifty newest with this model" guesses how far it will have to read, and when it guesses wrong
it reads the ledger from end to end. So it is asked for the newest hour first, then for eight times as much before that,
and so on while steps are quick. In PostgreSQL each step touches the partitions of its weeks alone. Whoever gets less
than a page gets the place to go on from as well. Rejected: an index for each column, which every row that is written
would pay for.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from django.db import OperationalError, connection, transaction

from usage.ids import AFTER_ALL, PREFIX, id_at, time_of
from usage.records import RequestQuerySet, RequestRecord

CANCELED = "57014"
"""PostgreSQL's code of a statement that took too long; its class would have to be imported from psycopg."""

BUDGET_S = 0.4
"""A step is begun for so long."""

FIRST_TIMEOUT_MS, TIMEOUT_MS = 2_000, 250
"""PostgreSQL ends a step that takes longer: the first one, without which there is no answer, and each later one."""

FIRST_STEP = timedelta(hours=1)
GROWTH = 8

Clock = Callable[[], float]


class Slow(Exception):
    """A query did not come to its end in time."""


class WalkResult(NamedTuple):
    """Rows in the order of the walk. `edge` is the id up to which the walk looked; None: it looked to the end."""

    rows: list[Any]
    edge: str | None


def walk(
    records: RequestQuerySet, wanted: int, *, start: str | None = None, back: bool = True, now: Clock = time.monotonic
) -> WalkResult:
    """Up to so many of the records beyond the id `start`, back in time or forth.

    Raises `Slow` where not even the first step came to its end.
    """
    if records.query.is_empty():
        return WalkResult([], None)
    rows: list[Any] = []
    edge: str | None = None
    deadline = now() + BUDGET_S
    ordered = records.order_by("-pk" if back else "pk")
    with impatiently():
        with ended_after(FIRST_TIMEOUT_MS):
            steps = Steps(records, start, back)
        while not steps.done:
            began = now()
            try:
                with ended_after(FIRST_TIMEOUT_MS if edge is None else TIMEOUT_MS):
                    rows += ordered.filter(**steps.bounds())[: wanted - len(rows)]
            except Slow:
                if edge is None:
                    raise
                steps.shorten()
            else:
                edge = steps.take(now() - began, deadline - now())
            if len(rows) >= wanted or now() >= deadline:
                break
    return WalkResult(rows, edge)


class Steps:
    """Where the next step begins and ends."""

    def __init__(self, records: RequestQuerySet, start: str | None, back: bool) -> None:
        ours = RequestRecord.objects.filter(pk__gte=PREFIX, pk__lt=AFTER_ALL).values_list("pk", flat=True)
        if back:
            self._from = min(filter(None, (start, records.until)), default=None)
            self._end = max(filter(None, (ours.order_by("pk").first(), records.since)), default=None)
            first = self._from or ours.order_by("-pk").first()
        else:
            self._from = max(filter(None, (start, records.since)), default=None)
            self._end = min(filter(None, (ours.order_by("-pk").first(), records.until)), default=None)
            first = self._from or ours.order_by("pk").first()
        self._back = back
        self._at = (time_of(first) if first else None) or datetime.now(UTC)
        self._span = FIRST_STEP
        self._to = self._choose()
        self.done = False

    def bounds(self) -> dict[str, str]:
        names = ("pk__lt", "pk__gte") if self._back else ("pk__gt", "pk__lt")
        return {name: bound for name, bound in zip(names, (self._from, self._to), strict=True) if bound is not None}

    def take(self, took_s: float, left_s: float) -> str | None:
        """This step was made; plan one for which the time that is left should do. Returns where it begins."""
        if self._to is None:
            self.done = True
            return None
        self._at += -self._span if self._back else self._span
        self._from = self._to
        self._span *= min(GROWTH, max(0.25, left_s / max(took_s, 0.001) / 2))
        self._to = self._choose()
        return self._from

    def shorten(self) -> None:
        """This step took too long."""
        self._span /= GROWTH
        self._to = self._choose()

    def _choose(self) -> str | None:
        """Where the step ends. The last one has no end: it takes ids of other kinds with it."""
        if self._end is None or (self._from is not None and not PREFIX <= self._from < AFTER_ALL):
            return None
        try:
            to = id_at(self._at - self._span if self._back else self._at + self._span)
        except OverflowError:
            return None
        return None if (to <= self._end if self._back else to > self._end) else to


@contextmanager
def impatiently() -> Iterator[None]:
    """A transaction, and no compiling of queries, in PostgreSQL. SQLite's transactions here are for writers."""
    if connection.vendor != "postgresql":
        yield
        return
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL jit = off")
        yield


@contextmanager
def ended_after(timeout_ms: int) -> Iterator[None]:
    """PostgreSQL ends a query in here; what was found before can still be told. Raises `Slow`."""
    if connection.vendor != "postgresql":
        yield
        return
    try:
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute(f"SET LOCAL statement_timeout = {timeout_ms}")
            yield
    except OperationalError as error:
        if getattr(error.__cause__, "sqlstate", None) == CANCELED:
            raise Slow from None
        raise
