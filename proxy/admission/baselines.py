"""Baselines: what scopes had used according to the ledger's totals, for admission.

A baseline is read when admission does not know a scope; the request waits for it. For `FOLLOWED_S` after that, and as
long as this process counts for the scope, the totals are read again every few seconds, and admission's counters are
raised to them. So the counters include requests whose events were still in the journal at the first reading, and what
other processes spend.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from itertools import islice
from typing import NamedTuple

from django.db import Error

from keys.limits import Baseline, Need
from keys.limits.base import LimitsBackend
from usage.ledger.totals import TotalQuery, read_totals
from usage.loops import LOOPS, end_tasks

log = logging.getLogger("sluice.limits")

AGAIN_EVERY_S = 2.0
FOLLOWED_S = 600.0
READ_AGAIN = 5_000
"""Scopes that are read again at a time. If there are more, they take turns."""

NOTHING = Baseline()

Run = Callable[[Callable[[], list[Baseline]]], Awaitable[list[Baseline]]]


class Followed(NamedTuple):
    need: Need
    until: float
    """Monotonic time until which the scope is followed at least."""


class Baselines:
    """One for each process. `run` calls a function that uses the database, off the event loop."""

    def __init__(
        self,
        limits: LimitsBackend,
        run: Run,
        *,
        again_every_s: float = AGAIN_EVERY_S,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._limits = limits
        self._run = run
        self._clock = clock
        self._again_every_s = again_every_s
        self._wanted: dict[Need, asyncio.Future[None]] = {}
        self._reading: asyncio.Task[None] | None = None
        self._followed: dict[tuple[str, str], Followed] = {}
        """By kind and id; the one that was read longest ago comes first."""
        self._failures = LOOPS.named("usage-baselines")
        self._following = asyncio.get_running_loop().create_task(self._failures.run(self._follow))

    async def load(self, needs: Sequence[Need], timeout_s: float | None = None) -> None:
        """Read these baselines into admission. If the database fails or is slow, they are 0 and are raised later."""
        loop = asyncio.get_running_loop()
        futures = [self._wanted.setdefault(need, loop.create_future()) for need in needs]
        if self._reading is None or self._reading.done():
            self._reading = loop.create_task(self._read_wanted())
        _, late = await asyncio.wait(futures, timeout=timeout_s)
        for need, future in zip(needs, futures, strict=True):
            if future in late:
                self._limits.load(need, NOTHING)

    async def stop(self) -> None:
        await end_tasks(task for task in (self._following, self._reading) if task is not None)

    async def _read_wanted(self) -> None:
        while self._wanted:
            needs = list(self._wanted)
            try:
                baselines = await self._read(needs)
            except Error as error:
                log.warning("What %d scopes spent before cannot be read (%s).", len(needs), type(error).__name__)
                baselines = [NOTHING] * len(needs)
            except Exception as error:
                self._failures.failed_alone(error)
                baselines = [NOTHING] * len(needs)
            until = time.monotonic() + FOLLOWED_S
            for need, baseline in zip(needs, baselines, strict=True):
                try:
                    self._limits.load(need, baseline)
                except Exception as error:
                    self._failures.failed_alone(error)
                self._followed.pop((need.kind, need.id), None)
                self._followed[need.kind, need.id] = Followed(need, until)
                self._wanted.pop(need).set_result(None)  # also after a failure, so that no request waits forever

    async def _read(self, needs: Sequence[Need]) -> list[Baseline]:
        wanted = [TotalQuery(need.kind, need.id, need.since, need.day) for need in needs]
        return await self._run(lambda: [Baseline(*total) for total in read_totals(wanted)])

    async def _follow(self) -> None:
        await asyncio.sleep(self._again_every_s)
        now = self._clock()
        followed = list(islice(self._followed.items(), READ_AGAIN))
        if not followed:
            return
        needs = [each.need.at(now) for _, each in followed]  # a period may have begun since it was loaded
        try:
            baselines = await self._read(needs)
        except Error:
            return  # the snapshot reports that the database is away
        for (name, each), need, baseline in zip(followed, needs, baselines, strict=True):
            is_counted = True
            try:
                is_counted = self._limits.raise_to(need, baseline)
            except Exception as error:
                self._failures.failed_alone(error)
            if self._followed.get(name) is each:  # else it was loaded meanwhile
                del self._followed[name]
                if is_counted or each.until > time.monotonic():
                    self._followed[name] = Followed(need, each.until)
