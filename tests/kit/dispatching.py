"""For tests of dispatchers: events, targets, a journal in memory, and a dispatcher that does as it is told."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from usage.dispatch.base import Dispatcher, Rejected
from usage.dispatch.target import Target
from usage.event import RequestEvent
from usage.journal.source import Backlog, PendingEvent, Source

SECRET = "a-secret-of-the-tests-0123456789"
AT = 1_790_000_000.25


def event(number: int, **changes: Any) -> RequestEvent:
    fields: dict[str, Any] = {
        "id": f"req_{number}", "at": AT + number, "method": "POST", "path": "/v1/chat/completions", "status": 200,
        "outcome": "complete", "duration_ms": 250.5, "key": 7, "project": 3, "user": 5, "provider": "openai",
        "model": "fast", "model_served": "gpt-4.1-mini", "prompt_tokens": 12, "completion_tokens": 30,
        "cost_picousd": 52_800_000, "endpoint": "/v1/chat/completions", "ttft_ms": 80.0, "tags": ("a", "b"),
    }  # fmt: skip
    return RequestEvent(**{**fields, **changes})


def target(kind: str, name: str = "", **options: Any) -> Target:
    return Target(name or kind, kind, **{"secret": SECRET, "api_key": "key-of-the-tests", **options})


class ListSource(Source):
    """A journal in memory. After `close`, events that were read but not done are read again."""

    def __init__(self, events: Sequence[RequestEvent] = ()) -> None:
        self.waiting = {each.id: each for each in events}
        self.given: set[str] = set()
        self.read_at_most = 0
        self.away: OSError | None = None

    def read(self, most: int) -> list[PendingEvent]:
        self._look()
        new = [PendingEvent(id_, each) for id_, each in self.waiting.items() if id_ not in self.given][:most]
        self.given |= {each.token for each in new}
        self.read_at_most = max(self.read_at_most, len(self.given & set(self.waiting)))
        return new

    def done(self, taken: Sequence[PendingEvent]) -> None:
        self._look()
        for each in taken:
            del self.waiting[each.token]

    def backlog(self) -> Backlog:
        self._look()
        oldest = min((each.at for each in self.waiting.values()), default=None)
        return Backlog(len(self.waiting), 0, oldest)

    def close(self) -> None:
        self.given.clear()

    def _look(self) -> None:
        if self.away:
            raise self.away


class Obedient(Dispatcher):
    """A dispatcher that takes one of `answers` for each call: raises it if it is an exception, else returns it."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.calls: list[list[str]] = []

    def deliver(self, events: Sequence[RequestEvent]) -> list[Rejected]:
        self.calls.append([each.id for each in events])
        answer = self.answers.pop(0) if self.answers else []
        if callable(answer):
            answer = answer(events)
        if isinstance(answer, BaseException):
            raise answer
        return list(answer)
