"""Make an event writable: every database must accept its row, so texts and numbers are cut to what columns hold.

This is done in one place, so that code that fills in a field need not care. It happens when the event is made, so that
journal, log, metrics and dispatchers get the same values. The ledger does it again for lines of an older version.
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
"""The characters that each text column holds. The id is not cut, because a part of it could be another request's."""

COUNTS = (
    "prompt_tokens",
    "completion_tokens",
    "cached_tokens",
    "reasoning_tokens",
    "cache_write_tokens",
    "audio_tokens",
    "saved_tokens",
    "request_bytes",
    "response_bytes",
)
MOST_COUNTED = 2**40 - 1
"""The most tokens or bytes of one request. Sums are 64-bit numbers, which hold eight million such requests."""

MOST_SMALL = 32_767
"""The most that PostgreSQL's smallint holds."""

MOST_PLAIN_CHARS = 128
"""All columns for texts that clients and providers choose hold so many characters, except that of the method."""

REPLACEMENT = "\ufffd"
_UNFIT = re.compile(r"[\0\ud800-\udfff]")


def make_writable(event: RequestEvent) -> RequestEvent:
    """Correct the texts of an event that clients and providers chose, if necessary, and return the event.

    Values that operators choose were validated before. Counts are bounded by `MOST_COUNTED` when they are read from an
    answer (`proxy/dialects/counts.py`). This runs for each request, so checks of repeated texts are cached.
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
    """Whether these texts certainly fit. If not, `_mend_texts` checks each: they are not ASCII, or long."""
    text = method + "".join(texts)
    return text.isascii() and "\0" not in text and len(method) <= 16 and max(map(len, texts)) <= MOST_PLAIN_CHARS


def make_line_writable(event: RequestEvent) -> RequestEvent:
    """Correct an event that was read from a file, any field of which may be wrong, and return it."""
    _mend_texts(event)
    _mend_numbers(event)
    return make_writable(event)


def _mend_texts(event: RequestEvent) -> None:
    event.response_id = object_key(event.response_id)  # hashed instead of cut: a part of it could be another id
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
    event.saved_picousd = min(max(event.saved_picousd, 0), MOST_PICOUSD)
    event.status = min(max(event.status, 0), MOST_SMALL)
    event.attempts = min(max(event.attempts, 0), MOST_SMALL)


def as_text(text: str, most: int) -> str:
    """Cut a text to `most` characters, and replace what databases do not store: NUL and lone surrogates."""
    return _UNFIT.sub(REPLACEMENT, text[:most])


@lru_cache(maxsize=4096)
def tags_as_text(tags: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(_UNFIT.sub(REPLACEMENT, tag) for tag in tags)


@lru_cache(maxsize=4096)
def address(host: str) -> str | None:
    """Return a client's IP address; None if it is not one, such as the name of a Unix socket.

    The zone of an IPv6 address (behind `%`) is left out, because PostgreSQL does not accept it.
    """
    try:
        return str(ipaddress.ip_address(host.partition("%")[0]))
    except ValueError:
        return None
