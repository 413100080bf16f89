"""Step 6, for a request whose answer is not stored: join a call to a provider that is under way for the same question.

The request that makes the call pays for it, also if its client leaves while others read the answer. Those that join
count as requests, and use no tokens. The call may be that of another process (docs/decisions/0008-shared-calls.md).
"""

from __future__ import annotations

import asyncio
import time
from functools import partial

from cache.entry import Entry, unpacked
from cache.flight import Flight, FlightReader
from cache.names import name_text
from cache.remote import Claim, RemoteCalls
from cache.remote_answer import Facts, Failure
from cache.replay import StoredAnswer
from cache.tiers.redis import PREFIX
from providers.catalog import Catalog
from proxy.attempt import Attempt
from proxy.caching import JOINED, Caching
from proxy.components import Components
from proxy.errors import UpstreamError
from proxy.exchange import Exchange
from proxy.joining import Key, SharedCall
from proxy.server.deadlines import RequestDeadline
from proxy.steps.fetch import fetch
from proxy.steps.look_up import in_memory, maker_of, shares_with_others, stored_answer
from proxy.wire.answer import Answer

NOT_FINAL = frozenset({408, 409, 425, 429})
"""Errors of a client that a second try may not get. Each from 500 on is such an error too."""

CLAIMS = 3
"""How often a request tries to share a call with other processes. Then it makes one that they do not know of."""

NO_ENTRY = PREFIX + "none"


async def join(exchange: Exchange, components: Components, deadline: RequestDeadline) -> Answer:
    """An answer that is on its way to another request, one that has been stored meanwhile, or that of a call of its
    own, which others can join.

    If the call of another request fails before its answer can be shared, one of those that waited for it makes another
    one; what that one gets, all get. Raises as `fetch` does.
    """
    caching = exchange.caching
    assert caching is not None
    key: Key = caching.digest, exchange.stream, exchange.hides_usage
    if not caching.joins:
        return await ask(exchange, components, deadline, SharedCall({}, key, 0))
    calls: dict[Key, SharedCall] = caching.cache.calls
    tries = claims = 0
    while True:
        call = calls.get(key)
        answer: Answer | None
        if call is None:
            call = SharedCall(calls, key, tries)
            answer = await lead(exchange, components, deadline, call, caching.cache.remote if claims < CLAIMS else None)
            claims += 1
        elif (answer := await follow(call, deadline)) is not None:
            note_follower(exchange, call, answer.status, caching.digest)
        elif call.attempt is not None:
            call.close()  # it has become too long to be joined
            continue
        if answer is not None or (answer := look_again(exchange, components, caching)) is not None:
            return answer
        if call.tries and (error := call.failure()) is not None:
            raise error
        tries = call.tries + 1


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


def look_again(exchange: Exchange, components: Components, caching: Caching) -> StoredAnswer | None:
    """The answer may have been stored since the request looked it up."""
    now = time.time()
    entry = in_memory(exchange, caching.cache, caching.digest, now)
    if entry is None:
        return None
    return stored_answer(exchange, caching.cache, components.snapshot.catalog, caching.digest, entry, now)


async def lead(
    exchange: Exchange,
    components: Components,
    deadline: RequestDeadline,
    call: SharedCall,
    remote: RemoteCalls | None,
) -> Answer | None:
    """The answer of a call, which other requests can share: another process's, or one that this request makes.

    None where another process's call failed, and where the answer has been stored meanwhile.
    """
    exchange.shared_call = call
    if remote is not None:
        try:
            claim = await claim_question(exchange, call, remote)
        except asyncio.CancelledError:
            call.fail(None)
            raise deadline.cause() from None
        if isinstance(claim, Entry):
            call.fail(None)  # those that wait for it find the entry
            return None
        if claim is not None and claim.process != remote.process:
            return await read_remote(exchange, components, deadline, call, remote, claim)
        if claim is not None:
            call.release = partial(remote.release, claim)
    return await ask(exchange, components, deadline, call)


async def claim_question(exchange: Exchange, call: SharedCall, remote: RemoteCalls) -> Claim | Entry | None:
    """Who makes the call; or what has been stored meanwhile, which is in memory then. None while Redis is away."""
    caching = exchange.caching
    assert caching is not None
    form = "u" if exchange.stream and not exchange.hides_usage else ""
    name = caching.digest, exchange.stream
    claim = await remote.claim(name_text(name) + form, PREFIX + name_text(name), call)
    if not isinstance(claim, bytes):
        return claim
    entry = unpacked(claim)
    if entry is not None and caching.cache.remember(name, entry):
        return entry
    other = await remote.claim(name_text(name) + form, NO_ENTRY, call)
    return None if isinstance(other, bytes) else other


async def read_remote(
    exchange: Exchange,
    components: Components,
    deadline: RequestDeadline,
    call: SharedCall,
    remote: RemoteCalls,
    claim: Claim,
) -> FlightReader | None:
    """The answer that another process reads, for all requests of this one. None where there is none."""
    caching = exchange.caching
    assert caching is not None
    deadline.relax()
    answer = remote.follow(claim)
    try:
        head = await answer.head()
    except asyncio.CancelledError:
        answer.abort()
        call.fail(None)
        raise deadline.cause() from None
    attempt = attempt_of(head, exchange, components.snapshot.catalog) if isinstance(head, Facts) else None
    if attempt is not None:
        flight = Flight(answer, caching.cache.most_object_bytes, caching.cache.room)
        call.open(flight, attempt)
        answer.when_over(call.close)
        note_follower(exchange, call, flight.status, caching.digest)
        return flight.first_reader
    answer.abort()
    error = None
    if isinstance(head, Failure):
        call.tries = max(call.tries, head.tries)
        error = UpstreamError(head.code, head.message, headers=head.headers) if head.code else None
    call.fail(error)
    exchange.shared_call = None
    return None


def attempt_of(head: Facts, exchange: Exchange, catalog: Catalog) -> Attempt | None:
    """Who answers another process; None if this one does not know that provider (any more)."""
    body = exchange.body
    is_stored = body is not None and exchange.dialect.is_stored(body)
    attempt = maker_of(head.provider_id, head.model, head.credential, exchange, catalog, is_stored=is_stored)
    if attempt is not None:
        attempt.asked_usage = head.asked_usage
    return attempt


async def ask(exchange: Exchange, components: Components, deadline: RequestDeadline, call: SharedCall) -> Answer:
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


def note_follower(exchange: Exchange, call: SharedCall, status: int, digest: str) -> None:
    made_by = call.attempt
    assert made_by is not None
    # It is never sent. The credential is there because an error may repeat it, and what was made goes on with it.
    exchange.begin(Attempt(made_by.provider, made_by.model, ("", ""), made_by.access, made_by.asked_usage))
    exchange.owns_answer = not shares_with_others(exchange)
    exchange.caching, exchange.cache, exchange.shared_call = None, JOINED, None
    exchange.cache_lines = (
        b"x-cache-key: %s\r\nx-cache-hit: 0\r\ncache-status: Sluice; fwd=uri-miss; collapsed\r\n" % digest.encode()
    )
