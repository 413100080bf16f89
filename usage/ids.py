"""A request's id says when it began, so an order by id is one by time, and a bound in time is a bound in ids.

`req_`, then the milliseconds since 1970 in twelve hexadecimal digits, then what makes it unique (`proxy/exchange.py`).
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from hashlib import sha256

PREFIX = "req_"
AFTER_ALL = "req`"
"""Above every id; what sorts outside of `PREFIX` and this was not made by Sluice."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MS = timedelta(milliseconds=1)
SLACK_MS = 2
"""A row's time is rounded to microseconds, and its id's is cut to milliseconds."""

_BEGINNING = re.compile(r"req_([0-9a-f]{12})")
LAST_MS = 2**48 - 1
MOST_KEY_CHARS = 128


def id_at(moment: datetime, later_ms: int = 0) -> str:
    """The beginning of the ids of that millisecond: lower than all of them, and higher than all before."""
    return f"{PREFIX}{min(max((moment - EPOCH) // MS + later_ms, 0), LAST_MS):012x}"


def time_of(request_id: str) -> datetime | None:
    """When the request with that id, or with an id that begins like it, began; None for an id of another kind."""
    match = _BEGINNING.match(request_id)
    if match is None:
        return None
    try:
        return EPOCH + int(match[1], 16) * MS
    except OverflowError:
        return None


def object_key(object_id: str) -> str:
    """The id as it is looked up by: itself, unless it is too long for a column or has characters that none holds."""
    if len(object_id) <= MOST_KEY_CHARS and object_id.isprintable():
        return object_id
    return "sha256:" + sha256(object_id.encode("utf-8", "surrogatepass")).hexdigest()
