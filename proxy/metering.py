"""What can be metered: a model that is known before the provider is asked, and a cost that is known afterwards.

A list of models or a budget means nothing for a request of which Sluice knows neither. So a key that is bound by one
gets only what is metered, and what costs nothing; its project may say otherwise (docs/operations.md has the table).
"""

from __future__ import annotations

from proxy.bound import needs_metering, reason
from proxy.endpoints import READING, RESPONSES, is_free
from proxy.errors import BadRequest, Forbidden
from proxy.exchange import Exchange
from proxy.model_prices import prices_of
from proxy.receive import has_body, is_form
from proxy.snapshot import Snapshot
from usage.masking import without_tokens

CODE = "endpoint_not_metered"


def check_metered(exchange: Exchange, snapshot: Snapshot) -> None:
    """Of an endpoint that is not always metered, or a request without a model. Raises `Forbidden`, `BadRequest`."""
    if needs_metering(exchange, snapshot) and (fault := unmetered_part(exchange, snapshot)) is not None:
        if exchange.endpoint.reads_body and not exchange.model and not names_prompt(exchange):
            raise BadRequest("missing_required_parameter", "You must provide a model parameter.", param="model")
        raise Forbidden(
            CODE,
            f"{exchange.method} {without_tokens(exchange.path[:100])}{fault} is not metered: the gateway cannot know "
            f"its model beforehand and its cost afterwards, but {reason(exchange, snapshot)}. "
            "Use /v1/chat/completions, /v1/completions, /v1/embeddings or /v1/responses, or ask whoever runs this "
            "gateway to set `unmetered: allow` on the project.",
        )


def unmetered_part(exchange: Exchange, snapshot: Snapshot) -> str | None:
    """What about a request cannot be metered, as words behind its path; None: nothing, or it costs nothing."""
    if exchange.endpoint.reads_body and not exchange.model:
        return " without a model"
    if exchange.endpoint is RESPONSES:
        return " with `background`" if runs_in_background(exchange) else None
    if exchange.endpoint.media:
        if not exchange.model:
            return " without a model that can be read"
        if not prices_of(exchange, snapshot).are_all_known:
            return f" with the model {exchange.model!r}, whose price is not known,"
        exchange.is_metered_form = is_form(exchange)
        return None
    if not is_free(exchange.method, exchange.rest):
        return ""
    # Some server may take what is read with a body for what is sent to it.
    return " with a body" if exchange.method in READING and has_body(exchange) else None


def names_prompt(exchange: Exchange) -> bool:
    """Whether a stored prompt may name the model."""
    assert exchange.body is not None
    return exchange.endpoint is RESPONSES and exchange.body.get("prompt") is not None


def runs_in_background(exchange: Exchange) -> bool:
    """Such an answer tells no usage: it is made when the client has gone. Whatever is not plainly off counts as on."""
    assert exchange.body is not None
    # Servers exist that read names in any case.
    values = [bytes(value) for name, value in exchange.body.members.items() if name.casefold() == "background"]
    return any(value not in (b"false", b"null") for value in values)
