"""Tokens that no provider counted: estimated, and marked so.

A token is taken for four bytes of text in UTF-8. The count is of what came from the provider, be it whole, cut by the
provider, or left by the client; what never came costs nothing (docs/operations.md). A plain answer and a stream that
say the same are estimated the same.

An event is on disk before the end of its answer leaves, so whoever ends an answer asks `finish_estimate` first: a text
that takes the event loop long is looked through in a thread, and the end waits for it.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence

from proxy.admission.estimate import estimated_prompt
from proxy.dialects.base import ESTIMATED, Usage
from proxy.exchange import Exchange
from proxy.wire.pieces import joined
from proxy.wire.text import tokens_of_bytes

LOOP_BYTES = 256 * 1024
"""A longer text is looked through off the event loop."""


async def complete_count(exchange: Exchange, raw: bytes) -> None:
    """Of a plain answer: what its provider did not count, or counted as nothing, is estimated, where text came."""
    usage = exchange.usage
    if usage is None or (not usage.completion and exchange.dialect.makes_text):
        text_bytes = exchange.dialect.answer_bytes
        try:
            size = await asyncio.to_thread(text_bytes, raw) if len(raw) > LOOP_BYTES else text_bytes(raw)
        except asyncio.CancelledError:  # the client left meanwhile: it is charged what had come, which is all
            set_estimate(exchange, text_bytes(raw))
            raise
        set_estimate(exchange, size)
        usage = exchange.usage
    if usage is not None and usage.prompt == 0 and (usage.completion or not exchange.dialect.makes_text):
        usage.prompt = None
    await finish_estimate(exchange)


def set_estimate(exchange: Exchange, size: int | None) -> None:
    usage = exchange.usage
    if usage is None and size is not None:
        exchange.usage = Usage(completion=tokens_of_bytes(size), source=ESTIMATED)
    elif usage is not None and size:
        usage.completion, usage.source = tokens_of_bytes(size), ESTIMATED


async def estimate_part(exchange: Exchange, pieces: Sequence[bytes]) -> None:
    """Of a plain answer whose client left while it came. Sets `usage`, unless nothing of it came."""
    raw = await joined(pieces)
    if raw and not exchange.dialect.makes_text:
        set_estimate(exchange, 0)  # there is no text in vectors, and to look for some takes long
    elif raw:
        written = exchange.dialect.words.written
        is_long = len(raw) > LOOP_BYTES
        size = await asyncio.to_thread(texts_bytes, raw, written) if is_long else texts_bytes(raw, written)
        set_estimate(exchange, size)


def texts_bytes(raw: bytes, written: re.Pattern[bytes]) -> int:
    return sum(len(match[1]) for match in written.finditer(raw))


async def finish_estimate(exchange: Exchange) -> None:
    """Before the end of an answer leaves: estimate a long prompt, where one is to be estimated."""
    usage = exchange.usage
    if usage is None or usage.prompt is not None:
        return
    body = exchange.body
    if body is not None and body.size > LOOP_BYTES:
        usage.prompt = await asyncio.to_thread(estimated_prompt, body, exchange.dialect.words)
        usage.source = ESTIMATED
