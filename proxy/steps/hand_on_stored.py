"""Step 8, for a stored answer: what was sent to one client is sent again to the next that asks in the same form.

The first hit is handed on as a provider's answer is, and what is sent is kept with the entry. So later hits need not
read the answer. It depends on nothing else: the digest stands for all of the request that the dialect looks at, and a
stored answer has no credential in it. If a provider keeps it for its project, that is known from when it was made.
"""

from __future__ import annotations

import msgspec

from cache.entry import Handed
from cache.replay import StoredAnswer
from proxy.capture import Capture
from proxy.components import Components
from proxy.exchange import Exchange
from proxy.server.deadlines import RequestDeadline
from proxy.steps import respond
from proxy.steps.facts import answer_context
from proxy.steps.hand_on import hand_on


class Sent(Capture):
    """All that is sent to the client."""

    __slots__ = ("pieces",)

    def __init__(self) -> None:
        super().__init__(0)
        self.pieces: list[bytes] = []

    def take_answer(self, piece: bytes) -> None:
        if piece:
            self.pieces.append(piece)


async def hand_on_stored(
    exchange: Exchange, answer: StoredAnswer, components: Components, deadline: RequestDeadline
) -> None:
    """Raises as `hand_on` does."""
    context = answer_context(exchange)
    form = context.model, context.hides_usage
    handed = answer.entry.handed
    if exchange.client_has_answer:
        exchange.usage = None if handed is None else handed.usage
        await respond.send_whole(exchange, 304, b"", b"")
        return
    if handed is not None and handed.form == form and not answer.is_timed:
        await send_again(exchange, answer, handed, deadline)
        return
    if exchange.capture is not None or answer.is_timed:
        await hand_on(exchange, answer, components, deadline)
        return
    exchange.capture = sent = Sent()
    try:
        await hand_on(exchange, answer, components, deadline)
    finally:
        exchange.capture = None
    entry = answer.entry
    if (
        components.cache is None
        or exchange.outcome
        or not exchange.answer_is_whole
        or not sent.pieces
        or (len(sent.pieces) > 1 and not entry.is_stream)
        or b"content-length" in sent.lines  # which is written anew each time
    ):
        return
    handed = Handed(form, sent.lines, tuple(sent.pieces), exchange.response_id, exchange.usage)
    components.cache.memory.replace(answer.name, entry, msgspec.structs.replace(entry, handed=handed))


async def send_again(exchange: Exchange, answer: StoredAnswer, handed: Handed, deadline: RequestDeadline) -> None:
    exchange.response_id, exchange.answer_is_whole, exchange.usage = handed.response_id, True, handed.usage
    *before, last = handed.pieces
    if not answer.entry.is_stream:
        await respond.send_whole(exchange, answer.status, handed.lines, last)
        return
    deadline.relax()
    await respond.start(exchange, answer.status, handed.lines)
    for piece in before:
        await respond.send_piece(exchange, piece)
    await respond.end(exchange, last)
