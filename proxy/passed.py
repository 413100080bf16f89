"""What passes from a provider's answer to the client: its headers, without the credential in them."""

from __future__ import annotations

from proxy.exchange import Exchange, Headers
from proxy.hygiene import downward
from proxy.upstream import Answer


def secret_of(exchange: Exchange) -> bytes:
    """The credential that the provider was called with; empty where there was none."""
    credential = exchange.credential
    return credential.secret.encode() if credential is not None and credential.secret else b""


def passed_headers(exchange: Exchange, answer: Answer) -> Headers:
    return downward(answer.headers, secret_of(exchange))
