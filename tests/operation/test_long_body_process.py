"""X4: the process that reads long bodies: others are served meanwhile, and it never outlives its worker."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from proxy.heavy.__main__ import NAME
from proxy.heavy.jobs import HEAVY_BYTES
from tests.kit.clients import client_of
from tests.kit.requests import CHAT
from tests.kit.services import Services, processes
from tests.kit.sluice import Sluice, told_of
from tests.kit.upstream import Upstream
from tests.kit.vitals import is_idle
from tests.kit.wire import connect, request_bytes

MIB = 1024 * 1024

pytestmark = pytest.mark.server(MAX_PAYLOAD_BYTES=20 * MIB, MAX_HELD_BODY_BYTES=20 * MIB)
LONG = json.dumps({**CHAT, "user": "x" * HEAVY_BYTES}).encode()
BUSY = json.dumps({**CHAT, "user": [{"file_id": []}] * MIB}, separators=(",", ":")).encode()
"""Takes some seconds of the processor: all of it is searched for files."""


def post(sluice: Sluice, body: bytes) -> httpx.Response:
    headers = {"content-type": "application/json"}
    return client_of(sluice).post("/v1/chat/completions", content=body, headers=headers, timeout=60)


def child_of(sluice: Sluice) -> int:
    """The process that reads; a first long body has it started."""
    assert post(sluice, LONG).status_code == 200
    assert sluice.process is not None
    [child] = children(sluice.process.pid)
    return child


def children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").glob("*")
    every = [int(child) for task in tasks for child in told_of(pid, f"task/{task.name}/children").split()]
    return [child for child in every if told_of(child, "comm").strip() == NAME]


def is_gone(pid: int) -> bool:
    return told_of(pid, "stat").rpartition(")")[2].split()[:1] in ([], ["Z"])


def ticks(pid: int) -> int:
    """Of the processor that it has had."""
    fields = told_of(pid, "stat").rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12]) if fields else 0


Beside = Callable[[bytes], "Future[httpx.Response]"]


@pytest.fixture
def beside(sluice: Sluice) -> Iterator[Beside]:
    """Posts a body from another thread."""
    with ThreadPoolExecutor() as threads:
        yield lambda body: threads.submit(post, sluice, body)


def until_it_reads(child: int) -> None:
    before = ticks(child)
    assert processes.poll(lambda: ticks(child) >= before + 10, timeout=20)


def test_others_are_served_while_a_long_body_is_read(sluice: Sluice, upstream: Upstream, beside: Beside):
    child = child_of(sluice)
    os.kill(child, signal.SIGSTOP)
    try:
        waiting = beside(LONG)
        upstream.reset()
        assert post(sluice, json.dumps(CHAT).encode()).status_code == 200
        assert len(upstream.requests) == 1
        assert not waiting.done()
    finally:
        os.kill(child, signal.SIGCONT)
    assert waiting.result().status_code == 200
    assert child_of(sluice) == child


def test_what_waits_to_be_read_counts_as_held(sluice: Sluice, upstream: Upstream, beside: Beside):
    child = child_of(sluice)
    os.kill(child, signal.SIGSTOP)
    try:
        large = json.dumps({**CHAT, "user": "x" * 15 * MIB}).encode()
        waiting = beside(large)
        beyond: list[httpx.Response] = []

        def is_refused() -> bool:
            beyond.append(post(sluice, b" " * 6 * MIB))
            return beyond[-1].status_code == 503

        assert processes.poll(is_refused, timeout=20)
        assert beyond[-1].json()["error"]["code"] == "too_many_bodies"
        assert not waiting.done()
    finally:
        os.kill(child, signal.SIGCONT)
    assert waiting.result().status_code == 200


def test_a_reader_that_is_killed_takes_one_request_along(sluice: Sluice, upstream: Upstream, beside: Beside):
    child = child_of(sluice)
    reading = beside(BUSY)
    until_it_reads(child)
    os.kill(child, signal.SIGKILL)
    answer = reading.result()
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "body_reader_failed")
    assert answer.headers["retry-after"] == "1"
    assert child_of(sluice) != child


def test_a_reader_that_dies_idle_is_replaced(sluice: Sluice, upstream: Upstream):
    child = child_of(sluice)
    os.kill(child, signal.SIGKILL)
    assert processes.poll(lambda: is_gone(child), timeout=20)
    assert child_of(sluice) != child


def test_a_body_that_takes_too_long_is_refused(sluice: Sluice, upstream: Upstream, beside: Beside):
    child = child_of(sluice)
    reading = beside(BUSY)
    until_it_reads(child)
    os.kill(child, signal.SIGPROF)  # as its timer does
    answer = reading.result()
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "body_too_complex")


def test_who_leaves_takes_the_reading_along(sluice: Sluice, upstream: Upstream):
    child = child_of(sluice)
    with connect(sluice) as peer:
        peer.sendall(request_bytes(sluice, BUSY))
        until_it_reads(child)
    assert processes.poll(lambda: is_gone(child), timeout=20)
    assert is_idle(sluice)
    assert child_of(sluice) != child


def test_memory_has_a_bound(sluice: Sluice, upstream: Upstream):
    lists = b'{"model":"gpt-4.1-mini","messages":[{"file_id":""}' + b",[]" * (19 * MIB // 3) + b"]}"
    answer = post(sluice, lists)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "body_too_complex")


@pytest.mark.parametrize("workers, end", [(1, "stopped"), (1, "killed"), (1, "killed while it reads"), (2, "killed")])
def test_it_ends_with_its_worker(services: Services, upstream: Upstream, start_sluice: Any, workers: int, end: str):
    server: Sluice = start_sluice(workers=workers, upstream_url=upstream.url, redis=workers > 1)
    assert post(server, LONG).status_code == 200
    assert server.process is not None
    owners = [pid for pid in {server.process.pid, *server.worker_pids()} if children(pid)]
    [child] = [each for owner in owners for each in children(owner)]
    if end == "killed while it reads":
        with connect(server) as peer:
            peer.sendall(request_bytes(server, BUSY))
            until_it_reads(child)
            os.kill(owners[0], signal.SIGKILL)
    elif end == "stopped":
        assert server.stop() == 0
    else:
        os.kill(owners[0], signal.SIGKILL)
    assert processes.poll(lambda: is_gone(child), timeout=20)
