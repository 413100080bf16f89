"""P2, the ledger's part: the rows' costs add up to what the upstream counted times the price, to the last digit.

The upstream keeps its own books: it decides the usage of each answer and adds it up before it answers.
"""

from __future__ import annotations

import random
import threading
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

from tests.access.asking import ask, minted, new_project, soon
from tests.sluice import Sluice
from tests.upstream import (
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

REQUESTS = 400
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
            kind = self._draw.choice(["plain"] * 3 + ["stream"] * 5 + ["failed", "cut"])
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
        return chat_stream(usage=usage, usage_shape=shape) if body.get("stream") else chat_answer(usage=usage)

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
    soon(lambda: sluice.api("GET", path).status_code == 200, 3)
    return str(sluice.api("GET", path).json()["price_source"])


def test_the_rows_add_up_to_what_the_upstream_counted(sluice: Sluice, upstream: Upstream):
    assert sluice.api("POST", "/api/prices", json={"model": "priced-*", **PRICES}).is_success
    _, warm = minted(sluice)
    soon(lambda: price_source_of(sluice, ask(sluice, warm, model="priced-0")) == "override", 3)
    books = Books()
    upstream.script = books.answer
    projects = [new_project(sluice) for _ in range(3)]
    keys = {str(project): minted(sluice, project=project)[1] for project in projects}

    def one(number: int) -> int:
        project = str(projects[number % 3])
        path = "/v1/responses" if number % 4 == 0 else "/v1/chat/completions"
        more: dict[str, Any] = {"input": "hi"} if number % 4 == 0 else {}
        return ask(
            sluice, keys[project], path=path, model=f"priced-{number % 7}", stream=number % 2 == 0, user=project, **more
        ).status_code

    with ThreadPoolExecutor(8) as pool:
        statuses = set(pool.map(one, range(REQUESTS)))
    assert statuses == {200, 500, 502}
    rows = [row for row in sluice.rows(expect=REQUESTS, timeout=10) if row["project_id"] in projects]
    assert len(rows) == REQUESTS
    assert all(row["cost_usd"] is not None for row in rows)
    for project in projects:
        mine = [row for row in rows if row["project_id"] == project]
        assert sum(row["cost_usd"] for row in mine) == books.owed[str(project)]
        tokens = sum((row["prompt_tokens"] or 0) + (row["completion_tokens"] or 0) for row in mine)
        assert tokens == books.counted[str(project)]
    assert {row["cost_usd"] for row in rows if row["status_code"] != 200} == {0}
