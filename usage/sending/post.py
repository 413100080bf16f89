"""Send a POST to a server that an operator configured, and classify its answer."""

from __future__ import annotations

import time
from collections.abc import Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING

from usage.sending.backoff import retry_after_s

if TYPE_CHECKING:
    import httpx

MOST_READ_BYTES = 1024 * 1024
"""The rest of an answer is not read."""

QUOTED_CHARS = 200

OURS = frozenset({400, 406, 409, 411, 412, 413, 414, 415, 417, 422, 431, 451})
"""Statuses that are about the message. All others are about the server, the credentials or the URL, and are retried: an
expired key must not lose the events that come meanwhile."""


class NotDelivered(Exception):
    """The message did not arrive. The error's text says why, without URL, key or body, so that it can be logged."""


class Later(NotDelivered):
    """The same message may be accepted later."""

    def __init__(self, reason: str, retry_after_s: float | None = None) -> None:
        super().__init__(reason)
        self.retry_after_s = retry_after_s


class Refused(NotDelivered):
    """The message will never be accepted as it is.

    `detail` is the beginning of the server's answer. It may quote the message, so it is only for those who may read it.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason)
        self.detail = detail


def new_client(timeout_s: float) -> httpx.Client:
    """Return a client that uses the environment's forward proxies.

    It follows no redirects, because the secrets in the headers would be sent along.
    """
    import httpx  # not at the top: the settings import the dispatchers, and httpx takes a tenth of a second

    return httpx.Client(timeout=timeout_s, headers={"user-agent": "sluice"})


def post(client: httpx.Client, url: str, body: bytes, headers: Mapping[str, str]) -> bytes:
    """Send a POST, and return about `MOST_READ_BYTES` of the answer's body at most. Raises `Later` and `Refused`."""
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
