"""Relay a plain answer that is too long to be parsed on the event loop, such as the vectors of many texts.

The child (`heavy/`) returns a digest of it, which the dialect reads like a short answer, and the position of the
model's name. The answer itself is sent in pieces.
"""

from __future__ import annotations

import asyncio

from proxy.admission.uncounted import complete_count, finish_estimate, set_estimate
from proxy.components import Components
from proxy.endpoints import EMBEDDINGS, STORED_RESPONSE
from proxy.errors import ProxyError, UpstreamError
from proxy.exchange import Exchange
from proxy.heavy.jobs import AnswerFacts
from proxy.steps import respond
from proxy.steps.facts import answer_context, read_answer
from proxy.steps.passed_headers import passed_lines
from proxy.steps.unread_answer import note_unread
from proxy.wire.answer import Answer
from proxy.wire.jsonbody import NotAnObject, encoded
from proxy.wire.pieces import Pieces


async def relay_long(
    exchange: Exchange, answer: Answer, components: Components, text: bytes, packed: bytes | None
) -> None:
    """Relay the answer `text`. `packed` is what came, if it came compressed. Raises `UpstreamError`."""
    reading = asyncio.create_task(take(exchange, answer, components, text))
    try:
        facts = await asyncio.shield(reading)
    except asyncio.CancelledError:
        await reading  # a client that leaves now is charged for the whole answer, because all of it has come
        raise
    finally:
        del reading  # its exception refers to this frame, which would keep the answer in memory
    without: tuple[bytes, ...] = ()
    name = answer_context(exchange).model
    if name is not None and not exchange.dialect.has_content and facts.model is not None:
        start, end = facts.model
        view = memoryview(text)
        body = Pieces([view[:start], encoded(name), view[end:]])
        without = (b"content-encoding",)
    else:
        body = Pieces([text if packed is None else packed])
    await respond.send_pieces(exchange, answer.status, passed_lines(exchange, answer, without), body)


async def take(exchange: Exchange, answer: Answer, components: Components, text: bytes) -> AnswerFacts:
    """Let the child read the answer, and record what it says: usage, ids. Raises `UpstreamError`."""
    try:
        facts = await components.heavy.read_answer(text)
        read_answer(exchange, facts.digest)
    except NotAnObject:
        note_unread(exchange, answer.status, text, components)
        raise UpstreamError("upstream_invalid_response", "The provider's answer is not a JSON object.") from None
    except ProxyError as error:
        set_estimate(exchange, 0 if exchange.endpoint is EMBEDDINGS else len(text))  # the provider did its work
        await finish_estimate(exchange)
        raise UpstreamError("upstream_unreadable", f"The provider's answer was not read. {error.message}") from None
    components.owners.remember_for(exchange)
    usage = exchange.usage
    if exchange.endpoint is STORED_RESPONSE:
        components.background.observe(exchange.response_id, facts.digest if usage is not None else text)
    if usage is not None or exchange.outcome != "upstream_error":
        # Vectors contain no text. Other answers are searched for text, if the provider did not count its tokens.
        await complete_count(exchange, facts.digest if exchange.endpoint is EMBEDDINGS else text)
    return facts
