"""The cost of pictures, speech and transcriptions, whose price may be by the picture, the character or the second.

They are metered if the price of their model is known at every provider that may answer. What a provider does not count
is estimated high, and marked as estimated.
"""

from __future__ import annotations

from math import ceil

from proxy.admission.estimate import answer_count, estimated_prompt, read_member
from proxy.dialects.base import ESTIMATED, Usage
from proxy.exchange import Exchange
from proxy.wire.jsonbody import JSONBody
from proxy.wire.text import bytes_of, tokens_of_bytes
from usage.prices.price import Price, Units

PICTURES, SPEECH, HEARING = "pictures", "speech", "hearing"

MOST_PICTURES = 10
"""Assumed for a request if Sluice cannot read how many it asks for. No provider makes more."""

PICTURE_TOKENS = 6_240
"""Assumed for a picture whose provider counted no tokens: the most that OpenAI's models take."""

SPOKEN_TOKENS_PER_CHARACTER = 2
"""OpenAI's speech takes about 21 tokens a second, in which 15 characters are read."""

HEARD_TOKENS_PER_S = 10
HEARD_BYTES_PER_S = 4_000
"""To estimate the length of uploaded sound: 32 kbit/s, about the lowest bit rate that is used for speech."""

UNTOLD_BYTES = 25 * 1024 * 1024
"""Assumed for an upload without a declared length: the most that OpenAI accepts."""


def cost_at_most(exchange: Exchange, price: Price) -> int | None:
    """Picodollars to reserve for a request before it is sent; None if no rate is known."""
    units = requested_units(exchange)
    cost = price.cost_of_units(units)
    if cost is not None:
        return cost
    usage = estimated_usage(exchange, units)
    return price.estimate(usage.prompt or 0, usage.completion or 0)


def cost_of_result(exchange: Exchange, provider_usage: Usage | None, price: Price) -> tuple[int | None, Usage | None]:
    """(Picodollars of the result, usage to charge.) The cost is by its own unit if that has a price, else by tokens."""
    units = exchange.units or requested_units(exchange, is_over=True)
    cost = price.cost_of_units(units)
    if cost is not None:
        return cost, provider_usage
    usage = provider_usage or estimated_usage(exchange, units)
    parts = usage.cached, usage.reasoning, usage.audio_in, usage.audio_out, usage.cache_write
    return price.cost(usage.prompt, usage.completion, *parts, usage.picture_in, usage.picture_out), usage


def requested_units(exchange: Exchange, *, is_over: bool = False) -> Units:
    """The characters, pictures or seconds that a request asks for; with `is_over`, when its answer has come."""
    media, body = exchange.endpoint.media, exchange.body
    if media == SPEECH:
        return Units(characters=spoken_text(body)[0])
    if media == PICTURES:
        if body is not None:
            return Units(pictures=answer_count(body))
        return Units(pictures=1 if is_over else MOST_PICTURES)
    length = exchange.request_bytes
    if not is_over:
        length = int(exchange.length) if exchange.length and exchange.length.isdigit() else UNTOLD_BYTES
    return Units(seconds=length / HEARD_BYTES_PER_S)


def spoken_text(body: JSONBody | None) -> tuple[int, int]:
    """(Characters, bytes) of the text to be spoken."""
    if body is not None and body.facts is not None:
        return body.facts.spoken or (0, 0)
    text = read_member(body, "input") if body is not None else None
    return (len(text), bytes_of(text)) if isinstance(text, str) else (0, 0)


def estimated_usage(exchange: Exchange, units: Units) -> Usage:
    """An estimate of the tokens that a provider did not count."""
    media, body = exchange.endpoint.media, exchange.body
    prompt = estimated_prompt(body, exchange.dialect.words) or 0
    if media == PICTURES:
        tokens = units.pictures * PICTURE_TOKENS
        return Usage(prompt, tokens, picture_out=tokens, source=ESTIMATED)
    if media == SPEECH:
        prompt = tokens_of_bytes(spoken_text(body)[1])
        tokens = units.characters * SPOKEN_TOKENS_PER_CHARACTER
        return Usage(prompt, tokens, audio=tokens, audio_out=tokens, source=ESTIMATED)
    heard = ceil(units.seconds * HEARD_TOKENS_PER_S)
    return Usage(heard, tokens_of_bytes(exchange.response_bytes), audio=heard, audio_in=heard, source=ESTIMATED)
