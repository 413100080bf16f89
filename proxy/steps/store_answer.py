"""After an answer has been handed on: whether it is stored, for the next request that asks the same.

Only what was whole and good is. A stream that was cut, an error under status 200, an answer that the provider goes on
making, and one of another model than the first that was asked, are none.
"""

from __future__ import annotations

import time

from cache.entry import Entry
from cache.record import RecordedAnswer
from proxy.caching import Caching
from proxy.components import Components
from proxy.exchange import Exchange
from proxy.server.deadlines import RequestDeadline
from proxy.steps.hand_on import hand_on
from proxy.wire.answer import Answer


async def hand_on_and_store(
    exchange: Exchange, answer: Answer, components: Components, deadline: RequestDeadline
) -> None:
    """Raises as `hand_on` does; then nothing is stored."""
    caching = exchange.caching
    assert caching is not None
    recorded = RecordedAnswer(answer, caching.cache.most_object_bytes, caching.cache.room)
    try:
        await hand_on(exchange, recorded, components, deadline)
        store_answer(exchange, recorded, caching)
    finally:
        recorded.abort()


def store_answer(exchange: Exchange, recorded: RecordedAnswer, caching: Caching) -> None:
    """Neither waits nor raises."""
    pieces, attempt = recorded.pieces, exchange.attempt
    if (
        pieces is None
        or attempt is None
        or recorded.status != 200
        or exchange.outcome
        or not exchange.answer_is_whole
        or exchange.goes_on
        or exchange.stored_keys
        or attempt.model != exchange.attempts[0].model
    ):
        return
    now = time.time()
    entry = Entry(
        recorded.status,
        recorded.kept_headers,
        pieces,
        exchange.stream,
        exchange.tells_usage,
        attempt.asked_usage,
        attempt.provider.id,
        attempt.model,
        now,
        now + caching.ttl_s,
    )
    caching.cache.store.put((caching.digest, exchange.stream), entry)
