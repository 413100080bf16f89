"""Read an answer whole before it is sent. Its size and its time are bounded."""

from __future__ import annotations

import time

from proxy.components import Components
from proxy.exchange import Exchange
from proxy.server.deadlines import RequestDeadline
from proxy.steps.heartbeat import BLANKS, pass_blanks
from proxy.upstream.encoding import READABLE, coding_of, inflated
from proxy.wire.answer import Answer
from proxy.wire.decoders import Undecodable
from proxy.wire.pieces import THREAD_BYTES, joined

MAX_READ_ANSWER_BYTES = 64 * 1024 * 1024


async def read_whole(
    exchange: Exchange,
    answer: Answer,
    components: Components,
    deadline: RequestDeadline,
    most: int,
    pieces: list[bytes],
    *,
    passes_blanks: bool = False,
) -> bytes | None:
    """The whole body; None if it is larger than `most`. `pieces` gets what has come, for a caller that is interrupted.

    With `passes_blanks`, white space before the body may be sent to the client meanwhile. It is then not returned.
    """
    attempt = exchange.attempts[-1]
    whole = answer.rest()
    if whole is not None:
        attempt.first_byte_at = attempt.done_at = time.monotonic()
        deadline.relax()
        return whole
    deadline.expect(0, components.bounds.answer_late)
    deadline.at = (attempt.sent_at or time.monotonic()) + components.bounds.answer_s
    whole = await answer.read()
    attempt.first_byte_at = time.monotonic()
    if passes_blanks and whole[:1].isspace() and not whole.strip(BLANKS):
        whole = await pass_blanks(exchange, answer, whole)
    pieces.append(whole)
    if rest := await answer.read():
        pieces.append(rest)
        size = len(whole) + len(rest)
        while rest := await answer.read():
            pieces.append(rest)
            size += len(rest)
            if size > most:
                return None
        whole = b"".join(pieces) if size <= THREAD_BYTES else await joined(pieces)
    attempt.done_at = time.monotonic()
    deadline.relax()
    return whole


async def plain(answer: Answer, raw: bytes | None, most: int) -> bytes | None:
    """The answer, unpacked if it is compressed; None if it cannot be unpacked here, or is larger than `most`."""
    coding = coding_of(answer.headers)
    if raw is None or not coding:
        return raw
    if coding not in READABLE:
        return None
    try:
        whole, is_all = await inflated(coding, raw, most)
    except Undecodable:
        return None
    return whole if is_all else None
