"""Reads what trusted reverse proxies report of the client: its address, and how it reached the first of them.

These headers are read only if the connection comes from one of `TRUSTED_PROXIES`: any other client can write them
itself. The client is the rightmost hop that is not trusted, because no trusted proxy vouches for the hops left of it.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any, NamedTuple

from proxy.wire.asgi import CALL

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Scope = MutableMapping[str, Any]
Application = Callable[[Scope, Any, Any], Awaitable[None]]

FORWARDED = "sluice.forwarded"
"""The key of the ASGI scope under which the `Forwarded` is stored."""

HOST = re.compile(rb"[A-Za-z0-9._-]+(:\d{1,5})?|\[[0-9A-Fa-f:.]+\](:\d{1,5})?")
PREFIX = re.compile(r"(/[A-Za-z0-9._~-]+)+")
PAIR = re.compile(r'\s*([A-Za-z]+)=(?:"([^"]*)"|([^;,"\s]*))\s*')


class Forwarded(NamedTuple):
    client: tuple[str, int]
    scheme: str
    host: bytes
    prefix: str


class TrustedProxies:
    """An ASGI application that wraps another one. The other one sees the client and the scheme that the proxies report
    as if they were the connection's own.
    """

    def __init__(self, networks: Sequence[Network], application: Application) -> None:
        self._networks, self._application = networks, application

    def __call__(self, scope: Scope, receive: Any, send: Any) -> Awaitable[None]:
        peer = scope.get("client")
        if peer is not None and self._trusts(peer[0]):
            call = scope.get(CALL)
            forwarded = call.head.forwarded if call is not None else None
            if forwarded is None:
                forwarded = self._forwarded(peer, scope)
                if call is not None:
                    call.head.forwarded = forwarded  # for the connection's next request with the same head
            scope["client"], scope["scheme"] = forwarded.client, forwarded.scheme
            scope[FORWARDED] = forwarded
        return self._application(scope, receive, send)

    def _trusts(self, host: str) -> bool:
        address = _address(host)
        return address is not None and any(address in network for network in self._networks)

    def _forwarded(self, peer: tuple[str, int], scope: Scope) -> Forwarded:
        fields: dict[bytes, list[bytes]] = {}
        for name, value in scope["headers"]:
            if name == b"forwarded" or name.startswith(b"x-forwarded-"):
                fields.setdefault(name, []).append(value)
        plain = {name: b",".join(values).decode("latin-1").split(",") for name, values in fields.items()}
        elements = [_pairs(element) for element in plain.get(b"forwarded", [])]
        hops = [element.get("for", "") for element in elements]
        by_standard, left = self._client(peer[0], hops)
        client, _ = self._client(peer[0], plain.get(b"x-forwarded-for", []))
        element = elements[left] if elements else {}
        if elements and b"x-forwarded-for" in fields and client != by_standard:
            client, element = peer[0], {}  # the client itself wrote one of the two, and nothing tells which
        elif elements and b"x-forwarded-for" not in fields:
            client = by_standard
        scheme = _last(plain, b"x-forwarded-proto").lower() or element.get("proto", "").lower()
        host = (_last(plain, b"x-forwarded-host") or element.get("host", "")).encode("latin-1")
        prefix = _last(plain, b"x-forwarded-prefix").rstrip("/")
        return Forwarded(
            (client, 0) if client != peer[0] else peer,
            scheme if scheme in ("http", "https") else scope["scheme"],
            host if HOST.fullmatch(host) else b"",
            prefix if PREFIX.fullmatch(prefix) else "",
        )

    def _client(self, peer: str, hops: Sequence[str]) -> tuple[str, int]:
        """The rightmost hop that is not trusted, else the leftmost, and its index. The search ends at a hop that is no
        address.
        """
        client, at = peer, max(len(hops) - 1, 0)
        for position in range(len(hops) - 1, -1, -1):
            address = _address(_without_port(hops[position].strip()))
            if address is None:
                break
            client, at = str(address), position
            if not self._trusts(client):
                break
        return client, at


def for_django(scope: Scope) -> Scope:
    """Set the host and the prefix too, because Django makes links of them."""
    forwarded: Forwarded | None = scope.get(FORWARDED)
    if forwarded is None:
        return scope
    if forwarded.host:
        others = [header for header in scope["headers"] if header[0] != b"host"]
        scope["headers"] = [(b"host", forwarded.host), *others]
    if forwarded.prefix:
        scope["root_path"], scope["path"] = forwarded.prefix, forwarded.prefix + scope["path"]
    return scope


def _last(plain: dict[bytes, list[str]], name: bytes) -> str:
    """The last value of a header, which the nearest proxy wrote; "" if there is none."""
    return plain[name][-1].strip() if name in plain else ""


def _pairs(element: str) -> dict[str, str]:
    """One element of `Forwarded` (RFC 7239)."""
    return {name.lower(): quoted or plain for name, quoted, plain in PAIR.findall(element)}


def _without_port(hop: str) -> str:
    if hop.startswith("["):
        return hop[1:].partition("]")[0]
    return hop.partition(":")[0] if hop.count(":") == 1 else hop


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
