"""After an answer has been handed on: whether it is stored, for the next request that asks the same.

Only what was whole and good is. A stream that was cut, an error under status 200, an answer that the provider goes on
making, and one of another model than the first that was asked, are none.
"""

from __future__ import annotations

import time

from cache.entry import About, Entry
from cache.flight import Flight
from proxy.caching import Caching
from proxy.components import Components
from proxy.exchange import Exchange
from proxy.server.deadlines import RequestDeadline
from proxy.steps.hand_on import hand_on
from proxy.wire.answer import Answer
from usage.ids import object_key
from usage.masking import shown_model

STORED_S = 86_400
"""For how long at most an answer is replayed that its provider stores. Providers keep it for some weeks, and a client
that gets its id from the cache may use that for nearly as long as one that gets it from the provider.
"""


async def hand_on_and_store(
    exchange: Exchange, answer: Answer, components: Components, deadline: RequestDeadline
) -> None:
    """Hand on the answer of this request's own call. Raises as `hand_on` does; then nothing is stored."""
    caching, call = exchange.caching, exchange.shared_call
    assert caching is not None
    assert call is not None
    try:
        await hand_on(exchange, answer, components, deadline)
        if call.flight is not None:
            store_answer(exchange, call.flight, caching)
    finally:
        call.close()
        answer.abort()


def store_answer(exchange: Exchange, flight: Flight, caching: Caching) -> None:
    """Neither waits nor raises."""
    pieces, attempt = flight.pieces, exchange.attempt
    if (
        pieces is None
        or attempt is None
        or flight.status != 200
        or exchange.outcome
        or not exchange.answer_is_whole
        or exchange.goes_on
        or exchange.stored_keys
        or attempt.model != exchange.attempts[0].model
    ):
        return
    now = time.time()
    body, credential = exchange.body, attempt.credential
    is_stored = body is not None and exchange.dialect.is_stored(body)
    entry = Entry(
        flight.status,
        flight.kept_headers,
        pieces,
        exchange.stream,
        exchange.tells_usage or not exchange.dialect.may_hide_usage,
        attempt.asked_usage,
        attempt.provider.id,
        attempt.model,
        now,
        now + (min(caching.ttl_s, STORED_S) if is_stored else caching.ttl_s),
        About(
            exchange.endpoint.label,
            shown_model(exchange.model),
            exchange.project.id if exchange.project is not None else None,
            exchange.request_id,
            object_key(exchange.response_id),
            caching.purge,
        ),
        exchange.stream,
        credential="" if credential is None else credential.alias,
        stored_id=object_key(exchange.response_id) if is_stored else "",
    )
    caching.cache.store((caching.digest, exchange.stream), entry)
