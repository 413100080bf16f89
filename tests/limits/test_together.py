"""Requests that Redis lets in together: each ends by itself all the same, whatever becomes of its process."""

from __future__ import annotations

import asyncio

import pytest

from keys.limits import Ask, Baseline, LimitExceeded, Reservation, Scope
from keys.limits.lines import LARGEST_GROUP
from tests.kit.limit_processes import ONE, Ground, Process, run
from tests.kit.scopes import USD, scope
from tests.kit.services.redis import RedisServer


async def together(process: Process, scopes: list[Scope], asks: list[Ask]) -> list[Reservation]:
    """In one batch, of scopes that are known."""
    return await asyncio.gather(*(process.limits.reserve(tuple(scopes), ask, process.clock()) for ask in asks))


async def load_scopes(process: Process, scopes: list[Scope]) -> None:
    (await process.reserve(scopes, Ask(tokens=0, cost=0, bounded=True))).settle(0, 0, 0)
    await process.told()


def records(server: RedisServer) -> int:
    """How many Redis has of all processes."""
    client = server.client()
    try:
        return sum(client.hlen(name) for name in client.keys("*held:*"))
    finally:
        client.close()


def test_they_are_one_record_and_end_one_by_one(server: RedisServer):
    async def test(ground: Ground) -> None:
        async with ground.processes(1) as [process]:
            scopes = [scope(parallel=4, budget=20 * USD), scope("team", tpm=100)]
            await load_scopes(process, scopes)
            reservation = await together(
                process, scopes, [Ask(tokens=10, cost=USD, bounded=n % 2 == 0) for n in range(4)]
            )
            assert records(server) == 1
            for number, one in enumerate(reservation, 1):
                assert (await process.refused(scopes)).limit_kind == "parallel"
                one.settle(10, USD)
                await process.reserve(scopes, Ask(tokens=1, cost=0, bounded=True))
                assert records(server) == number + (number < 4)
            assert ground.spent() == 4 * USD

    run(server, test)


def test_each_is_told_what_was_left_after_itself(server: RedisServer):
    async def test(ground: Ground) -> None:
        async with ground.processes(1) as [process]:
            scopes = [scope(rpm=100), scope("team", rpm=50, tpm=1_000)]
            reservation = await together(process, scopes, [Ask(tokens=tokens) for tokens in (5, 7, 11)])
            left = [one.rates for one in reservation]
            assert [(requests[1], tokens[1]) for requests, tokens in left if requests and tokens] == [
                (49, 995),
                (48, 988),
                (47, 977),
            ]

    run(server, test)


def test_where_not_all_find_room_as_many_do_as_one_by_one(server: RedisServer):
    async def test(ground: Ground) -> None:
        async with ground.processes(1) as [process]:
            scopes = [scope(parallel=3)]

            async def ask() -> bool:
                try:
                    await process.limits.reserve(tuple(scopes), ONE, process.clock())
                except LimitExceeded:
                    return False
                return True

            assert await asyncio.gather(*(ask() for _ in range(5))) == [True, True, True, False, False]
            assert records(server) == 3

    run(server, test)


def test_the_killed_process_s_all_come_back_when_its_lease_ends(server: RedisServer):
    async def test(ground: Ground) -> None:
        scopes = [scope(parallel=4), scope("team", tpm=40), scope("project", budget=10 * USD)]
        ask = Ask(tokens=10, cost=2 * USD, bounded=True)
        async with ground.processes(2) as (killed, other):
            await load_scopes(killed, scopes)
            first, *_ = await together(killed, scopes, [ask] * 4)
            first.settle(10, 2 * USD)
            await killed.told()
            killed.forsake()
            ground.clock.pass_by(14.999)
            assert (await other.refused(scopes, Ask(tokens=40))).limit_kind == "tpm"
            ground.clock.pass_by(0.001)
            assert len(await together(other, scopes, [ask] * 3)) == 3
            assert (await other.refused(scopes, ask)).limit_kind == "tpm"

    run(server, test)


