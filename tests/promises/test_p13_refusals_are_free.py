"""P13: a refused request uses up nothing of any limit, and after `Retry-After` the next one is accepted.

For requests per minute see P12's test, which has the minute to wait for.
"""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.kit import crowd
from tests.kit.management import changed, limited_key, minted, new_project
from tests.kit.requests import ask
from tests.kit.sluice import Sluice
from tests.kit.upstream import Upstream, after, chat_answer, usage_of
from tests.kit.waiting import soon

FULL: dict[str, dict[str, int]] = {
    "rpm": {"rpm": 1},
    "tpm": {"tpm": 100},
    "daily": {"daily": 1},
    "max_requests": {"max_requests": 1},
    "budget": {"budget": 0},
}
ROOM = {"rpm": 2, "daily": 2, "max_requests": 2, "tpm": 1_000, "rps": 1, "burst": 2, "parallel": 2, "budget": 5}
REFUSED = 20


@pytest.mark.parametrize("full", FULL)
def test_what_one_scope_refuses_takes_nothing_of_the_others(full: str, place: tuple[list[Sluice], Upstream]):
    """The key is full, its project has room for two: after twenty refusals other keys of the project get both."""
    [server, *_], upstream = place
    upstream.script = chat_answer(usage=usage_of(60, 40))
    project = new_project(server, **ROOM)
    _, key = minted(server, project=project, **FULL[full])
    served = sum(ask(server, key, max_tokens=40).status_code == 200 for _ in range(REFUSED))
    assert served == (0 if full == "budget" else 1)
    _, other = minted(server, project=project)
    told = [ask(server, other, max_tokens=40) for _ in range(2 - served)]
    assert {answer.status_code for answer in told} == {200}
    assert ask(server, other).status_code == 429
    assert len(upstream.requests) == 2


def test_the_one_who_waits_as_told_is_accepted_again_and_again(place: tuple[list[Sluice], Upstream]):
    servers, _ = place
    key, _path = limited_key(servers[0], "key", rps=1)

    async def loop() -> list[int]:
        told = []
        for _ in range(3):
            refusal = (await crowd.many(servers, [key], 12))[-1]
            while refusal.status == 200:
                refusal = await crowd.ask(servers[-1], key)
            await asyncio.sleep(int(refusal.headers["retry-after"]))
            told.append((await crowd.ask(servers[-1], key)).status)
        return told

    assert asyncio.run(loop()) == [200] * 3


def test_refusals_for_want_of_a_slot_take_no_slot(place: tuple[list[Sluice], Upstream]):
    servers, upstream = place
    key, _path = limited_key(servers[0], "key", parallel=1, rpm=3)
    go_on = threading.Event()
    upstream.script = after(go_on, chat_answer())
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(ask, servers[0], key)
        upstream.wait_for(1)
        told = crowd.at_once(servers, key, REFUSED)
        go_on.set()
        assert running.result().status_code == 200
    assert crowd.statuses(told) == {429: REFUSED}
    assert {answer.headers["retry-after"] for answer in told} == {"1"}
    soon(lambda: ask(servers[-1], key).status_code == 200)

    def has_the_last_of_the_minute() -> bool:
        answer = ask(servers[0], key)
        return answer.status_code == 200 and answer.headers["x-ratelimit-remaining-requests"] == "0"

    soon(has_the_last_of_the_minute)


def test_what_is_refused_before_the_limits_takes_nothing(place: tuple[list[Sluice], Upstream]):
    [server, *_], _upstream = place
    _, key = minted(server, rpm=1, daily=1, max_requests=1, allowed_models=["gpt-*"])
    wrong: list[dict[str, Any]] = [{"model": "o1"}, {"model": 5}, {"messages": None, "model": ""}]
    for body in wrong * 3:
        assert ask(server, key, **body).status_code in (400, 403)
    assert ask(server, key).status_code == 200
    assert ask(server, key).status_code == 429


def test_a_model_that_nobody_has_takes_nothing(start_sluice, upstream: Upstream):
    server = start_sluice()
    for provider in server.api("GET", "/api/providers").json()["results"]:
        changed(server, f"/api/providers/{provider['id']}", models={"gpt-4.1-mini": ""})
    _, key = minted(server, rpm=1, rps=1, burst=1, tpm=1_000, daily=1, max_requests=1)
    soon(lambda: ask(server, key, model="nope").status_code == 404)
    for _ in range(3):
        assert ask(server, key, model="nope").json()["error"]["code"] == "model_not_found"
    assert ask(server, key).status_code == 200
    assert ask(server, key).status_code == 429
    assert len(upstream.requests) == 1
