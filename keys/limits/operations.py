"""The operations that Redis carries out, and how they are written into a batch for `lua/23_batch.lua`."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from operator import attrgetter
from typing import Any, NamedTuple

import msgspec

from keys.limits.base import DAY_US, SECOND_US, Ask, Baseline, Need
from keys.limits.counters import COUNTERS, Counter
from keys.limits.counters.budget import threshold_of
from keys.limits.periods import span_at
from keys.limits.scope import COUNT_LIMITS, Limits, Scope, Scopes
from strict.units import PICO

Money = tuple[int, int]

SCOPES_KEPT = 10_000

SPEC_FIELDS = ("key", "budget", "threshold", "period", "start", "end", *COUNT_LIMITS)
"""The fields of a scope as Redis gets them, in this order: the number of its key, its budget, and its limits."""


def money(picousd: int | None) -> Money:
    """USD and picodollars, because Lua counts in doubles."""
    return divmod(picousd or 0, PICO)


def picousd(amount: Sequence[int]) -> int:
    return amount[0] * PICO + amount[1]


class Operation(msgspec.Struct, eq=False):
    """A line of a batch, or a part of one. This base class asks for nothing: any batch can renew the lease.

    A struct is made three times as fast as an ordinary object.
    """

    def write(self, batch: Batch) -> list[Any]:
        return ["nothing"]


class ScopeSpec(NamedTuple):
    """A scope's key and limits as Redis reads them. They are valid from `since` until `until`, by Redis' clock."""

    key: bytes
    limits: msgspec.Raw
    since: float
    until: float


class Wording:
    """Keys and limits as they are written into batches, computed once for each scope and period."""

    def __init__(self, prefix: bytes, process: str) -> None:
        own = process.encode()
        names = (b"epoch", b"leases", b"held:" + own, b"process:" + own, b"serial", b"returned")
        self.head = [prefix + name for name in names]
        self._prefix = prefix
        self._specs: dict[Scope, ScopeSpec] = {}

    def of(self, scope: Scope, now: float) -> ScopeSpec:
        """Raises `ValueError` for an unknown time zone."""
        spec = self._specs.get(scope)
        if spec is None or not spec.since <= now < spec.until:
            if len(self._specs) >= SCOPES_KEPT:
                self._specs.clear()
            spec = self._specs[scope] = self._spec_for(scope, now)
        return spec

    def key(self, kind: str, id_: str) -> bytes:
        return self._prefix + f"{kind}:{id_}".encode()

    def _spec_for(self, scope: Scope, now: float) -> ScopeSpec:
        limits = scope.limits
        since, until = -math.inf, math.inf
        values: list[Any]
        if limits.budget is None:
            values = [0, -1, -1, "", 0, -1]
        else:
            span = span_at(limits.period, limits.time_zone, now)
            since = span.start
            end = -1
            if span.end is not None:
                until, end = span.end, span.end * SECOND_US
            name = f"{limits.period} {limits.time_zone}"
            values = [0, money(limits.budget), money(threshold_of(limits)), name, span.start * SECOND_US, end]
        for limit in COUNT_LIMITS:
            number = getattr(limits, limit)
            values.append(-1 if number is None else number)
        raw = msgspec.Raw(msgspec.msgpack.encode(values))
        return ScopeSpec(self.key(scope.kind, scope.id), raw, since, until)


class Batch:
    """Operations that Redis decides in order, in one call of the script. What they share is written once."""

    def __init__(self, wording: Wording, now: float) -> None:
        self._wording = wording
        self._now = now
        self.keys = list(wording.head)
        self.specs: list[tuple[int, msgspec.Raw]] = []
        """For each scope, the number of its key, and its limits."""
        self.scopes: list[Scope] = []
        self._numbers: dict[bytes, int] = {}
        self._indexes: dict[Scope, int] = {}
        self._specs_of: dict[Scopes, list[int]] = {}
        self._keys_of: dict[Scopes, list[int]] = {}

    def number(self, key: bytes) -> int:
        """The number of a key, from 1 as Lua counts."""
        number = self._numbers.get(key)
        if number is None:
            self.keys.append(key)
            number = self._numbers[key] = len(self.keys)
        return number

    def key(self, kind: str, id_: str) -> int:
        """The number of a scope's key."""
        return self.number(self._wording.key(kind, id_))

    def keys_of(self, scopes: Scopes) -> list[int]:
        """The numbers of these scopes' keys."""
        numbers = self._keys_of.get(scopes)
        if numbers is None:
            numbers = self._keys_of[scopes] = [self.key(scope.kind, scope.id) for scope in scopes]
        return numbers

    def specs_of(self, scopes: Scopes) -> list[int]:
        """The numbers of these scopes' limits in `specs`."""
        numbers = self._specs_of.get(scopes)
        if numbers is None:
            numbers = self._specs_of[scopes] = [self._spec_of(scope) for scope in scopes]
        return numbers

    def _spec_of(self, scope: Scope) -> int:
        index = self._indexes.get(scope)
        if index is None:
            spec = self._wording.of(scope, self._now)
            index = self._indexes[scope] = len(self.specs)
            self.scopes.append(scope)
            self.specs.append((self.number(spec.key), spec.limits))
        return index


