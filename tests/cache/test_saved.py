"""F89: what an answer of the cache saved, in tokens and money, in its row, in reports and in the metrics."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.kit.caching import cache_of, key_of_project, question, serial
from tests.kit.joining import all_ask, answers_of
from tests.kit.ledger import row_of, shown_row_of
from tests.kit.management import minted, new_project
from tests.kit.providers import add_provider
from tests.kit.requests import STREAM, WITH_USAGE, ask
from tests.kit.sluice import Sluice
from tests.kit.upstream import (
    Chunk,
    Close,
    Upstream,
    WaitFor,
    chat_answer,
    chat_frames,
    chat_stream,
    json_answer,
    stream_head,
    usage_of,
)
from tests.kit.waiting import soon

pytestmark = [
    pytest.mark.server(
        prices={"gpt-4.1-mini": {"input": "1", "output": "2"}, "text-embedding-3-small": {"input": "3", "output": "0"}},
        each={"SQLite": {}, "PostgreSQL": {"database": "postgres"}},
    ),
    pytest.mark.key(project={"cache_policy": "on"}),
]

SAVED = (1500, "0.002000000000")
"""Of 1,000 tokens of a prompt, and 500 of an answer."""

NOTHING = (0, "0.000000000000")


def saved(sluice: Sluice, answer: httpx.Response) -> tuple[int, str]:
    row = shown_row_of(sluice, answer)
    assert row["cache"] in ("HIT", "JOINED") or (row["saved_tokens"], row["saved_usd"]) == NOTHING
    return row["saved_tokens"], row["saved_usd"]


@pytest.mark.parametrize("body", [{}, STREAM, WITH_USAGE], ids=["plain", "stream", "with-usage"])
def test_each_hit_saves_what_the_answer_cost(sluice: Sluice, upstream: Upstream, key: str, body: dict[str, Any]):
    """Also the later ones, for which the answer is not read again."""
    usage = usage_of(1000, 500)
    upstream.script = chat_stream(usage=usage) if body else chat_answer(usage=usage)
    asked = {**body, **question()}
    answers = [ask(sluice, key, **asked) for _ in range(4)]
    assert [cache_of(each) for each in answers] == ["MISS", "HIT", "HIT", "HIT"]
    assert [saved(sluice, each) for each in answers] == [NOTHING, SAVED, SAVED, SAVED]
    row = shown_row_of(sluice, answers[-1])
    assert (row["prompt_tokens"], row["completion_tokens"], row["cost_usd"]) == (None, None, NOTHING[1])


def test_the_other_form_saves_as_much(sluice: Sluice, upstream: Upstream, key: str):
    upstream.script = chat_answer(usage=usage_of(1000, 500))
    asked = question()
    ask(sluice, key, **asked)
    assert saved(sluice, ask(sluice, key, **{**STREAM, **asked})) == SAVED


def test_embeddings_save_their_prompt(sluice: Sluice, upstream: Upstream, key: str):
    vectors = [{"object": "embedding", "index": 0, "embedding": [0.5]}]
    upstream.script = json_answer({"object": "list", "data": vectors, "usage": {"prompt_tokens": 8, "total_tokens": 8}})
    asked: dict[str, Any] = {
        "path": "/v1/embeddings",
        "model": "text-embedding-3-small",
        "input": f"text {next(serial)}",
    }
    ask(sluice, key, **asked)
    assert saved(sluice, ask(sluice, key, **asked)) == (8, "0.000024000000")


def test_those_that_join_save_and_the_one_that_asked_pays(
    sluice: Sluice, upstream: Upstream, key: str, go: threading.Event, threads: ThreadPoolExecutor
):
    upstream.script = [WaitFor(go), *chat_stream(usage=usage_of(1000, 500))]
    asking = all_ask(sluice, upstream, threads, key, 3, **{**STREAM, **question()})
    go.set()
    assert [saved(sluice, answer) for answer in answers_of(asking)] == [NOTHING, SAVED, SAVED]


def test_a_price_that_is_not_known_saves_tokens_alone(sluice: Sluice, upstream: Upstream, key: str):
    model = f"unpriced-{next(serial)}"
    add_provider(sluice, upstream.url, model, {model: model})
    upstream.script = chat_answer(usage=usage_of(1000, 500))
    asked = {**question(), "model": model}
    ask(sluice, key, **asked)
    assert saved(sluice, ask(sluice, key, **asked)) == (1500, NOTHING[1])


def test_what_was_estimated_is_estimated_again(sluice: Sluice, upstream: Upstream, key: str):
    upstream.script = chat_stream(usage_shape="none")
    asked = {**STREAM, **question()}
    first, *hits = (ask(sluice, key, **asked) for _ in range(3))
    row = shown_row_of(sluice, first)
    assert row["usage_source"] == "estimated"
    tokens = row["prompt_tokens"] + row["completion_tokens"]
    # A stream without usage answers those that hide it.
    assert [saved(sluice, hit) for hit in hits] == [(tokens, row["cost_usd"])] * 2


def test_an_answer_that_breaks_off_saves_nothing(
    sluice: Sluice, upstream: Upstream, key: str, go: threading.Event, threads: ThreadPoolExecutor
):
    upstream.script = [WaitFor(go), stream_head(), *map(Chunk, chat_frames(usage=usage_of(1000, 500))[:2]), Close()]
    asking = all_ask(sluice, upstream, threads, key, 2, **{**STREAM, **question()})
    go.set()
    assert [saved(sluice, answer) for answer in answers_of(asking)] == [NOTHING, NOTHING]


def test_reports_say_what_each_project_and_key_saved(sluice: Sluice, upstream: Upstream):
    upstream.script = chat_answer(usage=usage_of(1000, 500))
    project = new_project(sluice, cache_policy="on")
    (one, token), (other, other_token) = (minted(sluice, project=project) for _ in range(2))
    asked = question()
    hits = [ask(sluice, token, **asked) for _ in range(3)]
    last = ask(sluice, other_token, **asked)
    for answer in (*hits, last):
        row_of(sluice, answer.headers["x-request-id"])
    report = sluice.api("GET", f"/api/usage?period=total&group_by=key&project={project}").json()
    lines = {line["key"]: line for line in report["results"]}
    assert [
        (lines[each]["requests"], lines[each]["cache_hits"], lines[each]["saved_tokens"], lines[each]["saved_usd"])
        for each in (one, other)
    ] == [(3, 2, 3000, "0.004000000000"), (1, 1, 1500, "0.002000000000")]
    assert report["totals"]["saved_usd"] == "0.006000000000"
    assert report["totals"]["cost_usd"] == "0.002000000000"
    text = sluice.api("GET", f"/api/usage?period=total&group_by=project&project={project}&format=csv").text
    head, line = text.splitlines()
    assert dict(zip(head.split(","), line.split(","), strict=True))["saved_tokens"] == "4500"
    assert sluice.manage("rollups", "check")["differences"] == []


def test_metrics_add_up_what_was_saved(sluice: Sluice, upstream: Upstream, key: str):
    upstream.script = chat_answer(usage=usage_of(1000, 500))
    asked = question()
    before = sluice.metrics()
    for _ in range(3):
        ask(sluice, key, **asked)

    def more(name: str) -> float:
        return sluice.metrics().get(name, 0) - before.get(name, 0)

    soon(lambda: more("llm_proxy_cache_saved_tokens_total") == 3000)
    assert more("llm_proxy_cache_saved_cost_total") == pytest.approx(0.004)


def test_a_replay_does_not_count_for_tokens_a_minute(sluice: Sluice, upstream: Upstream):
    upstream.script = chat_answer(usage=usage_of(1000, 500))
    key = key_of_project(sluice, tpm=2000)
    asked = {**question(), "max_tokens": 5}
    answers = [ask(sluice, key, **asked) for _ in range(6)]
    assert [cache_of(each) for each in answers] == ["MISS", *["HIT"] * 5]
