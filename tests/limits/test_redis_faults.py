"""Redis freezes, dies, forgets, and comes back (P3, P14, P34): nobody is refused for it, nothing doubles or is lost."""

from __future__ import annotations

import asyncio

import pytest

from keys.limits import Ask, Baseline, LimitExceeded, Unknown
from keys.limits.base import DAY_US
from keys.limits.connection import connect
from keys.limits.redis import RedisLimits
from proxy.admission.baselines import Baselines
from tests.kit.limit_processes import ONE, Ground, Process, run
from tests.kit.scopes import USD, scope
from tests.kit.services.redis import RedisServer


def test_a_killed_process_gives_back_slots_tokens_and_money_when_its_lease_ends(server: RedisServer):
    async def test(ground: Ground) -> None:
        scopes = [scope(parallel=2), scope("team", tpm=20), scope("project", budget=2 * USD)]
        ask = Ask(tokens=10, cost=USD, bounded=True)
        async with ground.processes(2) as (killed, other):
            for _ in range(2):
                await killed.reserve(scopes, ask)
            killed.forsake()
            for one in scopes:
                await other.refused(one, ask)
            ground.clock.pass_by(14.999)
            await other.refused(scopes, ask)
            ground.clock.pass_by(0.001)
            for _ in range(2):
                await other.reserve(scopes, ask)

    run(server, test)


def test_a_process_that_only_slept_takes_again_what_still_runs(server: RedisServer):
    async def test(ground: Ground) -> None:
        async with ground.processes(2) as (sleeper, other):
            key = scope(parallel=1, budget=5 * USD)
            stream = await sleeper.reserve(key)
            ground.clock.pass_by(20)
            stolen = await other.reserve(key)
            await sleeper.refused(key)  # its first batch since: now Redis knows of the stream again
            stolen.settle(cost=0)
            await other.told()
            await sleeper.told()
            await other.refused(key)
            stream.settle(cost=USD)
            await sleeper.told()
            await other.reserve(key)
            assert ground.spent() == USD

    run(server, test)


def test_what_ends_after_its_lease_ended_is_still_charged(server: RedisServer):
    async def test(ground: Ground) -> None:
        async with ground.processes(2) as (sleeper, other):
            key = scope(budget=5 * USD, tpm=100)
            stream = await sleeper.reserve(key, Ask(tokens=50, cost=USD, bounded=True))
            ground.clock.pass_by(20)
            await other.reserve(key)
            stream.settle(90, 3 * USD)
            await sleeper.told()
            assert (await other.refused(key, Ask(tokens=20))).limit_kind == "tpm"
            assert ground.spent() == 3 * USD

    run(server, test)


def test_an_hour_long_stream_keeps_its_slot(server: RedisServer):
    async def test(ground: Ground) -> None:
        async with ground.processes(2, lease_s=0.4) as (streaming, other):
            key = scope(parallel=1)
            await streaming.reserve(key)
            for _ in range(20):
                ground.clock.pass_by(0.3)
                streaming.forsake()
                streaming.limits._shared._renew()  # what its timer does in time
                await streaming.told()
                await other.refused(key)

    run(server, test)


@pytest.mark.parametrize("fault", ["freeze", "kill"])
def test_redis_away_refuses_nobody_and_budgets_go_on_from_the_last_known_spend(server: RedisServer, fault: str):
    async def test(ground: Ground) -> None:
        async with ground.processes() as [process]:
            key = scope(rpm=4, budget=3 * USD, daily=9, max_requests=9)
            (await process.reserve(key)).settle(cost=USD)
            await process.told()
            await process.reserve(key)
            getattr(server, {"freeze": "freeze", "kill": "stop"}[fault])()
            third = await process.reserve(key)
            assert process.away.is_set()
            assert not process.limits.up
            assert (await process.refused(key)).limit_kind == "budget"
            third.settle(cost=0)
            await process.reserve(key, Ask(cost=USD, bounded=True))

    run(server, test)