settled_limits = attrgetter(*(kind.limit_kind for kind in COUNTERS if kind.settle is not Counter.settle))
NONE_SETTLED = settled_limits(Limits())


def anything_ends(scopes: Scopes) -> bool:
    """Whether a request with these scopes has anything to settle."""
    for scope in scopes:  # noqa: SIM110 (for every request, and a generator takes longer)
        if settled_limits(scope.limits) != NONE_SETTLED:
            return True
    return False


class RecordedReservation(msgspec.Struct, eq=False):
    """What Redis keeps of a running request."""

    id: int
    scopes: Scopes
    ask: Ask
    ends: bool
    """Whether it will have anything to settle."""
    record: int
    """The number of its record in Redis. Requests that are admitted together share one."""
    reserved_at: int

    def ask_entry(self) -> list[Any]:
        ask = self.ask
        return [self.id, ask.requests, ask.tokens, *money(ask.cost), ask.bounded]


class OfOne(Operation):
    """An operation for one request. It shares its line with others of the same scopes."""

    reservation: RecordedReservation

    def write(self, batch: Batch) -> list[Any]:
        return [*self.line(batch), [self.entry()]]

    def line(self, batch: Batch) -> list[Any]:
        """The part of the line that all its operations share. Raises `ValueError`."""
        raise NotImplementedError

    def entry(self) -> list[Any]:
        raise NotImplementedError


class Reserve(OfOne):
    """Reserve, if there is room. `answer` gets Redis' decision."""

    answer: asyncio.Future[list[Any]]

    def line(self, batch: Batch) -> list[Any]:
        return ["reserve", batch.specs_of(self.reservation.scopes)]

    def entry(self) -> list[Any]:
        return self.reservation.ask_entry()


class Settle(OfOne):
    """Replace a reservation by what was used.

    `is_counted`: the usage is already counted for the time without Redis, in case this operation never arrives.
    """

    tokens: int
    cost: int
    requests: int | None
    is_counted: bool

    def line(self, batch: Batch) -> list[Any]:
        return ["settle", batch.keys_of(self.reservation.scopes)]

    def entry(self) -> list[Any]:
        reservation, requests = self.reservation, -1 if self.requests is None else self.requests
        used = [self.tokens, *money(self.cost), requests]
        return [reservation.id, reservation.record, *used, reservation.reserved_at, reservation.ask.requests]


class Restore(Operation):
    """Record a running request again. `late`: Redis has never heard of it."""

    reservation: RecordedReservation
    late: bool

    def write(self, batch: Batch) -> list[Any]:
        reservation, specs = self.reservation, batch.specs_of(self.reservation.scopes)
        return [
            "restore",
            specs,
            reservation.ask_entry(),
            reservation.record,
            reservation.reserved_at,
            "late" if self.late else "again",
        ]


class Cancel(Operation):
    """Release a reservation, if Redis made it: its request no longer waits for the answer."""

    reservation: RecordedReservation

    def write(self, batch: Batch) -> list[Any]:
        return ["cancel", self.reservation.id, self.reservation.record]


class FromLedger(Operation):
    """Numbers for a scope. `verb` load: set what is unknown; raise: raise what is lower; spent: add."""

    verb: str
    need: Need
    baseline: Baseline

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
