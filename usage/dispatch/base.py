"""The base class of dispatchers."""

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
    """An event that the target refused for good, although it took others of the batch."""

    event: RequestEvent
    reason: str


class PartlyDelivered(Later):
    """Only the events `delivered` arrived. The others may be accepted later."""

    def __init__(self, delivered: Sequence[RequestEvent], cause: Later) -> None:
        super().__init__(str(cause), cause.retry_after_s)
        self.delivered = delivered


class Dispatcher(ABC):
    """Knows how to send to one kind of target. It does not know about journals, retries or counts.

    `deliver(events)` sends a batch and returns when the target has it. It returns the events that the target rejected,
    each with the reason. All others count as delivered.

    * It raises `Later` if the target accepts nothing now: it is away or too busy, or refuses the key. The same events
      are passed again after a pause, perhaps in another batch. It raises `PartlyDelivered` if some arrived.
    * It raises `Refused` if the target refuses the batch. The batch is then cut in halves to find the event that is to
      blame. An event that is refused alone becomes a dead letter.
    * Delivery is at least once. So each event is sent with an id that is always the same, if the target can use it to
      detect duplicates.
    * The text of an exception contains none of the target's secrets.

    One thread uses it at a time. `needs` names the fields that a `Target` must have for it, `takes` those that it may
    have.
    """

    needs: ClassVar[tuple[str, ...]] = ()
    takes: ClassVar[tuple[str, ...]] = ()
    default_url: ClassVar[str] = ""
    most_events: ClassVar[int] = 1000
    """The most events in one batch."""

    def __init__(self, target: Target, client: httpx.Client) -> None:
        self.target, self.client = target, client

    def wants(self, event: RequestEvent) -> bool:
        """Whether the target can represent such an event. Others are skipped."""
        return True

    @abstractmethod
    def deliver(self, events: Sequence[RequestEvent]) -> list[Rejected]:
        """Send a batch, as the class describes."""
