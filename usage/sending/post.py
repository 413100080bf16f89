"""One POST to a server that an operator named, and what to do about its answer."""

from __future__ import annotations

import time
from collections.abc import Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING

from usage.sending.backoff import retry_after_s

if TYPE_CHECKING:
    import httpx

MOST_READ_BYTES = 1024 * 1024
"""Of an answer. What goes on behind it is not read."""

QUOTED_CHARS = 200

OURS = frozenset({400, 406, 409, 411, 412, 413, 414, 415, 417, 422, 431, 451})
"""Statuses that speak of what was sent. Any other failure speaks of the server, of who may ask it, or of its address:
a key that ran out must not cost the events that came meanwhile."""


class NotDelivered(Exception):
    """It did not arrive. The text says why, without address, key or body, so that it can be logged."""


class Later(NotDelivered):
    """The same may be taken later."""

    def __init__(self, reason: str, retry_after_s: float | None = None) -> None:
        super().__init__(reason)
        self.retry_after_s = retry_after_s


class Refused(NotDelivered):
    """It will never be taken as it is. `detail` is how the server's answer begins, for who may read what was sent."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason)
        self.detail = detail


def new_client(timeout_s: float) -> httpx.Client:
    """Goes through the forward proxies that the environment names. Follows no redirect: a secret would go along."""
    import httpx  # not with the settings, which know the dispatchers: it takes a tenth of a second

    return httpx.Client(timeout=timeout_s, headers={"user-agent": "sluice"})


def post(client: httpx.Client, url: str, body: bytes, headers: Mapping[str, str]) -> bytes:
    """Returns the answer's body. Raises `Later` and `Refused`."""
    import httpx

    try:
        with client.stream("POST", url, content=body, headers=dict(headers)) as answer:
            content = _beginning(answer)
    except httpx.InvalidURL:
        raise Later("its URL is none") from None
    except httpx.HTTPError as error:
        raise Later(type(error).__name__) from None
    status = answer.status_code
    if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        return content
    if status in OURS:
        raise Refused(f"it answered {status}", content[:QUOTED_CHARS].decode(errors="replace"))
    raise Later(f"it answered {status}", retry_after_s(answer.headers.get("retry-after"), time.time()))


def _beginning(answer: httpx.Response) -> bytes:
    content = b""
    for piece in answer.iter_bytes():
        content += piece
        if len(content) >= MOST_READ_BYTES:
            break
    return content
