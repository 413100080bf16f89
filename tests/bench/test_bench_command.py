"""`manage.py bench` counts, times and compares what it asked; how long it took is no test's business."""

from __future__ import annotations

import json
from collections.abc import Callable
from subprocess import CompletedProcess
from typing import Any

import pytest

from tests.kit.sluice import Sluice
from tests.kit.upstream import Upstream, chat_stream, error_answer

MODEL = "simulator-bench"
PERCENTILES = {"p50", "p90", "p99", "max", "mean"}
Bench = Callable[..., CompletedProcess[str]]


@pytest.fixture(scope="module")
def key(sluice: Sluice) -> str:
    """Of a client that the simulator answers, and the module's upstream where it has not the model."""
    openai = sluice.api("GET", "/api/providers/?name=openai").json()["results"][0]
    assert sluice.api("PATCH", f"/api/providers/{openai['id']}/", json={"priority": 10}).status_code == 200
    made = sluice.api("POST", "/api/providers/", json={"name": "sim", "kind": "simulator", "models": [MODEL]})
    assert made.status_code == 201, made.text
    return sluice.mint(rpm=100_000)


@pytest.fixture
def bench(sluice: Sluice) -> Bench:
    def run(*options: str, model: str = MODEL, url: str = f"{sluice.url}/v1") -> CompletedProcess[str]:
        given = ("--url", url, "--model", model, "--concurrency", "4", *options)
        done: CompletedProcess[str] = sluice.manage("bench", *given, json=False, check=False)
        return done

    return run


def report_of(done: CompletedProcess[str], code: int = 0) -> dict[str, Any]:
    assert done.returncode == code, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def test_plain_answers_are_counted_and_timed(bench: Bench, key: str):
    report = report_of(bench("--key", key, "--requests", "50", "--json"))
    assert (report["model"], report["stream"], report["concurrency"]) == (MODEL, False, 4)
    through = report["through"]
    assert (through["requests"], through["failed"], through["errors"]) == (50, 0, {})
    assert through["requests_per_second"] > 0
    assert set(through["latency_ms"]) == PERCENTILES
    assert through["first_token_ms"] is None
    assert through["chunks_per_second"] is None
    assert report["direct"] is None
    assert report["overhead"] is None


def test_streams_have_a_first_token_and_chunks(bench: Bench, key: str):
    through = report_of(bench("--key", key, "--requests", "20", "--stream", "--tokens", "7", "--json"))["through"]
    assert (through["requests"], through["failed"]) == (20, 0)
    assert set(through["first_token_ms"]) == PERCENTILES
    assert through["first_token_ms"]["p50"] <= through["latency_ms"]["p50"]
    assert through["chunks"] == 20 * 9  # the role, seven tokens, the finish
    assert through["chunks_per_second"] > 0


def test_a_rate_is_told_to_the_simulator(bench: Bench, key: str):
    options = ("--stream", "--tokens", "5", "--tokens-per-second", "20", "--requests", "4", "--json")
    through = report_of(bench("--key", key, *options))["through"]
    assert through["latency_ms"]["p50"] >= 4 / 20 * 1000


def test_the_gateway_is_compared_with_its_provider(bench: Bench, upstream: Upstream, key: str):
    upstream.script = chat_stream()
    options = ("--direct", upstream.url, "--direct-key", "sk-other", "--stream", "--requests", "20", "--json")
    report = report_of(bench("--key", key, *options, model="gpt-4.1-mini"))
    assert (report["through"]["requests"], report["direct"]["requests"]) == (20, 20)
    assert report["overhead"]["requests_per_second_ratio"] > 0
    assert set(report["overhead"]["latency_ms"]) == {"p50", "p90", "p99"}
    assert set(report["overhead"]["first_token_ms"]) == {"p50", "p90", "p99"}
    assert len(upstream.requests) == 40


def test_seconds_bound_it_too(bench: Bench, key: str):
    through = report_of(bench("--key", key, "--seconds", "0.3", "--json"))["through"]
    assert through["requests"] > 0
    assert through["failed"] == 0


def test_people_get_a_table_without_the_key(bench: Bench, key: str):
    done = bench("--key", key, "--requests", "5")
    assert done.returncode == 0
    assert "latency p99" in done.stdout
    assert key not in done.stdout + done.stderr


def test_refused_requests_end_it_with_1(bench: Bench):
    through = report_of(bench("--key", "sk-sluice-nobody", "--requests", "10", "--json"), 1)["through"]
    assert (through["failed"], through["errors"]) == (10, {"status 401": 10})
    assert through["latency_ms"] is None


def test_one_failure_among_many_ends_it_with_1(bench: Bench, upstream: Upstream, key: str):
    upstream.answers(error_answer(400, "no"))
    through = report_of(bench("--key", key, "--requests", "10", "--json", model="gpt-4.1-mini"), 1)["through"]
    assert (through["requests"], through["errors"]) == (10, {"status 400": 1})


def test_a_stream_that_breaks_off_is_a_failure(bench: Bench, upstream: Upstream, key: str):
    upstream.script = chat_stream(include_done=False)
    options = ("--direct", upstream.url, "--stream", "--requests", "2", "--json")
    report = report_of(bench("--key", key, *options, model="gpt-4.1-mini"), 1)
    assert report["direct"]["errors"] == {"stream without its end": 2}


def test_nobody_there_ends_it_with_1(bench: Bench):
    through = report_of(bench("--requests", "3", "--json", url="http://127.0.0.1:1/v1"), 1)["through"]
    assert through["errors"] == {"connect: ConnectionRefusedError": 3}


@pytest.mark.parametrize(
    "options", [("--url", "ftp://x/v1"), ("--concurrency", "0"), ("--requests", "-1"), ("--seconds", "never")]
)
def test_wrong_options_end_it_with_2(bench: Bench, options: tuple[str, str]):
    assert bench(*options).returncode == 2
