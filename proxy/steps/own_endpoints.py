"""The endpoints that Sluice answers itself: `GET /v1/models` and `/v1/models/{id}`."""

from __future__ import annotations

from urllib.parse import unquote

import msgspec

from providers.catalog import NoProvider
from proxy.bounds import MAX_MODEL_CHARS
from proxy.components import Components
from proxy.errors import NotFound
from proxy.exchange import Exchange
from proxy.steps.conditional import send_tagged
from proxy.upstream.model_lists import Members

CREATED_AT = 1_700_000_000
"""OpenAI's model objects have a creation time. A model whose provider does not list one gets this time."""

NO_SEGMENTS = frozenset({"", ".", ".."})


async def answer_own(exchange: Exchange, components: Components) -> None:
    """Answer with the models that the key may use, under their names for clients. Raises `NotFound`."""
    key = exchange.key
    wanted = unquote(exchange.rest.removeprefix("/models").strip("/"))
    models = await components.open_models.models(components.snapshot.catalog)
    if not wanted:
        data = [model_object(name, *model) for name, model in models.items() if key is None or key.may_use(name)]
        await send_tagged(exchange, msgspec.json.encode({"object": "list", "data": data}))
        return
    model = (
        models.get(wanted) or await find_unlisted(wanted, components) if key is None or key.may_use(wanted) else None
    )
    if model is None:
        raise NotFound("model_not_found", f"The model {wanted!r} does not exist or no provider has it.", param="model")
    await send_tagged(exchange, msgspec.json.encode(model_object(wanted, *model)))


async def find_unlisted(name: str, components: Components) -> tuple[str, Members] | None:
    """A model that no list contains, but that a provider has through a pattern, or because it takes every model.

    Returns the provider's name and the model's members, or None if there is no such model.
    """
    catalog = components.snapshot.catalog
    try:
        provider = catalog.candidates(name)[0].provider
    except NoProvider:
        return None
    if not provider.takes_every_model:
        return provider.name, {}
    # The name becomes part of the path of a request to the provider. It must not lead to another path there.
    if len(name) > MAX_MODEL_CHARS or not name.isprintable() or not NO_SEGMENTS.isdisjoint(name.split("/")):
        return None
    if "%" in name or "\\" in name:
        return None
    members = await components.open_models.single(catalog, provider, name)
    return None if members is None else (provider.name, members)


def model_object(name: str, provider: str, members: Members) -> dict[str, object]:
    """https://platform.openai.com/docs/api-reference/models/object, with what else the provider lists."""
    return {"id": name, "object": "model", "created": CREATED_AT, "owned_by": provider} | dict(members) | {"id": name}
