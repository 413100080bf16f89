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

MOST_BLANKS_BYTES = 64 * 1024
BLANKS = b" \t\r\n"
"""The white space of JSON."""


async def pass_blanks(exchange: Exchange, answer: Answer, blanks: bytes) -> bytes:
    """Pass on the white space with which a plain answer begins. Returns the bytes that have not gone to the client."""
    deadline = asyncio.get_running_loop().time() + HOLD_S
    while len(blanks) <= MOST_BLANKS_BYTES:
        if not exchange.answer_started and not await answer.comes_by(deadline):
            await respond.start(exchange, answer.status, passed_lines(exchange, answer) + UNBUFFERED)
            await respond.send_piece(exchange, blanks)
            blanks = b""
        piece = await answer.read()
        if not piece or piece.strip(BLANKS):
            return blanks + piece
        if exchange.answer_started:
            await respond.send_piece(exchange, piece)
        else:
            blanks += piece
    return blanks
