"""The request log: one JSON line for each request. No prompt, no answer, no secret is in it."""

from __future__ import annotations

import time
from functools import lru_cache

import msgspec

from usage.event import RequestEvent

_encoder = msgspec.json.Encoder()


def log_line(event: RequestEvent) -> str:
    """The event's own fields, behind those that every line of the log begins with."""
    second = int(event.at)
    at = f"{_second(second)}.{int((event.at - second) * 1000):03d}+00:00"
    fields = _encoder.encode(event).decode()[1:]
    return f'{{"time":"{at}","level":"info","logger":"sluice.requests",{fields}'


@lru_cache(maxsize=8)
def _second(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
