"""Finds the stored objects that a request names, and checks whether its project made them."""

from __future__ import annotations

import asyncio
from urllib.parse import unquote

from providers.catalog import Catalog, ProviderRecord
from proxy.dialects.stored_kinds import CONVERSATION, KINDS, MOST_NAMED, NOT_NAMES, RESPONSE, Named, is_id, named_in
from proxy.endpoints import READING, RESPONSES
from proxy.errors import BadRequest, NotFound
from proxy.exchange import Exchange
from proxy.stored.owners import Owners
from proxy.wire.jsonbody import JSONBody

LOOP_BYTES = 256 * 1024
"""A longer body is searched off the event loop."""

SHOWN_CHARS = 200
KIND_OF = {kind.name: kind for kind in KINDS}


async def homes_of(
    exchange: Exchange, owners: Owners, catalog: Catalog
) -> dict[tuple[str, str], tuple[ProviderRecord, Named]]:
    """Where the objects that the request names were made: by names of provider and credential, the provider's record
    and one of the objects there.

    An object that no project made is left out if the project may use such objects.

    Raises `BadRequest`, `NotFound`, `Unavailable`.
    """
    named = await named_of(exchange)
    if not named:
        return {}
    project_id = exchange.project.id if exchange.project else None
    allows = exchange.project is not None and exchange.project.foreign_ids
    homes: dict[tuple[str, str], tuple[ProviderRecord, Named]] = {}
    for in_ledger in (True, False):
        some = {each.id: each for each in named if each.kind.in_ledger is in_ledger}
        if not some:
            continue
        by_id = await owners.find(some, project_id, in_ledger=in_ledger, may_be_nobodys=allows)
        for each in some.values():
            owner = by_id.get(each.id)
            if owner is None and allows:
                exchange.speaks_of_foreign = True
                continue
            provider = catalog.named(owner.provider) if owner is not None else None
            # Another project's object is refused like one that does not exist, so nobody learns what others have.
            if owner is None or provider is None or owner.project_id != project_id:
                raise not_found(each)
            owners.use(exchange, each.id, owner)
            homes[owner.provider, owner.credential] = provider, each
    return homes


def not_found(named: Named) -> NotFound:
    return NotFound(named.kind.code, named.kind.not_found(named.id[:SHOWN_CHARS]), param=named.param)


async def named_of(exchange: Exchange) -> list[Named]:
    """All stored objects that a request names, in its path and its body. Raises `BadRequest`."""
    endpoint, body = exchange.endpoint, exchange.body
    named: list[Named] = []
    if (kind := endpoint.one_of) is not None:
        segment = exchange.rest[len(kind.path) + 1 :].partition("/")[0]
        named.append(Named(kind, unquote(segment, errors="surrogateescape"), "id"))
    if body is not None:
        if endpoint.label.startswith(RESPONSES.label):
            named += gone_on_with(body)
        if body.may_name(endpoint.names_stored):
            named += in_body(body) if body.size <= LOOP_BYTES else await in_long_body(body)
    elif (kind := endpoint.one_of or endpoint.makes) and kind.names_others:
        check_is_readable(exchange)
    if len(named) > MOST_NAMED:
        raise BadRequest("too_many_ids", f"The request names more than {MOST_NAMED:,} stored objects.")
    return named


def check_is_readable(exchange: Exchange) -> None:
    """Refuse a body that may name stored objects and that Sluice cannot read. Raises `BadRequest`."""
    is_unread = exchange.passed_body or (exchange.passed_body is None and exchange.has_body and not exchange.is_form)
    if is_unread and exchange.method not in READING:
        raise BadRequest(
            "body_not_readable",
            "The gateway must be able to read which files and other stored objects a request names: send a JSON object "
            "of at most MAX_PAYLOAD_BYTES with the header 'Content-Type: application/json', or a multipart form.",
        )


def gone_on_with(body: JSONBody) -> list[Named]:
    """The response or conversation that a new response continues. Raises `BadRequest`."""
    references = []
    for kind, param in ((RESPONSE, "previous_response_id"), (CONVERSATION, "conversation")):
        value = body.get(param)
        if param == "conversation" and isinstance(value, dict):
            value = value.get("id")
        if value is None or value == "":
            continue
        if not is_id(value):
            raise BadRequest("invalid_type", f"The {param} parameter must be an id.", param=param)
        references.append(Named(kind, value, param))
    return references


async def in_long_body(body: JSONBody) -> list[Named]:
    """The same as `in_body`: from what the child told of the body, or in a thread. Raises `BadRequest`."""
    facts = body.facts
    if facts is None:
        return await asyncio.to_thread(in_body, body)
    if facts.unreadable_member is not None:
        raise unreadable(facts.unreadable_member)
    return [Named(KIND_OF[each.kind], each.id, each.param) for each in facts.named]


def in_body(body: JSONBody) -> list[Named]:
    """The stored objects that a body names. Raises `BadRequest`."""
    references: list[Named] = []
    for name, value in body.members.items():
        if name in NOT_NAMES:
            continue
        try:
            references += named_in(bytes(value), name)
        except (ValueError, RecursionError):
            raise unreadable(name) from None
    return references


def unreadable(name: str) -> BadRequest:
    return BadRequest("invalid_json", f"The value of {name[:SHOWN_CHARS]!r} cannot be read.", param=name[:SHOWN_CHARS])
