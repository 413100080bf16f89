"""The contract of a dispatcher."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from usage.event import RequestEvent
from usage.sending.post import Later, Refused

if TYPE_CHECKING:
    import httpx

    from usage.dispatch.target import Target

__all__ = ["Dispatcher", "Later", "PartlyDelivered", "Refused", "Rejected"]


class Rejected(NamedTuple):
    """An event of a batch that its target will not have, though it took the others."""

    event: RequestEvent
    reason: str


class PartlyDelivered(Later):
    """Those arrived; the others may be taken later."""

    def __init__(self, delivered: Sequence[RequestEvent], cause: Later) -> None:
        super().__init__(str(cause), cause.retry_after_s)
        self.delivered = delivered


class Dispatcher(ABC):
    """Knows one kind of target, and nothing of journals, retries or counts.

    `deliver(events)` sends a batch and returns when the target has it: what it returns is what the target rejected of
    it, each with the reason, and everything else never comes again.

    * It raises `Later` when the target takes nothing now, or nothing from us: it is away, too busy, or will not know
      our key. The same events come again, perhaps in another batch, after a pause. `PartlyDelivered` where some
      arrived.
    * It raises `Refused` when the target will not have this batch. The batch is then cut in halves to find which event
      it is; what is refused alone becomes a dead letter.
    * Delivery is at least once, so that an event carries its id, always the same, wherever the target can know it
      again.
    * Nothing of the target's secrets stands in an exception's text.

    One thread uses it at a time. `needs` names what a `Target` must have for it, `takes` what it may have.
    """

    needs: ClassVar[tuple[str, ...]] = ()
    takes: ClassVar[tuple[str, ...]] = ()
    default_url: ClassVar[str] = ""
    most_events: ClassVar[int] = 1000
    """In one batch."""

    def __init__(self, target: Target, client: httpx.Client) -> None:
        self.target, self.client = target, client

    def wants(self, event: RequestEvent) -> bool:
        """Whether the target has a place for such an event at all."""
        return True

    @abstractmethod
    def deliver(self, events: Sequence[RequestEvent]) -> list[Rejected]:
        """See above."""
