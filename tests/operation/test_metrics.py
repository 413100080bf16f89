"""F120, P39: the numbers are the upstream's own, over several workers, and their labels are bounded."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.kit.management import minted
from tests.kit.requests import ask
from tests.kit.services import Services
from tests.kit.sluice import Sluice
from tests.kit.upstream import Upstream, chat_answer, error_answer, usage_of
from tests.kit.waiting import soon

REQUESTS = "llm_proxy_requests_total"


@pytest.fixture(scope="module")
def workers(services: Services, _upstream: Upstream) -> Iterator[Sluice]:
    with Sluice.start("postgres", redis=True, workers=3, upstream_url=_upstream.url) as server:
        yield server


def many(server: Sluice, key: str, count: int, **body: object) -> list[int]:
    with ThreadPoolExecutor(12) as pool:
        return list(pool.map(lambda _: ask(server, key, **body).status_code, range(count)))  # type: ignore[arg-type]


def test_three_workers_count_what_the_upstream_counts(workers: Sluice, upstream: Upstream):
    assert len(workers.worker_pids()) == 3
    key_id, key = minted(workers)
    before = workers.metrics()
    upstream.script = chat_answer(usage=usage_of(10, 3))
    assert set(many(workers, key, 90)) == {200}
    upstream.script = error_answer(500)
    assert set(many(workers, key, 30)) == {500}
    assert set(many(workers, "nonsense", 15)) == {401}

    def told(name: str, **labels: str) -> float:
        return workers.metrics().total(name, **labels) - before.total(name, **labels)

    assert told(REQUESTS) == 135, "what was answered is told at once, whichever worker is asked"
    assert len(upstream.requests) == 120
    assert told(REQUESTS, provider="openai") == len(upstream.requests)
    assert told(REQUESTS, status_code="200", endpoint="/v1/chat/completions", model="gpt-4.1-mini", method="POST") == 90
    assert told(REQUESTS, status_code="500") == 30
    assert told(REQUESTS, status_code="401") == 15
    assert told("llm_proxy_key_validation_failures_total", reason="invalid_api_key") == 15
    assert told("llm_proxy_tokens_total", token_type="prompt") == 900
    assert told("llm_proxy_tokens_total", token_type="completion") == 270
    assert told("llm_proxy_request_duration_seconds_count") == 135
    assert told("llm_proxy_key_requests_total", key=str(key_id)) == 120
    soon(lambda: workers.metrics().total("llm_proxy_active_requests") == 0)
    assert len(workers.rows(expect=135)) == 135


def test_each_answer_is_in_the_numbers_when_it_has_come(workers: Sluice):
    _, key = minted(workers)
    before = workers.metrics().total(REQUESTS)
    for number in range(1, 31):
        with workers.client(key) as client:  # a new connection: any worker
            assert client.get("/v1/models").status_code == 200
        assert workers.metrics().total(REQUESTS) - before == number


def test_requests_under_way_are_counted_and_forgotten(workers: Sluice, upstream: Upstream):
    import threading

    from tests.kit.upstream import WaitFor

    _, key = minted(workers)
    go = threading.Event()
    upstream.script = [WaitFor(go), *chat_answer()]
    with ThreadPoolExecutor(6) as pool:
        asking = [pool.submit(ask, workers, key) for _ in range(6)]
        try:
            soon(lambda: workers.metrics().total("llm_proxy_active_requests") == 6)
        finally:
            go.set()
        assert {a.result().status_code for a in asking} == {200}
    soon(lambda: workers.metrics().total("llm_proxy_active_requests") == 0)


def test_clients_cannot_invent_labels_without_end(sluice: Sluice, upstream: Upstream):
    """Models, paths and methods are the client's to choose; a label for each would fill Prometheus' memory."""
    _, key = minted(sluice)
    client = sluice.client(key)
    for number in range(260):
        client.post("/v1/embeddings", json={"model": f"random-{number}", "input": "x"})
        client.get(f"/v1/random-{number}/x")
        client.get(f"/random-{number}")
    for number in range(20):
        client.request(f"M{number}", "/v1/files")
    soon(lambda: sluice.metrics().total(REQUESTS, endpoint="/v1/embeddings") >= 260)
    samples = [name for name in sluice.metrics() if name.startswith(f"{REQUESTS}{{")]
    assert len({name.split('model="')[1].split('"')[0] for name in samples}) <= 202
    assert len({name.split('endpoint="')[1].split('"')[0] for name in samples}) < 40
    assert len({name.split('method="')[1].split('"')[0] for name in samples}) <= 8
    assert sluice.metrics().total(REQUESTS, endpoint="/v1/embeddings") == 260


def test_a_refused_client_cannot_invent_labels(sluice: Sluice, upstream: Upstream):
    client = sluice.client()
    before = len(sluice.metrics())
    for number in range(50):
        client.post("/v1/chat/completions", json={"model": f"anonymous-{number}", "messages": []})
    soon(lambda: sluice.metrics().total(REQUESTS, status_code="401") >= 50)
    assert len(sluice.metrics()) < before + 40
    assert "anonymous-" not in str(list(sluice.metrics()))


@pytest.mark.parametrize("start", ["refused"])
def test_refused_names_do_not_use_up_the_labels_of_served_models(start_sluice, upstream: Upstream, start: str):
    """Made-up models of callers without a key must not push real ones into `other`."""
    server = start_sluice()
    client = server.client()
    for number in range(250):
        client.post("/v1/chat/completions", json={"model": f"{start}-{number}", "messages": []})
    assert ask(server, server.mint(), model="a-real-model").status_code == 200
    soon(lambda: server.metrics().total(REQUESTS, status_code="200") == 1)
    assert server.metrics().total(REQUESTS, model="a-real-model") == 1


def test_costs_and_embeddings_are_told_as_the_ledger_has_them(start_sluice, upstream: Upstream):
    server = start_sluice()
    key_id, key = minted(server)
    upstream.script = chat_answer(usage=usage_of(1_001, 77))
    assert {ask(server, key).status_code for _ in range(3)} == {200}
    upstream.script = None
    body = {"model": "text-embedding-3-small", "input": ["a", "b"]}
    assert server.client(key).post("/v1/embeddings", json=body).status_code == 200
    soon(lambda: server.metrics().total(REQUESTS) == 4)
    metrics = server.metrics()
    spent = sum(row["cost_usd"] for row in server.rows(expect=4))
    assert spent > 0
    assert metrics.total("llm_proxy_key_cost_total", key=str(key_id)) == pytest.approx(float(spent), abs=1e-15)
    assert metrics.total("llm_proxy_key_tokens_total", key=str(key_id), token_type="prompt") == 3 * 1_001 + 6
    assert metrics.total("embedding_compute_duration_seconds_count", model="text-embedding-3-small") == 1
    assert metrics.total("llm_proxy_tokens_per_second_count", model="gpt-4.1-mini") == 3
    assert metrics.total("llm_proxy_cache_bypass_total") == 4
    for nothing_yet in ("llm_proxy_cache_hits_total", "llm_proxy_cache_misses_total", "embedding_cache_hits_total"):
        assert metrics[nothing_yet] == 0
