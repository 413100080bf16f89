"""Where a consumer of the journal gets its events from: at least once, in order for each writer, at its own pace."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

from usage.event import RequestEvent


class PendingEvent(NamedTuple):
    """An event, and the token by which its consumer says that it is done with it."""

    token: str
    event: RequestEvent


class Backlog(NamedTuple):
    """What waits for a consumer. `oldest_at` is in Unix seconds; None where nothing waits."""

    events: int
    bytes: int
    oldest_at: float | None


class Source(ABC):
    """One named consumer's view of the journal.

    What was read and not done with comes again, after a crash to whoever opens the source next. Every method may raise
    `OSError` or `redis.RedisError` when what is behind it is away; calling it again later goes on.
    """

    @abstractmethod
    def read(self, most: int) -> list[PendingEvent]:
        """The next events that no reader has yet, at most so many; none when there are none now."""

    @abstractmethod
    def done(self, events: Sequence[PendingEvent]) -> None:
        """These are where they belong, and need never come again."""

    @abstractmethod
    def backlog(self) -> Backlog:
        """What is not done with yet."""

    @abstractmethod
    def close(self) -> None:
        """Leave what was not done with to the next one."""
