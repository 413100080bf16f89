"""What an event must be so that every database takes its row: cut to its columns, in text and numbers that they hold.

In one place, so that nobody who fills in a field need think of it. It happens when the event is made: the journal, the
log, the metrics and the dispatchers get the same one. The ledger does it again, for lines that an older version wrote.
"""

from __future__ import annotations

import ipaddress
import re
from functools import lru_cache

from usage.event import RequestEvent
from usage.ids import object_key
from usage.prices.price import MOST_PICOUSD

LONGEST = {
    "method": 16,
    "path": 200,
    "outcome": 16,
    "provider": 64,
    "credential": 64,
    "model": 200,
    "model_served": 200,
    "error": 64,
    "cache": 8,
    "usage_source": 10,
    "price_source": 16,
    "correlation_id": 128,
    "response_id": 128,
}
"""Characters of each column of text, but for the id, which is never cut: a part of it is another request's."""

COUNTS = (
    "prompt_tokens",
    "completion_tokens",
    "cached_tokens",
    "reasoning_tokens",
    "cache_write_tokens",
    "audio_tokens",
    "request_bytes",
    "response_bytes",
)
MOST_COUNTED = 2**40 - 1
"""Tokens or bytes of one request. Sums of counts are 64-bit numbers: eight million requests of this size fit."""

MOST_SMALL = 32_767
"""What PostgreSQL's smallint holds."""

MOST_PLAIN_CHARS = 128
"""The columns of texts that clients and providers choose have room for so many, but for the method's."""

REPLACEMENT = "\ufffd"
_UNFIT = re.compile(r"[\0\ud800-\udfff]")


def make_writable(event: RequestEvent) -> RequestEvent:
    """Mend an event of this version where it has to be, and return it: in the texts that clients and providers choose.

    What operators choose was checked then, and counts are no larger than `MOST_COUNTED` where they are read from an
    answer (`proxy/dialects/counts.py`). It runs once a request: what is said again is not looked at again.
    """
    response_id = event.response_id
    if (
        not _are_plain(event.method, event.path, event.model, event.model_served, event.correlation_id)
        or len(response_id) > MOST_PLAIN_CHARS
        or not response_id.isascii()
        or "\0" in response_id
    ):
        _mend_texts(event)
    if event.tags:
        event.tags = tags_as_text(event.tags)
    if event.ip is not None:
        event.ip = address(event.ip)
    return event


@lru_cache(maxsize=4096)
def _are_plain(method: str, *texts: str) -> bool:
    """Whether they certainly fit. What is not ASCII, or long, is told apart by the careful way."""
    text = method + "".join(texts)
    return text.isascii() and "\0" not in text and len(method) <= 16 and max(map(len, texts)) <= MOST_PLAIN_CHARS


def make_line_writable(event: RequestEvent) -> RequestEvent:
    """For an event that comes from a file, so that any of its fields may be odd."""
    _mend_texts(event)
    _mend_numbers(event)
    return make_writable(event)


def _mend_texts(event: RequestEvent) -> None:
    event.response_id = object_key(event.response_id)  # whole or hashed: a part of an id is another one's
    for name, most in LONGEST.items():
        text = getattr(event, name)
        if len(text) > most or not text.isprintable():
            setattr(event, name, as_text(text, most))


def _mend_numbers(event: RequestEvent) -> None:
    for name in COUNTS:
        if (count := getattr(event, name)) is not None:
            setattr(event, name, min(max(count, 0), MOST_COUNTED))
    if event.cost_picousd is not None:
        event.cost_picousd = min(max(event.cost_picousd, 0), MOST_PICOUSD)
    event.status = min(max(event.status, 0), MOST_SMALL)
    event.attempts = min(max(event.attempts, 0), MOST_SMALL)


def as_text(text: str, most: int) -> str:
    """At most so many characters, and none that a database has no place for: NUL, and halves of surrogate pairs."""
    return _UNFIT.sub(REPLACEMENT, text[:most])


@lru_cache(maxsize=4096)
def tags_as_text(tags: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(_UNFIT.sub(REPLACEMENT, tag) for tag in tags)


@lru_cache(maxsize=4096)
def address(host: str) -> str | None:
    """The client's address; None for what is none, such as the name of a Unix socket.

    Without the name of the link that an address of IPv6 may end with, which PostgreSQL does not take.
    """
    try:
        return str(ipaddress.ip_address(host.partition("%")[0]))
    except ValueError:
        return None
