"""The cache of one process: its settings and where its entries are."""

from __future__ import annotations

from typing import NamedTuple

from cache.memory import MemoryStore
from cache.record import RecordingRoom

OFF, ON, OPT_IN = "off", "on", "opt_in"


class ResponseCache(NamedTuple):
    """`default_policy` is that of projects that say nothing: `off`, `on`, or `opt_in`, where each request asks."""

    store: MemoryStore
    default_policy: str
    default_ttl_s: int
    most_object_bytes: int
    room: RecordingRoom
