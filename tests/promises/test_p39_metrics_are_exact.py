"""P39: /metrics of four workers says what the provider and the clients counted, whichever worker is asked and dies."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.kit.crowd import Answer, ask, at_once, statuses
from tests.kit.management import minted
from tests.kit.services import Services, processes
from tests.kit.sluice import Metrics, Sluice
from tests.kit.upstream import Received, Script, Upstream, WaitFor, chat_answer, chat_stream, error_answer, usage_of
from tests.kit.waiting import soon

REQUESTS = "llm_proxy_requests_total"
OURS = (
    "llm_proxy_requests",
    "llm_proxy_tokens",
    "llm_proxy_key",
    "llm_proxy_ttft",
    "llm_proxy_cache",
    "llm_proxy_active",
)
WORKERS = 4
WAIT_S = 20.0
PROMPT, COMPLETION = 11, 3
MADE_UP = 350
LABELLED = 200


@pytest.fixture(scope="module")
def workers(services: Services, _upstream: Upstream) -> Iterator[Sluice]:
    with started(_upstream) as server:
        yield server


def started(upstream: Upstream) -> Sluice:
    server = Sluice.start(redis=True, workers=WORKERS, upstream_url=upstream.url, LIMIT_PATIENCE_SECS=5)
    assert processes.poll(lambda: len(server.worker_pids()) == WORKERS, timeout=30)
    return server


def provider(received: Received) -> Script:
    body = received.json()
    if body["model"].startswith("failing"):
        return error_answer(500)
    usage = usage_of(PROMPT, COMPLETION)
    return chat_stream(usage=usage) if body.get("stream") else chat_answer(usage=usage)


def asked_for(upstream: Upstream) -> Counter[str]:
    return Counter(received.json()["model"] for received in upstream.requests)


class Counts:
    """What a server has counted from now on."""

    def __init__(self, server: Sluice) -> None:
        self._server = server
        self._before = server.metrics()

    def now(self) -> Metrics:
        return Metrics({name: value - self._before.get(name, 0) for name, value in self._server.metrics().items()})

    def told_alike(self, requests: int) -> Metrics:
        """What every worker says when so many requests are counted: the same, whichever is asked."""
        soon(lambda: self.now().total(REQUESTS) >= requests)
        told = [self.now() for _ in range(3 * WORKERS)]  # each on a connection of its own
        ours = [{name: value for name, value in metrics.items() if name.startswith(OURS)} for metrics in told]
        assert all(one == ours[0] for one in ours)
        return told[0]


def test_what_is_told_is_what_the_provider_and_the_clients_counted(workers: Sluice, upstream: Upstream):
    upstream.script = provider
    counts, before = Counts(workers), len(workers.rows())
    key_id, key = minted(workers)
    bound_id, bound = minted(workers, allowed_models=["good-1"])
    answers: list[Answer] = []
    for model, count in (("good-1", 60), ("good-2", 40), ("failing", 25)):
        answers += at_once(workers, key, count, model=model)
    answers += at_once(workers, key, 50, model="good-2", stream=True)
    answers += at_once(workers, bound, 12, model="good-1")
    answers += at_once(workers, bound, 15, model="good-2")  # 403
    answers += at_once(workers, "nonsense", 20)
    answers += at_once(workers, None, 10)
    answers += at_once(workers, key, 5, model=7)  # 400
    by_status = statuses(answers)
    assert by_status == {200: 162, 500: 25, 403: 15, 401: 30, 400: 5}

    metrics = counts.told_alike(len(answers))
    assert metrics.total(REQUESTS) == len(answers)
    for status, count in by_status.items():
        assert metrics.total(REQUESTS, status_code=str(status)) == count
    for model, count in asked_for(upstream).items():
        assert metrics.total(REQUESTS, model=model, provider="openai") == count
    assert metrics.total(REQUESTS, provider="openai") == len(upstream.requests) == 187
    assert metrics.total("llm_proxy_tokens_total", token_type="prompt") == 162 * PROMPT
    assert metrics.total("llm_proxy_tokens_total", token_type="completion") == 162 * COMPLETION
    assert metrics.total("llm_proxy_key_tokens_total", key=str(bound_id), token_type="prompt") == 12 * PROMPT
    assert metrics.total("llm_proxy_key_requests_total", key=str(key_id)) == 175
    assert metrics.total("llm_proxy_key_requests_total", key=str(bound_id)) == 12
    assert metrics.total("llm_proxy_key_validation_failures_total", reason="invalid_api_key") == 20
    assert metrics.total("llm_proxy_key_validation_failures_total", reason="missing_api_key") == 10
    assert metrics.total("llm_proxy_request_duration_seconds_count") == len(answers)
    assert metrics.total("llm_proxy_ttft_seconds_count") == len(upstream.requests)
    assert metrics.total("llm_proxy_tokens_per_second_count") == 162
    assert metrics.total("llm_proxy_cache_bypass_total") == len(upstream.requests)
    assert metrics.total("llm_proxy_active_requests") == 0
    assert workers.metrics().total("llm_proxy_limiter_shared") == 1
    rows = workers.rows(expect=before + len(answers))[before:]
    assert Counter(str(row["status_code"]) for row in rows) == {str(status): n for status, n in by_status.items()}


def test_no_count_ever_goes_back_whoever_is_asked(workers: Sluice, upstream: Upstream):
    """To Prometheus a count that goes back is a restart, and its rates are wrong."""
    upstream.script = provider
    _, key = minted(workers)
    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(at_once, workers, key, 300, model="good-1")
        told = [workers.metrics().total(REQUESTS)]
        while not asking.done():
            told.append(workers.metrics().total(REQUESTS))
        assert statuses(asking.result()) == {200: 300}
    assert told == sorted(told)


def test_made_up_models_get_no_label_without_end_and_are_all_counted(services: Services, upstream: Upstream):
    """The bound is that of all workers together, those that died too; a name has a label everywhere or nowhere."""
    upstream.script = provider
    server = started(upstream)
    try:
        counts = Counts(server)
        key = server.mint()
        asyncio.run(made_up(server, key, range(MADE_UP)))
        labels = by_model(counts.told_alike(MADE_UP)).keys()
        assert len(labels) == LABELLED + 1
        kill_one(server)
        asyncio.run(made_up(server, key, range(MADE_UP - 300, MADE_UP + 100)))
        told = by_model(counts.told_alike(MADE_UP + 400))
    finally:
        server.close()
    asked = asked_for(upstream)
    assert told.keys() == labels
    assert {model: count for model, count in told.items() if model != "other"} == {
        model: asked[model] for model in labels if model != "other"
    }
    assert sum(told.values()) == MADE_UP + 400 == len(upstream.requests)


async def made_up(server: Sluice, key: str, numbers: range) -> None:
    gate = asyncio.Semaphore(32)

    async def one(number: int) -> None:
        async with gate:
            assert (await ask(server, key, model=f"made-up-{number}")).status == 200

    await asyncio.gather(*map(one, numbers))


def by_model(metrics: Metrics) -> dict[str, float]:
    found: dict[str, float] = {}
    for name, value in metrics.items():
        if name.startswith(f"{REQUESTS}{{") and (model := re.search(r'model="([^"]*)"', name)):
            found[model[1]] = found.get(model[1], 0) + value
    return found


@pytest.mark.parametrize("when", ["at once", "later"])
def test_a_killed_worker_takes_no_count_with_it(workers: Sluice, upstream: Upstream, when: str):
    """Also what ended in the moment before, and was not among its sums yet."""
    upstream.script = provider
    counts = Counts(workers)
    _, key = minted(workers)
    asked = 0
    for _ in range(2):
        answers = at_once(workers, key, 80, model="good-1")
        assert statuses(answers) == {200: 80}
        asked += 80
        if when == "later":
            counts.told_alike(asked)
        kill_one(workers)
    metrics = counts.told_alike(asked)
    assert metrics.total(REQUESTS, model="good-1") == asked == len(upstream.requests)
    assert metrics.total("llm_proxy_tokens_total", token_type="prompt") == asked * PROMPT
    assert workers.metrics().total("llm_proxy_active_requests") == 0


def test_what_a_killed_worker_had_under_way_is_under_way_no_more(workers: Sluice, upstream: Upstream):
    never = threading.Event()
    upstream.script = [WaitFor(never), *chat_answer()]
    _, key = minted(workers)
    counts = Counts(workers)

    async def cut() -> list[Any]:
        waiting = [asyncio.create_task(ask(workers, key)) for _ in range(24)]
        await asyncio.to_thread(upstream.wait_until, lambda: upstream.open_requests == 24, 20)
        await asyncio.to_thread(soon, lambda: workers.metrics().total("llm_proxy_active_requests") == 24, WAIT_S)
        for pid in workers.worker_pids():
            os.kill(pid, signal.SIGKILL)
        return await asyncio.gather(*waiting, return_exceptions=True)

    ends = asyncio.run(cut())
    assert all(isinstance(end, OSError | EOFError) for end in ends)
    upstream.script = provider
    assert statuses(at_once(workers, key, 1, patience_s=40)) == {200: 1}
    soon(lambda: workers.metrics().total("llm_proxy_active_requests") == 0)
    assert counts.told_alike(1).total(REQUESTS) == 1


def kill_one(server: Sluice) -> None:
    """Kill -9, and wait until there is another one."""
    before = set(server.worker_pids())
    os.kill(min(before), signal.SIGKILL)

    def is_replaced() -> bool:
        pids = set(server.worker_pids())
        return len(pids) == WORKERS and min(before) not in pids

    assert processes.poll(is_replaced, timeout=30), server.log_text()[-2000:]
