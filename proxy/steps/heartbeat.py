"""Signs of life that a provider sends before its answer: the head alone, or white space.

They are held for a moment, because a failure within it can still become an error with a status. Then they are forwarded
as they come, and a later failure is told inside the answer, or breaks it off. Comments in a stream are another sign of
life; they are forwarded immediately (`stream.py`).
"""

from __future__ import annotations

import asyncio

from proxy.exchange import Exchange
from proxy.steps import respond
from proxy.steps.passed_headers import UNBUFFERED, passed_lines
from proxy.wire.answer import Answer

HOLD_S = 1.0
"""Seconds after the head. Providers that fail right after their head do so sooner, and no client gives up earlier."""

MOST_BLANKS_BYTES = 64 * 1024
BLANKS = b" \t\r\n"
"""The white space of JSON."""


async def pass_blanks(exchange: Exchange, answer: Answer, blanks: bytes) -> bytes:
    """Forward the white space with which a plain answer begins. Returns the bytes that were not sent to the client."""
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
