"""P2: the costs of the ledger's rows, the totals of each scope, the rollups, the reports and their CSV all add up to
what the upstream counted times the price, to the last digit.

The upstream keeps its own books: it decides the usage of each answer and adds it up before it answers.
"""

from __future__ import annotations

import csv
import io
import random
import threading
from collections import defaultdict
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any, NamedTuple

import httpx
import pytest

from tests.kit.databases import databases, query
from tests.kit.environment import MANAGEMENT_TOKEN
from tests.kit.management import create, minted, new_project
from tests.kit.requests import MESSAGES, ask
from tests.kit.sluice import Sluice
from tests.kit.upstream import (
    Close,
    Received,
    Reset,
    Script,
    Upstream,
    chat_answer,
    chat_stream,
    error_answer,
    response_usage,
    responses_answer,
    responses_stream,
    usage_of,
)
from tests.kit.waiting import soon

REQUESTS = 1000
PRICES = {"input": "0.123457", "cached_input": "0.041153", "output": "1.000003", "reasoning": "2.718281"}
SHAPES = ("usage-only", "last", "every")


class Books:
    """What the upstream gave, in its own decimals; by the key's project, which the test puts into `user`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._draw = random.Random(2)
        self.owed: dict[str, Decimal] = {}
        self.counted: dict[str, int] = {}

    def answer(self, received: Received) -> Script:
        body = received.json()
        with self._lock:
            kind = self._draw.choice(["plain"] * 3 + ["stream"] * 4 + ["failed", "cut", "torn"])
            prompt, completion = self._draw.randrange(1, 300_000), self._draw.randrange(1, 20_000)
            cached, reasoning = self._draw.randrange(prompt), self._draw.randrange(completion)
            shape: Any = self._draw.choice(SHAPES)
            if kind not in ("failed", "cut"):
                self._owe(body["user"], prompt, completion, cached, reasoning)
        if kind == "failed":
            return error_answer(500)
        if kind == "cut":
            return [Reset()]
        if received.path.endswith("/responses"):
            usage = response_usage(prompt, completion, cached=cached, reasoning=reasoning)
            return responses_stream(usage=usage) if body.get("stream") else responses_answer(usage=usage)
        usage = usage_of(
            prompt,
            completion,
            prompt_tokens_details={"cached_tokens": cached},
            completion_tokens_details={"reasoning_tokens": reasoning},
        )
        if not body.get("stream"):
            return chat_answer(usage=usage)
        if kind == "torn":  # after its usage, and before its end
            return [*chat_stream(usage=usage, usage_shape="last", include_done=False)[:-1], Close()]
        return chat_stream(usage=usage, usage_shape=shape)

    def _owe(self, who: str, prompt: int, completion: int, cached: int, reasoning: int) -> None:
        price = {name: Decimal(text) for name, text in PRICES.items()}
        cost = (
            (prompt - cached) * price["input"]
            + cached * price["cached_input"]
            + (completion - reasoning) * price["output"]
            + reasoning * price["reasoning"]
        ) / 1_000_000
        self.owed[who] = self.owed.get(who, Decimal(0)) + cost
        self.counted[who] = self.counted.get(who, 0) + prompt + completion


def price_source_of(sluice: Sluice, answer: Any) -> str:
    path = f"/api/requests/{answer.headers['x-request-id']}"
    soon(lambda: sluice.api("GET", path).status_code == 200)
    return str(sluice.api("GET", path).json()["price_source"])


class Customer(NamedTuple):
    """A key, its owner, team and project, which nobody else has; each has a budget, so that its spend is told."""

    token: str
    key: int
    user: int
    team: int
    project: int


SCOPES = ("key", "user", "team", "project")


def new_customer(server: Sluice, number: int) -> Customer:
    budget = {"budget": "1000000"}
    project = new_project(server, **budget)
    team = create(server, "/api/teams", {"name": f"team-{number}", **budget})["id"]
    user = create(server, "/api/users", {"email": f"{number}@example.org", **budget})["user"]
    key, token = minted(server, project=project, team=team, owner=user, tags=[f"of {project}", "everybody's"], **budget)
    return Customer(token, key, user, team, project)


def ask_one(client: httpx.Client, number: int, customer: Customer) -> int:
    """One of the thousand. Some are refused, and a torn stream may break the client's connection."""
    is_response, is_refused = number % 4 == 0, number % 11 == 0
    path = "/v1/responses" if is_response else "/v1/chat/completions"
    said: dict[str, Any] = {"input": "hi"} if is_response else {"messages": MESSAGES}
    model = "" if is_refused else f"priced-{number % 7}"
    body = {"model": model, "stream": number % 2 == 0, "user": str(customer.project), **said}
    try:
        return client.post(path, json=body).status_code
    except httpx.RemoteProtocolError:
        return 0


