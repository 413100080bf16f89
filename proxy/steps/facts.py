"""Between an exchange and its dialect: give the dialect what it needs to read an answer, and record what it says."""

from __future__ import annotations

from proxy.dialects.base import AnswerContext, RareFacts
from proxy.exchange import Exchange


def answer_context(exchange: Exchange) -> AnswerContext:
    attempt = exchange.attempt
    assert attempt is not None
    return AnswerContext(
        exchange.model if attempt.model != exchange.model else None,
        # If a provider sends the usage without being asked, the client may see it.
        exchange.hides_usage and attempt.asked_usage,
        exchange.body,
        exchange.rest,
    )


def read_answer(exchange: Exchange, raw: bytes) -> bytes:
    """What the client gets for a plain answer. Records what the answer says of itself. Raises `NotAnObject`."""
    read, facts = exchange.dialect.read_answer(raw, answer_context(exchange))
    exchange.usage, exchange.response_id = facts.usage, facts.response_id
    if facts.rare is not None:
        apply_rare_facts(exchange, facts.rare)
    return read


def apply_rare_facts(exchange: Exchange, facts: RareFacts) -> None:
    exchange.units, exchange.stored_keys, exchange.goes_on = facts.units, facts.stored_keys, facts.goes_on
    # Reading a stored response that has failed succeeds, so it is not recorded as an error.
    if facts.is_error and exchange.method == "POST":
        exchange.outcome, exchange.error_code = "upstream_error", "upstream_answer_error"
