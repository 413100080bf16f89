"""Conditional requests (RFC 9110, section 13): a client that has an answer already gets 304 in place of it.

What Sluice makes itself, and stored answers, have tags of Sluice's. What is relayed unread has its provider's. An
answer that Sluice edits has none: two projects may get different ones under one tag.
"""

from __future__ import annotations

from hashlib import sha256

from proxy.endpoints import OPAQUE, READING
from proxy.exchange import Exchange
from proxy.steps import respond
from proxy.wire.answer import Answer

CONDITIONS = (b"if-none-match", b"if-modified-since")


def matches(exchange: Exchange, tag: bytes) -> bool:
    """Whether the client has the answer with this strong tag. The comparison is the weak one (section 8.8.3.2)."""
    told = exchange.head.fields.get(b"if-none-match", b"")
    if told.strip() == b"*":
        return True
    return any(each.strip().removeprefix(b"W/") == tag for each in told.split(b","))


async def send_tagged(exchange: Exchange, body: bytes) -> None:
    """Send a JSON body of Sluice's own, or 304 where the client has it."""
    tag = b'"%s"' % sha256(body).hexdigest()[:32].encode()
    line = b"etag: %s\r\n" % tag
    if b"if-none-match" in exchange.head.fields and matches(exchange, tag):
        await respond.send_whole(exchange, 304, line, b"")
    else:
        await respond.send_whole(exchange, 200, respond.JSON + line, body)


def is_relayed_unread(exchange: Exchange) -> bool:
    return exchange.dialect is OPAQUE and exchange.endpoint.lists is None and exchange.method in READING


def lines_above(exchange: Exchange) -> bytes:
    """The client's conditions, for the provider."""
    fields = exchange.head.fields
    if not (b"if-none-match" in fields or b"if-modified-since" in fields) or not is_relayed_unread(exchange):
        return b""
    return b"".join(b"%s: %s\r\n" % (name, fields[name]) for name in CONDITIONS if name in fields)


def lines_below(exchange: Exchange, answer: Answer) -> bytes:
    """The provider's tag, for the client."""
    if not is_relayed_unread(exchange):
        return b""
    return b"".join(b"etag: %s\r\n" % value for name, value in answer.headers if name == b"etag")
