"""What comes before an answer and shows that its provider lives: a head alone, white space, comments.

It is held for a moment, since what fails meanwhile can still be an error with a status. Then it goes on as it comes,
and what fails later is told within the answer, or breaks it off.
"""

from __future__ import annotations

import asyncio

from proxy.exchange import Exchange
from proxy.steps import respond
from proxy.steps.passed_headers import UNBUFFERED, passed_lines
from proxy.wire.answer import Answer

HOLD_S = 1.0
"""After a head. Providers that fail right behind theirs do so sooner, and no client gives up before."""

MOST_HELD_BYTES = 64 * 1024
BLANKS = b" \t\r\n"
"""The white space of JSON."""


async def pass_blanks(exchange: Exchange, answer: Answer, held: bytes) -> bytes:
    """Of a plain answer that begins with white space and nothing behind it: what follows that which has gone on."""
    deadline = asyncio.get_running_loop().time() + HOLD_S
    while len(held) <= MOST_HELD_BYTES:
        if not exchange.answer_started and not await answer.comes_by(deadline):
            await respond.start(exchange, answer.status, passed_lines(exchange, answer) + UNBUFFERED)
            await respond.send_piece(exchange, held)
            held = b""
        piece = await answer.read()
        if not piece or piece.strip(BLANKS):
            return held + piece
        if exchange.answer_started:
            await respond.send_piece(exchange, piece)
        else:
            held += piece
    return held
