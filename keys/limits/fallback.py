"""Admission that goes on when Redis does not (P34).

As long as Redis answers, it decides. The first request that waits in vain (`TIMEOUT_S`) opens the circuit: from then on
this process decides alone, without waiting, by its own counters, and asks in the background whether Redis is back.
Budgets and quotas go on from the ledger's number or from Redis' last number, whichever is more: the ledger is a moment
late, and Redis' last number is old if only other processes used the scope. When Redis is back it gets, once, what was
spent meanwhile and what still runs.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable

from keys.limits.base import Ask, Baseline, LimitsBackend, Need, OnThreshold, Unknown
from keys.limits.batches import Away, OnFailure, log_failure
from keys.limits.last_known import LastKnown
from keys.limits.memory import MemoryLimits, need_of
from keys.limits.redis import LEASE_S, TIMEOUT_S, RedisLimits, SharedReservation
from keys.limits.scope import Scopes
from keys.limits.script import Client

log = logging.getLogger("sluice.limits")

PROBE_EVERY_S = 0.5
LEDGER_TIMEOUT_S = 0.1
"""How long to wait for the ledger if Redis' last number can stand in for it: both may be away."""

OnChange = Callable[[bool, str], None]


class FallbackLimits(LimitsBackend):
    """Asks Redis, else this process's own counters. `reserve` raises only `LimitExceeded` and `Unknown`.

    `on_change(up, reason)` is called when Redis goes away and when it is back. `clock` is for tests.
    """

    is_shared = True

    def __init__(
        self,
        client: Client,
        *,
        prefix: str = "{sluice:limits}:",
        lease_s: float = LEASE_S,
        timeout_s: float = TIMEOUT_S,
        probe_every_s: float = PROBE_EVERY_S,
        clock: Callable[[], float] | None = None,
        on_threshold: OnThreshold | None = None,
        on_change: OnChange | None = None,
        on_failure: OnFailure | None = None,
    ) -> None:
        self._on_failure = on_failure or log_failure
        self._clock = clock or time.time
        self._on_threshold, self._on_change = on_threshold, on_change
        self._probe_every_s = probe_every_s
        self._probe: asyncio.Task[None] | None = None
        self._last_known = LastKnown()
        self._owed: OrderedDict[Need, Baseline] = OrderedDict()
        self._local = self._new_local()
        self._shared = RedisLimits(
            client,
            prefix=prefix,
            lease_s=lease_s,
            timeout_s=timeout_s,
            clock=clock,
            on_threshold=on_threshold,
            on_away=self._went_away,
            on_end_unheard=self._ended_unheard,
            last_known=self._last_known,
            on_failure=self._on_failure,
        )

    @property
    def up(self) -> bool:
        """Whether Redis decides."""
        return self._shared.up

    async def start(self) -> None:
        """Greet Redis. If it does not answer, go on without it."""
        try:
            await self._shared.start()
        except Away as error:
            self._went_away(error)

    async def close(self) -> None:
        if self._probe is not None:
            self._probe.cancel()
        await self._shared.close()

    async def reserve(self, scopes: Scopes, ask: Ask, now: float) -> SharedReservation:
        if self._shared.up:
            try:
                return await self._shared.reserve(scopes, ask, now)
            except Away:
                now = self._clock()  # time has passed in waiting for Redis
        return self._reserve_locally(scopes, ask, now)

    def load(self, need: Need, baseline: Baseline) -> None:
        """Set counters without a baseline, in Redis or here, whichever decides; never below the last known numbers."""
        baseline = self._last_known.at_least(need, baseline)
        (self._shared if self._shared.up else self._local).load(need, baseline)

    def raise_to(self, need: Need, baseline: Baseline) -> bool:
        return (self._shared if self._shared.up else self._local).raise_to(need, baseline)

    def _new_local(self) -> MemoryLimits:
        return MemoryLimits(clock=self._clock, on_threshold=self._on_threshold)

    def _reserve_locally(self, scopes: Scopes, ask: Ask, now: float) -> SharedReservation:
        try:
            local = self._local.reserve_at_once(scopes, ask, now)
        except Unknown as unknown:
            limits = {(scope.kind, scope.id): scope.limits for scope in scopes}
            is_known = all(self._last_known.knows(need, limits[need.kind, need.id]) for need in unknown.needs)
            raise Unknown(unknown.needs, LEDGER_TIMEOUT_S if is_known else None) from None
        reservation = self._shared.new_reservation(scopes, ask)
        reservation.local, reservation.reserved_at = local, round(now * 1e6)
        if reservation.ends:
            self._shared.live[reservation.id] = reservation
        return reservation

    def _ended_unheard(self, reservation: SharedReservation, cost: int, requests: int | None) -> None:
        """Note usage that Redis has not counted. It is owed to Redis, unless a queued settlement will report it."""
        count = reservation.ask.requests if requests is None else requests
        if reservation.in_redis:
            count -= reservation.ask.requests
        more = Baseline(cost, count, count)
        for scope in reservation.scopes:
            need = need_of(scope, reservation.reserved_at)
            self._last_known.add(need, more)
            if not reservation.in_redis:
                self._owed[need] = plus(self._owed.get(need, NOTHING), more)
        if self._shared.up:
            self._hand_over()

    def _went_away(self, error: Exception) -> None:
        log.warning("Redis does not answer; this process decides about limits alone: %s", error)
        self._local = self._new_local()
        now = self._clock()
        for reservation in self._shared.live.values():
            reservation.local = self._local.restore(reservation.scopes, reservation.ask, now)
        self._tell(False, str(error))
        if self._probe is None or self._probe.done():
            self._probe = asyncio.get_running_loop().create_task(self._look_again())

    async def _look_again(self) -> None:
        while not self._shared.up:
            await asyncio.sleep(self._probe_every_s)
            try:
                kept = await self._shared.come_back()
                if not kept:
                    self._owed.clear()  # Redis was emptied: the baselines that are loaded next include it
                self._hand_over()
            except Away:
                continue
            except Exception as error:  # the task must go on, else Redis would never decide again
                self._on_failure("limits-probe", error)
                continue
            log.warning("Redis answers again and decides about limits.")
            self._tell(True, "")

    def _hand_over(self) -> None:
        while self._owed:
            need, more = self._owed.popitem(last=False)
            self._shared.spent(need, more)

    def _tell(self, up: bool, reason: str) -> None:
        if self._on_change is None:
            return
        try:
            self._on_change(up, reason)
        except Exception:
            log.exception("Nobody was told that Redis is %s.", "back" if up else "away")


NOTHING = Baseline()


def plus(one: Baseline, other: Baseline) -> Baseline:
    return Baseline(
        one.spent_picousd + other.spent_picousd,
        one.requests_total + other.requests_total,
        one.requests_today + other.requests_today,
    )
