"""The last numbers that Redis sent about what scopes have used, for the time when it does not answer."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from keys.limits.base import DAY_US, SECOND_US, Baseline, Need
from keys.limits.memory import need_of
from keys.limits.operations import picousd
from keys.limits.scope import Limits, Scope

REMEMBERED = 50_000
"""Scopes. The one whose numbers are oldest is forgotten first."""

DAY_S = DAY_US // SECOND_US


class Last:
    """The last numbers of one scope. None: unknown, because there was no such limit."""

    __slots__ = ("day", "period", "since", "spent", "today", "total")

    def __init__(self) -> None:
        self.period: tuple[str, str] = ("", "")
        self.since = self.day = 0
        self.spent: int | None = None
        self.total: int | None = None
        self.today: int | None = None

    def turn(self, need: Need) -> None:
        """Go on to the period and day of `need`.

        A new one begins at 0; with other settings of the period, money is unknown.
        """
        if (need.period, need.time_zone) != self.period:
            self.period, self.since, self.spent = (need.period, need.time_zone), need.since, None
        elif need.since > self.since:
            self.since, self.spent = need.since, 0 if self.spent is not None else None
        if need.day > self.day:
            self.day, self.today = need.day, 0 if self.today is not None else None


class LastKnown:
    def __init__(self) -> None:
        self._scopes: OrderedDict[tuple[str, str], Last] = OrderedDict()

    def record(self, scope: Scope, usage: Sequence[Any], now_us: int) -> None:
        """`usage` is from Redis' reply: spent, its period's start, requests in all, requests today, the day."""
        spent, start_us, total, today, day = usage
        if spent is False and total is False and today is False:
            return
        name = (scope.kind, scope.id)
        last = self._scopes.get(name)
        if last is None:
            last = self._scopes[name] = Last()
            if len(self._scopes) > REMEMBERED:
                self._scopes.popitem(last=False)
        else:
            self._scopes.move_to_end(name)
        last.period, last.since = (scope.limits.period, scope.limits.time_zone), start_us // SECOND_US
        last.spent = None if spent is False else picousd(spent)
        last.total = None if total is False else total
        last.today, last.day = (None, 0) if today is False else (today, day * DAY_S)

    def spend(self, scope: Scope, reserved_at: int, more: Baseline) -> None:
        """Add what was used by a request that was admitted at `reserved_at` (Unix microseconds)."""
        if (scope.kind, scope.id) in self._scopes:
            self.add(need_of(scope, reserved_at), more)

    def add(self, need: Need, more: Baseline) -> None:
        last = self._scopes.get((need.kind, need.id))
        if last is None:
            return
        last.turn(need)
        if last.spent is not None and last.since == need.since:
            last.spent += more.spent_picousd
        if last.total is not None:
            last.total += more.requests_total
        if last.today is not None and last.day == need.day:
            last.today += more.requests_today

    def knows(self, need: Need, limits: Limits) -> bool:
        """Whether every number that these limits need is known."""
        last = self._scopes.get((need.kind, need.id))
        if last is None:
            return False
        last.turn(need)
        return (
            (limits.budget is None or last.spent is not None)
            and (limits.max_requests is None or last.total is not None)
            and (limits.daily is None or last.today is not None)
        )

    def at_least(self, need: Need, baseline: Baseline) -> Baseline:
        """The baseline, or the last known numbers if they are higher: the ledger may be a moment late."""
        last = self._scopes.get((need.kind, need.id))
        if last is None:
            return baseline
        last.turn(need)
        spent = last.spent if last.since == need.since else 0
        today = last.today if last.day == need.day else 0
        return Baseline(
            max(baseline.spent_picousd, spent or 0),
            max(baseline.requests_total, last.total or 0),
            max(baseline.requests_today, today or 0),
        )
