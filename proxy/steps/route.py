"""Step 6: who answers. A provider that has the model, and the credential that it is called with."""

from __future__ import annotations

import random

from providers.catalog import Candidate, Catalog, NoProvider, ProviderRecord, choose
from proxy.components import Parts
from proxy.endpoints import CHAT
from proxy.errors import BadRequest, NotFound
from proxy.exchange import Exchange
from proxy.stored.kinds import Named
from proxy.stored.references import homes_of


async def route(exchange: Exchange, parts: Parts) -> None:
    """Sets `candidate` and `access`. Raises `NoProvider`, `CredentialUnavailable`, `BadRequest`, `NotFound`."""
    endpoint = exchange.endpoint
    # Of chats, which are most, few speak of anything: a look at the bytes tells.
    words, body = endpoint.names_stored, exchange.body
    speaks = words and (endpoint is not CHAT or body is None or body.may_name(words))
    if speaks and (homes := await homes_of(exchange, parts)):
        route_home(exchange, parts, homes)
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


def route_home(exchange: Exchange, parts: Parts, homes: dict[tuple[str, str], tuple[ProviderRecord, Named]]) -> None:
    """What was stored lives at the provider that made it, under the credential that it was made with."""
    [((_, credential), (provider, named)), *others] = homes.items()
    if others:
        other = others[0][1][1]
        raise BadRequest(
            "invalid_value",
            f"What the request names as {named.param!r} and as {other.param!r} was not made at one provider "
            "with one credential.",
            param=named.param,
        )
    model = provider.upstream_name(exchange.model) if exchange.model else ""
    if model is None and not exchange.endpoint.reads_body:
        model = exchange.model  # named beside what is asked for, and the provider's to understand
    if model is None:
        raise NotFound(
            "model_not_found",
            f"The provider that has {named.id[:200]!r} does not have the model {exchange.model!r}.",
            param="model",
        )
    exchange.candidate = Candidate(provider, model)
    exchange.access = parts.snapshot.catalog.access(provider, credential)
    exchange.names_put_back = model != exchange.model
