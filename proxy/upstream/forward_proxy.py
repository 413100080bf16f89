"""Forward proxies that the environment names: `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY`, `NO_PROXY`, in either case."""

from __future__ import annotations

import asyncio
import base64
import socket
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies_environment, proxy_bypass_environment  # type: ignore[attr-defined]

from providers.catalog import Origin
from proxy.upstream.connection import ConnectionFailed

MAX_REPLY_BYTES = 16 * 1024


class ForwardProxy(NamedTuple):
    host: str
    port: int
    authorization: str


class ForwardProxies:
    """Finds the proxy through which an origin is reached."""

    def __init__(self, by_scheme: Mapping[str, ForwardProxy], bypass: Mapping[str, str]) -> None:
        self._by_scheme, self._bypass = by_scheme, dict(bypass)

    @classmethod
    def from_environment(cls) -> ForwardProxies:
        urls = getproxies_environment()
        proxies = {}
        for scheme in ("http", "https"):
            url = urls.get(scheme) or urls.get("all")
            if url:
                proxies[scheme] = _proxy_from(url)
        return cls(proxies, urls)

    def for_origin(self, origin: Origin) -> ForwardProxy | None:
        if not self._by_scheme:
            return None
        if proxy_bypass_environment(f"{origin.host}:{origin.port}", self._bypass):
            return None
        return self._by_scheme.get(origin.scheme)

    def absolute(self, origin: Origin, path: str) -> str:
        """The request target. A proxy needs the whole URL, unless the connection is a tunnel."""
        if self._by_scheme and origin.scheme == "http" and self.for_origin(origin) is not None:
            return f"http://{_authority(origin)}{path}"
        return path


def _proxy_from(url: str) -> ForwardProxy:
    parts = urlsplit(url if "://" in url else f"http://{url}")
    login = ""
    if parts.username:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        login = "Basic " + base64.b64encode(pair.encode()).decode()
    return ForwardProxy(parts.hostname or "", parts.port or 80, login)


async def open_tunnel(proxy: ForwardProxy, origin: Origin) -> socket.socket:
    """A connected socket through the proxy (CONNECT, RFC 9110 section 9.3.6). Raises `ConnectionFailed`, `OSError`."""
    loop = asyncio.get_running_loop()
    addresses = await loop.getaddrinfo(proxy.host, proxy.port, type=socket.SOCK_STREAM)
    family, kind, protocol, _, address = addresses[0]
    sock = socket.socket(family, kind, protocol)
    sock.setblocking(False)
    try:
        await loop.sock_connect(sock, address)
        lines = [f"CONNECT {_authority(origin)} HTTP/1.1", f"Host: {_authority(origin)}"]
        if proxy.authorization:
            lines.append(f"Proxy-Authorization: {proxy.authorization}")
        await loop.sock_sendall(sock, ("\r\n".join(lines) + "\r\n\r\n").encode("ascii"))
        reply = b""
        while b"\r\n\r\n" not in reply:
            # Byte by byte: whatever follows the blank line belongs to the tunnel.
            piece = await loop.sock_recv(sock, 1)
            reply += piece
            if not piece or len(reply) > MAX_REPLY_BYTES:
                raise ConnectionFailed("upstream_proxy_error", "The forward proxy gave no answer.")
        status = reply.split(b" ", 2)[1:2]
        if status != [b"200"]:
            raise ConnectionFailed("upstream_proxy_error", "The forward proxy refused the connection.")
    except BaseException:
        sock.close()
        raise
    return sock


def _authority(origin: Origin) -> str:
    host = f"[{origin.host}]" if ":" in origin.host else origin.host
    return f"{host}:{origin.port}"
