"""Step 2: check the virtual key. Without `REQUIRE_API_KEY` a request may have none."""

from __future__ import annotations

from keys.access import InvalidKey, MissingKey, check_secret, check_state
from keys.records import KeyRecord, ProjectRecord
from keys.tokens import MalformedToken, read_token
from proxy.capture import Capture
from proxy.components import Components
from proxy.exchange import Exchange
from proxy.server.head import Head


async def authenticate(exchange: Exchange, components: Components) -> None:
    """Sets `key`, `project` and `capture`. Raises a `KeyRefused`, or `Unavailable` while a key cannot be looked up."""
    snapshot = components.snapshot
    key = proven_before(exchange.head, components)
    if key is None:
        text = presented_token(exchange.head.fields)
        if text is None:
            if components.bounds.require_key:
                raise MissingKey
            belongs(exchange, snapshot.default_project, components)
            return
        key = await prove(exchange.head, text, components)
    exchange.key = key  # before its state is checked, so that the row of a refused request has its key
    belongs(exchange, snapshot.projects.get(key.project_id), components)
    check_state(key, exchange.started_at)


def belongs(exchange: Exchange, project: ProjectRecord | None, components: Components) -> None:
    exchange.project = project
    if project is not None and project.captures:
        if exchange.capture is None:
            exchange.capture = Capture(components.bounds.captured_bytes)
        exchange.capture.keeps = project.captures


def proven_before(head: Head, components: Components) -> KeyRecord | None:
    """The key that was checked for the same headers on this connection; None if its record has changed since."""
    if head.proven is None:
        return None
    public_id, key = head.proven
    return key if components.snapshot.cached_key(public_id) is key else None


async def prove(head: Head, text: str, components: Components) -> KeyRecord:
    """The key that a token belongs to. Raises `InvalidKey`, `Unavailable`."""
    try:
        token = read_token(text, components.bounds.key_prefix)
    except MalformedToken:
        raise InvalidKey from None
    key = components.snapshot.cached_key(token.public_id) or await components.snapshot.find_key(token.public_id)
    if key is None:
        raise InvalidKey
    check_secret(key, token.secret)
    head.proven = token.public_id, key
    return key


def presented_token(fields: dict[bytes, bytes]) -> str | None:
    """The token in `Authorization: Bearer` (the word in any case), `X-API-Key` or `api-key`; None if there is none.

    Authorization with an unknown scheme counts as an invalid key. Basic, which browsers send by themselves, is ignored.
    """
    authorization = fields.get(b"authorization", b"")
    if authorization[:6].lower() == b"bearer" and authorization[6:7] in (b" ", b"\t"):
        return authorization[7:].strip().decode("latin-1")
    token = fields.get(b"x-api-key") or fields.get(b"api-key")
    if not token and authorization[:6].lower() != b"basic " and authorization.strip().lower() != b"bearer":
        token = authorization
    return token.strip().decode("latin-1") if token else None