def test_what_others_spent_is_asked_of_the_ledger_when_redis_went_away(server: RedisServer):
    async def test(ground: Ground) -> None:
        async with ground.processes(2) as (busy, idle):
            key = scope(budget=5 * USD)
            (await idle.reserve(key)).settle(cost=USD)
            await idle.told()
            (await busy.reserve(key)).settle(cost=3 * USD)
            await busy.told()
            ground.ledger["key", "1"] = Baseline(spent_picousd=4 * USD)
            server.freeze()
            reservation = await idle.reserve(key)
            assert not idle.limits.up
            assert reservation.statuses.budget is not None
            assert reservation.statuses.budget.spent == 4 * USD
            assert (await idle.refused(key)).limit_kind == "budget"

    run(server, test)


def test_a_ledger_that_says_nothing_either_is_not_waited_for(server: RedisServer):
    """What was known last stands in for it, and it is heard when it comes."""

    async def test(ground: Ground) -> None:
        answers = asyncio.Event()

        async def read(_: object) -> list[Baseline]:
            await answers.wait()
            return [Baseline(spent_picousd=4 * USD)]

        async def spent(process: Process) -> int:
            reservation = await process.limits.reserve((key,), Ask(cost=0), ground.clock())
            reservation.settle(cost=0)
            assert reservation.statuses.budget is not None
            return reservation.statuses.budget.spent

        key = scope(budget=5 * USD)
        async with ground.processes() as [process]:
            (await process.reserve(key)).settle(cost=USD)
            await process.told()
            server.stop()
            baselines = Baselines(process.limits, read, again_every_s=0.01)
            with pytest.raises(Unknown) as unknown:
                await process.limits.reserve((key,), ONE, ground.clock())
            await baselines.load(unknown.value.needs, unknown.value.timeout_s)
            assert await spent(process) == USD
            answers.set()
            for _ in range(500):
                if await spent(process) == 4 * USD:
                    break
                await asyncio.sleep(0.01)
            assert await spent(process) == 4 * USD
            await baselines.stop()

    run(server, test)


