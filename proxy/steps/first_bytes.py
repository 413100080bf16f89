"""Tell by the first bytes of an answer whether it is a stream of events or an object, whatever its label says.

The label is the answer's Content-Type.
"""

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
"""White space after which the label decides."""

STREAM = b"text/event-stream; charset=utf-8"
OBJECT = b"application/json"


def shows_stream(start: bytes, *, labelled: bool) -> bool | None:
    """Whether these are the first bytes of a stream of events; None if they are too few to tell.

    An answer that is labelled as a stream may begin with an unknown field. It is no stream only if it is an object.
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
    """Whether the answer is a stream of events. Corrects its label, and puts back what was read.

    None if this cannot be told by `until`, in the event loop's time. Raises `UpstreamError` if the answer ends before
    it can be told, and as `Answer.read` does.
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
            # The connection may already serve another request, so nothing can be put back.
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
