"""What Sluice answers by itself: the list of models."""

from __future__ import annotations

from urllib.parse import unquote

import msgspec

from proxy import respond
from proxy.errors import NotFound
from proxy.exchange import Exchange
from proxy.parts import Parts

MADE_AT = 1_700_000_000
"""OpenAI's objects have a time of creation; a name in a configuration has none, so all have this one."""


async def answer_own(exchange: Exchange, parts: Parts) -> None:
    """`GET /v1/models` and `/v1/models/{id}`: the client-side names that the key may use. Raises `NotFound`."""
    key = exchange.key
    names = [
        (name, provider)
        for name, provider in await parts.open_models.names(parts.snapshot.catalog)
        if key is None or key.may_use(name)
    ]
    wanted = unquote(exchange.rest.removeprefix("/models").strip("/"))
    if not wanted:
        listing = {"object": "list", "data": [model_object(*pair) for pair in names]}
        await respond.send_whole(exchange, 200, respond.JSON, msgspec.json.encode(listing))
        return
    for name, provider in names:
        if name == wanted:
            await respond.send_whole(exchange, 200, respond.JSON, msgspec.json.encode(model_object(name, provider)))
            return
    raise NotFound("model_not_found", f"The model {wanted!r} does not exist or no provider has it.", param="model")


def model_object(name: str, provider: str) -> dict[str, object]:
    """https://platform.openai.com/docs/api-reference/models/object"""
    return {"id": name, "object": "model", "created": MADE_AT, "owned_by": provider}
