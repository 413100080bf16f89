"""The ports of this app: what it needs from other apps."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple, Protocol

from strict.ports import Port


class ModelUsage(NamedTuple):
    """What was used of one model. Refused requests do not count."""

    model: str
    requests: int
    prompt_tokens: int
    completion_tokens: int
    cost_picousd: int
    unpriced_requests: int
    """Requests whose cost is unknown. `cost_picousd` does not include them."""


class Ledger(Protocol):
    """Counts what is spent."""

    def spent_of(self, kind: str, ids: Collection[int], now: datetime) -> Mapping[int, int]:
        """Picodollars by id, spent in the row's own period that contains `now`. Ids without spending may be missing.

        `kind` is key, user, team, project or global; `ids` are primary keys.
        """

    def usage_of_key(self, key_id: int, since: datetime) -> Sequence[ModelUsage]:
        """Usage by model, the most used first."""

    def requests_of_keys(self, ids: Collection[int], now: datetime) -> Mapping[int, int]:
        """Requests since midnight UTC by the key's id, without refused ones. Keys without any may be missing."""


class OpenAIError(Protocol):
    def __call__(self, message: str, type_: str, param: str | None, code: str | None) -> bytes:
        """An error in OpenAI's shape, as JSON."""


LEDGER: Port[Ledger] = Port("keys.ports.LEDGER")
UPSTREAM_ALIASES: Port[Callable[[], Collection[str]]] = Port("keys.ports.UPSTREAM_ALIASES")
"""The aliases of all upstream credentials."""

OPENAI_ERROR: Port[OpenAIError] = Port("keys.ports.OPENAI_ERROR")
