"""What this app asks of others."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple, Protocol

from strict.ports import Port


class ModelUsage(NamedTuple):
    """What one model was used for. Refused requests are not among them."""

    model: str
    requests: int
    prompt_tokens: int
    completion_tokens: int
    cost_picousd: int
    unpriced_requests: int
    """Requests whose cost is not known; `cost_picousd` leaves them out."""


class Ledger(Protocol):
    """Whoever counts what is spent."""

    def spent_of(self, kind: str, ids: Collection[int], now: datetime) -> Mapping[int, int]:
        """Picodollars by id in the period, by each row's own settings, that `now` is in. Ids that spent nothing may
        miss. `kind` is key, user, team, project or global; `ids` are primary keys.
        """

    def usage_of_key(self, key_id: int, since: datetime) -> Sequence[ModelUsage]:
        """By model, the most used first."""

    def requests_of_keys(self, ids: Collection[int], now: datetime) -> Mapping[int, int]:
        """Since midnight in UTC, by the key's id, without refused ones. Keys without any may miss."""


class OpenAIError(Protocol):
    def __call__(self, message: str, type_: str, param: str | None, code: str | None) -> bytes:
        """An error in OpenAI's shape, as JSON."""


LEDGER: Port[Ledger] = Port("keys.ports.LEDGER")
UPSTREAM_ALIASES: Port[Callable[[], Collection[str]]] = Port("keys.ports.UPSTREAM_ALIASES")
"""The aliases that credentials of providers have."""

OPENAI_ERROR: Port[OpenAIError] = Port("keys.ports.OPENAI_ERROR")
