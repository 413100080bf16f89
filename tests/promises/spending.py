"""What the tests of budgets share: accounts with limits, a price, a provider that keeps its own books, and the sums."""

from __future__ import annotations

import http.client
import itertools
import json
import secrets
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from decimal import Decimal
from typing import Any, NamedTuple

import httpx

from tests.access.asking import CHAT, let_a_second_pass, soon
from tests.kit.databases import query
from tests.kit.sluice import Sluice
from tests.kit.upstream import Received, Script, Upstream, Wait, chat_answer, chat_stream, usage_of

MODEL = "budget-model"
OUTPUT = 1_000
"""Tokens of an answer, and what the request asks for at most where it is bounded."""
COST = 1_000 * 10**6
"""Picodollars of an answer: the prompt is free, a million tokens of output are 1 USD."""
BOUNDED: dict[str, Any] = {"model": MODEL, "max_tokens": OUTPUT}
OPEN: dict[str, Any] = {"model": MODEL}
SCOPES = ("key", "user", "team", "project", "global")


def set_price(server: Sluice, model: str = MODEL, **price: str) -> None:
    """In force in every process when this returns."""
    told = {"model": model, "input": "0", "output": "1", **price}
    answer = server.api("POST", "/api/prices", json=told)
    assert answer.status_code == httpx.codes.CREATED, answer.text
    let_a_second_pass(time.monotonic())


@contextmanager
def priced(upstream: Upstream, model: str, price: dict[str, str], **settings: object) -> Iterator[Sluice]:
    """A server of its own whose provider sells a model at that price."""
    server = Sluice.start(upstream_url=upstream.url, **settings)  # type: ignore[arg-type]
    try:
        set_price(server, model, **price)
        yield server
    finally:
        server.close()


def usd(picousd: int) -> str:
    """As the API takes it."""
    return f"{Decimal(picousd).scaleb(-12):.6f}"


class Crew(NamedTuple):
    """A key with its user, team and project; by kind, the API's path of each and its id in the ledger's totals."""

    token: str
    paths: dict[str, str]
    ids: dict[str, str]

    def limit(self, server: Sluice, kind: str, **limits: Any) -> None:
        answer = server.api("PATCH", self.paths[kind], json=limits)
        assert answer.status_code == httpx.codes.OK, answer.text

    def shown(self, server: Sluice, kind: str) -> dict[str, Any]:
        answer = server.api("GET", self.paths[kind])
        assert answer.status_code == httpx.codes.OK, answer.text
        shown: dict[str, Any] = answer.json()
        return shown

    def spent(self, server: Sluice, kind: str) -> int:
        """As the API tells it, in picodollars; the scope must have a budget."""
        return int(Decimal(self.shown(server, kind)["spent"]).scaleb(12))


def new_crew(server: Sluice, **limits: dict[str, Any]) -> Crew:
    """`limits` by kind: `new_crew(server, key={"budget": "1"}, team={"rpm": 3})`."""
    name = f"crew-{secrets.token_hex(4)}"

    def make(path: str, **fields: Any) -> dict[str, Any]:
        answer = server.api("POST", path, json=fields)
        assert answer.status_code == httpx.codes.CREATED, answer.text
        made: dict[str, Any] = answer.json()
        return made

    user = make("/api/users", email=f"{name}@example.org", **limits.get("user", {}))
    team = make("/api/teams", name=name, **limits.get("team", {}))
    project = make("/api/projects", name=name, **limits.get("project", {}))
    belongs = {"owner": user["user"], "team": team["id"], "project": project["id"]}
    key = make("/api/keys", name=name, **belongs, **limits.get("key", {}))
    paths = {
        "key": f"/api/keys/{key['id']}",
        "user": f"/api/users/{user['id']}",
        "team": f"/api/teams/{team['id']}",
        "project": f"/api/projects/{project['id']}",
        "global": "/api/limits/global",
    }
    ids = {"key": key["id"], "user": user["user"], "team": team["id"], "project": project["id"], "global": 1}
    return Crew(key["key"], paths, {kind: str(number) for kind, number in ids.items()})


class Books:
    """What the provider gave and what it is owed for it. It takes its time, so that requests really run together."""

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
    """On a connection of its own, so that any worker may get it; http.client, because hundreds are asked at once."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    try:
        headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
        connection.request("POST", path, json.dumps({**CHAT, **body}), headers)
        answer = connection.getresponse()
        return Got(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
    finally:
        connection.close()


def wave(servers: Sequence[Sluice], token: str, count: int, **body: Any) -> list[Got]:
    """`count` requests at once over these servers."""
    to = list(itertools.islice(itertools.cycle(servers), count))
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(lambda server: post(server, token, **body), to))


def statuses(answers: Sequence[Got]) -> Counter[int]:
    return Counter(got.status for got in answers)


def until_exhausted(servers: Sequence[Sluice], token: str, *, first: int = 200, **body: Any) -> int:
    """Ask until nothing is let through any more, though nothing runs. Returns how many were admitted."""
    admitted, count = 0, first
    deadline = time.monotonic() + 15
    while True:
        answers = wave(servers, token, count, **body)
        seen = statuses(answers)
        assert set(seen) <= {200, 429}, seen
        admitted += seen[200]
        # Between an answer's end and its settlement in Redis another process may still see it run.
        running = any(b"reserved by running requests" in got.body for got in answers)
        if not seen[200] and not running:
            return admitted
        assert time.monotonic() < deadline, answers[-1].body
        count = 24


def totals_of(server: Sluice, crew: Crew) -> dict[str, int]:
    """Of all time, as the ledger's totals have it, in picodollars."""
    rows = query(server.database_url, "SELECT kind, ident, cost_picousd FROM usage_scopetotal WHERE slot = -1")
    found = {(row["kind"], row["ident"]): int(row["cost_picousd"]) for row in rows}
    return {kind: found.get((kind, ident), 0) for kind, ident in crew.ids.items()}


def booked(server: Sluice, crew: Crew) -> int:
    """The sum of the rows of this key, in picodollars."""
    rows = query(server.database_url, "SELECT key_id, cost_picousd FROM usage_requestrecord")
    return sum(int(row["cost_picousd"] or 0) for row in rows if str(row["key_id"]) == crew.ids["key"])


def all_agree(server: Sluice, crew: Crew, owed: int, kinds: Sequence[str]) -> None:
    """The rows, the totals of all scopes, and what the API shows, are what the provider counted."""
    soon(lambda: booked(server, crew) >= owed)
    assert booked(server, crew) == owed
    totals = totals_of(server, crew)
    totals.pop("global")  # others spend of it too
    assert set(totals.values()) == {owed}, totals
    assert {kind: crew.spent(server, kind) for kind in kinds} == dict.fromkeys(kinds, owed)
