"""Ids of requests. An id contains the time at which the request began, so the order of ids is the order of time.

An id is `req_`, the milliseconds since 1970 in twelve hexadecimal digits, and a part that makes it unique
(`proxy/exchange.py`).
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from hashlib import sha256

PREFIX = "req_"
AFTER_ALL = "req`"
"""Greater than every id. An id that is not between `PREFIX` and this was not made by Sluice."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MS = timedelta(milliseconds=1)
SLACK_MS = 2
"""How far the time in an id may be from that of its row: one is cut to milliseconds, the other rounded to
microseconds."""

_BEGINNING = re.compile(r"req_([0-9a-f]{12})")
LAST_MS = 2**48 - 1
MOST_KEY_CHARS = 128


def id_at(moment: datetime, later_ms: int = 0) -> str:
    """Return the beginning of all ids of a millisecond: at most each of them, and greater than all earlier ids."""
    return f"{PREFIX}{min(max((moment - EPOCH) // MS + later_ms, 0), LAST_MS):012x}"


def time_of(request_id: str) -> datetime | None:
    """Return when the request with an id, or with the beginning of one, began; None for ids of other formats."""
    match = _BEGINNING.match(request_id)
    if match is None:
        return None
    try:
        return EPOCH + int(match[1], 16) * MS
    except OverflowError:
        return None


def object_key(object_id: str) -> str:
    """Return the key under which a provider's id is stored: the id itself, or a hash of it.

    Ids are hashed if they are too long for the column, or contain characters that are not printable.
    """
    if len(object_id) <= MOST_KEY_CHARS and object_id.isprintable():
        return object_id
    return "sha256:" + sha256(object_id.encode("utf-8", "surrogatepass")).hexdigest()
