"""What this app needs from other apps. `config/ports.py` supplies it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from strict.ports import Port


class Traffic(Protocol):
    """The newest requests to a provider.

    `served` says of each request whether it was served, the newest first. The others are of the newest request: its
    status, how long the provider took in milliseconds, and when it began.
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
        """By name, the traffic of those of these providers that had requests lately. Raises `DatabaseError`."""


CONFIGURATION_VERSION: Port[Callable[[], int]] = Port("providers.ports.CONFIGURATION_VERSION")
LATEST_TRAFFIC: Port[LatestTraffic] = Port("providers.ports.LATEST_TRAFFIC")
