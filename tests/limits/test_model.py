"""Any interleaving of what can happen to admission, in this process and in Redis, against one plain model (P1–P15)."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Awaitable, Sequence
from itertools import count
from typing import Any, TypeVar

import redis.asyncio
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    initialize,
    multiple,
    rule,
    run_state_machine_as_test,
)

from keys.limits import Ask, LimitExceeded, Limits, MemoryLimits, Rates, Reservation, Scope, Unknown
from keys.limits.memory import need_of
from keys.limits.redis import LEASE_S, RedisLimits, SharedReservation
from tests.kit.scopes import Clock
from tests.kit.services import Services
from tests.kit.services.redis import RedisServer
from tests.limits.model import LATE, MINUTE, Model, Request

Result = TypeVar("Result")

DEAREST = 5
"""The most that a request without an output limit costs here."""

NAMES = [("key", "1"), ("team", "1"), ("project", "1")]

small = st.one_of(st.none(), st.integers(1, 4))
limits_of_all_kinds = st.builds(
    Limits,
    rpm=small,
    tpm=st.one_of(st.none(), st.integers(1, 40)),
    rps=small,
    burst=small,
    parallel=small,
    daily=st.one_of(st.none(), st.integers(1, 8)),
    max_requests=st.one_of(st.none(), st.integers(1, 20)),
    budget=st.one_of(st.none(), st.integers(1, 20)),
    period=st.sampled_from(["total", "day", "week", "month"]),
    time_zone=st.sampled_from(["UTC", "America/New_York", "Asia/Kolkata"]),
)
asks = st.builds(
    Ask,
    requests=st.sampled_from([1, 1, 1, 0, 3]),
    tokens=st.integers(0, 12),
    cost=st.integers(0, DEAREST),
    bounded=st.booleans(),
)

_serial = count()


async def gathered(asked: Sequence[Awaitable[Result]]) -> list[Result]:
    return await asyncio.gather(*asked)


class Running:
    """One admitted request: as the model, this process and Redis have it."""

    def __init__(self, request: Request, local: Reservation, shared: SharedReservation, process: int) -> None:
        self.request, self.local, self.shared, self.process = request, local, shared, process
        self.forsaken = False


class NeverForgets(MemoryLimits):
    """Redis forgets what is idle by the time that really passes, so neither does here; test_windows.py has that."""

    def _forget_idle(self, now: int, new: int) -> None:
        pass


class Admission(RuleBasedStateMachine):
    """Two processes on one Redis; the in-process backend sees the requests of both."""

    running = Bundle("running")

    def __init__(self, url: str, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self.loop = loop
        self.clock = Clock()
        self.model = Model()
        self.local = NeverForgets(clock=self.clock)
        self.client = redis.asyncio.Redis.from_url(url)
        self.prefix = f"{{model {next(_serial)}}}:"
        self.processes = [self.new_process() for _ in range(2)]
        self.scopes = {name: Scope(*name, f"{name[0]}", Limits()) for name in NAMES}
        self.admitted: list[Running] = []
        self.dead: list[tuple[int, list[Running]]] = []

    def do(self, awaited: Awaitable[Result]) -> Result:
        return self.loop.run_until_complete(awaited)

    def new_process(self) -> RedisLimits:
        limits = RedisLimits(self.client, prefix=self.prefix, clock=self.clock, timeout_s=10)
        self.do(limits.start())
        return limits

    def teardown(self) -> None:
        for process in self.processes:
            self.do(process.close())
        self.do(self.client.aclose())

    @initialize(first=limits_of_all_kinds, second=limits_of_all_kinds)
    def set_up(self, first: Limits, second: Limits) -> None:
        for name, limits in zip(NAMES, (first, second), strict=False):
            self.scopes[name] = Scope(*name, name[0], limits)

    @rule(name=st.sampled_from(NAMES), limits=limits_of_all_kinds)
    def change_limits(self, name: tuple[str, str], limits: Limits) -> None:
        self.scopes[name] = Scope(*name, name[0], limits)

    @rule(seconds=st.one_of(st.sampled_from([1e-6, 0.25, 0.999999, 1.0, 14.0, 20.0, 60.0]), st.floats(0, 70)))
    def time_passes(self, seconds: float) -> None:
        self._pass(seconds)

    @rule(seconds=st.sampled_from([0.1, 0.4, 0.7]))
    def a_moment_passes(self, seconds: float) -> None:
        self._pass(seconds)

    @rule(hours=st.sampled_from([1, 12, 24, 36, 24 * 8, 24 * 40]))
    def much_time_passes(self, hours: int) -> None:
        self._pass(hours * 3600)

    @rule()
    def time_passes_to_just_before_midnight(self) -> None:
        day = 86_400_000_000
        self._pass((day - self.clock.us % day - 1) / 1e6)

    @rule(
        target=running,
        names=st.lists(st.sampled_from(NAMES), min_size=1, max_size=3, unique=True),
        ask=asks,
        process=st.integers(0, 1),
    )
    def reserve(self, names: list[tuple[str, str]], ask: Ask, process: int) -> Running | None:
        self._leases_end()
        scopes = [self.scopes[name] for name in names]
        self.model.adopt(scopes)
        now = self.clock.us
        local = self._asked_of(self.local, scopes, ask, self.clock())
        shared = self.do(self._in_redis(self.processes[process], scopes, ask))
        assert self._plain(local) == self._plain(shared)
        if isinstance(local, LimitExceeded):
            self._is_justified(local, ask, now)
            self._waiting_helps(local, scopes, ask)
            return None
        assert not isinstance(shared, LimitExceeded)
        admitted = Running(self.model.admit(now, scopes, ask), local, shared, process)
        self.admitted.append(admitted)
        for scope in scopes:
            self._is_within(scope, now)
        return admitted

    @rule(
        target=running,
        names=st.lists(st.sampled_from(NAMES), min_size=1, max_size=3, unique=True),
        wanted=st.lists(asks, min_size=2, max_size=6),
        process=st.integers(0, 1),
    )
    def reserve_together(self, names: list[tuple[str, str]], wanted: list[Ask], process: int) -> MultipleResults:
        """In one batch, which decides about all of them as if they came one after the other."""
        self._leases_end()
        scopes = [self.scopes[name] for name in names]
        self.model.adopt(scopes)
        now = self.clock.us
        locally, plain, rates = [], [], []
        for ask in wanted:
            local = self._asked_of(self.local, scopes, ask, self.clock())
            locally.append(local)
            plain.append(self._plain(local))
            rates.append(self._rates(local))
        asked = [self._in_redis(self.processes[process], scopes, ask) for ask in wanted]
        together = self.do(gathered(asked))
        assert [self._rates(shared) for shared in together] == rates
        assert [self._plain(shared)[0] for shared in together] == [one[0] for one in plain]
        # Of those who are let in together, each is told of the budget as it stands after the last.
        assert self._plain(together[-1]) == plain[-1]
        admitted = [
            Running(self.model.admit(now, scopes, ask), local, shared, process)
            for ask, local, shared in zip(wanted, locally, together, strict=True)
            if not isinstance(local, LimitExceeded) and not isinstance(shared, LimitExceeded)
        ]
        self.admitted += admitted
        if admitted:
            for scope in scopes:
                self._is_within(scope, now)
        return multiple(*admitted)

    @rule(
        process=st.integers(0, 1),
        which=st.integers(0, 255),
        tokens=st.lists(st.integers(0, 20), min_size=8, max_size=8),
        costs=st.lists(st.integers(0, DEAREST), min_size=8, max_size=8),
        requests=st.sampled_from([None, None, 0, 2]),
    )
    def settle_together(
        self, process: int, which: int, tokens: list[int], costs: list[int], requests: int | None
    ) -> None:
        self._leases_end()
        running = [one for one in self.admitted if one.process == process and one.request.running and not one.forsaken]
        for place, one in enumerate(running[:8]):
            if which >> place & 1:
                ask = one.request.ask
                cost = min(costs[place], ask.cost or 0) if ask.bounded else costs[place]
                self._end(one, tokens[place], cost, requests, tell=False)
        self.do(self.processes[process].drain())

    @rule(
        one=running,
        tokens=st.integers(0, 20),
        cost=st.integers(0, DEAREST),
        requests=st.sampled_from([None, None, 0, 2]),
    )
    def settle(self, one: Running | None, tokens: int, cost: int, requests: int | None) -> None:
        if one is None or one.forsaken:
            return
        self._leases_end()
        if one.request.running:
            ask = one.request.ask
            self._end(one, tokens, min(cost, ask.cost or 0) if ask.bounded else cost, requests)
        else:
            self._end_again(one, tokens, cost, requests)

    @rule(process=st.integers(0, 1))
    def crash(self, process: int) -> None:
        """Its requests are never settled; another takes its place."""
        killed = self.processes[process]
        self.do(killed.drain())
        ends = self.do(self.client.zscore(f"{self.prefix}leases", killed.process)) or 0
        self.processes[process] = self.new_process()
        orphans = [one for one in self.admitted if one.process == process and one.request.running and not one.forsaken]
        for one in orphans:
            one.forsaken = True
        self.dead.append((round(ends), orphans))
        # It would go on renewing its lease.
        assert killed._renewal is not None
        killed._renewal.cancel()

    @rule(name=st.sampled_from(NAMES))
    def reconcile(self, name: tuple[str, str]) -> None:
        """The ledger never has more than the counters that were there all along: this changes nothing."""
        self._leases_end()
        if (past := self.model.pasts.get(name)) is None or any(one.forsaken for one in self.admitted):
            return
        need = need_of(Scope(*name, "", past.limits), self.clock.us)
        self.local.raise_to(need, self.model.ledger(need))
        self.processes[0].raise_to(need, self.model.ledger(need))
        self.do(self.processes[0].drain())

    def _end(self, one: Running, tokens: int, cost: int, requests: int | None, *, tell: bool = True) -> None:
        request = one.request
        if not one.shared.ends:
            cost = 0  # Redis never hears of its end: a budget that is set meanwhile is put right from the ledger alone
        request.running, request.tokens, request.cost = False, tokens, cost
        request.requests = request.ask.requests if requests is None else requests
        request.settled_at = self.clock.us
        self._end_again(one, tokens, cost, requests, tell=tell)

    def _end_again(self, one: Running, tokens: int, cost: int, requests: int | None, *, tell: bool = True) -> None:
        one.local.settle(tokens, cost, requests)
        one.shared.settle(tokens, cost, requests)
        if tell:
            self.do(self.processes[one.process].drain())

    def _leases_end(self) -> None:
        """What the next batch does in Redis, done here."""
        ended = [one for one in self.dead if one[0] <= self.clock.us]
        self.dead = [one for one in self.dead if one[0] > self.clock.us]
        for _, orphans in ended:
            for one in orphans:
                request = one.request
                request.running, request.settled_at, request.requests = False, self.clock.us, request.ask.requests
                one.local.settle(0, 0, None)

    def _pass(self, seconds: float) -> None:
        """Processes that live renew their leases meanwhile."""
        self.clock.pass_by(seconds)
        ends = self.clock.us + round(LEASE_S * 1e6)
        alive = {process.process: ends for process in self.processes}
        self.do(self.client.zadd(f"{self.prefix}leases", alive))

    def _asked_of(self, limits: MemoryLimits, scopes: list[Scope], ask: Ask, now: float) -> Reservation | LimitExceeded:
        try:
            return limits.reserve_at_once(tuple(scopes), ask, now)
        except LimitExceeded as refusal:
            return refusal
        except Unknown as unknown:
            for need in unknown.needs:
                limits.load(need, self.model.ledger(need))
            return self._asked_of(limits, scopes, ask, now)

    async def _in_redis(self, process: RedisLimits, scopes: list[Scope], ask: Ask) -> SharedReservation | LimitExceeded:
        try:
            return await process.reserve(tuple(scopes), ask, self.clock())
        except LimitExceeded as refusal:
            return refusal
        except Unknown as unknown:
            for need in unknown.needs:
                process.load(need, self.model.ledger(need))
            return await self._in_redis(process, scopes, ask)

    def _rates(self, outcome: Reservation | LimitExceeded) -> Rates | None:
        return None if isinstance(outcome, LimitExceeded) else outcome.rates

    def _plain(self, outcome: Reservation | LimitExceeded) -> tuple[Any, ...]:
        if isinstance(outcome, LimitExceeded):
            return outcome.scope, outcome.refusal, outcome.statuses
        return ("held", outcome.statuses)

    def _is_within(self, scope: Scope, now: int) -> None:
        limits, model = scope.limits, self.model
        free = not model.past(scope).admitted[-1].ask.requests
        if limits.rpm is not None:
            assert model.requests_in(scope, now) <= limits.rpm
        if limits.tpm is not None:
            assert model.tokens_in(scope, now) <= limits.tpm
        if limits.rps is not None:
            assert not model.exceeds_rate(scope, now)
        if limits.parallel is not None:
            assert model.running(scope) <= limits.parallel
        if limits.daily is not None:
            assert model.used_today(scope, now) <= limits.daily or free
        if limits.max_requests is not None:
            assert model.used_ever(scope) <= limits.max_requests or free
        if limits.budget is not None:
            assert model.spent(scope, now) < limits.budget

    def _is_justified(self, refusal: LimitExceeded, ask: Ask, now: int) -> None:
        """There was really no room: no phantom refusals."""
        scope, model = refusal.scope, self.model
        if refusal.limit_kind == "rpm":
            assert model.requests_in(scope, now, MINUTE + LATE) + 1 > refusal.limit
        elif refusal.limit_kind == "tpm":
            assert model.tokens_in(scope, now, MINUTE + LATE) + ask.tokens > refusal.limit
        elif refusal.limit_kind == "parallel":
            assert model.running(scope) >= refusal.limit

    def _waiting_helps(self, refusal: LimitExceeded, scopes: list[Scope], ask: Ask) -> None:
        """After the wait there is room, apart from what only the end of others makes; and not a moment before."""
        if refusal.refusal.cure != "time":
            return
        twin = copy.deepcopy(self.local)
        at = self.clock.us + refusal.refusal.wait_us
        assert isinstance(self._asked_of(twin, scopes, ask, (at - 1) / 1e6), LimitExceeded)
        again = self._asked_of(twin, scopes, ask, at / 1e6)
        assert not isinstance(again, LimitExceeded) or again.refusal.cure == "others"


def test_this_process_redis_and_the_model_agree_on_every_step(services: Services):
    server = services.redis()
    url = server.url if isinstance(server, RedisServer) else server
    loop = asyncio.new_event_loop()
    try:
        run_state_machine_as_test(
            lambda: Admission(url, loop),  # type: ignore[arg-type]
            settings=settings(
                max_examples=150, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
            ),
        )
    finally:
        loop.close()
        if isinstance(server, RedisServer):
            server.stop()
