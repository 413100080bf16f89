"""What this app asks of others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from strict.ports import Port


class Traffic(Protocol):
    """The newest requests of a provider, newest first: whether each was served, with its status; how long the newest
    took the provider, in milliseconds, and when it began.
    """

    @property
    def served(self) -> Sequence[bool]: ...
    @property
    def status(self) -> int: ...
    @property
    def latency_ms(self) -> float | None: ...
    @property
    def at(self) -> datetime: ...


class LatestTraffic(Protocol):
    def __call__(self, providers: Iterable[str], now: datetime) -> Mapping[str, Traffic]:
        """Of these providers those that had requests lately, by name."""


CONFIGURATION_VERSION: Port[Callable[[], int]] = Port("providers.ports.CONFIGURATION_VERSION")
LATEST_TRAFFIC: Port[LatestTraffic] = Port("providers.ports.LATEST_TRAFFIC")
