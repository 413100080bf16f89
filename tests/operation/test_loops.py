"""X12: no loop in the background ends silently. Each is made to fail; that is counted and told, and it goes on."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from keys.limits import Ask, Baseline, Need
from keys.records import load_keys
from proxy.admission.baselines import Baselines
from proxy.configuration import snapshot
from proxy.configuration.changes_feed import read_changes
from proxy.errors import Unavailable
from proxy.health import report as condition
from proxy.server import deadlines, timeouts
from proxy.wire import coalesced
from tests.kit.limit_processes import Ground, run
from tests.kit.management import minted
from tests.kit.requests import ask
from tests.kit.scopes import scope
from tests.kit.services import RedisServer, processes
from tests.kit.sluice import StartSluice
from tests.kit.waiting import soon
from usage import ledger_process as process
from usage.dispatch import beside
from usage.journal import shipping, spool, stream_source, writer
from usage.journal.consumer import State as JournalState
from usage.loops import LOOPS, Loops, end_tasks, read_states
from usage.periodic import run as periodic_run
from usage.periodic import scheduler, table
from usage.periodic.state import moment
from usage.telemetry.reporter import Reporter


class Boom(Exception):
    """A fault that nobody foresaw."""


class Failing:
    """Raises the first few times that it is called; then it does what it stands for. `went_on` is set then."""

    def __init__(self, real: Callable[..., Any] | None = None, times: int = 1) -> None:
        self.real, self.left, self.went_on = real, times, threading.Event()
        self.downs: list[bool] = []

    def __call__(self, *args: Any, **options: Any) -> Any:
        if self.left:
            self.left -= 1
            raise Boom
        self.went_on.set()
        return self.real(*args, **options) if self.real is not None else None


class Entry:
    """Something with these attributes that a set takes."""

    def __init__(self, **attributes: Any) -> None:
        self.__dict__.update(attributes)


def failures(name: str) -> int:
    return LOOPS.named(name).state.failures


async def until(question: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not question():  # noqa: ASYNC110 (what is asked of has no events)
            await asyncio.sleep(0.01)


def in_a_loop(test: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        await asyncio.wait_for(test(), 60)

    asyncio.run(bounded())


# --- the loop itself ---------------------------------------------------------------------------------------


def test_a_task_that_fails_is_down_until_a_step_ends_well():
    async def test() -> None:
        loop = Loops().named("a", needed=True)
        steps = iter([Boom(), asyncio.CancelledError(), None])
        seen: list[bool] = []
        ended = asyncio.Event()

        async def step() -> None:
            seen.append(bool(loop.state.failed_at))
            what = next(steps, ended)
            if isinstance(what, BaseException):
                raise what
            if what is ended:
                ended.set()
                await asyncio.Event().wait()

        task = asyncio.create_task(loop.run(step))
        await ended.wait()
        assert seen == [False, True, True, False]
        assert (loop.state.failures, loop.state.error) == (2, "CancelledError")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    in_a_loop(test)


def test_a_step_that_loses_its_cancellation_is_the_last_one():
    async def test() -> None:
        loop = Loops().named("a")
        steps: list[None] = []

        async def step() -> None:
            steps.append(None)
            with contextlib.suppress(asyncio.CancelledError):  # as wait_for does in Python 3.11 at a bad moment
                await asyncio.sleep(60)

        task = asyncio.create_task(loop.run(step))
        await until(lambda: steps)
        task.cancel()
        await asyncio.wait({task}, timeout=20)
        assert task.done()
        assert len(steps) == 1

    in_a_loop(test)


def test_tasks_that_lose_a_cancellation_end_by_another(caplog: pytest.LogCaptureFixture):
    async def test() -> None:
        async def stubborn() -> None:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(60)
            await asyncio.sleep(60)

        async def failing() -> None:
            try:
                await asyncio.sleep(60)
            finally:
                raise Boom

        tasks = [asyncio.create_task(kind()) for kind in (stubborn, failing)]
        await asyncio.sleep(0)
        await end_tasks(tasks)
        assert [task.cancelled() for task in tasks] == [True, False]
        await end_tasks(())

    in_a_loop(test)
    assert "A task failed as it ended." in caplog.text


def test_one_that_waits_for_work_after_a_failure_counts_as_up_after_a_while():
    state = Loops().named("a").state
    state.failed_at, state.began_at = 100.0, 0.0
    assert not state.is_up(200.0)
    state.began_at = 150.0
    assert not state.is_up(150.5)
    assert state.is_up(151.0)


def test_what_the_process_tells_another_can_read(tmp_path: Path):
    loops = Loops()
    loops.tell_in(tmp_path / "loops.json")
    loops.named("a").failed(Boom())
    told = read_states(tmp_path)["a"]
    assert (told.failures, told.error, told.is_up(2e9)) == (1, "Boom", False)
    loops.named("a").is_well()
    assert read_states(tmp_path)["a"].is_up(2e9)


# --- timers: one bad entry stops neither the others nor the timer ------------------------------------------


def test_a_connection_that_cannot_be_told_that_it_is_late_stops_no_other(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(timeouts, "LOOK_EVERY_S", 0.01)

    async def test() -> None:
        before = failures("connection-deadlines")
        told: list[int] = []
        keeping = timeouts.ConnectionTimeouts(asyncio.get_running_loop())
        entries: Any = {
            Entry(deadline=0.0, be_late=Failing(times=99)),
            Entry(deadline=0.0, be_late=lambda: told.append(1)),
        }
        keeping.connections |= entries
        await until(lambda: len(told) > 3)
        assert failures("connection-deadlines") == before + 1

    in_a_loop(test)


def test_a_request_that_cannot_be_looked_at_stops_no_other(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(deadlines, "LOOK_EVERY_S", 0.01)

    async def test() -> None:
        before = failures("request-deadlines")
        looked: list[float] = []
        watching = deadlines.RequestDeadlines()
        entries: Any = {Entry(look=Failing(times=99)), Entry(look=looked.append)}
        watching.watched |= entries
        await until(lambda: len(looked) > 3)
        watching.stop()
        assert failures("request-deadlines") == before + 1

    in_a_loop(test)


def test_a_write_that_fails_keeps_no_other_back():
    async def test() -> None:
        before = failures("writes")
        written: list[bytes] = []
        writes = coalesced.CoalescedWrites(asyncio.get_running_loop())
        writes.before = Failing()
        bad = SimpleNamespace(is_closing=Failing(times=10**9))
        good = SimpleNamespace(is_closing=lambda: False, write=written.append)
        for data in (b"1", b"2"):
            writes.write(bad, b"x")  # type: ignore[arg-type]
            writes.write(good, data)  # type: ignore[arg-type]
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        assert written == [b"1", b"2"]
        assert failures("writes") == before + 3

    in_a_loop(test)


def test_a_full_journal_looks_for_room_again_whatever_happened(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(spool, "LOOK_AGAIN_S", 0.01)

    async def test() -> None:
        before = failures("journal")
        journal = spool.Spool(tmp_path, segment_bytes=1024, most_bytes=1024**2, dropped=lambda _: None)
        journal._full = True
        monkeypatch.setattr(spool, "size_of", Failing(lambda _: 0, times=2))
        journal._try_again()
        await until(lambda: not journal.is_full)
        journal.close()
        assert failures("journal") == before + 2

    in_a_loop(test)


# --- tasks -------------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_changes_are_heard_again_and_nobody_is_sent_here_meanwhile(monkeypatch: pytest.MonkeyPatch):
    async def test() -> None:
        known = snapshot.Snapshot()
        await known.start()
        before, reading = failures("changes"), Failing(read_changes, times=3)
        monkeypatch.setattr(snapshot, "read_changes", reading)
        await until(lambda: not condition.is_ready())
        await until(lambda: reading.went_on.is_set() and condition.is_ready())
        assert failures("changes") == before + 3
        await known.stop()

    in_a_loop(test)


@pytest.mark.django_db(transaction=True)
def test_who_waits_for_a_key_is_told_and_the_next_one_is_served(monkeypatch: pytest.MonkeyPatch):
    async def test() -> None:
        known = snapshot.Snapshot()
        await known.start()
        before = failures("key-lookups")
        monkeypatch.setattr(snapshot, "load_keys", Failing(load_keys))
        with pytest.raises(Unavailable):
            await known.find_key("abc")
        assert await known.find_key("abc") is None
        assert failures("key-lookups") == before + 1
        await known.stop()

    in_a_loop(test)


def test_baselines_are_followed_on_and_a_scope_that_fails_stops_no_other():
    async def test() -> None:
        before = failures("usage-baselines")
        raised: list[str] = []
        loaded: list[str] = []
        needs = [Need("key", number, "day", "UTC", 0, 0) for number in ("1", "2")]

        def raise_to(need: Need, _: Baseline) -> bool:
            if need.id == "1":
                raise Boom
            raised.append(need.id)
            return True

        limits: Any = SimpleNamespace(load=lambda need, _: loaded.append(need.id), raise_to=raise_to)

        async def read(_: object) -> list[Baseline]:
            return reading()

        reading = Failing(lambda: [Baseline(), Baseline()])
        baselines = Baselines(limits, read, again_every_s=0.01)
        await baselines.load(needs)
        assert loaded == ["1", "2"], "nobody waits for ever"
        await until(lambda: len(raised) > 2)
        reading.left = 1
        count = len(raised)
        await until(lambda: len(raised) > count + 1)
        await baselines.stop()
        assert failures("usage-baselines") > before + 3

    in_a_loop(test)


def test_one_number_that_is_too_large_fails_alone_and_redis_goes_on_deciding(redis_server: RedisServer):
    async def test(ground: Ground) -> None:
        told: list[str] = []
        async with ground.processes(on_failure=lambda name, _: told.append(name)) as [process]:
            key = scope(tpm=100)
            asked = (process.reserve(key, Ask(tokens=10**30)), *(process.reserve(key, Ask(tokens=1)) for _ in range(3)))
            bad, *good = await asyncio.gather(*asked, return_exceptions=True)
            assert isinstance(bad, OverflowError)
            assert not any(isinstance(held, BaseException) for held in good)
            assert not isinstance(good[0], BaseException)
            good[0].settle(10**30, 10**40)
            await process.told()
            await process.refused(key, Ask(tokens=1))  # all that can be counted was taken
            assert process.limits.up
            assert set(told) == {"limits-batches"}

    run(redis_server, test)


def test_a_reply_that_cannot_be_read_fails_its_batch_alone(redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch):
    async def test(ground: Ground) -> None:
        told: list[str] = []
        async with ground.processes(on_failure=lambda name, _: told.append(name)) as [process]:
            key = scope(rpm=100)
            await process.reserve(key)
            shared = process.limits._shared
            monkeypatch.setattr(shared, "_apply_answer", Failing(shared._apply_answer))
            with pytest.raises(Boom):
                await process.reserve(key)
            await process.reserve(key)
            assert told == ["limits-batches"]

    run(redis_server, test)


def test_redis_is_looked_for_again_whatever_happened(redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch):
    async def test(ground: Ground) -> None:
        told: list[str] = []
        async with ground.processes(on_failure=lambda name, _: told.append(name)) as [process]:
            monkeypatch.setattr(process.limits._shared, "_restores", Failing(process.limits._shared._restores))
            redis_server.stop()
            await process.reserve(scope(rpm=100))
            await process.away.wait()
            redis_server.start()
            await process.back.wait()
            assert told == ["limits-probe"]

    run(redis_server, test)


# --- threads -----------------------------------------------------------------------------------------------


def goes_on(name: str, failing: Failing) -> None:
    assert failing.went_on.wait(20)
    assert failures(name) >= 1
    assert processes.poll(lambda: LOOPS.named(name).state.is_up(2e9), timeout=20)


def test_the_reporter_goes_on_and_what_fails_keeps_nothing_from_the_others():
    counting, lines = Failing(times=3), Failing(times=0)
    reporter = Reporter(SimpleNamespace(hand_over=counting), SimpleNamespace(write=lines), None)  # type: ignore[arg-type]
    assert lines.went_on.wait(20)
    goes_on("reporter", counting)
    reporter.stop()


def test_another_writer_of_the_ledger_begins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    stopping = threading.Event()
    running = Failing(lambda told: told.wait(), times=2)
    monkeypatch.setattr(writer, "ledger_writer", lambda _: SimpleNamespace(run=running))
    thread = threading.Thread(target=writer.write_ledger, args=(tmp_path, stopping))
    thread.start()
    goes_on("ledger", running)
    stopping.set()
    thread.join(20)
    assert not thread.is_alive()


def test_the_journal_is_shipped_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    one = shipping.Shipping(tmp_path, "redis://127.0.0.1:1/0", JournalState(), threading.RLock(), lambda *_: None)
    step = Failing()
    monkeypatch.setattr(one, "step", step)
    one.start()
    goes_on("journal-shipping", step)
    one.stop()
    one.stop()


def test_a_member_goes_on_saying_that_it_lives():
    keep = Failing(times=2)
    stream: Any = SimpleNamespace(register=lambda *_: None, keep=keep, give_back=lambda *_: None)
    source = stream_source.StreamSource(stream, "group", since="0", claim_s=0.03)
    goes_on("journal-membership", keep)
    source.close()


def test_the_schedule_is_looked_at_again(monkeypatch: pytest.MonkeyPatch):
    looking = Failing(lambda _: 60.0)
    monkeypatch.setattr(scheduler.Scheduler, "_look", lambda _, table: looking(table))
    with scheduler.Scheduler():
        goes_on("scheduler", looking)


def test_tasks_are_imported_before_any_thread_runs_one(monkeypatch: pytest.MonkeyPatch):
    """X74: two threads that import Celery at once may find it half made."""
    order: list[str] = []
    real = table.Periodic.body

    def body(periodic: table.Periodic) -> Callable[[], Any]:
        order.append(periodic.name)
        return real(periodic)

    monkeypatch.setattr(table.Periodic, "body", body)
    monkeypatch.setattr(scheduler.Scheduler, "_run", lambda _: order.append("thread"))
    with scheduler.Scheduler():
        pass
    assert order == [*(periodic.name for periodic in table.schedule()), "thread"]


@pytest.mark.django_db(transaction=True)
def test_a_lease_is_renewed_again(monkeypatch: pytest.MonkeyPatch, settings: Any):
    settings.TASK_LEASE_SECS = 0.06
    moments = Failing(moment)
    monkeypatch.setattr(periodic_run, "moment", moments)
    with periodic_run.Lease(SimpleNamespace(name="a", pk="a", runner="b")):  # type: ignore[arg-type]
        goes_on("task-leases", moments)


def test_a_dispatcher_begins_anew(monkeypatch: pytest.MonkeyPatch, settings: Any):
    settings.DISPATCHERS, settings.DISPATCH_WITH_SERVER = [SimpleNamespace(name="hook")], True
    work = Failing(lambda _, stopping: stopping.wait())
    monkeypatch.setattr(beside, "dispatch", work)
    with beside.Dispatchers():
        goes_on("dispatch-hook", work)


def test_another_ledger_process_is_tried_again_where_none_could_be_started(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    kept = process.LedgerProcess(tmp_path)
    keep = Failing(kept._ended.wait)
    monkeypatch.setattr(kept, "_keep_one", keep)
    thread = threading.Thread(target=kept._supervise)
    thread.start()
    goes_on("ledger-watch", keep)
    kept._ended.set()
    thread.join(20)


# --- as an operator and a client see it --------------------------------------------------------------------


def test_a_number_that_is_too_large_ends_nothing_and_the_loops_are_told(start_sluice: StartSluice):
    server = start_sluice(redis=True)
    _, key = minted(server, tpm=1_000)
    ask(server, key, max_tokens=10**30)
    assert [ask(server, key, max_tokens=1).status_code for _ in range(3)] == [200] * 3
    soon(lambda: server.metrics().total("llm_proxy_limiter_shared") == 1)
    names = ("changes", "key-lookups", "change-channel", "usage-baselines", "reporter")
    of_the_ledger = ("ledger", "scheduler", "journal-shipping")
    # Redis may have been slow to answer at the start.
    soon(lambda: all(server.metrics().total("llm_proxy_loop_up", loop=name) == 1 for name in names + of_the_ledger))

    def health() -> dict[str, Any]:
        return dict(server.api("GET", "/health/detailed").json()["components"]["loops"])

    soon(lambda: health()["loops"].keys() >= {*names, *of_the_ledger})
    soon(lambda: health()["status"] == "ok")
