"""Relay lists of stored objects without those of other projects: a provider lists all objects of its account.

A client asks for the next page by the last object that it got, and the provider continues after that object. So objects
can be left out of a page. If no object of a page is left, Sluice itself asks for the next page, up to a bound.
"""

from __future__ import annotations

from urllib.parse import parse_qsl, urlencode

import msgspec
from msgspec import Raw

from proxy.components import Components
from proxy.dialects.stored_kinds import ids_at
from proxy.errors import Forbidden, UpstreamError
from proxy.exchange import Exchange
from proxy.server.deadlines import RequestDeadline
from proxy.steps import respond
from proxy.steps.fetch import ask
from proxy.steps.passed_headers import passed_lines
from proxy.steps.whole import MAX_READ_ANSWER_BYTES, plain, read_whole
from proxy.wire.answer import Answer
from proxy.wire.jsonbody import JSONBody, NotAnObject
from usage.ids import object_key

MOST_PAGES = 20
PAGE = 100
"""Objects on a page that Sluice itself asks for: the most that all of OpenAI's lists allow."""

_items = msgspec.json.Decoder(list[Raw])
_any = msgspec.json.Decoder()


class Item:
    """One object of a list."""

    __slots__ = ("id", "is_own", "raw", "value")

    def __init__(self, raw: Raw) -> None:
        self.raw = bytes(raw)
        self.value = _any.decode(raw)
        ids = ids_at(self.value, "id")
        self.id = ids[0] if ids else ""
        self.is_own = False
        """This project made it. False also for an object that no project made."""


async def relay_list(exchange: Exchange, answer: Answer, components: Components, deadline: RequestDeadline) -> None:
    """Send the first page that has objects of the project. Raises `UpstreamError`, `Forbidden`."""
    first = answer
    try:
        page, items = await read_page(exchange, answer, components, deadline)
        limit = max(len(items), 1)
        own = await own_items(exchange, items, components)
        item_count = len(items)
        for _ in range(MOST_PAGES):
            if own or not has_more(page) or not pages_forward(exchange) or not items:
                break
            exchange.query = next_query(exchange.query, items[-1].id)
            if answer is not first:
                answer.abort()
            answer = await ask(exchange, components, deadline, exchange.attempts[-1].again())
            if answer.status >= 400:
                raise UpstreamError("upstream_invalid_response", f"The provider answered {answer.status} in a list.")
            page, items = await read_page(exchange, answer, components, deadline)
            own = await own_items(exchange, items, components)
            item_count += len(items)
        else:
            raise Forbidden(
                "list_not_own",
                f"The next {item_count:,} objects of this list are not this project's, and the gateway looks no "
                "further. Ask for what it made by its id.",
            )
        if len(own) > limit:
            own = own[:limit]
            page.set("has_more", True)
        put_items(page, own)
        record_stored_keys(exchange, own)
        components.owners.remember_for(exchange)
        lines = passed_lines(exchange, answer, without=(b"content-encoding",))
        await respond.send_whole(exchange, answer.status, lines, page.encode())
    finally:
        if answer is not first:
            answer.abort()


async def read_page(
    exchange: Exchange, answer: Answer, components: Components, deadline: RequestDeadline
) -> tuple[JSONBody, list[Item]]:
    """A page and its objects. Raises `UpstreamError` if it cannot be read: it could contain others' objects."""
    most = MAX_READ_ANSWER_BYTES
    raw = await plain(answer, await read_whole(exchange, answer, components, deadline, most, []), most)
    try:
        if raw is None:
            raise NotAnObject("it is too large, or under an encoding that nobody asked for")
        page = JSONBody(raw)
        return page, [Item(item) for item in _items.decode(page.members.get("data", b""))]
    except (NotAnObject, msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise UpstreamError("upstream_invalid_response", "The provider's answer is not a list of objects.") from None


async def own_items(exchange: Exchange, items: list[Item], components: Components) -> list[Item]:
    """The objects that the project made, and, if it has `foreign_ids`, those that no project made."""
    kind = exchange.endpoint.lists
    assert kind is not None
    project_id = exchange.project.id if exchange.project else None
    allows = exchange.project is not None and exchange.project.foreign_ids
    ids = {item.id for item in items if item.id}
    if allows:  # another project's new object looks as if no project made it until its row is there, so wait for it
        owners = await components.owners.find(ids, project_id, in_ledger=kind.in_ledger, may_be_nobodys=True)
    else:
        owners = await components.owners.look(ids, project_id, in_ledger=kind.in_ledger)
    own = []
    for item in items:
        owner = owners.get(item.id)
        item.is_own = owner is not None and owner.project_id == project_id
        if item.is_own or (owner is None and allows):
            own.append(item)
    return own


def has_more(page: JSONBody) -> bool:
    return page.raw("has_more") == b"true"


def pages_forward(exchange: Exchange) -> bool:
    return all(name != "before" for name, _ in parse_qsl(exchange.query))


def next_query(query: str, last_id: str) -> str:
    others = [(name, value) for name, value in parse_qsl(query, True) if name not in ("after", "limit")]
    return urlencode([*others, ("limit", str(PAGE)), ("after", last_id)])


def put_items(page: JSONBody, own: list[Item]) -> None:
    """Replace the page's objects by these. If none is left out, the page stays as it came."""
    data = b"[" + b",".join(item.raw for item in own) + b"]"
    if len(own) == len(_items.decode(page.members["data"])):
        return
    page.set_raw("data", data)
    for name, item in (("first_id", own[0] if own else None), ("last_id", own[-1] if own else None)):
        if name in page.members:
            page.set(name, item.id if item is not None else None)


def record_stored_keys(exchange: Exchange, own: list[Item]) -> None:
    """Record the objects that were made with the project's own ones, such as a batch's files, as the project's too."""
    kind = exchange.endpoint.lists
    assert kind is not None
    ids = (object_id for item in own if item.is_own for path in kind.tells for object_id in ids_at(item.value, path))
    exchange.stored_keys = tuple({object_key(object_id): None for object_id in ids})
