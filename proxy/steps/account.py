"""Step 9: record the result. Every request leaves exactly one event, and everything reserved for it is released."""

from __future__ import annotations

import time
from collections.abc import Sequence

from proxy.admission import media
from proxy.admission.estimate import estimated_prompt
from proxy.attempt import Attempt
from proxy.caching import FREE as FREE_OF_CHARGE
from proxy.components import Components
from proxy.dialects.base import ESTIMATED, Usage
from proxy.endpoints import READING, STORED_RESPONSE
from proxy.exchange import Exchange
from proxy.steps.keep_bodies import keep_bodies, with_bodies
from proxy.steps.trace import target_of
from usage.event import RequestEvent
from usage.masking import shown_model, without_tokens
from usage.prices.book import Prices
from usage.prices.price import FREE, Price
from usage.writable import make_writable

NO_USAGE = Usage(source="")
UNKNOWN_PRICE = "unknown"


def account(exchange: Exchange, components: Components) -> None:
    """Settle the reservation, and add the event to the journal, the metrics, the traces and the log. Does not wait.

    If the event cannot be made, the reservation is released and the error is raised.
    """
    try:
        event = event_of(exchange, time.monotonic(), components.snapshot.prices)
    except BaseException:
        if exchange.reservation is not None:
            exchange.reservation.settle()  # without an event no tokens and no cost are charged
        raise
    if exchange.goes_on:
        event.holder = components.background.holder_now
        components.background.take(exchange, event)
    elif exchange.reservation is not None:
        exchange.reservation.settle(tokens_of(exchange, event), event.cost_picousd, event.requests)
    document = components.journal.add(event)
    components.metrics.ended(event, document)
    if exchange.span is not None and components.traces is not None:
        components.traces.ended(exchange.span, event, target_of(exchange))
    capture = exchange.capture
    if capture is not None:
        if capture.keeps:
            keep_bodies(exchange, capture, event, components.bodies)
        if components.logged_bodies is not None:
            document = with_bodies(document, exchange, capture, components.logged_bodies)
    components.request_log.add(document)


def event_of(exchange: Exchange, now: float, prices: Prices) -> RequestEvent:
    t0, key, project = exchange.t0, exchange.key, exchange.project
    usage, client = usage_of(exchange), exchange.scope.get("client")
    attempt = exchange.attempt
    provider = alias = served = ""
    sent_at = first_byte_at = done_at = None
    if attempt is not None:
        provider, served, credential = attempt.provider.name, shown_model(attempt.model), attempt.credential
        alias = credential.alias if credential is not None else ""
        sent_at = attempt.sent_at
        if sent_at is not None:  # a stored answer says nothing of a provider's times
            first_byte_at, done_at = attempt.first_byte_at, attempt.done_at
    if exchange.endpoint.media:
        usage, cost_picousd, price_source = cost_of_media(exchange, usage, prices)
    else:
        cost_picousd, price_source = cost_of(exchange, usage, prices)
    # By position, in the order of the event's fields, for speed: it is the largest object of a request.
    event = RequestEvent(
        exchange.request_id,
        exchange.started_at,
        exchange.method,
        exchange.path if exchange.endpoint.reads_body else without_tokens(exchange.path),
        exchange.status,
        exchange.outcome,
        int((now - t0) * 1e6) / 1000,  # milliseconds to the microsecond, cheaper than by `round`
        key.id if key is not None else None,
        project.id if project is not None else None,
        key.owner_id if key is not None else None,
        key.team_id if key is not None else None,
        provider,
        alias,
        shown_model(exchange.model),
        served,
        exchange.stream,
        exchange.error_code,
        exchange.cache,
        times_sent(exchange.attempts),
        usage.prompt,
        usage.completion,
        usage.cached,
        usage.reasoning,
        usage.cache_write,
        usage.audio,
        usage.source,
        cost_picousd,
        price_source,
        int((first_byte_at - t0) * 1e6) / 1000 if first_byte_at is not None else None,
        int(((done_at or now) - sent_at) * 1e6) / 1000 if sent_at is not None else None,
        exchange.request_bytes,
        exchange.response_bytes,
        client[0] if client else None,
        exchange.head.correlation_id,
        exchange.response_id if exchange.owns_answer else "",
        key.tags if key is not None else (),
        *saved_of(exchange, prices),
        exchange.endpoint.label,
        exchange.counts_as if exchange.admitted and exchange.outcome != "refused" else 0,
        exchange.stored_keys,
    )
    return make_writable(event)


