"""Admission by this process alone. Its calls take microseconds and never wait, so the event loop makes them atomic."""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from itertools import islice
from operator import itemgetter
from typing import TypeVar

from keys.limits.base import (
    DAY_US,
    SECOND_US,
    Ask,
    Baseline,
    BudgetStatus,
    CrossedThreshold,
    LimitsBackend,
    LimitStatus,
    LimitStatuses,
    Need,
    OnThreshold,
    Rate,
    Rates,
    Unknown,
)
from keys.limits.counters import UNKNOWN, BaselineCounter, Budget, Counter, RequestWindow, TokenWindow
from keys.limits.fast_path import FastPath, open_fast_path, take
from keys.limits.periods import span_at
from keys.limits.refusal import LimitExceeded, Refusal
from keys.limits.reservation import MemoryReservation, OneByOne
from keys.limits.scope import Scope, Scopes
from keys.limits.state import ScopeState

log = logging.getLogger("sluice.limits")

FAST_PATHS_KEPT = 10_000
"""Sets of scopes whose fast paths are remembered: those of keys with three requests within a second."""

LOOKED_AT = 2
"""Known scopes that are checked for each new one: more than one, so that idle ones cannot pile up."""

AnyStatus = TypeVar("AnyStatus", LimitStatus, BudgetStatus)


class MemoryLimits(LimitsBackend):
    """The backend of one process. `clock` returns Unix seconds; it is called when something is settled."""

    def __init__(self, *, clock: Callable[[], float] = time.time, on_threshold: OnThreshold | None = None) -> None:
        self._states: OrderedDict[tuple[str, str], ScopeState] = OrderedDict()
        # The states by the scope object that came last: it is faster to hash than kind and id.
        self._by_scope: dict[Scope, ScopeState] = {}
        # Open or closed fast paths, by the scopes of a request.
        self._fast_paths_of: dict[Scopes, Sequence[FastPath]] = {}
        self._clock = clock
        self._on_threshold = on_threshold
        self.adoptions = 0
        """How often changed limits were found."""

    async def start(self) -> None:
        """Nothing needs to be started."""

    async def close(self) -> None:
        """Nothing needs to be closed. All counts end with the process."""

    def __len__(self) -> int:
        """How many scopes are remembered."""
        return len(self._states)

    def reserve_at_once(self, scopes: Scopes, ask: Ask, now: float) -> MemoryReservation:
        """Raises `LimitExceeded` and `Unknown`; then nothing was taken."""
        now_us = round(now * 1e6)
        fast_paths = self._fast_paths_of.get(scopes)
        if fast_paths is not None and ask.requests == 1:
            tokens, cost = ask.tokens, ask.cost or 0
            for fast_path in fast_paths:
                if (
                    not fast_path.at <= now_us < fast_path.until
                    or fast_path.room <= 0
                    or fast_path.free <= 0
                    or tokens > fast_path.tokens
                    or cost > fast_path.money
                ):
                    break
            else:
                rates = take(fast_paths, ask, now_us)
                return MemoryReservation(self, scopes, ask, now_us, fast_paths, (), rates, self.adoptions)
        return self._reserve_slowly(scopes, ask, now_us)

    async def reserve(self, scopes: Scopes, ask: Ask, now: float) -> MemoryReservation:
        return self.reserve_at_once(scopes, ask, now)

    def _reserve_slowly(self, scopes: Scopes, ask: Ask, now_us: int) -> MemoryReservation:
        """Reserve where some scope has no fast path with room. The other scopes still use theirs."""
        states_before = len(self._states)
        states = [self._state(scope) for scope in scopes]
        counted: list[OneByOne] = []
        fast_paths: list[FastPath] = []
        for state in states:
            fast_path = state.fast_path
            if fast_path is not None and fast_path.has_room(ask, now_us):
                fast_paths.append(fast_path)
                continue
            state.close_fast_path()
            for counter in state.counters:
                if counter.check(ask, now_us) is not None:
                    try:
                        raise self._longest_refusal(scopes, ask, now_us)
                    finally:
                        self._forget_idle(now_us, len(self._states) - states_before)
            counted.append(OneByOne(state, state.counters, []))
        take(fast_paths, ask, now_us)
        for state, counters, marks in counted:
            marks.extend([counter.take(ask, now_us) for counter in counters])
            if now_us - state.slow_at < SECOND_US:  # a scope with few requests would open it in vain
                state.fast_path = open_fast_path(state, now_us)
            state.slow_at = now_us
        if len(self._states) > states_before:
            self._forget_idle(now_us, len(self._states) - states_before)
        if not counted:
            self._remember(scopes, fast_paths)
        return MemoryReservation(
            self, scopes, ask, now_us, fast_paths, counted, rates_of(states, now_us), self.adoptions
        )

    def _remember(self, scopes: Scopes, fast_paths: Sequence[FastPath]) -> None:
        """Keep the fast paths of these scopes: all had room, so the next request with the same scopes may use them."""
        if len(self._fast_paths_of) >= FAST_PATHS_KEPT:
            self._fast_paths_of.clear()
        self._fast_paths_of[scopes] = fast_paths

    def restore(self, scopes: Scopes, ask: Ask, now: float) -> MemoryReservation:
        """Take over a running request: take what is held until its end, whatever the limits say."""
        now_us = round(now * 1e6)
        counted: list[OneByOne] = []
        states = [self._state(scope) for scope in scopes]
        for state in states:
            state.close_fast_path()
            counters = tuple(counter for counter in state.counters if counter.ends_with_request)
            counted.append(OneByOne(state, counters, [counter.take(ask, now_us) for counter in counters]))
        return MemoryReservation(self, scopes, ask, now_us, (), counted, rates_of(states, now_us), self.adoptions)

    def _state(self, scope: Scope) -> ScopeState:
        """The state of the scope, with the limits of this very object."""
        state = self._by_scope.get(scope)
        if state is not None:
            return state
        name = (scope.kind, scope.id)
        state = self._states.get(name)
        if state is None:
            state = self._states[name] = ScopeState(scope)
        if state.limits is not scope.limits:
            state.adopt(scope)
            self.adoptions += 1
        self._by_scope.pop(state.scope, None)
        state.scope = scope
        self._by_scope[scope] = state
        return state

    def load(self, need: Need, baseline: Baseline) -> None:
        """Set the counters that have no baseline yet; the others stay as they are."""
        for counter in self._baseline_counters(need.kind, need.id):
            counter.load(need, baseline)

    def raise_to(self, need: Need, baseline: Baseline) -> bool:
        """Raise counters that have a baseline and count the same period. Returns whether any of them is in use."""
        counters = self._baseline_counters(need.kind, need.id)
        for counter in counters:
            threshold = counter.raise_to(need, baseline)
            if threshold is not None:
                self.threshold_crossed(threshold)
        now = self.now_us()
        return not all(counter.idle(now) for counter in counters)

    def charge_new_budgets(self, scopes: Scopes, reserved: Sequence[Counter | None], cost: int, at: int) -> None:
        """Charge budgets that were set while the request ran. It has reserved nothing from them, but it counts."""
        for scope in scopes:
            state = self._states.get((scope.kind, scope.id))
            if state is None:
                continue
            for counter in state.counters:
                if isinstance(counter, Budget) and all(counter is not other for other in reserved):
                    state.close_fast_path()
                    threshold = counter.charge(cost, at)
                    if threshold is not None:
                        self.threshold_crossed(threshold)

    def now_us(self) -> int:
        return round(self._clock() * 1e6)

    def threshold_crossed(self, threshold: CrossedThreshold) -> None:
        if self._on_threshold is None:
            return
        try:
            self._on_threshold(threshold)
        except Exception:
            log.exception("Nobody was told that %s %s passed its soft threshold.", threshold.kind, threshold.id)

    def _baseline_counters(self, kind: str, id_: str) -> list[BaselineCounter]:
        state = self._states.get((kind, id_))
        if state is None:
            return []
        state.close_fast_path()
        return [counter for counter in state.counters if isinstance(counter, BaselineCounter)]

    def statuses_of(self, scopes: Scopes, now: int) -> LimitStatuses:
        counters: list[Counter] = []
        for scope in scopes:
            state = self._states.get((scope.kind, scope.id))
            if state is not None:
                state.close_fast_path()
                counters += state.counters
        return statuses_of(counters, now)

    def _longest_refusal(self, scopes: Scopes, ask: Ask, now: int) -> Exception:
        """Ask every limit and return the refusal with the longest wait; `Unknown` if a baseline is missing."""
        needs: list[Need] = []
        refusals: list[tuple[Scope, Refusal]] = []
        for scope in scopes:
            state = self._states[scope.kind, scope.id]
            state.close_fast_path()
            answers = [counter.check(ask, now) for counter in state.counters]
            if any(answer is UNKNOWN for answer in answers):
                needs.append(need_of(scope, now))
            refusals += [(scope, answer) for answer in answers if answer is not None]
        if needs:
            return Unknown(needs)
        scope, refusal = max(refusals, key=lambda refused: refused[1].severity)
        counters = [counter for scope in scopes for counter in self._states[scope.kind, scope.id].counters]
        return LimitExceeded(scope, refusal, statuses_of(counters, now))

    def _forget_idle(self, now: int, new: int) -> None:
        """Drop idle scopes, oldest first, so that a million keys do not pile up."""
        for key in list(islice(self._states, LOOKED_AT * new)):
            state = self._states[key]
            if state.idle(now):
                del self._states[key]
                self._by_scope.pop(state.scope, None)
            else:
                self._states.move_to_end(key)


