"""Admission by this process alone. Plain calls that take microseconds; the event loop's thread makes them atomic."""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any, TypeVar

from keys.limits.base import (
    DAY_US,
    SECOND_US,
    Ask,
    Baseline,
    BudgetStanding,
    Crossing,
    Need,
    OnCrossing,
    Standing,
    Standings,
    Unknown,
    Used,
)
from keys.limits.counters import COUNTERS, UNKNOWN, Budget, Counter, PastCounter, RequestWindow, TokenWindow
from keys.limits.counters.window import WINDOW_US, Window
from keys.limits.lane import PLENTY, Lane, open_lane
from keys.limits.periods import span_at
from keys.limits.refusal import LimitExceeded, Refusal
from keys.limits.scope import Limits, Scope

log = logging.getLogger("sluice.limits")

LOOKED_AT = 2
"""Scopes looked at for each new one: more than one, so that the idle ones cannot pile up."""

AnyStanding = TypeVar("AnyStanding", Standing, BudgetStanding)

NO_LIMITS = Limits()


class ScopeState:
    """What is counted of one scope. The counters are right when the lane is closed."""

    __slots__ = ("counters", "lane", "limits", "requests", "scope", "slow_at", "tokens")

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.limits = NO_LIMITS
        self.counters: tuple[Counter, ...] = ()
        self.requests: RequestWindow | None = None
        self.tokens: TokenWindow | None = None
        self.lane: Lane | None = None
        self.slow_at = 0
        """When its counters were asked last."""

    def adopt(self, scope: Scope) -> None:
        """Count what these limits limit, and nothing else."""
        self.close_lane()
        kept = {type(counter): counter for counter in self.counters}
        wanted = [kind for kind in COUNTERS if getattr(scope.limits, kind.limit_kind) is not None]
        self.counters = tuple(kept.get(kind) or kind() for kind in wanted)
        for counter in self.counters:
            counter.set(scope)
        self.requests = next((counter for counter in self.counters if isinstance(counter, RequestWindow)), None)
        self.tokens = next((counter for counter in self.counters if isinstance(counter, TokenWindow)), None)
        self.limits = scope.limits

    def close_lane(self) -> None:
        lane, self.lane = self.lane, None
        if lane is not None:
            lane.close()

    def idle(self, now: int) -> bool:
        self.close_lane()
        return all(counter.idle(now) for counter in self.counters)


Marks = tuple[tuple[Counter, ...], list[Any]]
"""Counters, and what each of them gave for what was taken."""


