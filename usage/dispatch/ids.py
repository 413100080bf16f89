"""An event's id in the formats of other systems: always the same for an event, so that they can detect duplicates."""

from __future__ import annotations

import hashlib
from uuid import UUID, uuid5

_NAMESPACE = UUID("6f1d3a0e-5c0b-4c7e-9c53-3f6c1c1f8a52")


def uuid_of(event_id: str) -> str:
    return str(uuid5(_NAMESPACE, event_id))


def trace_and_span_of(event_id: str) -> tuple[str, str]:
    """Return a trace id of 16 bytes and a span id of 8 bytes, in hexadecimal."""
    digest = hashlib.sha256(event_id.encode()).hexdigest()
    return digest[:32], digest[32:48]
