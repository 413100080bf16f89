"""P39: /metrics of four workers says what the provider and the clients counted, whichever worker is asked and dies."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from tests.access.asking import minted, soon
from tests.promises.crowd import Answer, ask, at_once, statuses
from tests.services import Services, processes
from tests.sluice import Metrics, Sluice
from tests.upstream import Received, Script, Upstream, chat_answer, chat_stream, error_answer, usage_of

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
WAIT_S = 10.0
PROMPT, COMPLETION = 11, 3
MADE_UP = 1_050
LABELLED = 200


@pytest.fixture
def workers(services: Services, upstream: Upstream) -> Iterator[Sluice]:
    server = Sluice.start(redis=True, workers=WORKERS, upstream_url=upstream.url)
    soon(lambda: len(server.worker_pids()) == WORKERS, 30)

    yield server
    upstream.reset()
    server.close()


def provider(received: Received) -> Script:
    body = received.json()
    if body["model"].startswith("failing"):
        return error_answer(500)
    usage = usage_of(PROMPT, COMPLETION)
    return chat_stream(usage=usage) if body.get("stream") else chat_answer(usage=usage)


def asked_for(upstream: Upstream) -> Counter[str]:
    return Counter(received.json()["model"] for received in upstream.requests)


def told_alike(server: Sluice, requests: int) -> Metrics:
    """What every worker says when all requests are counted: the same, whichever is asked."""
    soon(lambda: server.metrics().total(REQUESTS) >= requests, WAIT_S)
    told = [server.metrics() for _ in range(3 * WORKERS)]
    ours = [{name: value for name, value in metrics.items() if name.startswith(OURS)} for metrics in told]
    assert all(one == ours[0] for one in ours)
    return told[0]


def test_what_is_told_is_what_the_provider_and_the_clients_counted(workers: Sluice, upstream: Upstream):
    upstream.script = provider
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

    metrics = told_alike(workers, len(answers))
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
    assert metrics.total("llm_proxy_limiter_shared") == 1
    rows = workers.rows(expect=len(answers))
    assert Counter(str(row["status_code"]) for row in rows) == {str(status): n for status, n in by_status.items()}


def test_made_up_models_get_no_label_without_end_and_are_all_counted(workers: Sluice, upstream: Upstream):
    """The bound is that of all workers together, those that died too; a name has a label everywhere or nowhere."""
    upstream.script = provider
    _, key = minted(workers)

    async def made_up(first: int) -> None:
        gate = asyncio.Semaphore(48)

        async def one(number: int) -> None:
            async with gate:
                assert (await ask(workers, key, model=f"made-up-{number % MADE_UP}")).status == 200

        await asyncio.gather(*(one(first + number) for number in range(MADE_UP)))

    asyncio.run(made_up(0))
    told_alike(workers, MADE_UP)
    kill_one(workers)
    asyncio.run(made_up(MADE_UP))
    metrics = told_alike(workers, 2 * MADE_UP)
    assert metrics.total(REQUESTS) == 2 * MADE_UP == len(upstream.requests)
    labels = {model: count for model, count in by_model(metrics).items() if model != "other"}
    assert len(labels) == LABELLED
    assert set(labels.values()) == {2}
    assert metrics.total(REQUESTS, model="other") == 2 * (MADE_UP - LABELLED)


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
    _, key = minted(workers)
    asked = 0
    for _ in range(3):
        answers = at_once(workers, key, 80, model="good-1")
        assert statuses(answers) == {200: 80}
        asked += 80
        if when == "later":
            soon(lambda: workers.metrics().total(REQUESTS) == asked, WAIT_S)  # noqa: B023 (asked within the turn)
        kill_one(workers)
    metrics = told_alike(workers, asked)
    assert metrics.total(REQUESTS, model="good-1") == asked == len(upstream.requests)
    assert metrics.total("llm_proxy_tokens_total", token_type="prompt") == asked * PROMPT
    assert metrics.total("llm_proxy_active_requests") == 0


def test_what_a_killed_worker_had_under_way_is_under_way_no_more(workers: Sluice, upstream: Upstream):
    import threading

    from tests.upstream import WaitFor

    never = threading.Event()
    upstream.script = [WaitFor(never), *chat_answer()]
    _, key = minted(workers)

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
    soon(lambda: statuses(at_once(workers, key, 1, patience_s=20)) == {200: 1}, 30)
    soon(lambda: workers.metrics().total("llm_proxy_active_requests") == 0, WAIT_S)
    assert workers.metrics().total(REQUESTS) == 1


def kill_one(server: Sluice) -> None:
    """Kill -9, and wait until there is another one."""
    before = set(server.worker_pids())
    os.kill(min(before), signal.SIGKILL)

    def is_replaced() -> bool:
        pids = set(server.worker_pids())
        return len(pids) == WORKERS and min(before) not in pids

    assert processes.poll(is_replaced, timeout=30), server.log_text()[-2000:]
