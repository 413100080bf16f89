"""A request that the upstream has received, and how its answer went."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass, field
from typing import Any


@dataclass(eq=False)
class Received:
    """One request as it came. Other threads can wait for its events. Times are `time.monotonic()`."""

    method: str
    path: str
    query: str
    headers: list[tuple[str, str]]
    connection_id: int
    started_at: float = field(default_factory=time.monotonic)
    pieces: list[tuple[float, int]] = field(default_factory=list)
    """For each piece of the body, when it came and its number of bytes."""
    complete: threading.Event = field(default_factory=threading.Event)
    """The whole request has come."""
    answered: threading.Event = field(default_factory=threading.Event)
    """The script has come to its end."""
    closed_by_peer: threading.Event = field(default_factory=threading.Event)
    """The peer closed the connection before the script came to its end."""
    closed_at: float | None = None
    sent_bytes: int = 0
    """The bytes of the answer that were passed to the kernel, or to the small buffer before it."""
    _body: bytearray = field(default_factory=bytearray, repr=False)

    @property
    def body(self) -> bytes:
        return bytes(self._body)

    def add(self, data: bytes) -> None:
        self._body += data
        self.pieces.append((time.monotonic(), len(data)))

    def json(self) -> Any:
        return json.loads(self._body)

    def header(self, name: str) -> str | None:
        """The header's value, or None. Several are joined with commas (RFC 9110, section 5.3)."""
        values = self.header_values(name)
        return ", ".join(values) if values else None

    def header_values(self, name: str) -> list[str]:
        return [value for known, value in self.headers if known.lower() == name.lower()]