def tokens_of(exchange: Exchange, event: RequestEvent) -> int:
    """The tokens to charge to limits on tokens per minute. If they were not counted, the reserved tokens stay charged,
    unless there was no answer.
    """
    if event.prompt_tokens is None and event.completion_tokens is None:
        return exchange.reserved_tokens if has_uncounted_answer(exchange) else 0
    return (event.prompt_tokens or 0) + (event.completion_tokens or 0)


def saved_of(exchange: Exchange, prices: Prices) -> tuple[int, int]:
    """(Tokens, picodollars) that a whole answer of the cache would have taken from its provider."""
    if exchange.cache not in FREE_OF_CHARGE or exchange.outcome != "complete":
        return 0, 0
    usage, attempt = counted(exchange), exchange.attempt
    if usage is NO_USAGE or attempt is None:
        return 0, 0
    price = price_of(exchange, attempt, prices)
    cost = None if price is None else cost_at(price, usage)
    return (usage.prompt or 0) + (usage.completion or 0), cost or 0


def usage_of(exchange: Exchange) -> Usage:
    """The tokens that this request used. Reading a stored response uses none: they were counted when it was made."""
    if exchange.endpoint is STORED_RESPONSE or exchange.cache in FREE_OF_CHARGE:
        return NO_USAGE
    return counted(exchange)


def counted(exchange: Exchange) -> Usage:
    """The tokens of the answer, by the provider's count or estimated; `NO_USAGE` where it was not read."""
    usage = exchange.usage
    if usage is None:
        return NO_USAGE
    if usage.prompt is None:
        # A long prompt was estimated earlier, off the event loop (`uncounted.py`).
        usage.prompt = estimated_prompt(exchange.body, exchange.dialect.words)
        usage.source = ESTIMATED
    return usage


def has_uncounted_answer(exchange: Exchange) -> bool:
    """Whether a provider gave an answer whose tokens were not counted, because it was relayed unread.

    False if nothing of the answer came or the provider broke it off: such an answer costs nothing.
    """
    if exchange.cache in FREE_OF_CHARGE:
        return False
    return exchange.outcome == "complete" or (exchange.outcome == "client_closed" and exchange.passed_unread)


def cost_of(exchange: Exchange, usage: Usage, prices: Prices) -> tuple[int | None, str]:
    """(Picodollars, the source of the price). The cost is None if there is no price, or if the tokens are not known.

    A request costs nothing if no provider was asked (a refusal, an answer from the cache), if the provider refused it,
    or if the client left before anything of the answer came.
    """
    attempt = exchange.attempt
    if attempt is None or attempt.sent_at is None or exchange.endpoint is STORED_RESPONSE or exchange.goes_on:
        return 0, ""
    if usage is NO_USAGE and (exchange.method in READING or not has_uncounted_answer(exchange)):
        return 0, ""
    price = price_of(exchange, attempt, prices)
    if price is None:
        return None, UNKNOWN_PRICE
    if usage is NO_USAGE:
        return (0 if price is FREE else None), price.source
    return cost_at(price, usage), price.source


def cost_at(price: Price, usage: Usage) -> int | None:
    return price.cost(
        usage.prompt,
        usage.completion,
        usage.cached,
        usage.reasoning,
        usage.audio_in,
        usage.audio_out,
        usage.cache_write,
        usage.picture_in,
        usage.picture_out,
    )


def times_sent(attempts: Sequence[Attempt]) -> int:
    """How often the request was sent to providers. Sending it to the same one again counts too."""
    if len(attempts) == 1:
        return 0 if attempts[0].sent_at is None else 1
    return sum(attempt.sent_at is not None for attempt in attempts)


def price_of(exchange: Exchange, attempt: Attempt, prices: Prices) -> Price | None:
    provider = attempt.provider
    return prices.price_of(provider.name, provider.kind.name, provider.base_url, attempt.model, exchange.started_at)


def cost_of_media(exchange: Exchange, usage: Usage, prices: Prices) -> tuple[Usage, int | None, str]:
    """(Usage to charge, picodollars, the source of the price), as `cost_of`. Media may have prices without tokens."""
    attempt = exchange.attempt
    if attempt is None or attempt.sent_at is None:
        return NO_USAGE, 0, ""
    has_usage = usage is not NO_USAGE or exchange.units is not None
    left_amid = exchange.outcome == "client_closed" and attempt.first_byte_at is not None
    if not (has_usage or left_amid or exchange.outcome == "complete"):
        return NO_USAGE, 0, ""
    price = price_of(exchange, attempt, prices)
    if price is None:
        return usage, None, UNKNOWN_PRICE
    cost, counted = media.cost_of_result(exchange, None if usage is NO_USAGE else usage, price)
    return counted or NO_USAGE, cost, price.source
