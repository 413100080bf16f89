"""Handle a request: call the steps in their order, and end it."""

from __future__ import annotations

import asyncio
import contextlib
import logging

from cache.replay import StoredAnswer
from proxy.admission.uncounted import finish_estimate
from proxy.capture import Capture
from proxy.components import Components
from proxy.errors import ClientGone, ShuttingDown, UpstreamError, as_proxy_error
from proxy.exchange import Exchange
from proxy.server.deadlines import RequestDeadline
from proxy.steps import respond
from proxy.steps.account import account
from proxy.steps.authenticate import authenticate
from proxy.steps.authorize import authorize
from proxy.steps.cors import answer_preflight, is_preflight, own_origin
from proxy.steps.fetch import fetch
from proxy.steps.hand_on import hand_on
from proxy.steps.hand_on_stored import hand_on_stored
from proxy.steps.join import join
from proxy.steps.look_up import look_up
from proxy.steps.own_endpoints import answer_own
from proxy.steps.read import read
from proxy.steps.receive import receive
from proxy.steps.store_answer import hand_on_and_store
from proxy.steps.trace import begin
from proxy.steps.unserved import refuse_unserved
from proxy.wire.answer import Answer

log = logging.getLogger("sluice.proxy")

CLIENT_CLOSED_REQUEST = 499
"""nginx's status for a request whose client left. It occurs only in the row."""


async def steps(exchange: Exchange, components: Components, deadline: RequestDeadline) -> None:
    if exchange.method == "OPTIONS" and is_preflight(exchange):
        await answer_preflight(exchange, components.snapshot.origins)
        return
    if components.snapshot.origins is not None:
        exchange.cors_origin = own_origin(exchange, components.snapshot.origins)
    receive(exchange)
    await authenticate(exchange, components)
    await read(exchange, components, deadline)
    authorize(exchange, components.snapshot)
    if exchange.endpoint.own:
        await answer_own(exchange, components)
        return
    refuse_unserved(exchange, components.snapshot.catalog)
    await components.admission.admit(exchange, components.snapshot)
    answer: Answer | None = await look_up(exchange, components)
    if answer is None:
        answer = await (fetch if exchange.caching is None else join)(exchange, components, deadline)
    if isinstance(answer, StoredAnswer):
        await hand_on_stored(exchange, answer, components, deadline)
        return
    if exchange.caching is not None:
        await hand_on_and_store(exchange, answer, components, deadline)
        return
    try:
        await hand_on(exchange, answer, components, deadline)
    finally:
        answer.abort()


async def run(exchange: Exchange, components: Components) -> None:
    """Take a request through the steps. However it ends, it is recorded, and what it held is released."""
    components.metrics.began()
    if components.logged_bodies is not None:
        exchange.capture = Capture(components.bounds.captured_bytes)
    if components.traces is not None:
        exchange.span = begin(exchange, components.traces)
    deadline = RequestDeadline(exchange, components.request_deadlines.watched)
    try:
        await steps(exchange, components, deadline)
        if exchange.client_left and not exchange.outcome:
            exchange.outcome, exchange.error_code = "client_closed", lost_as(exchange)
        exchange.outcome = exchange.outcome or "complete"
    except asyncio.CancelledError:
        exchange.outcome, exchange.error_code = "internal_error", "shutdown"
        await fail(exchange, deadline.cause(), deadline)
    except Exception as error:
        await fail(exchange, error, deadline)
    finally:
        deadline.close()
        account(exchange, components)
        exchange.let_go(components.body_room)


def lost_as(exchange: Exchange) -> str:
    """The code of how the client left."""
    return exchange.call.lost_as if exchange.call is not None else "client_closed"


async def fail(exchange: Exchange, error: Exception, deadline: RequestDeadline) -> None:
    """Record the failure. Send the client an error, unless the client left or the answer has begun."""
    deadline.close()
    if isinstance(error, ClientGone):
        exchange.outcome = "client_closed"
        exchange.error_code = lost_as(exchange)
        exchange.status = exchange.status or CLIENT_CLOSED_REQUEST
        await finish_estimate(exchange)
        return
    failure = as_proxy_error(error)
    exchange.error_code = failure.code
    if isinstance(failure, UpstreamError):
        exchange.outcome = "upstream_error"
        if exchange.attempts:
            exchange.attempts[-1].error = failure.code
    elif isinstance(failure, ShuttingDown):
        exchange.outcome = "internal_error"
    elif failure.status == 500:
        exchange.outcome = "internal_error"
        log.error("Request %s failed in a way that nobody foresaw.", exchange.request_id, exc_info=error)
    else:
        exchange.outcome = "refused"
    if not exchange.answer_started:
        with contextlib.suppress(ClientGone):
            await respond.send_error(exchange, failure)
    # Else the answer breaks off: with a regular end, half an answer would look like a whole one.