@pytest.mark.parametrize("heard", [True, False], ids=["Redis has heard of it", "on its way"])
def test_what_ended_just_before_redis_went_away_is_spent(server: RedisServer, heard: bool):
    async def test(ground: Ground) -> None:
        async with ground.processes() as [process]:
            key, ask = scope(budget=5 * USD, max_requests=7), Ask(cost=USD, bounded=True)
            for reservation in [await process.reserve(key, ask) for _ in range(3)]:
                reservation.settle(cost=USD, requests=2)
            if heard:
                await process.told()
            server.freeze()
            fourth = await process.reserve(key, ask)
            assert not process.limits.up
            fourth.settle(cost=USD // 2, requests=0)
            (await process.reserve(key, ask)).settle(cost=USD // 2)
            assert (await process.refused(key, Ask(cost=2 * USD, bounded=True, requests=0))).limit_kind == "budget"
            assert (await process.refused(key, Ask())).limit_kind == "max_requests"
            server.thaw()
            await process.back.wait()
            await process.told()
            assert ground.spent() == 4 * USD

    run(server, test)


def test_what_is_away_is_not_waited_for(server: RedisServer):
    async def test(ground: Ground) -> None:
        async with ground.processes() as [process]:
            key = scope(rpm=1000)
            await process.reserve(key)
            server.freeze()
            await asyncio.gather(*(process.reserve(key) for _ in range(50)))
            for _ in range(200):
                # A coroutine that ends without having waited for anything.
                with pytest.raises(StopIteration):
                    process.limits.reserve((key,), ONE, process.clock()).send(None)

    run(server, test)


def test_after_a_freeze_nothing_is_doubled_and_nothing_forgotten(server: RedisServer):
    async def test(ground: Ground) -> None:
        async with ground.processes(2) as (one, two):
            key = scope(budget=1000 * USD, parallel=9, daily=100)
            before = await one.reserve(key)
            await two.reserve(key, Ask(cost=0))
            server.freeze()
            in_vain = await one.reserve(key)  # Redis has its question in a buffer, and will answer it to nobody
            in_vain.settle(cost=2 * USD)
            before.settle(cost=3 * USD)
            local = [await one.reserve(key) for _ in range(3)]
            local[0].settle(cost=5 * USD)
            server.thaw()
            await one.back.wait()
            await one.told()
            assert ground.spent() == 10 * USD
            status = (await two.reserve(key, Ask(cost=0))).statuses.budget
            assert status is not None
            assert status.reserved == 2 * USD  # what one began alone and still runs
            for reservation in local:
                reservation.settle(cost=7 * USD)
            await one.told()
            assert ground.spent() == 24 * USD
            # before, of two, in vain, three alone, of two again: seven requests
            assert (await two.refused(key, Ask(requests=94))).used == 7
            await two.reserve(key, Ask(requests=93))

    run(server, test)


def test_slots_taken_alone_are_known_to_all_when_redis_is_back(server: RedisServer):
    async def test(ground: Ground) -> None:
        async with ground.processes(2) as (one, two):
            key = scope(parallel=2)
            server.freeze()
            reservation = [await one.reserve(key) for _ in range(2)]
            await one.refused(key)
            server.thaw()
            await one.back.wait()
            await one.told()
            if not two.limits.up:
                await two.back.wait()
            await two.refused(key)
            reservation[0].settle()
            await one.told()
            await two.reserve(key)

    run(server, test)


def test_slots_taken_in_redis_count_here_while_it_is_away(server: RedisServer):
    async def test(ground: Ground) -> None:
        async with ground.processes() as [process]:
            key = scope(parallel=2)
            reservation = await process.reserve(key)
            server.stop()
            await process.reserve(key)
            await process.refused(key)
            reservation.settle()
            await process.reserve(key)

    run(server, test)


def test_a_redis_that_lost_everything_begins_from_the_ledger_and_what_was_known(server: RedisServer):
    async def test(ground: Ground) -> None:
        async with ground.processes() as [process]:
            key = scope(budget=100 * USD, parallel=2)
            (await process.reserve(key)).settle(cost=10 * USD)
            await process.told()
            running = await process.reserve(key)
            server.stop()
            (await process.reserve(key)).settle(cost=20 * USD)
            # The ledger has not seen the last one yet.
            ground.ledger["key", "1"] = Baseline(spent_picousd=10 * USD)
            server.start()
            await process.back.wait()
            reservation = await process.reserve(key)
            assert reservation.statuses.budget is not None
            assert reservation.statuses.budget.spent == 30 * USD
            await process.refused(key)
            running.settle(cost=USD)
            reservation.settle(cost=USD)
            await process.told()
            assert ground.spent() == 32 * USD

    run(server, test)


def test_a_flush_that_nobody_saw_forgets_no_budget_and_no_slot(server: RedisServer):
    async def test(ground: Ground) -> None:
        async with ground.processes(2) as (one, two):
            key = scope(budget=10 * USD, parallel=3)
            (await one.reserve(key)).settle(cost=4 * USD)
            running = [await one.reserve(key), await two.reserve(key)]
            await one.told()
            ground.ledger["key", "1"] = Baseline(spent_picousd=4 * USD)
            client = server.client()
            client.flushall()
            client.close()
            third = await one.reserve(key)
            assert one.limits.up
            assert third.statuses.budget is not None
            assert (third.statuses.budget.spent, third.statuses.budget.reserved) == (4 * USD, 2 * USD)
            # Two tells of its own with its next batch, which is refused for the epoch and asked again.
            await two.told()
            assert (await two.refused(key)).limit_kind == "parallel"
            for reservation in (*running, third):
                reservation.settle(cost=USD)
            await one.told()
            await two.told()
            assert ground.spent() == 7 * USD

    run(server, test)


def test_what_ended_just_before_a_flush_was_seen_is_not_forgotten(server: RedisServer):
    async def test(ground: Ground) -> None:
        async with ground.processes() as [process]:
            key = scope(budget=10 * USD)
            (await process.reserve(key)).settle(cost=4 * USD)
            last = await process.reserve(key)
            client = server.client()
            client.flushall()
            client.close()
            last.settle(cost=3 * USD)  # goes out with the next question, to a Redis that never heard of it
            reservation = await process.reserve(key)  # and the ledger is late: it has nothing yet
            assert reservation.statuses.budget is not None
            assert reservation.statuses.budget.spent == 7 * USD

    run(server, test)


def test_scripts_that_were_flushed_are_sent_again(server: RedisServer):
    async def test(ground: Ground) -> None:
        async with ground.processes() as [process]:
            key = scope(rpm=3)
            await process.reserve(key)
            client = server.client()
            client.script_flush()
            client.close()
            for _ in range(2):
                await process.reserve(key)
            await process.refused(key)
            assert process.limits.up

    run(server, test)


def test_a_redis_that_is_not_there_at_the_start_is_taken_up_when_it_is(server: RedisServer):
    async def test(ground: Ground) -> None:
        server.stop()
        async with ground.processes() as [process]:
            key = scope(rpm=2)
            await process.reserve(key)
            assert not process.limits.up
            server.start()
            await process.back.wait()
            assert process.limits.up
            await process.reserve(key)

    run(server, test)


def test_a_redis_that_refuses_writes_is_as_good_as_away(server: RedisServer):
    async def test(ground: Ground) -> None:
        async with ground.processes() as [process]:
            key = scope(parallel=5)
            await process.reserve(key)
            client = server.client()
            client.config_set("maxmemory", "1")
            await process.reserve(key)
            assert not process.limits.up
            client.config_set("maxmemory", "0")
            client.close()
            await process.back.wait()
            await process.reserve(key)

    run(server, test)


@pytest.mark.parametrize("turns", range(8))
def test_a_caller_that_leaves_while_it_is_decided_holds_nothing(server: RedisServer, turns: int):
    async def test(ground: Ground) -> None:
        async with ground.processes() as [process]:
            key = scope(parallel=1, max_requests=2)
            (await process.reserve(key)).settle()
            await process.told()
            asking = asyncio.ensure_future(process.reserve(key))
            for _ in range(turns):
                await asyncio.sleep(0)
            if asking.done():
                asking.result().settle(requests=0)
            else:
                asking.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await asking
            await process.told()
            await process.reserve(key)
            await process.refused(key)

    run(server, test)


def test_many_at_once_share_round_trips_and_are_decided_exactly(server: RedisServer):
    async def test(ground: Ground) -> None:
        async with ground.processes(4) as processes:
            scopes = [scope(rpm=100), scope("project", budget=60 * USD, parallel=1000)]
            await processes[0].reserve(scopes, Ask(cost=0))
            client = server.client()
            client.config_resetstat()

            async def ask(process: Process) -> int:
                try:
                    await process.limits.reserve(tuple(scopes), ONE, process.clock())
                except LimitExceeded:
                    return 0
                return 1

            admitted = await asyncio.gather(*(ask(process) for process in processes for _ in range(100)))
            calls = client.info("commandstats")["cmdstat_evalsha"]["calls"]
            client.close()
            assert sum(admitted) == 60
            assert calls < 60

    run(server, test)


def test_the_clock_is_that_of_redis(server: RedisServer):
    async def test(ground: Ground) -> None:
        client = connect(server.url)
        limits = RedisLimits(client, timeout_s=5)
        await limits.start()
        reservation = await limits.reserve((scope(parallel=1),), ONE, 12345.0)
        with server.client() as asking:
            seconds, micros = asking.time()
        assert 0 <= seconds * 10**6 + micros - reservation.reserved_at < DAY_US
        reservation.settle()
        await limits.close()
        await client.aclose()

    run(server, test)


def test_what_the_ledger_has_of_one_that_is_not_back_yet_is_not_counted_twice(server: RedisServer):
    """One process is back and hears of the ledger, which has what another spent alone; then that one tells of it."""

    async def test(ground: Ground) -> None:
        async with ground.processes(2) as (one, two):
            key = scope(budget=1000 * USD, daily=100, max_requests=100)
            ran = await two.reserve(key)
            await one.reserve(key, Ask(cost=0, bounded=True))
            [need] = two.loads
            two.limits._probe_every_s = 0.6  # it is back after the other one
            server.freeze()
            (await one.reserve(key)).settle(cost=2 * USD)
            (await two.reserve(key)).settle(cost=3 * USD)
            ran.settle(cost=5 * USD)  # what was reserved in Redis is told to it when it is back
            server.thaw()
            await one.back.wait()
            assert not two.limits.up
            one.limits.raise_to(need, Baseline(10 * USD, 3, 3))
            await one.told()
            await two.back.wait()
            await two.told()
            assert ground.spent() == 10 * USD
            assert (await two.refused(key, Ask(requests=97))).used == 4
            ground.clock.pass_by(60)
            one.limits.raise_to(need, Baseline(11 * USD, 4, 4))
            await one.told()
            assert ground.spent() == 11 * USD

    run(server, test)
