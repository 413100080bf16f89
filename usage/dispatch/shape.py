"""An event as other systems get it. Its members have the names of `/api/requests`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec

from usage.event import RequestEvent

RENAMED = {"path": "endpoint", "status": "status_code"}
LEFT_OUT = frozenset({"at", "endpoint", "cost_picousd", "saved_picousd", "requests", "made", "holder", "settles"})


def document_of(event: RequestEvent) -> dict[str, Any]:
    """Return an event with all members; unknown ones are None. Dollars are a decimal in text."""
    fields = msgspec.structs.asdict(event)
    cost = event.cost_picousd
    return {
        "id": event.id,
        "created_at": datetime.fromtimestamp(event.at, UTC).isoformat(timespec="milliseconds"),
        **{RENAMED.get(name, name): value for name, value in fields.items() if name not in LEFT_OUT},
        "cost_usd": None if cost is None else dollars(cost),
        "saved_usd": dollars(event.saved_picousd),
    }


def dollars(picousd: int) -> str:
    sign, whole = "-" * (picousd < 0), abs(picousd)
    return f"{sign}{whole // 10**12}.{whole % 10**12:012d}"
