"""P34, admission's part: Redis is gone, silent, emptied or slow, under load, and nobody is refused for it.

Four workers; each outage lasts `OUTAGE_S` (the promise says 90 s: `TEST_OUTAGE_SECS=90`). Budgets stay enforced from
the last known spend, and when Redis is back it has neither forgotten nor doubled anything.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from keys.limits.operations import picousd
from keys.limits.refusal import usd
from tests.kit.crowd import Answer, ask, at_once, statuses
from tests.kit.management import changed, create, minted
from tests.kit.outages import OUTAGE_S, redis_outage
from tests.kit.providers import new_provider
from tests.kit.sluice import Sluice
from tests.kit.upstream import Upstream, chat_answer, usage_of
from tests.kit.waiting import IN_FORCE_S, soon

WORKERS = 4

pytestmark = [pytest.mark.elapsed, pytest.mark.server(database="postgres", redis=True, workers=WORKERS)]
BEFORE_S = 0.5
AFTER_S = 1.0
ASKERS = 6
MOST_ROUNDS = 20
PAUSE_S = 0.01
MODEL = "priced-model"
COST = Decimal("0.000002")
"""USD of each answer: two tokens, at a dollar a million."""
BUDGET = Decimal("0.002")
OUTAGES = ("stopped", "frozen", "emptied", "slow")


@pytest.fixture(scope="module")
def server(sluice: Sluice, _upstream: Upstream) -> Sluice:
    if sluice.redis is None:
        pytest.skip("the Redis that is given cannot be broken")
    new_provider(sluice, "priced", _upstream.url, models={MODEL: ""}, api_key="sk-x")
    create(sluice, "/api/prices", {"model": MODEL, "input": "1", "output": "1"})
    return sluice


class Load:
    """Askers without a pause, each answer with its key."""

    def __init__(self, server: Sluice, keys: list[str]) -> None:
        self._server, self._keys = server, keys
        self.answers: list[tuple[str, Answer]] = []

    async def during(self, what: Callable[[], Any]) -> None:
        over = asyncio.Event()

        async def keep_asking(key: str) -> None:
            while not over.is_set():
                told = await ask(self._server, key, model=MODEL, max_tokens=1)
                self.answers.append((key, told))
                await asyncio.sleep(PAUSE_S)

        asking = [asyncio.create_task(keep_asking(key)) for key in self._keys * (ASKERS // len(self._keys))]
        await asyncio.to_thread(what)
        over.set()
        await asyncio.gather(*asking)

    def of(self, key: str) -> Counter[int]:
        return Counter(answer.status for asked, answer in self.answers if asked == key)


def spent_in_redis(server: Sluice, key_id: int) -> int | None:
    """What Redis has of the key's budget, in picodollars."""
    assert server.redis is not None
    with server.redis.client() as client:
        stored = client.get(f"{{sluice:limits}}:key:{key_id}")
    budget = msgspec.msgpack.decode(stored)[6] if isinstance(stored, bytes) else None
    return picousd(budget[5]) if budget else None


def in_ledger(server: Sluice, key_id: int) -> int:
    return sum(row["cost_picousd"] or 0 for row in server.rows() if row["key_id"] == key_id)


def spend_all(server: Sluice, key: str) -> Answer:
    """Until there is no room for one more and nothing runs; the refusal."""
    while True:
        answers = at_once(server, key, 32, model=MODEL, max_tokens=1)
        if statuses(answers) == {429: 32} and not any("reserved" in one.error()["message"] for one in answers):
            return answers[0]


@pytest.mark.timeout(240 + OUTAGE_S)
@pytest.mark.parametrize("kind", OUTAGES)
def test_no_request_fails_and_nothing_is_forgotten_or_doubled(kind: str, server: Sluice, upstream: Upstream):
    assert server.redis is not None
    upstream.script = chat_answer(usage=usage_of(1, 1))
    roomy_id, roomy = minted(server, budget=100, rpm=1_000_000, tpm=10_000_000, parallel=50, max_requests=10**6)
    noon = f"Etc/GMT{time.gmtime().tm_hour - 12:+d}"  # a day that neither begins nor ends meanwhile
    _, spent = minted(server, budget=str(COST * 20), period="day", time_zone=noon)
    spend_all(server, spent)
    load = Load(server, [roomy, spent])

    def break_it() -> None:
        time.sleep(BEFORE_S)
        assert server.redis is not None
        with redis_outage(server.redis, kind):
            time.sleep(OUTAGE_S)
        time.sleep(AFTER_S)

    asyncio.run(load.during(break_it))
    assert set(load.of(roomy)) == {200}
    assert set(load.of(spent)) == {429}
    served = load.of(roomy)[200]
    expected = int(served * COST * 10**12)
    soon(lambda: in_ledger(server, roomy_id) == expected)
    # Every worker has come back and told what it knows.
    assert statuses(at_once(server, roomy, 32, model=MODEL, max_tokens=1)) == {200: 32}
    expected += int(32 * COST * 10**12)
    soon(lambda: spent_in_redis(server, roomy_id) == expected == in_ledger(server, roomy_id), 20)
    time.sleep(2.5)  # past another comparison with the ledger
    assert spent_in_redis(server, roomy_id) == expected
    at = changed(server, f"/api/keys/{roomy_id}", budget=str(usd(expected)))
    time.sleep(max(0.0, at + IN_FORCE_S - time.monotonic()))
    refusals = at_once(server, roomy, 20, model=MODEL, max_tokens=1)
    assert statuses(refusals) == {429: 20}
    assert all(f"{usd(expected)} of {usd(expected)} USD" in answer.error()["message"] for answer in refusals)


def test_a_budget_is_not_passed_while_redis_is_away_and_limits_of_time_are_local(server: Sluice, upstream: Upstream):
    """Each worker goes on from what the ledger has, so together four may spend four times what was left."""
    assert server.redis is not None
    upstream.script = chat_answer(usage=usage_of(1, 1))
    key_id, key = minted(server, budget=str(COST * 200))
    _, minute = minted(server, rpm=5)
    refusal = spend_all(server, key)
    found = re.fullmatch(r"Budget reached: (\S+) of .* this request may cost (\S+) USD.*", refusal.error()["message"])
    assert found
    soon(lambda: usd(in_ledger(server, key_id)) == found[1])  # Redis has told some workers of less
    left = 2 * Decimal(found[2])
    at = changed(server, f"/api/keys/{key_id}", budget=str(Decimal(found[1]) + left))
    assert statuses(at_once(server, minute, 20)) == {200: 5, 429: 15}
    time.sleep(max(0.0, at + IN_FORCE_S - time.monotonic()))
    server.redis.freeze()
    try:
        told: list[list[Answer]] = [[]]
        while statuses(told[-1]) != {429: 100} and len(told) < MOST_ROUNDS:  # which worker is asked, nobody knows
            told.append(at_once(server, key, 100, model=MODEL, max_tokens=1))
        of_minute = at_once(server, minute, 100)
    finally:
        server.redis.thaw()
    assert {answer.status for some in [*told, of_minute] for answer in some} <= {200, 429}
    served = sum(statuses(some).get(200, 0) for some in told)
    assert 0 < served * COST <= WORKERS * left
    assert statuses(told[-1]) == {429: 100}
    assert statuses(of_minute).get(200, 0) <= WORKERS * 5
