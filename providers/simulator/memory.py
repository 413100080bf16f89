"""What one process of the simulator remembers: stored responses, and the number of requests with the fault `flap`."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, NamedTuple

MOST_RESPONSES = 1000
MOST_BYTES = 64 * 1024 * 1024


class Stored(NamedTuple):
    """A response of the Responses API, with its input."""

    response: dict[str, Any]
    input: list[dict[str, Any]]
    size: int


class Memory:
    """Bounded in responses and in bytes. The oldest response is forgotten first."""

    def __init__(self) -> None:
        self.flaps = 0
        self.bytes = 0
        self.responses: OrderedDict[str, Stored] = OrderedDict()

    def keep(self, stored: Stored) -> None:
        name = stored.response["id"]
        self.forget(name)
        self.responses[name] = stored
        self.bytes += stored.size
        while len(self.responses) > MOST_RESPONSES or self.bytes > MOST_BYTES:
            self.forget(next(iter(self.responses)))

    def forget(self, name: str) -> Stored | None:
        stored = self.responses.pop(name, None)
        if stored:
            self.bytes -= stored.size
        return stored

    def flap(self, period: int) -> bool:
        """Count a request. Returns whether it is one that fails."""
        self.flaps += 1
        return self.flaps % period == 0
