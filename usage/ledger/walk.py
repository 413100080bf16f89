"""Search the ledger newest first (or oldest first) in steps of time, for a bounded time.

For "the fifty newest with this model" a database guesses how far it has to read. If the guess is wrong it reads the
whole ledger. So it is first asked for the newest hour, then for up to eight times as much before that, and so on while
steps are quick. In PostgreSQL each step touches only the partitions of its weeks. If the search ends early, the result
contains the id from which to continue. Rejected: an index for each column, because it makes every write slower.
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
"""PostgreSQL's code of a statement that was cancelled by its timeout. Its class would mean importing psycopg."""

BUDGET_S = 0.4
"""No step begins after so many seconds."""

FIRST_TIMEOUT_MS, TIMEOUT_MS = 2_000, 250
"""PostgreSQL cancels a step after this time. The first step may take longer, as without it there is no result."""

FIRST_STEP = timedelta(hours=1)
GROWTH = 8

Clock = Callable[[], float]


class Slow(Exception):
    """A query was cancelled because it took too long."""


class WalkResult(NamedTuple):
    """Rows in the order of the walk. `edge` is the id up to which it searched; None if it searched to the end."""

    rows: list[Any]
    edge: str | None


def walk(
    records: RequestQuerySet, wanted: int, *, start: str | None = None, back: bool = True, now: Clock = time.monotonic
) -> WalkResult:
    """Find up to `wanted` records beyond the id `start`, backwards or forwards in time.

    Raises `Slow` if not even the first step ended in time.
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
        """Finish a step, and plan one that should fit in the time that is left. Return the id at which it begins."""
        if self._to is None:
            self.done = True
            return None
        self._at += -self._span if self._back else self._span
        self._from = self._to
        self._span *= min(GROWTH, max(0.25, left_s / max(took_s, 0.001) / 2))
        self._to = self._choose()
        return self._from

    def shorten(self) -> None:
        """Plan a shorter step in place of one that took too long."""
        self._span /= GROWTH
        self._to = self._choose()

    def _choose(self) -> str | None:
        """Return the id at which the step ends. The last one has no end, so that it includes ids of other formats."""
        if self._end is None or (self._from is not None and not PREFIX <= self._from < AFTER_ALL):
            return None
        try:
            to = id_at(self._at - self._span if self._back else self._at + self._span)
        except OverflowError:
            return None
        return None if (to <= self._end if self._back else to > self._end) else to


@contextmanager
def impatiently() -> Iterator[None]:
    """Open a transaction without PostgreSQL's JIT compilation. SQLite gets none: its transactions are for writers."""
    if connection.vendor != "postgresql":
        yield
        return
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL jit = off")
        yield


@contextmanager
def ended_after(timeout_ms: int) -> Iterator[None]:
    """Let PostgreSQL cancel a query in this block after the timeout, in a savepoint. Earlier results stay usable.

    Raises `Slow`.
    """
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
