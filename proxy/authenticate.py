"""Step 2: who asks. The virtual key, or nobody where nobody may."""

from __future__ import annotations

from keys.access import InvalidKey, MissingKey, check_key
from keys.tokens import MalformedToken, read_token
from proxy.exchange import Exchange
from proxy.parts import Parts


async def authenticate(exchange: Exchange, parts: Parts) -> None:
    """Sets `key` and `project`. Raises a `KeyRefused`, or `Unavailable` while a key cannot be looked up."""
    snapshot, bounds = parts.snapshot, parts.bounds
    text = presented_token(exchange.header_map)
    if text is None:
        if bounds.require_key:
            raise MissingKey
        exchange.project = snapshot.default_project
        return
    try:
        token = read_token(text, bounds.key_prefix)
    except MalformedToken:
        raise InvalidKey from None
    key = snapshot.known_key(token.public_id) or await snapshot.find_key(token.public_id)
    if key is None:
        raise InvalidKey
    check_key(key, token.secret, exchange.started_at)
    exchange.key = key
    exchange.project = snapshot.projects.get(key.project_id)


def presented_token(headers: dict[bytes, bytes]) -> str | None:
    """`Authorization: Bearer` (the word in any case), `X-API-Key` or `api-key`; None when there is none."""
    authorization = headers.get(b"authorization")
    if authorization is not None and authorization[:7].lower() == b"bearer ":
        return authorization[7:].strip().decode("latin-1")
    given = headers.get(b"x-api-key") or headers.get(b"api-key")
    return given.strip().decode("latin-1") if given else None
