"""Admission by Redis, for many processes on many hosts: the same contract, one script for all scopes.

* **Clock**: Redis' own, because hosts' clocks differ. Replies contain it, and periods are chosen by it.
* **Leases**: Redis records what each process has reserved, with a lease of 15 s that batches renew. When the lease of a
  killed process has ended, the next batch of any process releases its slots, reserved tokens and money. A process that
  was only paused learns this from its next reply, and records its running requests again.
* **Exactly once**: see `batches.py`. A Redis that was emptied has another epoch. Operations of the old epoch are not
  sent to it, because the baselines that are loaded next already include them.
* **Cluster**: all keys carry one hash tag, because one decision over several scopes needs them in one slot.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Sequence
from itertools import count
from typing import Any, Protocol

from keys.limits import script
from keys.limits.base import (
    SECOND_US,
    Ask,
    Baseline,
    BudgetStatus,
    CrossedThreshold,
    LimitStatus,
    LimitStatuses,
    Need,
    OnThreshold,
    Rate,
    Rates,
    Reservation,
    Unknown,
)
from keys.limits.batches import Away, Batches, OnFailure, Reply, SentBatch
from keys.limits.lines import Line
from keys.limits.memory import need_of
from keys.limits.operations import (
    Cancel,
    FromLedger,
    Operation,
    RecordedReservation,
    Reserve,
    Restore,
    Settle,
    anything_ends,
    picousd,
)
from keys.limits.refusal import LimitExceeded, Refusal
from keys.limits.scope import Scope, Scopes

log = logging.getLogger("sluice.limits")

LEASE_S = 15.0
TIMEOUT_S = 0.2


class UsageRecorder(Protocol):
    """Keeps the last numbers that Redis sent for each scope, for the time when it does not answer."""

    def record(self, scope: Scope, usage: Sequence[Any], now_us: int) -> None: ...
    def spend(self, scope: Scope, reserved_at: int, more: Baseline) -> None: ...


After = tuple[int, int]
"""Requests and tokens that were admitted together with a request, behind it: Redis' readings include them."""

NOTHING_AFTER: After = (0, 0)
RESERVED: list[Any] = ["held"]


class SharedReservation(RecordedReservation):
    """The reservation of one request, in Redis, in this process (`local`), or in both."""

    limits: RedisLimits
    readings: Sequence[Any] = ()
    after: After = NOTHING_AFTER
    has_ended: bool = False
    in_redis: bool = False
    local: Reservation | None = None

    @property
    def statuses(self) -> LimitStatuses:
        """The limits as Redis read them. The budget includes all requests that were admitted together."""
        if self.local is not None and not self.readings:
            return self.local.statuses
        return statuses_of(self.readings, self.after)

    @property
    def rates(self) -> Rates:
        if self.local is not None and not self.readings:
            return self.local.rates
        if not self.readings:
            return None, None
        requests, tokens, _ = self.readings
        return rate_of(requests, self.after[0]), rate_of(tokens, self.after[1])

    def grant(self, readings: Sequence[Any], at_us: int, after: After) -> None:
        self.readings, self.after, self.reserved_at, self.in_redis = readings, after, at_us, True

    def settle(self, tokens: int = 0, cost: int | None = 0, requests: int | None = None) -> None:
        if self.has_ended:
            return
        self.has_ended = True
        if self.local is not None:
            self.local.settle(tokens, cost, requests)
        self.limits.settled(self, tokens, cost or 0, requests)


