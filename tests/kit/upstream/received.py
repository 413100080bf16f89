"""What the upstream keeps of each request."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass, field
from typing import Any


@dataclass(eq=False)
class Received:
    """One request as it came. The events tell other threads how it goes on; times are `time.monotonic()`."""

    method: str
    path: str
    query: str
    headers: list[tuple[str, str]]
    connection_id: int
    started_at: float = field(default_factory=time.monotonic)
    pieces: list[tuple[float, int]] = field(default_factory=list)
    """When body bytes came, and how many."""
    complete: threading.Event = field(default_factory=threading.Event)
    """The request came whole."""
    answered: threading.Event = field(default_factory=threading.Event)
    """The script ran to its end."""
    closed_by_peer: threading.Event = field(default_factory=threading.Event)
    """The peer hung up before the script was through."""
    closed_at: float | None = None
    sent_bytes: int = 0
    """Of the answer, handed to the kernel or the small buffer before it."""
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
        """The header's value; several are joined with commas, as HTTP allows."""
        values = self.header_values(name)
        return ", ".join(values) if values else None

    def header_values(self, name: str) -> list[str]:
        return [value for known, value in self.headers if known.lower() == name.lower()]