class MemoryHeld:
    """What one request has taken in this process: of each scope either in its lane or from its counters."""

    __slots__ = ("_adoptions", "_ask", "_at", "_backend", "_parts", "_scopes", "_states")

    def __init__(
        self,
        backend: MemoryLimits,
        scopes: Sequence[Scope],
        states: list[ScopeState],
        parts: Sequence[Lane | Marks],
        ask: Ask,
        at: int,
    ) -> None:
        self._backend, self._scopes, self._ask, self._at = backend, scopes, ask, at
        self._states: list[ScopeState] | None = states
        self._parts = parts
        self._adoptions = backend.adoptions

    @property
    def standings(self) -> Standings:
        """As of now: it is worked out when it is asked for, since most requests never do."""
        return self._backend.standings_of(self._scopes, self._at)

    @property
    def rates(self) -> Standings:
        return self._backend.rates_of(self._scopes, self._at)

    def settle(self, tokens: int = 0, cost: int | None = 0, requests: int | None = None) -> None:
        states, self._states = self._states, None
        if states is None:
            return
        backend = self._backend
        now, cost = backend.now_us(), cost or 0
        ask = self._ask
        asked_cost, bounded = ask.cost or 0, ask.bounded
        back = ask.tokens - tokens
        one = requests is None or requests == 1
        for state, lane in zip(states, self._parts, strict=True):
            if (
                isinstance(lane, Lane)
                and now < lane.until
                and one
                and cost <= lane.quiet
                and (bounded or cost <= lane.dearest)
            ):
                lane.free += 1
                lane.tokens += back
                if back < 0:
                    lane.more_at = now
                lane.ended_at = now
                lane.money -= cost
                lane.quiet -= cost
                lane.spent += cost
                if bounded:
                    lane.bounded -= asked_cost
                else:
                    lane.open -= asked_cost
                    lane.open_count -= 1
            else:
                self._settle_late(state, lane, Used(tokens, cost, requests, now))
        if cost and self._adoptions != backend.adoptions:
            backend.charge_new_budgets(self._scopes, self._budgets(), cost, self._at)

    def _settle_late(self, state: ScopeState, part: Lane | Marks, used: Used) -> None:
        """By the counters. The lane that the scope has by now goes on, unless this is more than it can bear."""
        ask = self._ask
        current = state.lane
        if current is not None and (current is part or not current.bears(used, ask)):
            state.close_lane()
            current = None
        if isinstance(part, Lane):
            part.close()
            crossing = part.settle_late(used, ask, self._at)
        else:
            crossing = None
            for counter, mark in zip(*part, strict=True):
                if mark is not None:
                    crossing = counter.settle(mark, used) or crossing
        if current is not None:
            current.ended_elsewhere(used, ask)
        if crossing is not None:
            self._backend.crossed(crossing)

    def _budgets(self) -> list[Counter | None]:
        """Those that it has reserved something of, among others."""
        found: list[Counter | None] = []
        for part in self._parts:
            found += [part.budget] if isinstance(part, Lane) else part[0]
        return found


