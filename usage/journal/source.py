"""The interface by which a consumer of the journal gets its events.

It gets each event at least once, the events of each writer in order, and all of them at its own pace.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

from usage.event import RequestEvent


class PendingEvent(NamedTuple):
    """An event, and the token that identifies it in `Source.done`."""

    token: str
    event: RequestEvent


class Backlog(NamedTuple):
    """What waits for a consumer. `oldest_at` is in Unix seconds; None if it is not known or nothing waits."""

    events: int
    bytes: int
    oldest_at: float | None


class Source(ABC):
    """One named consumer's view of the journal.

    Events that were read and not marked as done come again: after a crash, to the process that opens the source next.
    Every method may raise `OSError` or `redis.RedisError` if the disk or Redis fails, and may be called again later.
    """

    @abstractmethod
    def read(self, most: int) -> list[PendingEvent]:
        """Return the next events that no reader has yet, at most `most`; an empty list if there are none now."""

    @abstractmethod
    def done(self, events: Sequence[PendingEvent]) -> None:
        """Mark events as done, so that they do not come again."""

    @abstractmethod
    def backlog(self) -> Backlog:
        """Return what is not done yet."""

    @abstractmethod
    def close(self) -> None:
        """Stop reading. Events that are not done are left to the next reader."""