def added_up(rows: Iterable[dict[str, Any]], *names: str) -> dict[Any, Decimal]:
    """Costs in USD by the values of these columns."""
    sums: defaultdict[Any, Decimal] = defaultdict(Decimal)
    for row in rows:
        cost = row["cost_usd"] if "cost_usd" in row else Decimal(int(row["cost_picousd"])).scaleb(-12)
        sums[tuple(row[name] for name in names)] += Decimal(cost)
    return dict(sums)


def reported(server: Sluice, scope: str, period: str) -> list[dict[str, Any]]:
    """All pages, small ones."""
    path, rows = f"/api/usage?group_by={scope}&period={period}&page_size=2", []
    while path:
        page = server.api("GET", path).json()
        rows += page["results"]
        path = (page["next"] or "").removeprefix(server.url)
    return rows


def as_csv(server: Sluice, scope: str) -> list[dict[str, Any]]:
    answer = server.api("GET", f"/api/usage?group_by={scope}&period=hour", headers={"accept": "text/csv"})
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    return list(csv.DictReader(io.StringIO(answer.text)))


@pytest.mark.timeout(240)
@pytest.mark.parametrize("database", databases)
def test_everything_adds_up_to_what_the_upstream_counted(start_sluice: Any, upstream: Upstream, database: str):
    sluice: Sluice = start_sluice(database)
    assert sluice.api("POST", "/api/prices", json={"model": "priced-*", **PRICES}).is_success
    _, warm = minted(sluice)
    soon(lambda: price_source_of(sluice, ask(sluice, warm, model="priced-0")) == "override")
    already = len(sluice.rows())
    books = Books()
    upstream.script = books.answer
    customers = [new_customer(sluice, number) for number in range(3)]
    clients = [sluice.client(customer.token, timeout=60) for customer in customers]
    with ThreadPoolExecutor(8) as pool:
        which = [(clients[number % 3], number, customers[number % 3]) for number in range(REQUESTS)]
        statuses = set(pool.map(lambda one: ask_one(*one), which))
    assert {200, 400, 500, 502} <= statuses <= {0, 200, 400, 500, 502}

    known = [customer.project for customer in customers]
    everything = sluice.rows(expect=already + REQUESTS, timeout=60)
    rows = [row for row in everything if row["project_id"] in known]
    assert len(rows) == REQUESTS
    assert all(row["cost_usd"] is not None for row in rows)
    assert {row["cost_usd"] for row in rows if row["outcome"] == "refused" or row["status_code"] >= 500} == {0}
    assert {row["outcome"] for row in rows} == {"complete", "refused", "upstream_error"}
    owed = {customer: books.owed[str(customer.project)] for customer in customers}
    tokens = {str(project): 0 for project in known}
    for row in rows:
        tokens[str(row["project_id"])] += (row["prompt_tokens"] or 0) + (row["completion_tokens"] or 0)
    assert tokens == books.counted

    totals = query(sluice.database_url, "SELECT * FROM usage_scopetotal WHERE slot = -1")
    slots = query(sluice.database_url, "SELECT * FROM usage_scopetotal WHERE slot <> -1")
    hours = query(sluice.database_url, "SELECT * FROM usage_hourrollup")
    days = query(sluice.database_url, "SELECT * FROM usage_dayrollup")
    budgets = sluice.api("GET", "/api/usage/budgets").json()["results"]
    spent = {(row["kind"], row["id"]): Decimal(row["spent"]) for row in budgets}
    for scope in SCOPES:
        by_scope = added_up(rows, f"{scope}_id"), added_up(hours, f"{scope}_id"), added_up(days, f"{scope}_id")
        by_total, by_slot = added_up(totals, "kind", "ident"), added_up(slots, "kind", "ident")
        reports = [added_up(reported(sluice, scope, period), scope) for period in ("hour", "day", "total")]
        files = added_up(as_csv(sluice, scope), scope)
        for customer, expected in owed.items():
            number = getattr(customer, scope)
            assert [found[(number,)] for found in (*by_scope, *reports)] == [expected] * 6, scope
            assert files[(str(number),)] == expected
            assert [found[scope, str(number)] for found in (by_total, by_slot)] == [expected] * 2
            assert spent[scope, number] == expected
    assert added_up(reported(sluice, "model", "total"), "model") == added_up(everything, "model")
    tagged = added_up(reported(sluice, "tag", "day"), "tag")
    assert tagged["everybody's",] == sum(books.owed.values())
    for customer, expected in owed.items():
        assert tagged[f"of {customer.project}",] == expected
        alone = sluice.api("GET", f"/api/usage?tag=of%20{customer.project}").json()["totals"]
        assert Decimal(alone["cost_usd"]) == expected
    elsewhere = ("--api-url", sluice.url, "--token", MANAGEMENT_TOKEN)
    told = sluice.manage("usage", "report", "--group-by", "project", "--period", "total", *elsewhere)["results"]
    assert added_up(told, "project") == added_up(everything, "project_id")
    assert sluice.manage("rollups", "check")["differences"] == []