class MemoryLimits:
    """The backend of one process. `clock` is Unix time in seconds, asked when something is settled."""

    def __init__(self, *, clock: Callable[[], float] = time.time, on_crossing: OnCrossing | None = None) -> None:
        self._states: OrderedDict[tuple[str, str], ScopeState] = OrderedDict()
        # The states by the very objects that came last: their names are long to hash. A state holds its scope, so that
        # nobody else gets that scope's id.
        self._by_object: dict[int, ScopeState] = {}
        self._clock = clock
        self._on_crossing = on_crossing
        self.adoptions = 0
        """How often limits have been found changed."""

    def __len__(self) -> int:
        """Scopes remembered."""
        return len(self._states)

    def reserve(self, scopes: Sequence[Scope], ask: Ask, now: float) -> MemoryHeld:
        """Raises `LimitExceeded` and `Unknown`; then nothing was taken."""
        now_us = round(now * 1e6)
        if ask.requests == 1:
            tokens, cost, by_object = ask.tokens, ask.cost or 0, self._by_object
            states: list[ScopeState] = []
            lanes: list[Lane] = []
            for scope in scopes:
                state = by_object.get(id(scope))
                if state is None:
                    break
                lane = state.lane
                if (
                    lane is None
                    or not lane.at <= now_us < lane.until
                    or lane.room <= 0
                    or lane.free <= 0
                    or tokens > lane.tokens
                    or lane.money < (cost if cost > lane.dearest else lane.dearest)
                ):
                    break
                states.append(state)
                lanes.append(lane)
            else:
                take(lanes, ask, now_us)
                return MemoryHeld(self, scopes, states, lanes, ask, now_us)
        return self._reserve_slowly(scopes, ask, now_us)

    def _reserve_slowly(self, scopes: Sequence[Scope], ask: Ask, now_us: int) -> MemoryHeld:
        """Where some scope has no lane with room. The others' are gone through all the same."""
        known = len(self._states)
        states = [self._state(scope) for scope in scopes]
        parts: list[Lane | Marks] = []
        lanes: list[Lane] = []
        for state in states:
            lane = state.lane
            if lane is not None and lane.has_room(ask, now_us):
                lanes.append(lane)
                parts.append(lane)
                continue
            state.close_lane()
            for counter in state.counters:
                if counter.check(ask, now_us) is not None:
                    refusal = self._refused(scopes, ask, now_us)
                    self._forget_idle(now_us, len(self._states) - known)
                    raise refusal
            parts.append((state.counters, []))
        take(lanes, ask, now_us)
        for state, part in zip(states, parts, strict=True):
            if not isinstance(part, Lane):
                part[1].extend([counter.take(ask, now_us) for counter in state.counters])
                if now_us - state.slow_at < SECOND_US:  # what is asked for seldom would open it in vain
                    state.lane = open_lane(state.counters, now_us)
                state.slow_at = now_us
        if len(self._states) > known:
            self._forget_idle(now_us, len(self._states) - known)
        return MemoryHeld(self, scopes, states, parts, ask, now_us)

    def restore(self, scopes: Sequence[Scope], ask: Ask, now: float) -> MemoryHeld:
        """Take over a request that runs already: what ends with it is taken, whatever the limits say."""
        now_us = round(now * 1e6)
        states = [self._state(scope) for scope in scopes]
        parts: list[Lane | Marks] = []
        for state in states:
            state.close_lane()
            counters = tuple(counter for counter in state.counters if counter.ends_with_request)
            parts.append((counters, [counter.take(ask, now_us) for counter in counters]))
        return MemoryHeld(self, scopes, states, parts, ask, now_us)

    def _state(self, scope: Scope) -> ScopeState:
        """With the limits of this very object."""
        state = self._by_object.get(id(scope))
        if state is not None:
            return state
        name = (scope.kind, scope.id)
        state = self._states.get(name)
        if state is None:
            state = self._states[name] = ScopeState(scope)
        if state.limits is not scope.limits:
            state.adopt(scope)
            self.adoptions += 1
        self._by_object.pop(id(state.scope), None)
        state.scope = scope
        self._by_object[id(scope)] = state
        return state

    def load(self, need: Need, baseline: Baseline) -> None:
        """Set what was not known; what is known stays."""
        for counter in self._with_past(need.kind, need.id):
            counter.load(need, baseline)

    def raise_to(self, need: Need, baseline: Baseline) -> None:
        """Counters that are known, and of this period, stand no lower than this."""
        for counter in self._with_past(need.kind, need.id):
            crossing = counter.raise_to(need, baseline)
            if crossing is not None:
                self.crossed(crossing)

    def charge_new_budgets(
        self, scopes: Sequence[Scope], reserved: Sequence[Counter | None], cost: int, at: int
    ) -> None:
        """Budgets that were set while the request ran: it has reserved nothing of them, and has spent of them."""
        for scope in scopes:
            state = self._states.get((scope.kind, scope.id))
            if state is None:
                continue
            for counter in state.counters:
                if isinstance(counter, Budget) and all(counter is not other for other in reserved):
                    state.close_lane()
                    crossing = counter.charge(cost, at)
                    if crossing is not None:
                        self.crossed(crossing)

    def now_us(self) -> int:
        return round(self._clock() * 1e6)

    def crossed(self, crossing: Crossing) -> None:
        if self._on_crossing is None:
            return
        try:
            self._on_crossing(crossing)
        except Exception:
            log.exception("Nobody was told that %s %s passed its soft threshold.", crossing.kind, crossing.id)

    def _with_past(self, kind: str, id_: str) -> list[PastCounter]:
        state = self._states.get((kind, id_))
        if state is None:
            return []
        state.close_lane()
        return [counter for counter in state.counters if isinstance(counter, PastCounter)]

    def standings_of(self, scopes: Sequence[Scope], now: int) -> Standings:
        counters: list[Counter] = []
        for scope in scopes:
            state = self._states.get((scope.kind, scope.id))
            if state is not None:
                state.close_lane()
                counters += state.counters
        return standings_of(counters, now)

    def rates_of(self, scopes: Sequence[Scope], now: int) -> Standings:
        """Requests and tokens alone, without closing a lane."""
        by_object = self._by_object
        requests = tokens = None
        left_requests = left_tokens = PLENTY
        for scope in scopes:
            state = by_object.get(id(scope))
            if state is None:
                continue
            lane = state.lane
            if lane is not None:
                left, more = lane.room + lane.requests_beyond, lane.tokens + lane.tokens_beyond
            else:
                left = PLENTY if state.requests is None else state.requests.limit - state.requests.total
                more = PLENTY if state.tokens is None else state.tokens.limit - state.tokens.total
            if left < left_requests:
                left_requests, requests = left, state
            if more < left_tokens:
                left_tokens, tokens = more, state
        return Standings(
            None if requests is None else rate_of(requests.requests, left_requests, requests.lane, now),
            None if tokens is None else rate_of(tokens.tokens, left_tokens, tokens.lane, now),
        )

    def _refused(self, scopes: Sequence[Scope], ask: Ask, now: int) -> Exception:
        """Every limit is asked, so that what is told is the longest wait of all."""
        needs: list[Need] = []
        refusals: list[tuple[Scope, Refusal]] = []
        for scope in scopes:
            state = self._states[scope.kind, scope.id]
            state.close_lane()
            answers = [counter.check(ask, now) for counter in state.counters]
            if any(answer is UNKNOWN for answer in answers):
                needs.append(need_of(scope, now))
            refusals += [(scope, answer) for answer in answers if answer is not None]
        if needs:
            return Unknown(needs)
        scope, refusal = max(refusals, key=lambda refused: refused[1].severity)
        counters = [counter for scope in scopes for counter in self._states[scope.kind, scope.id].counters]
        return LimitExceeded(scope, refusal, standings_of(counters, now))

    def _forget_idle(self, now: int, new: int) -> None:
        """Drop what is idle, oldest first, so that a million keys do not pile up."""
        for key in list(islice(self._states, LOOKED_AT * new)):
            state = self._states[key]
            if state.idle(now):
                del self._states[key]
                self._by_object.pop(id(state.scope), None)
            else:
                self._states.move_to_end(key)


