"""What is asked of Redis, and how it is written into a batch for `lua/11_batch.lua`."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from keys.limits.base import DAY_US, PICO, SECOND_US, Ask, Baseline, Need
from keys.limits.counters.budget import threshold_of
from keys.limits.periods import span_at
from keys.limits.scope import Scope

Money = tuple[int, int]


def money(picousd: int | None) -> Money:
    """In USD and picodollars, because Lua counts in doubles."""
    return divmod(picousd or 0, PICO)


def picousd(amount: Sequence[int]) -> int:
    return amount[0] * PICO + amount[1]


class Operation:
    """One line of a batch; this one asks nothing, and renews the lease as every batch does."""

    __slots__ = ()

    def write(self, batch: Batch) -> list[Any]:
        return ["nothing"]


class Batch:
    """Operations that Redis decides in order, and in one go. Scopes that they share are written once."""

    def __init__(self, prefix: bytes, process: str, now: float) -> None:
        self._prefix = prefix
        self._now = now
        self.keys = [prefix + name for name in (b"epoch", b"leases", b"held:" + process.encode())]
        self.keys += [prefix + b"process:" + process.encode(), prefix + b"serial", prefix + b"returned"]
        self.specs: list[list[Any]] = []
        self.scopes: list[Scope] = []
        self._numbers: dict[tuple[str, str], int] = {}
        self._indexes: dict[int, int] = {}

    def key(self, kind: str, id_: str) -> int:
        """The number of a scope's key, as Lua counts."""
        number = self._numbers.get((kind, id_))
        if number is None:
            self.keys.append(self._prefix + f"{kind}:{id_}".encode())
            number = self._numbers[kind, id_] = len(self.keys)
        return number

    def specs_of(self, scopes: Sequence[Scope]) -> list[int]:
        """The numbers of these scopes' limits in `specs`."""
        indexes = self._indexes
        found = []
        for scope in scopes:
            index = indexes.get(id(scope))
            if index is None:
                index = indexes[id(scope)] = len(self.specs)
                self.scopes.append(scope)  # and so nobody else gets its id meanwhile
                self.specs.append(self._spec(scope))
            found.append(index)
        return found

    def _spec(self, scope: Scope) -> list[Any]:
        limits = scope.limits
        rps = limits.rps
        burst = rps if limits.burst is None else limits.burst
        numbers = (limits.rpm, limits.tpm, rps, burst, limits.parallel, limits.daily, limits.max_requests)
        spec: list[Any] = [self.key(scope.kind, scope.id), *(-1 if number is None else number for number in numbers)]
        if limits.budget is None:
            return [*spec, -1, -1, "", 0, -1]
        span = span_at(limits.period, limits.time_zone, self._now)
        end = -1 if span.end is None else span.end * SECOND_US
        name = f"{limits.period} {limits.time_zone}"
        return [*spec, money(limits.budget), money(threshold_of(limits)), name, span.start * SECOND_US, end]


class Hold:
    """What Redis is told of a running request."""

    __slots__ = ("ask", "ends", "id", "scopes", "taken_at")

    def __init__(self, id_: int, scopes: Sequence[Scope], ask: Ask) -> None:
        self.id, self.scopes, self.ask = id_, scopes, ask
        self.taken_at = 0
        self.ends = any(
            limits.tpm is not None
            or limits.parallel is not None
            or limits.daily is not None
            or limits.max_requests is not None
            or limits.budget is not None
            for limits in [scope.limits for scope in scopes]
        )
        """Whether there is anything to settle."""


class Reserve(Operation):
    __slots__ = ("answer", "hold")

    def __init__(self, hold: Hold, answer: asyncio.Future[list[Any]]) -> None:
        self.hold, self.answer = hold, answer

    def write(self, batch: Batch) -> list[Any]:
        ask = self.hold.ask
        specs = batch.specs_of(self.hold.scopes)
        return ["reserve", self.hold.id, specs, ask.requests, ask.tokens, money(ask.cost), ask.bounded]


class Restore(Operation):
    """Of what runs already: `late` where Redis has never heard of it."""

    __slots__ = ("hold", "late")

    def __init__(self, hold: Hold, *, late: bool) -> None:
        self.hold, self.late = hold, late

    def write(self, batch: Batch) -> list[Any]:
        ask, specs = self.hold.ask, batch.specs_of(self.hold.scopes)
        told = [ask.requests, ask.tokens, money(ask.cost), ask.bounded, self.hold.taken_at]
        return ["restore", self.hold.id, specs, *told, "late" if self.late else "again"]


class Settle(Operation):
    """`noted`: what it used has been counted for the time without Redis, in case this never gets there."""

    __slots__ = ("cost", "hold", "noted", "requests", "tokens")

    def __init__(self, hold: Hold, tokens: int, cost: int, requests: int | None, *, noted: bool) -> None:
        self.hold, self.tokens, self.cost, self.requests, self.noted = hold, tokens, cost, requests, noted

    def write(self, batch: Batch) -> list[Any]:
        hold, requests = self.hold, -1 if self.requests is None else self.requests
        keys = [batch.key(scope.kind, scope.id) for scope in hold.scopes]
        used = [self.tokens, money(self.cost), requests]
        return ["settle", hold.id, *used, keys, hold.taken_at, hold.ask.requests]


class Cancel(Operation):
    """Give back what was taken, if it was taken: nobody waited for the answer."""

    __slots__ = ("hold",)

    def __init__(self, hold: Hold) -> None:
        self.hold = hold

    def write(self, batch: Batch) -> list[Any]:
        return ["cancel", self.hold.id]


class FromLedger(Operation):
    """`verb` load: set what is not known; raise: stand no lower; spent: add."""

    __slots__ = ("baseline", "need", "verb")

    def __init__(self, verb: str, need: Need, baseline: Baseline) -> None:
        self.verb, self.need, self.baseline = verb, need, baseline

    def write(self, batch: Batch) -> list[Any]:
        need, baseline = self.need, self.baseline
        period = f"{need.period} {need.time_zone}"
        day = need.day * SECOND_US // DAY_US
        key = batch.key(need.kind, need.id)
        spent = money(baseline.spent_picousd)
        return [
            self.verb,
            key,
            period,
            need.since * SECOND_US,
            spent,
            baseline.requests_total,
            day,
            baseline.requests_today,
        ]
