"""An event's id in the shapes that others want: always the same for the same event, so that they know it again."""

from __future__ import annotations

import hashlib
from uuid import UUID, uuid5

_NAMESPACE = UUID("6f1d3a0e-5c0b-4c7e-9c53-3f6c1c1f8a52")


def uuid_of(event_id: str) -> str:
    return str(uuid5(_NAMESPACE, event_id))


def trace_and_span_of(event_id: str) -> tuple[str, str]:
    """Hexadecimal, of 16 and 8 bytes."""
    digest = hashlib.sha256(event_id.encode()).hexdigest()
    return digest[:32], digest[32:48]
