"""Step 6: who answers. A provider that has the model, and the credential that it is called with."""

from __future__ import annotations

import random
import re

from providers.catalog import Candidate, Catalog, NoProvider, choose
from proxy.endpoints import STORED_RESPONSE
from proxy.errors import NotFound
from proxy.exchange import Exchange
from proxy.parts import Parts

_RESPONSE_ID = re.compile(r"[A-Za-z0-9_.:-]{1,128}")
"""A blank or an escape in an id is none: two readers could look two ids up."""


async def route(exchange: Exchange, parts: Parts) -> None:
    """Sets `candidate` and `access`. Raises `NoProvider`, `CredentialUnavailable`, `NotFound`."""
    catalog = parts.snapshot.catalog
    if exchange.endpoint is STORED_RESPONSE:
        await route_to_maker(exchange, parts)
        return
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


async def route_to_maker(exchange: Exchange, parts: Parts) -> None:
    """What was stored lives at the provider that made it, under the credential that it was made with."""
    response_id = exchange.rest.split("/")[2]
    if not _RESPONSE_ID.fullmatch(response_id):
        raise NotFound("response_not_found", "No response has an id with such characters.", param="id")
    origin = await parts.origins.find(response_id)
    project_id = exchange.project.id if exchange.project else None
    provider = parts.snapshot.catalog.named(origin.provider) if origin else None
    # Another project's response is no different from none: nothing is told of what others have.
    if origin is None or provider is None or origin.project_id != project_id:
        raise NotFound("response_not_found", f"Response with id {response_id!r} not found.", param="id")
    exchange.candidate = Candidate(provider, "")
    exchange.access = parts.snapshot.catalog.access(provider, origin.credential)
