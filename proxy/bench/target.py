"""The API to ask, and the bytes of the request."""

from __future__ import annotations

import json
import ssl
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

DEFAULT_PORTS = {"http": 80, "https": 443}
SIMULATOR = "simulator"


class WrongURL(ValueError):
    """The base URL names no API."""


@dataclass(frozen=True)
class Target:
    """One API and one request to it, as bytes: every request of a measurement is the same."""

    host: str
    port: int
    tls: ssl.SSLContext | None
    request: bytes
    stream: bool

    @classmethod
    def of(cls, base_url: str, body: dict[str, Any], *, key: str = "", verify: bool = True) -> Target:
        """`base_url` includes the version prefix, as for the SDKs. Raises `WrongURL`."""
        try:
            parts = urlsplit(base_url)
            port = parts.port
        except ValueError as error:
            raise WrongURL(f"{base_url!r} is not a URL: {error}") from None
        if parts.scheme not in DEFAULT_PORTS or not parts.hostname:
            raise WrongURL(f"{base_url!r}: use http://host:port/v1 or https://host/v1")
        content = json.dumps(body, separators=(",", ":")).encode()
        head = [
            f"POST {parts.path.rstrip('/')}/chat/completions HTTP/1.1",
            f"host: {parts.netloc.rpartition('@')[2]}",
            "content-type: application/json",
            "user-agent: sluice-bench",
            f"content-length: {len(content)}",
        ]
        if key:
            head.append(f"authorization: Bearer {key}")
        if any(ord(sign) < ord(" ") for line in head for sign in line):
            raise WrongURL("URL and key must not have line breaks in them")
        request = "\r\n".join([*head, "", ""]).encode("utf-8") + content
        tls = None
        if parts.scheme == "https":
            tls = ssl.create_default_context()
            if not verify:
                tls.check_hostname = False
                tls.verify_mode = ssl.CERT_NONE
        return cls(parts.hostname, port or DEFAULT_PORTS[parts.scheme], tls, request, bool(body.get("stream")))


def chat(
    model: str, *, stream: bool = False, tokens: int | None = None, tokens_per_second: float | None = None
) -> dict[str, Any]:
    """The body of a chat completion. The simulator gets the last two in a member of its own; other APIs get only a
    maximum of tokens.
    """
    body: dict[str, Any] = {"model": model, "messages": [{"role": "user", "content": "Say something of some length."}]}
    if stream:
        body["stream"] = True
    simulate: dict[str, Any] = {}
    if tokens is not None:
        if model.startswith(SIMULATOR):
            simulate["tokens"] = tokens
        else:
            body["max_completion_tokens"] = tokens
    if tokens_per_second is not None:
        simulate["tokens_per_second"] = tokens_per_second
    if simulate:
        body["simulate"] = simulate
    return body
