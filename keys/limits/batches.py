"""Batches of operations for Redis: one round trip for all that come in a turn of the event loop or while Redis answers.

Only one batch is under way at a time, so Redis applies operations in the order in which they were added, and a busier
process sends larger batches. Each batch has a number. A connection that was given up is never read again, and Redis
refuses batches of its session. So after a failure Redis can say which batch it applied last, and no operation is
applied twice or lost.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import msgspec

from keys.limits import script
from keys.limits.base import SECOND_US
from keys.limits.lines import Line, lines_of
from keys.limits.operations import Batch, Cancel, FromLedger, Operation, Reserve, Restore, Settle, Wording
from strict.units import PICO

log = logging.getLogger("sluice.limits")

LARGEST_BATCH = 128
"""Operations. Redis does nothing else while it decides them, which takes a few milliseconds."""
SETTLE_WITHIN_S = 0.01
"""An operation that no request waits for may wait this long, so that others share its round trip."""
LARGEST = 2**53
"""Lua's numbers are doubles: whole numbers are exact up to this one."""
CROWD = 16
PACE_S = 0.002
"""After a batch of `CROWD` operations, the next batch starts `PACE_S` after its start at the earliest. A round trip
costs this process a tenth of a millisecond, and a decision in it a tenth of that, so larger batches save most of the
cost.
"""
STALLED_S = 0.02
"""If the event loop runs a deadline this late, it has not had the time to read an answer either."""


OnFailure = Callable[[str, Exception], None]
"""Called with the name of a loop and the error in it."""


def log_failure(name: str, error: Exception) -> None:
    log.error("The loop %s failed and goes on.", name, exc_info=error)


class Away(Exception):
    """Redis does not answer, or not in time."""


class Reply(msgspec.Struct, array_like=True):
    """What `lua/23_batch.lua` returns."""

    outcome: str
    epoch: str
    applied: int
    applied_before: int
    lost: int
    now_us: int
    answers: Any = ()
    thresholds: Any = ()
    usages: Any = ()


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Reply).decode


class SentBatch:
    """A batch that was sent. Until Redis answers, it is unknown whether it was applied."""

    __slots__ = ("lines", "number", "operations", "scopes")

    def __init__(self, number: int, operations: list[Operation]) -> None:
        self.number, self.operations = number, operations
        self.lines: list[Line] = []
        self.scopes: list[Any] = []


