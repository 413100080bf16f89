"""Choose the providers that may answer, in the order in which they are asked."""

from __future__ import annotations

import random
from collections.abc import Iterator

from providers.catalog import Candidate, Catalog, NoProvider, ProviderRecord, choose
from proxy.attempt import Attempt
from proxy.components import Components
from proxy.dialects.stored_kinds import Named
from proxy.endpoints import CHAT
from proxy.errors import BadRequest, NotFound
from proxy.exchange import Exchange
from proxy.stored.references import homes_of


async def route(exchange: Exchange, components: Components) -> Iterator[Attempt]:
    """Attempts to make, one after the other. Raises `NoProvider`, `BadRequest`, `NotFound`."""
    endpoint = exchange.endpoint
    # Most requests are chats, and few of those name a stored object. Searching the bytes tells.
    words, body = endpoint.names_stored, exchange.body
    speaks = words and (endpoint is not CHAT or body is None or body.may_name(words))
    if speaks and (homes := await homes_of(exchange, components.owners, components.snapshot.catalog)):
        return iter((at_home(exchange, homes),))
    return attempts(exchange, candidates_of(exchange, components.snapshot.catalog))


def attempts(exchange: Exchange, candidates: tuple[Candidate, ...]) -> Iterator[Attempt]:
    """One attempt for each provider, in an order by priority and weight."""
    aliases = (
        exchange.key.upstream_alias if exchange.key else "",
        exchange.project.upstream_alias if exchange.project else "",
    )
    while candidates:
        chosen = choose(candidates, random.random())  # noqa: S311 (balancing, not secrets)
        yield Attempt(*chosen, aliases)
        candidates = tuple(other for other in candidates if other is not chosen)


def candidates_of(exchange: Exchange, catalog: Catalog) -> tuple[Candidate, ...]:
    """Raises `NoProvider`."""
    if exchange.model:
        try:
            return catalog.candidates(exchange.model)
        except NoProvider:
            if exchange.endpoint.reads_body:
                raise
    return (Candidate(catalog.default(), exchange.model),)


def at_home(exchange: Exchange, homes: dict[tuple[str, str], tuple[ProviderRecord, Named]]) -> Attempt:
    """An attempt at the provider that made the stored objects, with the credential that they were made with.

    Raises `BadRequest`, `NotFound`.
    """
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
        model = exchange.model  # only mentioned in the request, so the provider decides about it
    if model is None:
        raise NotFound(
            "model_not_found",
            f"The provider that has {named.id[:200]!r} does not have the model {exchange.model!r}.",
            param="model",
        )
    return Attempt(provider, model, (credential, ""))