def take(lanes: Sequence[Lane], ask: Ask, now: int) -> None:
    """Of lanes that have the room."""
    tokens, cost, bounded = ask.tokens, ask.cost or 0, ask.bounded
    for lane in lanes:
        lane.at = now
        lane.room -= 1
        lane.free -= 1
        lane.tokens -= tokens
        lane.money -= cost if cost > lane.dearest else lane.dearest
        if bounded:
            lane.bounded += cost
        else:
            lane.open += cost
            lane.open_count += 1
        bucket = lane.bucket
        if bucket is not None:
            level = bucket.level - (now - bucket.at) * bucket.rate
            bucket.level = level + SECOND_US if level > 0 else SECOND_US
            bucket.at = now


def rate_of(window: Window | None, left: int, lane: Lane | None, now: int) -> Standing:
    assert window is not None
    if window.limit <= 0:
        return window.standing(now)
    last = window.entries[-1].last if window.entries else 0
    if lane is not None and lane.at > last:
        last = lane.at
    reset = last + WINDOW_US - now
    return Standing(window.limit, left if left > 0 else 0, reset / SECOND_US if reset > 0 else 0.0)


def standings_of(counters: Sequence[Counter], now: int) -> Standings:
    return Standings(
        _least([counter.standing(now) for counter in counters if isinstance(counter, RequestWindow)]),
        _least([counter.standing(now) for counter in counters if isinstance(counter, TokenWindow)]),
        _least([counter.standing() for counter in counters if isinstance(counter, Budget)]),
    )


def _least(standings: list[AnyStanding]) -> AnyStanding | None:
    return min(standings, key=lambda standing: standing.remaining, default=None)


def need_of(scope: Scope, now: int) -> Need:
    """What is to be loaded of a scope at `now` (Unix microseconds)."""
    limits = scope.limits
    period, time_zone = (limits.period, limits.time_zone) if limits.budget is not None else ("total", "UTC")
    since = span_at(period, time_zone, now / SECOND_US).start
    return Need(scope.kind, scope.id, period, time_zone, since, now // DAY_US * DAY_US // SECOND_US)