class Batches:
    """The queue to Redis. `on_reply` gets each reply with its batch; `on_away` gets the error if no reply comes."""

    def __init__(
        self,
        client: script.Client,
        *,
        process: str,
        prefix: bytes,
        lease_s: float,
        timeout_s: float,
        clock: Callable[[], float] | None,
        on_reply: Callable[[SentBatch, Reply], None],
        on_away: Callable[[Exception], None],
        on_failure: OnFailure | None = None,
    ) -> None:
        self._on_failure = on_failure or log_failure
        self._client, self._process, self._prefix = client, process, prefix
        self._wording = Wording(prefix, process)
        self._lease_us, self._timeout_s, self._clock = round(lease_s * SECOND_US), timeout_s, clock
        self._on_reply, self._on_away = on_reply, on_away
        self._queue: deque[Operation] = deque()
        self._session = 0
        self._number = 0
        self._offset_us = 0
        self._busy: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._scheduled = False
        self._paced_until = 0.0
        self._loop: asyncio.AbstractEventLoop
        self.up = False
        self.epoch = ""
        self.uncertain: SentBatch | None = None

    def now(self) -> float:
        """Unix time by Redis' clock, as estimated from its last reply."""
        if self._clock is not None:
            return self._clock()
        return time.time() + self._offset_us / SECOND_US

    def add(self, operation: Operation, *, waits: bool) -> None:
        """Queue an operation.

        `waits`: a request waits for it, so it is sent at the end of this turn of the event loop.
        """
        self._queue.append(operation)
        if not self.up or self._busy is not None or self._scheduled:
            return
        if waits or len(self._queue) >= LARGEST_BATCH:
            self._schedule()
        elif self._timer is None:
            self._timer = self._loop.call_later(SETTLE_WITHIN_S, self._schedule)

    def add_first(self, operations: list[Operation]) -> None:
        self._queue.extendleft(reversed(operations))

    def go_on(self) -> None:
        """Send what is in the queue, if anything is."""
        if self.up and self._queue and self._busy is None and not self._scheduled:
            self._schedule()

    async def greet(self) -> Reply:
        """Begin a new session. Redis applies no batch of the old one any more. Raises `Away`."""
        self._loop = asyncio.get_running_loop()
        if self._busy is not None:
            await asyncio.wait([self._busy])
        self._session += 1
        sent = SentBatch(self._next_number(), [])
        return await self._call(sent)

    def drop_what_belongs_to_the_epoch(self) -> list[Operation]:
        """Remove operations that make sense only with the data that Redis lost, such as settlements. Returns them."""
        dropped = [operation for operation in self._queue if belongs_to_epoch(operation)]
        self._queue = deque(operation for operation in self._queue if not belongs_to_epoch(operation))
        return dropped

    def unanswered(self) -> list[Operation]:
        """The operations that Redis may not have applied, while it is away."""
        return [*(self.uncertain.operations if self.uncertain is not None else ()), *self._queue]

    def withdraw(self, operation: Operation) -> bool:
        """Remove the operation from the queue. Returns False if it has been sent."""
        try:
            self._queue.remove(operation)
        except ValueError:
            return False
        return True

    async def drain(self) -> None:
        """Wait until the queue is empty and answered, or Redis has gone away."""
        while self.up and (self._queue or self._busy is not None):
            self.go_on()
            if self._busy is None:
                await asyncio.sleep(0)
            else:
                await asyncio.wait([self._busy])

    async def close(self) -> None:
        """Send what is in the queue, then stop."""
        await self.drain()
        self.up = False
        if self._timer is not None:
            self._timer.cancel()

    def _next_number(self) -> int:
        self._number += 1
        return self._number

    def _schedule(self) -> None:
        self._scheduled = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        wait_s = self._paced_until - self._loop.time() if self._paced_until else 0
        if wait_s > 0:
            self._loop.call_later(wait_s, self._send)
        else:
            self._loop.call_soon(self._send)

    def _send(self) -> None:
        self._scheduled = False
        if self._busy is not None or not self.up or not self._queue:
            return
        queue = self._queue
        operations = [queue.popleft() for _ in range(min(len(queue), LARGEST_BATCH))]
        self._paced_until = self._loop.time() + PACE_S if len(operations) >= CROWD else 0
        self._busy = self._loop.create_task(self._run(SentBatch(self._next_number(), operations)))

    async def _run(self, sent: SentBatch) -> None:
        try:
            reply = await self._call(sent)
        except Away as error:
            self._busy = None
            self.uncertain = sent
            self._fall(error)
            return
        except Exception as error:
            self._lose(sent, error)
            return
        self._busy = None
        try:
            self._on_reply(sent, reply)
        except Exception as error:
            self._lose(sent, error)
        else:
            self.go_on()

    def _lose(self, sent: SentBatch, error: Exception) -> None:
        """Fail only the batch that met a bug in this code: its requests get the error, and the next batches go on."""
        self._busy = None
        self._on_failure("limits-batches", error)
        for operation in sent.operations:
            if isinstance(operation, Reserve) and not operation.answer.done():
                operation.answer.set_exception(error)
                operation.answer.exception()  # the request may be gone: then the error counts as retrieved
        self.go_on()

    def _fall(self, error: Away) -> None:
        """Redis is away: waiting requests get the error. Operations that Redis must still get stay in the queue."""
        self.up = False
        waiting = [operation for operation in self._queue if isinstance(operation, Reserve)]
        kept = [operation for operation in self._queue if not isinstance(operation, Reserve)]
        self._queue = deque(kept)
        assert self.uncertain is not None
        waiting += [operation for operation in self.uncertain.operations if isinstance(operation, Reserve)]
        try:
            self._on_away(error)
        except Exception as problem:
            self._on_failure("limits-batches", problem)
        for operation in waiting:
            if not operation.answer.done():
                operation.answer.set_exception(error)

    async def _call(self, sent: SentBatch) -> Reply:
        batch = Batch(self._wording, self.now())
        lines = self._write(sent, batch)
        now_us = 0 if self._clock is None else round(self._clock() * 1e6)
        head = [self._process, self._session, sent.number, self.epoch, f"{time.time_ns()} {self._process}", now_us]
        lease = [self._lease_us, self._prefix.decode() + "held:"]
        try:
            argument = _encode([*head, *lease, batch.specs, lines])
        except Exception:
            self._take_out_what_cannot_be_encoded(sent)
            batch = Batch(self._wording, self.now())
            lines = self._write(sent, batch)
            argument = _encode([*head, *lease, batch.specs, lines])
        reply = await self._run_script(batch.keys, argument)
        if reply.outcome == "late" or (reply.outcome == "done" and reply.applied != sent.number):
            raise Away("the answer was to another question")
        if self._clock is None:
            self._offset_us = reply.now_us - round(time.time() * 1e6)
        return reply

    def _write(self, sent: SentBatch, batch: Batch) -> list[list[Any]]:
        sent.lines = lines_of(sent.operations, batch, self._cannot_be_written)
        sent.operations = [operation for line in sent.lines for operation in line.operations]
        sent.scopes = batch.scopes
        return [line.words for line in sent.lines]

    def _take_out_what_cannot_be_encoded(self, sent: SentBatch) -> None:
        """Drop operations that cannot be encoded, such as one with too large a number.

        Settlements are capped instead.
        """
        good: list[Operation] = []
        for operation in sent.operations:
            try:
                if isinstance(operation, Settle):
                    operation.tokens = min(operation.tokens, LARGEST)
                    operation.cost = min(operation.cost, LARGEST * PICO)
                _encode(operation.write(Batch(self._wording, self.now())))
            except Exception as error:
                self._cannot_be_written(operation, error)
            else:
                good.append(operation)
        sent.operations = good

    def _cannot_be_written(self, operation: Operation, error: Exception) -> None:
        self._on_failure("limits-batches", error)
        if isinstance(operation, Reserve) and not operation.answer.done():
            operation.answer.set_exception(error)
            operation.answer.exception()  # the request may be gone: then the error counts as retrieved

    async def _run_script(self, keys: list[bytes], argument: bytes) -> Reply:
        deadline = Deadline(self._timeout_s)
        try:
            return _decode(await script.run(self._client, keys, argument))
        except asyncio.CancelledError:
            if not deadline.passed:
                raise
            deadline.task.uncancel()
            raise Away(f"no answer within {self._timeout_s:g} s") from None
        except Exception as error:
            # Any other error (refused, reset, out of memory, read-only, loading) also means that Redis does not decide
            # now.
            raise Away(f"{type(error).__name__}: {error}") from error
        finally:
            deadline.cancel()


def belongs_to_epoch(operation: Operation) -> bool:
    """Whether a Redis that lost its data would count this operation twice, or not at all."""
    spent = isinstance(operation, FromLedger) and operation.verb == "spent"
    return spent or isinstance(operation, Settle | Cancel | Restore)


class Deadline:
    """Cancels the current task when time is up. If the event loop itself was late, it grants the time once more."""

    def __init__(self, within_s: float) -> None:
        self._loop = asyncio.get_running_loop()
        task = asyncio.current_task()
        assert task is not None
        self.task = task
        self.passed = False
        self._again = False
        self._within_s = within_s
        self._arm()

    def cancel(self) -> None:
        self._timer.cancel()

    def _arm(self) -> None:
        self._due = self._loop.time() + self._within_s
        self._timer = self._loop.call_at(self._due, self._ring)

    def _ring(self) -> None:
        if self._loop.time() - self._due > STALLED_S and not self._again:
            self._again = True
            self._arm()
            return
        self.passed = True
        self.task.cancel()
