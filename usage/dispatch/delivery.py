"""Deliver events from the journal to a target in batches, with retries, at least once.

Events wait in the journal meanwhile, which has a bound for each of its consumers.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from redis import RedisError

from usage.dispatch.base import Dispatcher, Later, PartlyDelivered, Refused
from usage.dispatch.book import Book
from usage.dispatch.dead_letters import DeadLetter, DeadLetters
from usage.journal.source import PendingEvent, Source
from usage.sending.backoff import Backoff

log = logging.getLogger("sluice.dispatch")

AWAY = (OSError, RedisError)
"""The errors of a source or of the dead letters if the disk or Redis fails."""

NO_FAULT_OF_THE_TARGET = "the journal or the disk"

LOOK_S = 0.2
"""The pause after a read of the journal that returned nothing."""

MEASURE_S = 1.0


class Pace(NamedTuple):
    """A batch is sent when it has `batch_events` events, or `batch_s` after its first event was read."""

    batch_events: int = 100
    batch_s: float = 1.0
    backoff: Backoff = Backoff()


class Delivery:
    """The loop of one dispatcher. At most one batch is in memory; all other events wait in the journal."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        source: Source,
        book: Book,
        dead_letters: DeadLetters,
        pace: Pace,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._dispatcher, self._source, self._book, self._dead_letters = dispatcher, source, book, dead_letters
        self._pace, self._clock = pace, clock
        self._most = min(pace.batch_events, dispatcher.most_events)
        self._gathered: list[PendingEvent] = []
        self._since = 0.0
        """When the first gathered event was read."""
        self._parts: deque[list[PendingEvent]] = deque()
        """The batch that is to be sent, or the parts into which it was cut."""
        self._done: list[PendingEvent] = []
        """Events that are done and not acknowledged to the journal yet."""
        self._measured_at = 0.0

    def run(self, stopping: threading.Event) -> None:
        """Deliver events until `stopping` is set."""
        while not stopping.is_set():
            stopping.wait(self.step(hurried=False))

    def drain(self, until: float) -> bool:
        """Deliver what waits, at most until then (Unix seconds). Return False if something is left."""
        while self._clock() < until and self.step(hurried=True) == 0:
            pass
        try:
            return self._measure() == 0
        except AWAY:
            return False

    def step(self, *, hurried: bool) -> float:
        """Do what can be done now. Return after how many seconds to call this again.

        If `hurried`, a batch does not wait to become full.
        """
        state = self._book.state
        try:
            self._acknowledge()
            if self._clock() - self._measured_at >= MEASURE_S:
                self._measure()
            if not self._parts:
                pause = self._gather(hurried)
                if state.error.startswith(NO_FAULT_OF_THE_TARGET):
                    self._forget_failures()
                    self._book.write()
                if pause:
                    return pause
            if (wait_s := state.retry_at - self._clock()) > 0:
                return min(wait_s, MEASURE_S)
            if self._parts:
                self._send(self._parts[0])
                self._acknowledge()
        except AWAY as error:
            what = getattr(error, "strerror", "") or type(error).__name__
            self._put_off(f"{NO_FAULT_OF_THE_TARGET}: {what}")
            return min(state.retry_at - self._clock(), MEASURE_S)
        return 0

    def _gather(self, hurried: bool) -> float:
        """Read events for a batch, and complete it if it is due. Return how many seconds to wait for more."""
        events = self._source.read(self._most - len(self._gathered))
        if events and not self._gathered:
            self._since = self._clock()
        for each in events:
            (self._gathered if self._dispatcher.wants(each.event) else self._done).append(each)
        if not self._gathered:
            return 0 if events else LOOK_S
        age_s = self._clock() - self._since
        is_due = len(self._gathered) >= self._most or age_s >= self._pace.batch_s or (hurried and not events)
        if is_due:
            self._parts.append(self._gathered)
            self._gathered = []
        return 0 if is_due or events else min(LOOK_S, self._pace.batch_s - age_s)

    def _send(self, part: list[PendingEvent]) -> None:
        try:
            rejected = self._dispatcher.deliver([each.event for each in part])
        except Refused as refused:
            self._cut(part, refused)
            return
        except Later as later:
            if isinstance(later, PartlyDelivered):
                there = {event.id for event in later.delivered}
                self._mark_delivered([each for each in part if each.event.id in there])
                self._parts[0] = [each for each in part if each.event.id not in there]
            self._book.state.failed += 1
            self._put_off(str(later), later.retry_after_s)
            return
        reasons = {each.event.id: each.reason for each in rejected}
        self._mark_delivered([each for each in part if each.event.id not in reasons])
        self._parts[0] = [each for each in part if each.event.id in reasons]
        self._bury(self._parts[0], reasons)
        self._parts.popleft()

    def _cut(self, part: list[PendingEvent], refused: Refused) -> None:
        """Cut a refused part in halves, to find the event that the target refuses."""
        if len(part) == 1:
            self._bury(part, {part[0].event.id: f"{refused}: {refused.detail}"})
            self._parts.popleft()
            return
        half = len(part) // 2
        self._parts[0] = part[half:]
        self._parts.appendleft(part[:half])

    def _bury(self, part: list[PendingEvent], reasons: dict[str, str]) -> None:
        if not part:
            return
        now = self._clock()
        self._dead_letters.add([DeadLetter(now, reasons[each.event.id], each.event) for each in part])
        self._book.state.dead_letters += len(part)
        self._book.write()
        self._done += part
        log.error("Dispatcher %s: %d events are refused for good; see its dead letters.", self._book.name, len(part))

    def _mark_delivered(self, part: list[PendingEvent]) -> None:
        if not part:
            return
        self._book.state.delivered += len(part)
        self._forget_failures()
        self._book.write()  # before the acknowledgement: events that come again after a crash count again
        self._done += part

    def _put_off(self, reason: str, retry_after_s: float | None = None) -> None:
        state = self._book.state
        state.tries += 1
        wait_s = self._pace.backoff.wait_s(state.tries, retry_after_s)
        state.retry_at = self._clock() + wait_s
        if state.error != reason:
            log.warning("Dispatcher %s cannot deliver: %s. Next try in %.1f s.", self._book.name, reason, wait_s)
        state.error = reason
        self._book.write()

    def _forget_failures(self) -> None:
        state = self._book.state
        if state.error:
            log.warning("Dispatcher %s goes on.", self._book.name)
        state.tries, state.retry_at, state.error = 0, 0.0, ""

    def _acknowledge(self) -> None:
        if self._done:
            self._source.done(self._done)
            self._done = []

    def _measure(self) -> int:
        backlog = self._source.backlog()
        state = self._book.state
        if (state.backlog_events, state.oldest_at) != (backlog.events, backlog.oldest_at):
            state.backlog_events, state.oldest_at = backlog.events, backlog.oldest_at
            self._book.write()
        self._measured_at = self._clock()
        return backlog.events
