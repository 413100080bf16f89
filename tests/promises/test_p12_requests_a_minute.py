"""P12: R a minute accepts at most R in any 60 seconds: over four workers of each of two instances on one Redis, and in
one process without it; whichever scope has the limit. P13's half of it: who waits for `Retry-After` is accepted.

The one wait of a minute is shared by all scopes and by both installations.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import accumulate

import pytest

from tests.kit.crowd import Answer, accepted, ask, at_once, many, statuses
from tests.kit.fleet import Fleet
from tests.kit.management import limited_key
from tests.kit.sluice import Sluice
from tests.kit.upstream import Upstream

MINUTE_S = 60
RPM = 12
ASKED = 48
"""At once, four times as many as there is room for."""
SCOPES = ("key", "user", "team", "project")


async def two_minutes(servers: Sequence[Sluice], keys: Sequence[str]) -> list[list[Answer]]:
    """Per key, what was accepted: a rush, trickles until a first one is accepted after its `Retry-After`, a rush."""

    async def of(key: str) -> list[Answer]:
        answers = await many(servers, [key], ASKED)
        assert statuses(answers) == {200: RPM, 429: ASKED - RPM}
        refusals = [answer for answer in answers if answer.status == 429]
        waits = [int(answer.headers["retry-after"]) for answer in refusals]
        took = max(answer.ended for answer in answers) - min(answer.began for answer in answers)
        assert MINUTE_S - took - 1 <= min(waits) <= max(waits) <= MINUTE_S
        # What is refused in between must not put anything off.
        for _ in range(4):
            await asyncio.sleep(max(waits) / 5)
            assert statuses(await many(servers, [key], 2)) == {429: 2}
        last = refusals[-1]
        await asyncio.sleep(last.ended + int(last.headers["retry-after"]) - asyncio.get_running_loop().time())
        first = await ask(servers[0], key)
        assert first.status == 200
        again = await many(servers, [key], ASKED)
        return sorted(accepted([*answers, first, *again]), key=lambda answer: answer.began)

    return await asyncio.gather(*map(of, keys))


def check_every_window(answers: list[Answer]) -> None:
    """Any R + 1 in a row span a minute: from before the first was decided to after the last was."""
    assert len(answers) > RPM
    for position, first in enumerate(answers[:-RPM]):
        latest = max(answer.ended for answer in answers[position : position + RPM + 1])
        assert latest - first.began >= MINUTE_S


@pytest.mark.timeout(150)
def test_at_most_r_in_any_minute_and_whoever_waits_as_told_is_accepted(
    fleet: Fleet, sluice: Sluice, upstream: Upstream
):
    over_all = [limited_key(fleet.first, scope, rpm=RPM)[0] for scope in SCOPES]
    in_one = [limited_key(sluice, scope, rpm=RPM)[0] for scope in SCOPES]

    async def both() -> tuple[list[list[Answer]], list[list[Answer]]]:
        return await asyncio.gather(two_minutes(fleet.servers, over_all), two_minutes([sluice], in_one))

    told = asyncio.run(both())
    for answers in [*told[0], *told[1]]:
        check_every_window(answers)
    reached = [len(fleet.upstream.requests), len(upstream.requests)]
    assert reached == [sum(map(len, of_one)) for of_one in told]


def test_the_gateway_s_own_limit_counts_all_keys(fleet: Fleet, sluice: Sluice, upstream: Upstream):
    for servers, provider in ((fleet.servers, fleet.upstream), ([sluice], upstream)):
        key, path = limited_key(servers[0], "global", rpm=RPM)
        other, _ = limited_key(servers[0], "key")
        before = len(provider.requests)
        try:
            told = asyncio.run(until_refused(servers, [key, other]))
        finally:
            servers[0].api("PATCH", path, json={"rpm": None})
        assert len(provider.requests) - before == len(accepted(told))
        # It counts from when a process hears of it; what was accepted before has no such header.
        counted = [answer for answer in accepted(told) if "x-ratelimit-limit-requests" in answer.headers]
        assert len(counted) == RPM


async def until_refused(servers: Sequence[Sluice], keys: Sequence[str]) -> list[Answer]:
    """Ask until every process refuses: as soon as it knows of the limit, and there is no room."""
    told: list[Answer] = []
    async with asyncio.timeout(10):
        while True:
            some = await many(servers, keys, ASKED)
            told += some
            if statuses(some) == {429: ASKED}:
                return told


def test_more_at_once_than_there_is_room_for_is_counted_exactly(fleet: Fleet):
    """200 in parallel: a lifetime's requests (F27), a day's and a minute's, over all processes."""
    for limits in ({"max_requests": 30}, {"daily": 30}, {"rpm": 30}):
        key, _ = limited_key(fleet.first, "key", **limits)
        before = len(fleet.upstream.requests)
        assert statuses(at_once(fleet.servers, key, 200)) == {200: 30, 429: 170}
        assert len(fleet.upstream.requests) - before == 30


def test_a_rate_a_second_lets_a_burst_through_and_then_the_rate(fleet: Fleet):
    """In any span of s seconds at most burst + s * rate."""
    rate, burst = 2, 6
    key, _ = limited_key(fleet.first, "key", rps=rate, burst=burst)
    told = accepted(asyncio.run(for_a_while(fleet.servers, key, 3)))
    assert len(told) > burst
    for position, first in enumerate(told):
        latest = accumulate((answer.ended for answer in told[position:]), max)
        assert all(number <= burst + rate * (end - first.began) for number, end in enumerate(latest, 1))


async def for_a_while(servers: Sequence[Sluice], key: str, seconds: float) -> list[Answer]:
    told: list[Answer] = []
    over = asyncio.get_running_loop().time() + seconds
    while asyncio.get_running_loop().time() < over:
        told += await many(servers, [key], 16)
    return sorted(told, key=lambda answer: answer.began)
