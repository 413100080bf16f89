"""Step 3: whether they may. Project active, model allowed."""

from __future__ import annotations

from collections.abc import AsyncIterator

from keys.access import ModelNotAllowed, check_project
from keys.records import KeyRecord
from proxy.errors import Forbidden
from proxy.exchange import Exchange
from proxy.multipart import ModelFinder, UnreadableForm
from proxy.receive import has_body

FORM = b"multipart/form-data"


def authorize(exchange: Exchange) -> None:
    """Raises `InactiveProject`, `ModelNotAllowed`, `Forbidden`."""
    key = exchange.key
    if key is not None or exchange.project is not None:
        check_project(exchange.project)
    if key is not None and not key.takes_every_model:
        authorize_model(exchange, key)


def authorize_model(exchange: Exchange, key: KeyRecord) -> None:
    """For a key that is limited to some models: whatever names a model must be readable, and name one of them."""
    if exchange.model and not key.may_use(exchange.model):
        raise ModelNotAllowed(exchange.model)
    if exchange.body is not None:
        # Servers exist that read names in any case, so a second spelling could name a second model.
        spellings = [name for name in exchange.body.members if name.casefold() == "model"]
        if spellings and (spellings != ["model"] or not exchange.model):
            raise unreadable()
    elif exchange.passed_body is None:
        content_type = exchange.header_map.get(b"content-type", b"").lower()
        if has_body(exchange) and not content_type.startswith(FORM):
            raise unreadable()
    elif exchange.passed_body:
        raise unreadable()


def unreadable() -> Forbidden:
    return Forbidden(
        "model_not_readable",
        "This API key is limited to some models, so the gateway must be able to read which one a request names: "
        "send a JSON object of at most 1 MiB with a Content-Length, or a plain multipart form.",
    )


async def authorized_upload(exchange: Exchange, pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Check the models that a form names while it streams by; a refusal ends the upload before the form is whole."""
    key = exchange.key
    if key is None or key.takes_every_model:
        async for piece in pieces:
            yield piece
        return
    finder = ModelFinder()
    held = b""
    try:
        async for piece in pieces:
            for model in finder.feed(piece):
                if not key.may_use(model):
                    raise ModelNotAllowed(model)
            if held:
                yield held
            held = piece  # the last piece waits for the end: without it the form is not whole
        finder.end()
    except UnreadableForm:
        raise unreadable() from None
    if held:
        yield held
