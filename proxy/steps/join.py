"""Step 6, for a request whose answer is not stored: join a call to a provider that is under way for the same question.

The request that makes the call pays for it, also if its client leaves while others read the answer. Those that join
count as requests, and use no tokens.
"""

from __future__ import annotations

import asyncio

from cache.flight import Flight, FlightReader
from proxy.attempt import NO_ACCESS, Attempt
from proxy.caching import JOINED
from proxy.components import Components
from proxy.exchange import Exchange
from proxy.joining import Key, SharedCall
from proxy.server.deadlines import RequestDeadline
from proxy.steps.fetch import fetch
from proxy.wire.answer import Answer

NOT_FINAL = frozenset({408, 409, 425, 429})
"""Errors of a client that a second try may not get. Each from 500 on is such an error too."""


async def join(exchange: Exchange, components: Components, deadline: RequestDeadline) -> Answer:
    """An answer that is on its way to another request, or that of a call of its own, which others can join.

    If the call of another request fails before its answer can be shared, one of those that waited for it makes another
    one; what that one gets, all get. Raises as `fetch` does.
    """
    caching = exchange.caching
    assert caching is not None
    calls: dict[Key, SharedCall] = caching.cache.calls if caching.joins else {}
    key = caching.digest, exchange.stream, exchange.hides_usage
    tries = 0
    while (call := calls.get(key)) is not None:
        answer = await follow(call, deadline)
        if answer is not None:
            note_follower(exchange, call, answer, caching.digest)
            return answer
        if call.attempt is not None:
            call.close()  # it has become too long to be joined
        elif call.tries and (error := call.failure()) is not None:
            raise error
        else:
            tries = call.tries + 1
    return await lead(exchange, components, deadline, SharedCall(calls, key, tries))


async def follow(call: SharedCall, deadline: RequestDeadline) -> FlightReader | None:
    """Wait for the head of the answer, for as long as the request that makes the call does."""
    deadline.relax()
    waiting = call.follow()
    try:
        return await waiting
    except asyncio.CancelledError:
        if not waiting.cancelled() and (answer := waiting.result()) is not None:
            answer.abort()
        raise deadline.cause() from None


async def lead(exchange: Exchange, components: Components, deadline: RequestDeadline, call: SharedCall) -> Answer:
    """Ask a provider, and share the answer if it is one for all who ask the same."""
    caching = exchange.caching
    assert caching is not None
    exchange.shared_call = call
    try:
        source = await fetch(exchange, components, deadline)
    except BaseException as error:
        call.fail(error)
        raise
    attempt = exchange.attempt
    assert attempt is not None
    flight = Flight(source, caching.cache.most_object_bytes, caching.cache.room)
    is_final = call.tries or (source.status < 500 and source.status not in NOT_FINAL)
    if is_final and attempt.model == exchange.attempts[0].model:
        call.open(flight, attempt)
    else:
        call.fail(None)
        call.flight = flight
    return flight.first_reader


def note_follower(exchange: Exchange, call: SharedCall, answer: FlightReader, digest: str) -> None:
    made_by = call.attempt
    assert made_by is not None
    access = NO_ACCESS if answer.status < 400 else made_by.access  # an error may repeat the credential
    exchange.begin(Attempt(made_by.provider, made_by.model, ("", ""), access, made_by.asked_usage))  # it is never sent
    exchange.caching, exchange.cache = None, JOINED
    exchange.cache_lines = (
        b"x-cache-key: %s\r\nx-cache-hit: 0\r\ncache-status: Sluice; fwd=uri-miss; collapsed\r\n" % digest.encode()
    )
