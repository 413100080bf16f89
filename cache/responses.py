"""The cache of one process: its settings and where its entries are."""

from __future__ import annotations

from typing import Any, NamedTuple

from cache.flight import RecordingRoom
from cache.memory import MemoryStore

OFF, ON, OPT_IN = "off", "on", "opt_in"


class ResponseCache(NamedTuple):
    """`default_policy` is that of projects that say nothing: `off`, `on`, or `opt_in`, where each request asks."""

    store: MemoryStore
    default_policy: str
    default_ttl_s: int
    most_object_bytes: int
    room: RecordingRoom
    calls: dict[tuple[str, bool, bool], Any]
    """The calls to providers that are under way and may be joined (`proxy/joining.py`), by digest and form."""