def rates_of(states: Sequence[ScopeState], now: int) -> Rates:
    """Where requests and tokens a minute stand. Leaves fast paths open."""
    requests: list[Rate] = []
    tokens: list[Rate] = []
    for state in states:
        fast_path = state.fast_path
        if state.requests is not None:
            requests.append(fast_path.requests_left(now) if fast_path is not None else state.requests.status(now))
        if state.tokens is not None:
            tokens.append(fast_path.tokens_left(now) if fast_path is not None else state.tokens.status(now))
    return min(requests, key=itemgetter(1), default=None), min(tokens, key=itemgetter(1), default=None)


def statuses_of(counters: Sequence[Counter], now: int) -> LimitStatuses:
    return LimitStatuses(
        _least([counter.status(now) for counter in counters if isinstance(counter, RequestWindow)]),
        _least([counter.status(now) for counter in counters if isinstance(counter, TokenWindow)]),
        _least([counter.status() for counter in counters if isinstance(counter, Budget)]),
    )


def _least(statuses: list[AnyStatus]) -> AnyStatus | None:
    return min(statuses, key=lambda status: status.remaining, default=None)


def need_of(scope: Scope, now: int) -> Need:
    """The baseline that a scope needs at `now` (Unix microseconds)."""
    limits = scope.limits
    period, time_zone = (limits.period, limits.time_zone) if limits.budget is not None else ("total", "UTC")
    since = span_at(period, time_zone, now / SECOND_US).start
    return Need(scope.kind, scope.id, period, time_zone, since, now // DAY_US * DAY_US // SECOND_US)
