"""What can be metered: a model that is known before the provider is asked, and a cost that is known afterwards.

A list of models or a budget means nothing for a request of which Sluice knows neither. So a key that is bound by one
gets only what is metered, and what costs nothing; its project may say otherwise (docs/operations.md has the table).
"""

from __future__ import annotations

from keys.models.project import ALLOW
from proxy.admission.bound import needs_metering, reason
from proxy.admission.model_prices import prices_of
from proxy.configuration.snapshot import Snapshot
from proxy.endpoints import READING, RESPONSES, is_free
from proxy.errors import BadRequest, Forbidden
from proxy.exchange import Exchange
from usage.masking import without_tokens

CODE = "endpoint_not_metered"
PLAIN = (b"true", b"false", b"null")


def check_metered(exchange: Exchange, snapshot: Snapshot) -> None:
    """Of an endpoint that is not always metered, or a request without a model. Raises `Forbidden`, `BadRequest`."""
    if exchange.endpoint.reads_body and not exchange.model:
        check_may_lack_model(exchange)
    if needs_metering(exchange, snapshot) and (fault := unmetered_part(exchange, snapshot)) is not None:
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
        return " with this `background`" if has_odd_background(exchange) else None
    if exchange.endpoint.media:
        if not exchange.model:
            return " without a model that can be read"
        if not prices_of(exchange, snapshot).are_all_known:
            return f" with the model {exchange.model!r}, whose price is not known,"
        exchange.is_metered_form = exchange.is_form
        return None
    if not is_free(exchange.method, exchange.rest):
        return ""
    # Some server may take what is read with a body for what is sent to it.
    return " with a body" if exchange.method in READING and exchange.has_body else None


def check_may_lack_model(exchange: Exchange) -> None:
    """A stored prompt may name it, at the provider; else a project has to leave it to the provider to judge, and the
    key must have no list of models: a provider with a model of its own choosing would be a way around it. Raises
    `BadRequest`.
    """
    assert exchange.body is not None
    is_listed = exchange.key is not None and not exchange.key.takes_every_model
    if exchange.project is not None and exchange.project.unmetered == ALLOW and not is_listed:
        return
    if exchange.endpoint is not RESPONSES or exchange.body.get("prompt") is None:
        raise BadRequest("missing_required_parameter", "You must provide a model parameter.", param="model")


def has_odd_background(exchange: Exchange) -> bool:
    """Such an answer is asked for when it is over, if it is plain that it goes on."""
    assert exchange.body is not None
    # Servers exist that read names in any case, and numbers as truth.
    body = exchange.body
    named = [name for name in body.members if name.casefold() == "background"]
    return any(name != "background" or not any(body.says(name, value) for value in PLAIN) for name in named)
