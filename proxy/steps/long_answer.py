"""A plain answer that is too long to be read on the event loop, such as the vectors of many texts.

The child tells what is in it (`heavy/`): a digest, which the dialect reads as it reads a short answer, and where the
model's name stands. The answer itself goes on in pieces.
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
    """`packed` is what came, where it came compressed. Raises `UpstreamError`."""
    reading = asyncio.create_task(take(exchange, answer, components, text))
    try:
        facts = await asyncio.shield(reading)
    except asyncio.CancelledError:
        await reading  # who leaves meanwhile is charged for what had come, which is all
        raise
    finally:
        del reading  # its failure knows this frame, and with it the answer
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
    """All that is to be known of it. Raises `UpstreamError`."""
    try:
        facts = await components.heavy.read_answer(text)
        read_answer(exchange, facts.digest)
    except NotAnObject:
        note_unread(exchange, answer.status, text, components)
        raise UpstreamError("upstream_invalid_response", "The provider's answer is not a JSON object.") from None
    except ProxyError as error:
        set_estimate(exchange, 0 if exchange.endpoint is EMBEDDINGS else len(text))  # the provider has its part done
        await finish_estimate(exchange)
        raise UpstreamError("upstream_unreadable", f"The provider's answer was not read. {error.message}") from None
    components.owners.remember_for(exchange)
    usage = exchange.usage
    if exchange.endpoint is STORED_RESPONSE:
        components.background.observe(exchange.response_id, facts.digest if usage is not None else text)
    if usage is not None or exchange.outcome != "upstream_error":
        # No vector is text; the text of others is looked for where nobody counted it.
        await complete_count(exchange, facts.digest if exchange.endpoint is EMBEDDINGS else text)
    return facts
