"""A provider that counts what it is owed, and requests that spend until no budget is left."""

from __future__ import annotations

import http.client
import itertools
import json
import threading
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from tests.kit.management import MODEL
from tests.kit.requests import CHAT
from tests.kit.sluice import Sluice
from tests.kit.upstream import Received, Script, Wait, chat_answer, chat_stream, usage_of

OUTPUT = 1_000
"""The completion tokens of an answer, and the output limit of a bounded request."""
COST = 1_000 * 10**6
"""The cost of an answer in picodollars: the prompt is free, and a million output tokens cost 1 USD."""
BOUNDED: dict[str, Any] = {"model": MODEL, "max_tokens": OUTPUT}
OPEN: dict[str, Any] = {"model": MODEL}


class Books:
    """A provider that counts its answers and what they cost. Each answer takes a while, so that requests overlap."""

    def __init__(self, takes_s: float = 0.02, output: int = OUTPUT) -> None:
        self.lock = threading.Lock()
        self.takes_s = takes_s
        self._output = output
        self.answered = 0
        self.owed = 0

    def __call__(self, received: Received) -> Script:
        streamed = bool(received.json().get("stream"))
        with self.lock:
            self.answered += 1
            self.owed += self._output * 10**6
        usage = usage_of(7, self._output)
        return [Wait(self.takes_s), *(chat_stream(usage=usage) if streamed else chat_answer(usage=usage))]


class Got(NamedTuple):
    """A whole answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def error(self) -> dict[str, Any]:
        told: dict[str, Any] = json.loads(self.body)["error"]
        return told


def post(server: Sluice, token: str, path: str = "/v1/chat/completions", **body: Any) -> Got:
    """Send one request on a connection of its own, so that any worker may get it.

    It uses http.client, which is fast enough for hundreds of requests at once.
    """
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    try:
        headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
        connection.request("POST", path, json.dumps({**CHAT, **body}), headers)
        answer = connection.getresponse()
        return Got(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
    finally:
        connection.close()


def wave(servers: Sequence[Sluice], token: str, count: int, **body: Any) -> list[Got]:
    """Send `count` requests at once, to the servers in turn."""
    to = list(itertools.islice(itertools.cycle(servers), count))
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(lambda server: post(server, token, **body), to))


def statuses(answers: Sequence[Got]) -> Counter[int]:
    return Counter(got.status for got in answers)


def until_exhausted(servers: Sequence[Sluice], token: str, *, first: int = 200, **body: Any) -> int:
    """Send requests until all are refused while none is running. Returns how many were admitted."""
    admitted, count = 0, first
    deadline = time.monotonic() + 15
    while True:
        answers = wave(servers, token, count, **body)
        seen = statuses(answers)
        assert set(seen) <= {200, 429}, seen
        admitted += seen[200]
        # Between the end of an answer and its settlement in Redis, other processes still see its reservation.
        running = any(b"reserved by running requests" in got.body for got in answers)
        if not seen[200] and not running:
            return admitted
        assert time.monotonic() < deadline, answers[-1].body
        count = 24
