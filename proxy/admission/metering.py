"""A request can be metered if its model is known before the provider is asked, and its cost afterwards.

Without these Sluice cannot apply a list of models or a budget. So a key that has one of them may send only requests
that are metered or free, unless its project says otherwise (docs/operations.md has the table).
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
    """Check a request to an endpoint that is not always metered, or without a model.

    Raises `Forbidden`, `BadRequest`.
    """
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
    """Why a request cannot be metered, as words to put behind its path; None if it can, or costs nothing."""
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
    # Some servers may read a GET or DELETE with a body as a request of another method.
    return " with a body" if exchange.method in READING and exchange.has_body else None


def check_may_lack_model(exchange: Exchange) -> None:
    """Check that a request may have no model. Raises `BadRequest`.

    A response may have none if a stored prompt names it at the provider. Any other request may have none if its project
    allows unmetered requests, and the key has no list of models: a model that the provider chooses could be none of the
    list.
    """
    assert exchange.body is not None
    is_listed = exchange.key is not None and not exchange.key.takes_every_model
    if exchange.project is not None and exchange.project.unmetered == ALLOW and not is_listed:
        return
    if exchange.endpoint is not RESPONSES or exchange.body.get("prompt") is None:
        raise BadRequest("missing_required_parameter", "You must provide a model parameter.", param="model")


def has_odd_background(exchange: Exchange) -> bool:
    """Whether servers could read `background` differently. Sluice asks for the usage of a response in the background
    later, so it must know whether it is one.
    """
    assert exchange.body is not None
    # Some servers ignore the case of names, and read numbers as true or false.
    body = exchange.body
    named = [name for name in body.members if name.casefold() == "background"]
    return any(name != "background" or not any(body.says(name, value) for value in PLAIN) for name in named)
