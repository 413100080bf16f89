"""Step 4: whether there is room. Every limit that applies, taken at once and given back on every way out."""

from __future__ import annotations

from keys.limits import Standing
from keys.limits.memory import RequestsPerMinute
from proxy.exchange import Exchange


class Held:
    """What one request has taken. Settling it twice is harmless."""

    __slots__ = ("_settled", "standing")

    def __init__(self, standing: Standing | None) -> None:
        self.standing = standing
        self._settled = False

    def settle(self) -> None:
        # A request of a minute stays taken when it is over: there is nothing to give back yet.
        self._settled = True


class Admission:
    """The limits of this process."""

    def __init__(self) -> None:
        self._requests_per_minute = RequestsPerMinute()

    def reserve(self, exchange: Exchange) -> Held:
        """Raises `LimitExceeded`; then nothing was taken."""
        key = exchange.key
        if key is None or key.rpm is None:
            return UNLIMITED
        return Held(self._requests_per_minute.reserve(key.id, f"key {key.name!r}", key.rpm, exchange.t0))


UNLIMITED = Held(None)
