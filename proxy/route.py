"""Step 6: who answers. A provider that has the model, and the credential that it is called with."""

from __future__ import annotations

import random

from providers.catalog import Candidate, NoProvider, choose
from proxy.errors import NotFound
from proxy.exchange import Exchange
from proxy.origins import ResponseOrigins
from proxy.snapshot import Snapshot


async def route(exchange: Exchange, snapshot: Snapshot, origins: ResponseOrigins) -> None:
    """Sets `candidate` and `credential`. Raises `NoProvider`, `CredentialUnavailable`, `NotFound`."""
    catalog = snapshot.catalog
    if exchange.endpoint.label == "/v1/responses/{id}":
        await _route_to_maker(exchange, snapshot, origins)
        return
    exchange.candidate = _candidate(exchange, snapshot)
    key_alias = exchange.key.upstream_alias if exchange.key else ""
    project_alias = exchange.project.upstream_alias if exchange.project else ""
    exchange.credential = catalog.credential_for(exchange.candidate.provider, key_alias, project_alias)


def _candidate(exchange: Exchange, snapshot: Snapshot) -> Candidate:
    catalog = snapshot.catalog
    if exchange.model:
        try:
            return choose(catalog.candidates(exchange.model), random.random())  # noqa: S311 (balancing, not secrets)
        except NoProvider:
            if exchange.endpoint.reads_body:
                raise
    return Candidate(catalog.default(), exchange.model)


async def _route_to_maker(exchange: Exchange, snapshot: Snapshot, origins: ResponseOrigins) -> None:
    """What was stored lives at the provider that made it, under the credential that it was made with."""
    response_id = exchange.rest.split("/")[2]
    origin = await origins.find(response_id)
    project_id = exchange.project.id if exchange.project else None
    provider = snapshot.catalog.named(origin.provider) if origin else None
    # Another project's response is no different from none: nothing is told of what others have.
    if origin is None or provider is None or origin.project_id != project_id:
        raise NotFound("response_not_found", f"Response with id {response_id!r} not found.", param="id")
    exchange.candidate = Candidate(provider, "")
    exchange.credential = snapshot.catalog.credential_for(provider, origin.credential)
