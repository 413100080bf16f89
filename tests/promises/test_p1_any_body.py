"""P1 for bodies that are made to look cheaper than they are (X13): no budget is passed by more than one request.

The provider reads a token in each byte of a text, the most that any tokenizer makes of it, and says as much as it may.
It knows the limits of its own endpoint and no others.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.kit.accounts import new_crew
from tests.kit.databases import query
from tests.kit.fleet import Fleet
from tests.kit.ledger import all_agree
from tests.kit.management import minted, set_price, usd
from tests.kit.services import Services
from tests.kit.sluice import Sluice
from tests.kit.spending import Books, post, statuses, until_exhausted, wave
from tests.kit.upstream import Received, Script, Upstream, Wait, chat_answer, response_usage, responses_answer, usage_of
from tests.kit.upstream.scripts import json_answer
from tests.kit.waiting import soon

MODEL = "any-body"
CHAT, TEXT, RESPONSES, EMBEDDINGS = (
    f"/v1/{name}" for name in ("chat/completions", "completions", "responses", "embeddings")
)
UNLIMITED = 4_000
"""Tokens that the provider says where it knows of no limit."""
PICTURE = 3_000
"""Tokens of a picture or a file."""
LIMITS = {CHAT: ("max_completion_tokens", "max_tokens"), TEXT: ("max_tokens",), RESPONSES: ("max_output_tokens",)}
READ = ("messages", "input", "prompt", "instructions", "tools", "documents")


def tokens_in(value: Any) -> int:
    if isinstance(value, str):
        return len(value.encode("utf-8", "surrogatepass"))
    if isinstance(value, dict):
        if value.get("type") in ("image_url", "input_image", "input_file"):
            return PICTURE
        if "images" in value:
            return PICTURE * len(value["images"])
        return 4 + sum(map(tokens_in, value.values()))
    if isinstance(value, list):
        return sum(map(tokens_in, value))
    return int(isinstance(value, int) and not isinstance(value, bool))


def used_by(path: str, body: dict[str, Any]) -> tuple[int, int]:
    """Tokens of the prompt and of the answer."""
    read = 3 + sum(tokens_in(body.get(name)) for name in READ)
    if body.get("previous_response_id"):
        read += PICTURE
    if path == EMBEDDINGS:
        return read, 0
    told = [body[name] for name in LIMITS[path] if type(body.get(name)) is int and body[name] > 0]
    prompts = body.get("prompt")
    several = len(prompts) if isinstance(prompts, list) else 1
    return read, (max(told) if told else UNLIMITED) * int(body.get("n", 1)) * several


class Strict(Books):
    """A million tokens are one USD, read or said."""

    def __init__(self) -> None:
        super().__init__()
        self.owed_by: Counter[str] = Counter()
        """For requests of each `user`."""

    def __call__(self, received: Received) -> Script:
        body = received.json()
        read, said = used_by(received.path, body)
        with self.lock:
            self.answered += 1
            self.owed += (read + said) * 10**6
            self.owed_by[str(body.get("user"))] += (read + said) * 10**6
        if received.path == RESPONSES:
            return [Wait(self.takes_s), *responses_answer(usage=response_usage(read, said))]
        if received.path == EMBEDDINGS:
            usage = {"prompt_tokens": read, "total_tokens": read}
            return [Wait(self.takes_s), *json_answer({"object": "list", "data": [], "usage": usage})]
        return [Wait(self.takes_s), *chat_answer(usage=usage_of(read, said))]


def says(text: Any, **members: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}], **members}


LIMITED = {"max_tokens": 20}
TOOL = {"type": "function", "function": {"name": "f", "description": "9 8 7 " * 300, "parameters": {}}}

BOUNDED: dict[str, tuple[str, dict[str, Any]]] = {
    "spaced digits": (CHAT, says("1 2 3 4 5 6 7 8 9 0 " * 200, **LIMITED)),
    "signs": (CHAT, says("}{)(*&^%$#@!~|" * 200, **LIMITED)),
    "a rare script": (CHAT, says("\u1200\u2c00\ua4d0\U00010380" * 200, **LIMITED)),
    "half surrogates": (CHAT, says("\ud83d" * 300, **LIMITED)),
    "a long system prompt": (CHAT, {"messages": [{"role": "system", "content": "7 " * 2_000}], **LIMITED}),
    "many short messages": (CHAT, {"messages": [{"role": "user", "content": "1"}] * 200, **LIMITED}),
    "tools": (CHAT, says("hi", tools=[TOOL], **LIMITED)),
    "parts of text": (CHAT, says([{"type": "text", "text": "4 2 " * 400}], **LIMITED)),
    "both names of the limit": (CHAT, says("hi", max_tokens=1, max_completion_tokens=900)),
    "several answers": (CHAT, says("hi", n=7, max_tokens=300)),
    "several prompts": (TEXT, {"prompt": ["1 2 3"] * 9, "max_tokens": 200}),
    "tokens to embed": (EMBEDDINGS, {"input": [[7] * 500] * 4}),
    "texts to embed": (EMBEDDINGS, {"input": ["1 2 3 4 5 " * 100] * 5}),
    "a response": (RESPONSES, {"input": "9 9 9 " * 500, "max_output_tokens": 20}),
    "items of a response": (
        RESPONSES,
        {
            "input": [{"role": "user", "content": [{"type": "input_text", "text": "0 1 " * 500}]}],
            "max_output_tokens": 20,
        },
    ),
}

OPEN: dict[str, tuple[str, dict[str, Any]]] = {
    "the limit of a response": (CHAT, says("hi", max_output_tokens=1)),
    "the newer name at the older endpoint": (TEXT, {"prompt": "hi", "max_completion_tokens": 1}),
    "the limit of a chat": (RESPONSES, {"input": "hi", "max_tokens": 1, "max_completion_tokens": 1}),
    "a limit that means none": (CHAT, says("hi", max_tokens=-1)),
    "a limit as text": (CHAT, says("hi", max_tokens="1")),
    "a limit with a fraction": (CHAT, says("hi", max_tokens=1.5)),
    "a limit that is no number": (CHAT, says("hi", max_tokens=True)),
    "a limit beside one as text": (CHAT, says("hi", max_tokens=1, max_completion_tokens="1")),
    "a picture": (CHAT, says([{"type": "image_url", "image_url": {"url": "https://a.example/b.png"}}], **LIMITED)),
    "a picture beside the text": (
        CHAT,
        {"messages": [{"role": "user", "content": "hi", "images": ["AAAA"]}], **LIMITED},
    ),
    "a file": (
        RESPONSES,
        {
            "input": [{"role": "user", "content": [{"type": "input_file", "file_url": "https://files.test/f"}]}],
            "max_output_tokens": 20,
        },
    ),
    "a member that nobody knows": (CHAT, says("hi", documents=["6 5 4 " * 500], **LIMITED)),
}


@pytest.fixture(scope="module")
def alone(sluice: Sluice) -> list[Sluice]:
    set_price(sluice, MODEL, input="1")
    return [sluice]


@pytest.mark.parametrize("what", BOUNDED)
def test_a_request_of_text_with_a_limit_never_passes_the_budget(alone: list[Sluice], upstream: Upstream, what: str):
    path, body = BOUNDED[what]
    books = upstream.script = Strict()
    each = sum(used_by(path, body)) * 10**6
    budget = 9 * each // 2
    crew = new_crew(alone[0], key={"budget": usd(budget)})
    until_exhausted(alone, crew.token, first=24, path=path, model=MODEL, **body)
    assert 0 < books.owed <= budget


@pytest.mark.parametrize("what", OPEN)
def test_any_other_passes_it_by_one_request_at_most(alone: list[Sluice], upstream: Upstream, what: str):
    path, body = OPEN[what]
    books = upstream.script = Strict()
    each = sum(used_by(path, body)) * 10**6
    budget = 5 * each // 2
    crew = new_crew(alone[0], key={"budget": usd(budget)})
    until_exhausted(alone, crew.token, first=24, path=path, model=MODEL, **body)
    assert budget <= books.owed < budget + each * 11 // 10


ALL = {**BOUNDED, **OPEN}
COSTS = {what: sum(used_by(path, body)) * 10**6 for what, (path, body) in ALL.items()}


@pytest.fixture(scope="module")
def many(_fleet: Fleet) -> Fleet:
    """Two instances of four workers each on one PostgreSQL and one Redis."""
    set_price(_fleet.first, MODEL, input="1")
    return _fleet


def ask_in_all_ways(fleet: Fleet, tokens: dict[str, str], first: int) -> None:
    """Each body with its token, all at the same time over all processes, until nothing is let through any more."""

    def exhaust(what: str) -> None:
        path, body = ALL[what]
        until_exhausted(fleet.servers, tokens[what], first=first, path=path, model=MODEL, user=what, **body)

    with ThreadPoolExecutor(len(ALL)) as pool:
        list(pool.map(exhaust, ALL))


def booked_by_key(server: Sluice, keys: Iterable[int]) -> dict[int, int]:
    """What the ledger has of each of them, in picodollars."""
    rows = query(
        server.database_url, "SELECT key_id, SUM(cost_picousd) AS cost FROM usage_requestrecord GROUP BY key_id"
    )
    found = {row["key_id"]: int(row["cost"] or 0) for row in rows}
    return {key: found.get(key, 0) for key in keys}


def test_bodies_of_all_kinds_at_once_keep_each_to_its_budget(many: Fleet, fleet: Fleet):
    books = fleet.upstream.script = Strict()
    budgets = {what: (9 if what in BOUNDED else 5) * COSTS[what] // 2 for what in ALL}
    keys = {what: minted(many.first, budget=usd(budgets[what])) for what in ALL}
    ask_in_all_ways(many, {what: token for what, (_, token) in keys.items()}, first=8)
    for what in BOUNDED:
        assert 0 < books.owed_by[what] <= budgets[what], what
    for what in OPEN:
        assert budgets[what] <= books.owed_by[what] < budgets[what] + COSTS[what] * 11 // 10, what
    wanted = {key_id: books.owed_by[what] for what, (key_id, _) in keys.items()}
    soon(lambda: booked_by_key(many.first, wanted) == wanted)
    assert booked_by_key(many.first, wanted) == wanted


@pytest.mark.parametrize("kind", ["user", "team", "project"])
def test_bodies_of_all_kinds_share_a_budget_and_pass_it_by_the_dearest_at_most(many: Fleet, fleet: Fleet, kind: str):
    books = fleet.upstream.script = Strict()
    budget = 4 * max(COSTS.values())
    crew = new_crew(many.first, **{kind: {"budget": usd(budget)}})
    ask_in_all_ways(many, dict.fromkeys(ALL, crew.token), first=4)
    assert budget // 2 < books.owed < budget + max(COSTS.values())
    all_agree(many.first, crew, books.owed, [kind])


@pytest.fixture(scope="module")
def shared(services: Services, _upstream: Upstream) -> Iterator[Sluice]:
    """A process that shares its limits through Redis."""
    with Sluice.start(upstream_url=_upstream.url, redis=True) as server:
        set_price(server, MODEL, input="1")
        yield server


ODD = [10**30, 2**64, 2**63, -(10**30), 0, 1.5, 1e300, True, "7", [], {}]


@pytest.mark.parametrize("name", ["max_tokens", "n", "best_of"])
def test_no_number_ends_admission(shared: Sluice, upstream: Upstream, name: str):
    """X12: through Redis, where a number that cannot be told would end all that comes after it."""
    crew = new_crew(shared, key={"budget": "1", "tpm": 10**9})
    for odd in ODD:
        body: dict[str, Any] = {"max_tokens": 1, name: odd}
        got = post(shared, crew.token, model=MODEL, **body)
        assert got.status in (200, 429), (odd, got)
    assert statuses(wave([shared], crew.token, 8, model=MODEL, max_tokens=1)) == {200: 8}
