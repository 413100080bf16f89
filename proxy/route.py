"""Step 6: who answers. A provider that has the model, and the credential that it is called with."""

from __future__ import annotations

import random
import re
from typing import NamedTuple

from providers.catalog import Candidate, Catalog, NoProvider, ProviderRecord, choose
from proxy.endpoints import STORED_CONVERSATION, STORED_RESPONSE
from proxy.errors import BadRequest, NotFound
from proxy.exchange import Exchange
from proxy.origins import ResponseOrigin
from proxy.parts import Parts

_STORED_ID = re.compile(r"[A-Za-z0-9_.:-]{1,128}")
"""A blank or an escape in an id is none: two readers could look two ids up."""


class Stored(NamedTuple):
    """Something that a request speaks of."""

    kind: str
    id: str
    param: str
    """Where the request names it."""


async def route(exchange: Exchange, parts: Parts) -> None:
    """Sets `candidate` and `access`. Raises `NoProvider`, `CredentialUnavailable`, `BadRequest`, `NotFound`."""
    if exchange.endpoint.speaks_of_stored and (stored := stored_of(exchange)):
        await route_to_maker(exchange, parts, stored)
        return
    catalog = parts.snapshot.catalog
    exchange.candidate = candidate = choose_candidate(exchange, catalog)
    key_alias = exchange.key.upstream_alias if exchange.key else ""
    project_alias = exchange.project.upstream_alias if exchange.project else ""
    exchange.access = catalog.access(candidate.provider, key_alias, project_alias)
    exchange.names_put_back = candidate.model != exchange.model


def refuse_unserved(exchange: Exchange, catalog: Catalog) -> None:
    """What nobody can serve uses up nothing of any limit. Raises `NoProvider`."""
    if exchange.model and exchange.endpoint.reads_body:
        catalog.candidates(exchange.model)


def choose_candidate(exchange: Exchange, catalog: Catalog) -> Candidate:
    if exchange.model:
        try:
            return choose(catalog.candidates(exchange.model), random.random())  # noqa: S311 (balancing, not secrets)
        except NoProvider:
            if exchange.endpoint.reads_body:
                raise
    return Candidate(catalog.default(), exchange.model)


def stored_of(exchange: Exchange) -> list[Stored]:
    """What the request asks for or goes on with. Raises `BadRequest`."""
    endpoint = exchange.endpoint
    if endpoint is STORED_RESPONSE or endpoint is STORED_CONVERSATION:
        kind = "Response" if endpoint is STORED_RESPONSE else "Conversation"
        return [Stored(kind, exchange.rest.split("/")[2], "id")]
    if exchange.body is None:
        return []
    found = []
    for kind, param in (("Response", "previous_response_id"), ("Conversation", "conversation")):
        value = exchange.body.get(param)
        if param == "conversation" and isinstance(value, dict):
            value = value.get("id")
        if value is None or value == "":
            continue
        if not isinstance(value, str):
            raise BadRequest("invalid_type", f"The {param} parameter must be an id.", param=param)
        found.append(Stored(kind, value, param))
    return found


async def route_to_maker(exchange: Exchange, parts: Parts, stored: list[Stored]) -> None:
    """What was stored lives at the provider that made it, under the credential that it was made with."""
    origins = [await find_maker(exchange, parts, each) for each in stored]
    provider, origin = origins[0]
    if any(other.provider != origin.provider or other.credential != origin.credential for _, other in origins):
        raise BadRequest(
            "invalid_value", "The response and the conversation are not at one provider.", param=stored[0].param
        )
    model = provider.upstream_name(exchange.model) if exchange.model else ""
    if model is None and not exchange.endpoint.reads_body:
        model = exchange.model  # named beside what is asked for, and the provider's to understand
    if model is None:
        raise NotFound(
            "model_not_found",
            f"The provider that has {stored[0].id!r} does not have the model {exchange.model!r}.",
            param="model",
        )
    exchange.candidate = Candidate(provider, model)
    exchange.access = parts.snapshot.catalog.access(provider, origin.credential)
    exchange.names_put_back = model != exchange.model


async def find_maker(exchange: Exchange, parts: Parts, stored: Stored) -> tuple[ProviderRecord, ResponseOrigin]:
    """Raises `NotFound`."""
    origin = await parts.origins.find(stored.id) if _STORED_ID.fullmatch(stored.id) else None
    project_id = exchange.project.id if exchange.project else None
    provider = parts.snapshot.catalog.named(origin.provider) if origin else None
    # Another project's is no different from none: nothing is told of what others have.
    if origin is None or provider is None or origin.project_id != project_id:
        code = f"{stored.kind.lower()}_not_found"
        raise NotFound(code, f"{stored.kind} with id {stored.id[:200]!r} not found.", param=stored.param)
    return provider, origin
