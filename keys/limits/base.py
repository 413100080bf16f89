"""What a limit is."""

from __future__ import annotations

from typing import NamedTuple, Protocol


class Standing(NamedTuple):
    """Where a limit stands after a reservation, for the answer's headers."""

    limit: int
    remaining: int
    reset_s: float
    """Seconds until the whole limit is free again."""

    def headers(self) -> list[tuple[bytes, bytes]]:
        """OpenAI's headers for it (https://platform.openai.com/docs/guides/rate-limits#rate-limits-in-headers)."""
        return [
            (b"x-ratelimit-limit-requests", b"%d" % self.limit),
            (b"x-ratelimit-remaining-requests", b"%d" % self.remaining),
            (b"x-ratelimit-reset-requests", b"%.3fs" % self.reset_s),
        ]


class LimitExceeded(Exception):
    """A reservation was refused; nothing was taken. `retry_after_s` is when the same one would be accepted."""

    code = "rate_limit_exceeded"

    def __init__(self, name: str, scope: str, standing: Standing, retry_after_s: float) -> None:
        super().__init__(f"{name} of {scope}: {standing.limit}")
        self.name, self.scope, self.standing, self.retry_after_s = name, scope, standing, retry_after_s


class Reservation(Protocol):
    """What was taken at admission. It must be settled on every way out; settling twice is harmless."""

    standing: Standing | None

    def settle(self) -> None: ...
