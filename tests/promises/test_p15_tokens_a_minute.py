"""P15: tokens a minute: the estimate is reserved, the real number settled. The limiter's books against the ledger's."""

from __future__ import annotations

import json
import random
import threading
from concurrent.futures import ThreadPoolExecutor

from tests.kit import crowd
from tests.kit.management import limited_key, minted
from tests.kit.requests import ask
from tests.kit.sluice import Sluice
from tests.kit.upstream import (
    Received,
    Reset,
    Script,
    Upstream,
    after,
    chat_answer,
    chat_stream,
    error_answer,
    usage_of,
)
from tests.kit.waiting import soon

LIMIT = 1_000_000
REQUESTS = 60


def remaining(server: Sluice, key: str) -> int:
    """What the limiter has left, by a request that it refuses, which takes nothing."""
    answer = ask(server, key, max_tokens=LIMIT)
    assert answer.status_code == 429
    return int(answer.headers["x-ratelimit-remaining-tokens"])


def test_the_minute_has_what_the_ledger_has(place: tuple[list[Sluice], Upstream]):
    """Plain, streamed, failed and cut; more and less than was reserved. What becomes of a request it says itself, since
    one that is cut on a connection that was in use is sent a second time.
    """
    servers, upstream = place
    draw = random.Random(15)
    fates = ["failed", "cut", *(draw.choice(["plain"] * 6 + ["failed", "cut"]) for _ in range(REQUESTS - 2))]

    def answered(received: Received) -> Script:
        asked = received.json()
        if asked["user"] == "failed":
            return error_answer(500)
        if asked["user"] == "cut":
            return [Reset()]
        usage = usage_of(*json.loads(asked["user"]))
        return chat_stream(usage=usage) if asked.get("stream") else chat_answer(usage=usage)

    upstream.script = answered
    key_id, key = minted(servers[0], tpm=LIMIT)
    users = [f"[{draw.randrange(1, 2_000)}, {draw.randrange(1, 2_000)}]" if fate == "plain" else fate for fate in fates]
    with ThreadPoolExecutor(12) as pool:
        answers = pool.map(
            lambda n: ask(servers[n % len(servers)], key, stream=n % 2 == 0, max_tokens=500, user=users[n]),
            range(REQUESTS),
        )
        assert {answer.status_code for answer in answers} == {200, 500, 502}

    def of_ledger() -> tuple[int, int]:
        rows = [row for row in servers[0].rows() if row["key_id"] == key_id and row["outcome"] != "refused"]
        return len(rows), sum((row["prompt_tokens"] or 0) + (row["completion_tokens"] or 0) for row in rows)

    soon(lambda: of_ledger()[0] == REQUESTS)
    assert of_ledger()[1] > 0
    soon(lambda: LIMIT - remaining(servers[-1], key) == of_ledger()[1])


def test_a_running_request_holds_its_estimate_and_then_its_tokens(place: tuple[list[Sluice], Upstream]):
    servers, upstream = place
    _, key = minted(servers[0], tpm=LIMIT)
    go_on = threading.Event()
    upstream.script = after(go_on, chat_answer(usage=usage_of(7, 3)))
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(ask, servers[0], key, max_tokens=5_000)
        upstream.wait_for(1)
        assert 5_000 < LIMIT - remaining(servers[-1], key) < 5_100
        go_on.set()
        told = running.result()
    assert told.status_code == 200
    soon(lambda: LIMIT - remaining(servers[-1], key) == 10)


def test_no_more_estimates_run_at_once_than_there_are_tokens_for(place: tuple[list[Sluice], Upstream]):
    servers, upstream = place
    key, _ = limited_key(servers[0], "team", tpm=10_500)
    upstream.script = chat_answer(usage=usage_of(1_000, 1_000))
    answers = crowd.at_once(servers, key, 100, max_tokens=1_900)
    served = crowd.statuses(answers)[200]
    assert served == len(upstream.requests) == 5
    soon(lambda: int(ask(servers[0], key, max_tokens=1_900).headers["x-ratelimit-remaining-tokens"]) == 500)