@pytest.mark.parametrize("first", [0, 1])
def test_those_of_a_process_that_slept_run_on_and_end_each_by_itself(server: RedisServer, first: int):
    """Also when the one that the record is named after is not the first to end."""

    async def test(ground: Ground) -> None:
        async with ground.processes(2) as (sleeper, other):
            scopes = [scope(parallel=3, budget=30 * USD)]
            await load_scopes(sleeper, scopes)
            reservation = await together(sleeper, scopes, [ONE] * 3)
            ground.clock.pass_by(20)
            (await other.reserve(scopes)).settle(cost=0)  # the others' slots are free by now
            await other.told()
            assert records(server) == 0
            (await sleeper.reserve(scopes)).settle(cost=0)  # now Redis knows of all three again
            await sleeper.told()
            assert records(server) == 3
            for one in (reservation[first], reservation[1 - first], reservation[2]):
                await other.refused(scopes)
                one.settle(cost=2 * USD)
                await sleeper.told()
                await other.reserve(scopes, Ask(cost=0, bounded=True))
            assert ground.spent() == 6 * USD
            assert records(server) == 3

    run(server, test)


def test_one_whose_caller_left_gives_back_its_own_share(server: RedisServer):
    async def test(ground: Ground) -> None:
        async with ground.processes(1) as [process]:
            scopes = [scope(parallel=3, budget=30 * USD)]
            await load_scopes(process, scopes)
            asking = [
                asyncio.ensure_future(process.limits.reserve(tuple(scopes), ONE, process.clock())) for _ in range(3)
            ]
            await asyncio.sleep(0)  # they have asked
            await asyncio.sleep(0)  # and the batch is sent
            assert process.limits._shared._batches._busy is not None
            asking[1].cancel()
            done = await asyncio.gather(*asking, return_exceptions=True)
            assert isinstance(done[1], asyncio.CancelledError)
            await process.told()
            (await process.reserve(scopes)).settle(cost=0)
            await process.told()
            for one in (done[0], done[2]):
                assert not isinstance(one, BaseException)
                one.settle(cost=USD)
            await process.told()
            assert ground.spent() == 2 * USD
            assert records(server) == 0

    run(server, test)


@pytest.mark.parametrize("slots", [3, 2])
def test_what_was_let_in_without_an_answer_is_given_back(server: RedisServer, slots: int):
    """Redis decided when nobody waited any more: these requests were decided here, and take part there as such."""

    async def test(ground: Ground) -> None:
        async with ground.processes(1) as [process]:
            scopes = [scope(parallel=slots, budget=30 * USD)]
            await load_scopes(process, scopes)
            server.freeze()
            asking = [asyncio.ensure_future(process.reserve(scopes)) for _ in range(3)]
            await process.away.wait()
            server.thaw()
            done = await asyncio.gather(*asking, return_exceptions=True)
            reservation = [one for one in done if not isinstance(one, BaseException)]
            assert len(reservation) == slots
            await process.back.wait()
            await process.told()
            assert records(server) == slots
            await process.refused(scopes)
            for one in reservation:
                one.settle(cost=USD)
            await process.told()
            assert records(server) == 0
            assert ground.spent() == slots * USD
            assert len(await together(process, scopes, [ONE] * slots)) == slots

    run(server, test)


def test_two_that_load_a_past_at_once_leave_nothing_behind_that_is_not_limited(server: RedisServer):
    """Else a limit that is set later would go on from it, whatever has happened meanwhile."""

    async def test(ground: Ground) -> None:
        async with ground.processes(1) as [process]:
            scopes = [scope(budget=9 * USD)]
            await asyncio.gather(process.reserve(scopes), process.reserve(scopes))
            assert len(process.loads) == 2
            ground.ledger["key", "1"] = Baseline(requests_total=2)
            assert (await process.refused(scope(max_requests=2))).limit_kind == "max_requests"

    run(server, test)


def test_a_crowd_is_several_records(server: RedisServer):
    """One that all others have ended in is still read whole each time."""

    async def test(ground: Ground) -> None:
        async with ground.processes(1) as [process]:
            scopes = [scope(parallel=1_000)]
            reservation = await together(process, scopes, [ONE] * (2 * LARGEST_GROUP + 1))
            assert records(server) == 3
            for one in reservation:
                one.settle()
            await process.told()
            assert records(server) == 0

    run(server, test)
