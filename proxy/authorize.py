"""Step 3: whether they may. Project active, model allowed."""

from __future__ import annotations

from collections.abc import AsyncIterator

from keys.access import ModelNotAllowed, check_project
from proxy.errors import Forbidden
from proxy.exchange import Exchange
from proxy.multipart import ModelFinder


def authorize(exchange: Exchange) -> None:
    """Raises `InactiveProject`, `ModelNotAllowed`."""
    if exchange.key is not None or exchange.project is not None:
        check_project(exchange.project)
    if exchange.key is not None and exchange.model and not exchange.key.may_use(exchange.model):
        raise ModelNotAllowed(exchange.model)
    if exchange.key is not None and not exchange.key.takes_every_model:
        refuse_unreadable(exchange)


def refuse_unreadable(exchange: Exchange) -> None:
    """A key with a list of models may not send JSON in which the model could not be found out."""
    content_type = exchange.header_map.get(b"content-type", b"").lower()
    if exchange.endpoint.reads_body or b"json" not in content_type or exchange.method in ("GET", "HEAD"):
        return
    if exchange.passed_body is None or (exchange.passed_body and exchange.body is None):
        raise Forbidden(
            "model_not_readable",
            "This API key is limited to some models, so its JSON must be an object of at most 1 MiB "
            "that is sent with a Content-Length.",
        )


async def authorized_upload(exchange: Exchange, pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Check the models that a form names while it streams by; a refusal ends the upload before the form is whole."""
    key = exchange.key
    content_type = exchange.header_map.get(b"content-type", b"")
    if key is None or key.takes_every_model or not content_type.lower().startswith(b"multipart/"):
        async for piece in pieces:
            yield piece
        return
    finder = ModelFinder()
    async for piece in pieces:
        for model in finder.feed(piece):
            if not key.may_use(model):
                raise ModelNotAllowed(model)
        yield piece
