"""What an answer is, by its first bytes: a stream of events or an object, whatever its label says."""

from __future__ import annotations

import time
from math import inf

from proxy.errors import UpstreamError
from proxy.exchange import Exchange
from proxy.wire.answer import Answer

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
FIELDS = (b":", b"data:", b"event:", b"id:", b"retry:")
"""What the first line of a stream of events begins with."""

MOST_BLANK_BYTES = 64 * 1024
"""Of white space, before the answer counts as an object."""

STREAM = b"text/event-stream; charset=utf-8"
OBJECT = b"application/json"


def shows_stream(start: bytes, *, labelled: bool) -> bool | None:
    """Whether these first bytes are a stream's; None: too few to tell.

    One that is labelled as a stream may begin with a field that nobody knows; it is none only when it is an object.
    """
    if BYTE_ORDER_MARK.startswith(start):
        return None
    text = start.removeprefix(BYTE_ORDER_MARK).lstrip()
    if not text:
        return None if len(start) < MOST_BLANK_BYTES else labelled
    if labelled:
        return not text.startswith(b"{")
    if text.startswith(FIELDS):
        return True
    return None if any(field.startswith(text) for field in FIELDS) else False


async def look(exchange: Exchange, answer: Answer, *, labelled: bool, until: float = inf) -> bool | None:
    """Whether the answer is a stream of events; its label is put right. Nothing of it is lost.

    None where it cannot be told by `until`, in the loop's time. Raises `UpstreamError` when it ends before it can be
    told, and as `Answer.read` does.
    """
    attempt = exchange.attempts[-1]
    start = b""
    is_stream = None
    while is_stream is None:
        if until != inf and not await answer.comes_by(until):
            if start:
                answer.put_back(start)
            return None
        piece = await answer.read()
        if not piece:
            # Its connection may serve another request by now, so nothing can be put back.
            raise UpstreamError(
                "upstream_incomplete" if labelled else "upstream_invalid_response",
                "The provider's answer ended before anything had come of it.",
            )
        if attempt.first_byte_at is None:
            attempt.first_byte_at = time.monotonic()
        start += piece
        is_stream = shows_stream(start, labelled=labelled)
    answer.put_back(start)
    if is_stream is not labelled:
        others = [header for header in answer.headers if header[0] != b"content-type"]
        answer.headers = [*others, (b"content-type", STREAM if is_stream else OBJECT)]
    return is_stream