class RedisLimits:
    """The backend of many processes. `client`: `redis.asyncio.Redis` (or `RedisCluster`) without retries of its own.

    Call `start()` first. `clock` is for tests: Unix seconds instead of Redis' own time. `reserve` raises `Away` if
    Redis does not answer within `timeout_s`, and from then on at once, until `come_back()` has succeeded.
    `on_end_unheard` gets the cost and requests of a request that ends while Redis is away or does not know it.
    `on_failure` gets errors of background work, which then goes on.
    """

    def __init__(
        self,
        client: script.Client,
        *,
        prefix: str = "{sluice:limits}:",
        lease_s: float = LEASE_S,
        timeout_s: float = TIMEOUT_S,
        clock: Callable[[], float] | None = None,
        on_threshold: OnThreshold | None = None,
        on_away: Callable[[Exception], None] | None = None,
        on_end_unheard: Callable[[SharedReservation, int, int | None], None] | None = None,
        last_known: UsageRecorder | None = None,
        on_failure: OnFailure | None = None,
    ) -> None:
        self.process = secrets.token_hex(8)
        self._on_threshold, self._on_away, self._on_end_unheard = on_threshold, on_away, on_end_unheard
        self._last_known = last_known
        self._ids = count(1)
        self._lease_s = lease_s
        self._renewal: asyncio.TimerHandle | None = None
        self.live: dict[int, SharedReservation] = {}
        """Running requests that have something to settle."""
        self._batches = Batches(
            client,
            process=self.process,
            prefix=prefix.encode(),
            lease_s=lease_s,
            timeout_s=timeout_s,
            clock=clock,
            on_reply=self._apply_reply,
            on_away=self._went_away,
            on_failure=on_failure,
        )

    @property
    def up(self) -> bool:
        return self._batches.up

    async def start(self) -> None:
        """Raises `Away`; `come_back()` can be tried later."""
        self._renew()
        await self.come_back()

    async def drain(self) -> None:
        """Wait until the queue is empty and answered, or Redis has gone away."""
        await self._batches.drain()

    async def close(self) -> None:
        """Send Redis what is in the queue. Reservations of requests that still run are released when the lease ends."""
        if self._renewal is not None:
            self._renewal.cancel()
        await self._batches.close()

    def new_reservation(self, scopes: Scopes, ask: Ask) -> SharedReservation:
        """A reservation that has not been granted yet."""
        number = next(self._ids)
        return SharedReservation(number, scopes, ask, anything_ends(scopes), number, 0, self)

    async def reserve(self, scopes: Scopes, ask: Ask, now: float) -> SharedReservation:
        """Raises `LimitExceeded`, `Unknown` and `Away`; then nothing was taken. `now` is not used."""
        if not self._batches.up:
            raise Away("Redis did not answer")
        reservation = self.new_reservation(scopes, ask)
        operation = Reserve(reservation, asyncio.get_running_loop().create_future())
        self._batches.add(operation, waits=True)
        try:
            answer = await operation.answer
        except asyncio.CancelledError:
            # The request is over. If Redis has reserved for it, or will, this releases the reservation.
            if not self._batches.withdraw(operation):
                self._give_back(reservation)
            raise
        kind = answer[0]
        if kind == "held":
            return reservation
        if kind == "refused":
            raise LimitExceeded(answer[1], refusal_of(answer[2]), statuses_of(answer[3]))
        raise Unknown([need_of(scope, round(self._batches.now() * 1e6)) for scope in answer[1]])

    def load(self, need: Need, baseline: Baseline) -> None:
        """Set counters without a baseline, before any reservation that follows this call."""
        self._batches.add(FromLedger("load", need, baseline), waits=True)

    def raise_to(self, need: Need, baseline: Baseline) -> bool:
        """Raise counters that have a baseline and count the same period. False: Redis counts for all processes."""
        self._batches.add(FromLedger("raise", need, baseline), waits=False)
        return False

    def spent(self, need: Need, more: Baseline) -> None:
        """Add what was spent while Redis was away."""
        self._batches.add(FromLedger("spent", need, more), waits=False)

    def settled(self, reservation: SharedReservation, tokens: int, cost: int, requests: int | None) -> None:
        self.live.pop(reservation.id, None)
        if not reservation.ends:
            return
        heard = reservation.in_redis and self._batches.up
        if reservation.in_redis:
            self._batches.add(Settle(reservation, tokens, cost, requests, is_counted=not heard), waits=False)
        if not heard:
            self._ended_unheard(reservation, cost, requests)

    async def come_back(self) -> bool:
        """Begin a new session and tell Redis what it does not know. False: Redis has lost its data. Raises `Away`."""
        batches = self._batches
        reply = await batches.greet()
        kept = reply.outcome == "done"
        first: list[Operation] = []
        uncertain, batches.uncertain = batches.uncertain, None
        if not kept:
            if uncertain is not None:
                batches.add_first(without_reservations(uncertain))
            self._begin_epoch(reply)
        else:
            if uncertain is not None and uncertain.number <= reply.applied_before:
                # Redis applied all of it, but the requests have been refused or decided here meanwhile.
                reservations = [
                    operation.reservation for operation in uncertain.operations if isinstance(operation, Reserve)
                ]
                first = [Cancel(reservation) for reservation in reservations if reservation.ends]
            elif uncertain is not None:
                first = without_reservations(uncertain)
            first += self._restores(lost=bool(reply.lost))
        batches.add_first(first)
        batches.up = True
        batches.go_on()
        return kept

    def _begin_epoch(self, reply: Reply) -> None:
        """Begin anew with a Redis that has lost its data.

        Running requests are recorded there again. Requests that have ended are in the ledger, or will be.
        """
        first_time = not self._batches.epoch
        self._batches.epoch = reply.epoch
        for operation in self._batches.drop_what_belongs_to_the_epoch():
            if (
                isinstance(operation, Settle)
                and not operation.is_counted
                and isinstance(operation.reservation, SharedReservation)
            ):
                self._ended_unheard(operation.reservation, operation.cost, operation.requests)
        if not first_time:
            log.warning("Redis was emptied: limits begin anew there, budgets from the ledger.")
        self._batches.add_first(self._restores(lost=True))

    def _ended_unheard(self, reservation: SharedReservation, cost: int, requests: int | None) -> None:
        if self._on_end_unheard is not None:
            self._on_end_unheard(reservation, cost, requests)

    def _restores(self, *, lost: bool) -> list[Operation]:
        restores: list[Operation] = []
        for reservation in self.live.values():
            if lost or not reservation.in_redis:
                restores.append(Restore(reservation, late=not reservation.in_redis))
                reservation.in_redis = True
        return restores

    def _give_back(self, reservation: SharedReservation) -> None:
        self.live.pop(reservation.id, None)
        if reservation.ends:
            self._batches.add(Cancel(reservation), waits=False)

    def _apply_reply(self, sent: SentBatch, reply: Reply) -> None:
        if reply.outcome == "another epoch":
            self._batches.add_first(sent.operations)
            self._begin_epoch(reply)
            return
        for line, answer in zip(sent.lines, reply.answers, strict=True):
            first = line.operations[0]
            if isinstance(first, Reserve):
                self._apply_answer(line, answer, sent, reply.now_us)
            elif isinstance(first, Settle):
                self._record_settlements(line.operations)
        for threshold in reply.thresholds:
            self._threshold_crossed(threshold)
        if self._last_known is not None:
            for scope, usage in zip(sent.scopes, reply.usages, strict=True):
                self._last_known.record(scope, usage, reply.now_us)
        if reply.lost:
            self._batches.add_first(self._restores(lost=True))

    def _record_settlements(self, settlements: Sequence[Any]) -> None:
        """Add settlements to the last known usage, because Redis sends usage only when a request asks for room."""
        if self._last_known is None:
            return
        cost = requests = 0
        for settlement in settlements:
            if not settlement.is_counted:
                cost += settlement.cost
                if settlement.requests is not None:
                    requests += settlement.requests - settlement.reservation.ask.requests
        if cost or requests:
            reservation = settlements[0].reservation
            for scope in reservation.scopes:
                self._last_known.spend(scope, reservation.reserved_at, Baseline(cost, requests, requests))

    def _apply_answer(self, line: Line, answer: Any, sent: SentBatch, now_us: int) -> None:
        """`all`: admitted together, with the limits as they stand after the last; `each`: one decision each."""
        kind, content = answer
        operations: list[Any] = line.operations
        if kind == "each":
            for operation, own in zip(operations, content, strict=True):
                operation.reservation.record = operation.reservation.id
                self._apply_decision(operation, own, sent, now_us)
            return
        tokens = 0
        for requests, operation in enumerate(reversed(operations)):
            self._grant(operation, content, now_us, (requests, tokens))
            tokens += operation.reservation.ask.tokens
            if not operation.answer.done():
                operation.answer.set_result(RESERVED)

    def _apply_decision(self, operation: Reserve, answer: Any, sent: SentBatch, now_us: int) -> None:
        if answer[0] == "held":
            self._grant(operation, answer[1], now_us, NOTHING_AFTER)
        elif answer[0] == "refused":
            answer[1] = sent.scopes[answer[1]]
        else:
            answer[1] = [sent.scopes[index] for index in answer[1]]
        if not operation.answer.done():
            operation.answer.set_result(answer)

    def _grant(self, operation: Reserve, readings: list[Any], at_us: int, after: After) -> None:
        reservation = operation.reservation
        assert isinstance(reservation, SharedReservation)
        reservation.grant(readings, at_us, after)
        if reservation.ends and not operation.answer.cancelled():
            self.live[reservation.id] = reservation

    def _threshold_crossed(self, values: Sequence[Any]) -> None:
        if self._on_threshold is None:
            return
        key, budget, spent, period, start = values
        kind, _, id_ = key[key.index("}:") + 2 :].partition(":")
        threshold = CrossedThreshold(kind, id_, picousd(budget), picousd(spent), period.split()[0], start // SECOND_US)
        try:
            self._on_threshold(threshold)
        except Exception:
            log.exception("Nobody was told that %s %s passed its soft threshold.", kind, id_)

    def _went_away(self, error: Exception) -> None:
        for operation in self._batches.unanswered():
            if (
                isinstance(operation, Settle)
                and not operation.is_counted
                and isinstance(operation.reservation, SharedReservation)
            ):
                operation.is_counted = True
                self._ended_unheard(operation.reservation, operation.cost, operation.requests)
        if self._on_away is not None:
            self._on_away(error)

    def _renew(self) -> None:
        """Keep the lease while requests run, even if no other batch is sent."""
        self._renewal = asyncio.get_running_loop().call_later(self._lease_s / 4, self._renew)
        if self.live and self._batches.up:
            self._batches.add(Operation(), waits=True)


def without_reservations(sent: SentBatch) -> list[Operation]:
    return [operation for operation in sent.operations if not isinstance(operation, Reserve)]


def refusal_of(values: list[Any]) -> Refusal:
    kind, limit, used, amount, cure, wait, resets, spent = values
    if kind == "budget":
        limit, used, amount, spent = picousd(limit), picousd(used), picousd(amount), picousd(spent)
    return Refusal(kind, limit, used, amount, cure, wait, None if resets < 0 else resets, spent)


def statuses_of(readings: Sequence[Any], after: After = NOTHING_AFTER) -> LimitStatuses:
    if not readings:
        return LimitStatuses()
    requests, tokens, budget = readings
    return LimitStatuses(
        LimitStatus(*requests_left) if (requests_left := rate_of(requests, after[0])) else None,
        LimitStatus(*tokens_left) if (tokens_left := rate_of(tokens, after[1])) else None,
        _budget_status(*budget) if budget else None,
    )


def rate_of(reading: Any, after: int) -> Rate | None:
    return (reading[0], reading[1] + after, reading[2] / SECOND_US) if reading else None


def _budget_status(budget: list[int], spent: list[int], reserved: list[int], resets_us: int) -> BudgetStatus:
    resets = None if resets_us < 0 else resets_us / SECOND_US
    return BudgetStatus(picousd(budget), picousd(spent), picousd(reserved), resets)
