"""F87, P32 over processes: who asks the same shares one call, whichever worker or server answers."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import httpx
import pytest
import redis

from tests.cache.test_joining import BROKEN
from tests.kit.caching import key_of_project, question, serial
from tests.kit.fleet import Fleet, fleet_of
from tests.kit.joining import BEFORE_THE_HEAD, all_ask, answers_of, caches, leader_of, under_way
from tests.kit.ledger import row_of
from tests.kit.management import set_prices
from tests.kit.requests import CHAT, STREAM, WITH_USAGE, ask
from tests.kit.services import Services
from tests.kit.sluice import Sluice, StartSluice
from tests.kit.upstream import (
    Chunk,
    EndChunks,
    Reset,
    Script,
    Upstream,
    WaitFor,
    chat_answer,
    chat_frames,
    chat_stream,
    error_answer,
    stream_head,
    usage_of,
)
from tests.kit.vitals import is_idle
from tests.kit.waiting import soon
from tests.kit.wire import connect, request_bytes


@pytest.fixture(scope="module")
def fleet(services: Services, _upstream: Upstream) -> Iterator[Fleet]:
    """Two servers of one worker each, so that it is known which process answers."""
    with fleet_of(_upstream, instances=2, workers=1) as fleet:
        set_prices(fleet.first, {"gpt-4.1-mini": {"input": "1", "output": "2"}})
        yield fleet


@pytest.fixture(scope="module")
def key(fleet: Fleet) -> str:
    return key_of_project(fleet.first)


class Asked(NamedTuple):
    leader: Any
    others: list[Any]

    @property
    def all(self) -> list[Any]:
        return [self.leader, *self.others]


def both_ask(
    fleet: Fleet, upstream: Upstream, threads: ThreadPoolExecutor, key: str, others: int = 3, **asked: Any
) -> Asked:
    """The first server makes the call; then so many requests of the second wait for it."""
    [leader] = all_ask(fleet.first, upstream, threads, key, 1, **asked)
    before = under_way(fleet.last), said(fleet)
    asking = [threads.submit(ask, fleet.last, key, **asked) for _ in range(others)]
    soon(lambda: under_way(fleet.last) == before[0] + others and said(fleet) > before[1])
    return Asked(leader, asking)


def said(fleet: Fleet) -> int:
    """How many messages processes have sent each other."""
    with redis.Redis.from_url(fleet.first.redis_url) as client:
        return int(client.info("commandstats").get("cmdstat_publish", {}).get("calls", 0))


def one_call(answers: list[httpx.Response], count: int) -> None:
    """One request made the call. A process may hear of the answer only when it has been stored."""
    found = caches(answers)
    assert (found["MISS"], found["JOINED"] + found["HIT"]) == (1, count - 1), found


# --- one call ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", [{}, STREAM, WITH_USAGE], ids=["plain", "stream", "with-usage"])
def test_a_hundred_at_once_make_one_call_over_four_workers(
    start_sluice: StartSluice,
    upstream: Upstream,
    go: threading.Event,
    threads: ThreadPoolExecutor,
    body: dict[str, Any],
):
    sluice = start_sluice("postgres", redis=True, workers=4, LIMIT_PATIENCE_SECS=5)
    key = key_of_project(sluice)
    usage = usage_of(11, 5)
    upstream.script = [WaitFor(go), *(chat_stream(usage=usage) if body else chat_answer(usage=usage))]
    asked = {**body, **question()}
    asking = all_ask(sluice, upstream, threads, key, 100, **asked)
    go.set()
    answers = answers_of(asking)
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 1
    assert (b'"usage"' in answers[0].content) is (body is not STREAM)
    assert len(upstream.requests) == 1
    one_call(answers, 100)
    assert {ask(sluice, key, **asked).headers["x-cache"] for _ in range(8)} == {"HIT"}
    assert len(upstream.requests) == 1


@pytest.mark.parametrize("body", [{}, STREAM, WITH_USAGE], ids=["plain", "stream", "with-usage"])
def test_two_servers_share_a_call(
    fleet: Fleet, upstream: Upstream, key: str, go: threading.Event, threads: ThreadPoolExecutor, body: dict[str, Any]
):
    usage = usage_of(11, 5)
    upstream.script = [WaitFor(go), *(chat_stream(usage=usage) if body else chat_answer(usage=usage))]
    asked = both_ask(fleet, upstream, threads, key, **{**body, **question()})
    go.set()
    answers = answers_of(asked.all)
    assert len({answer.content for answer in answers}) == 1
    one_call(answers, 4)
    assert answers[0].headers["content-type"] == answers[1].headers["content-type"]
    assert len(upstream.requests) == 1
    rows = [row_of(fleet.first, answer.headers["x-request-id"]) for answer in answers]
    assert [int(row["cost_picousd"]) for row in rows] == [21 * 10**6, 0, 0, 0]
    assert {row["outcome"] for row in rows} == {"complete"}
    assert len({row["provider"] for row in rows}) == 1


def test_who_joins_late_at_another_server_gets_a_stream_from_its_first_frame(
    fleet: Fleet, upstream: Upstream, key: str, go: threading.Event
):
    first_frame, *frames = chat_frames(usage=usage_of(3, 4))
    upstream.script = [stream_head(), Chunk(first_frame), WaitFor(go), *map(Chunk, frames), EndChunks()]
    asked = {**CHAT, **STREAM, **question()}
    with fleet.first.client(key).stream("POST", "/v1/chat/completions", json=asked) as leader:
        pieces = leader.iter_bytes()
        begun = next(pieces)
        with fleet.last.client(key).stream("POST", "/v1/chat/completions", json=asked) as follower:
            theirs = follower.iter_bytes()
            assert next(theirs) == begun  # before the provider goes on
            assert follower.headers["x-cache"] == "JOINED"
            go.set()
            assert b"".join(theirs) == b"".join(pieces)
    assert len(upstream.requests) == 1


def test_a_long_stream_waits_for_who_reads_it_at_another_server(
    fleet: Fleet, upstream: Upstream, key: str, threads: ThreadPoolExecutor
):
    """More than what is sent ahead; a client there that does not read holds nobody up."""
    frame = b"data: %s\n\n" % json.dumps({"choices": [{"index": 0, "delta": {"content": "x" * 200}}]}).encode()
    middle = threading.Event()
    frames = chat_frames(usage=usage_of(3, 4))
    many = [Chunk(frame * 100) for _ in range(38)]
    upstream.script = [stream_head(), Chunk(frames[0]), WaitFor(middle), *many, *map(Chunk, frames[1:]), EndChunks()]
    asked = {**STREAM, **question()}
    [leader] = all_ask(fleet.first, upstream, threads, key, 1, **asked)
    with connect(fleet.last, receive_buffer=4096) as stuck:
        stuck.sendall(request_bytes(fleet.last, {**CHAT, **asked}, authorization=f"Bearer {key}"))
        assert stuck.recv(100).startswith(b"HTTP/1.1 200")
        other = threads.submit(ask, fleet.last, key, **asked)
        soon(lambda: under_way(fleet.last) == 2)
        middle.set()
        answers = [leader.result(60), other.result(60)]
    assert caches(answers) == {"MISS": 1, "JOINED": 1}
    assert answers[0].content == answers[1].content
    assert len(answers[0].content) > 800_000
    soon(lambda: is_idle(fleet.last))


def test_nobody_joins_a_call_of_another_project_at_another_server(
    fleet: Fleet, upstream: Upstream, key: str, go: threading.Event, threads: ThreadPoolExecutor
):
    upstream.answers([WaitFor(go), *chat_answer("theirs")])
    asked = question()
    asking = all_ask(fleet.first, upstream, threads, key, 1, **asked)
    upstream.answers(chat_answer("ours"))
    answer = ask(fleet.last, key_of_project(fleet.last), **asked)
    assert (answer.headers["x-cache"], b"ours" in answer.content) == ("MISS", True)
    go.set()
    answers_of(asking)


# --- failures ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", BROKEN)
def test_a_call_that_fails_is_followed_by_one_more(
    fleet: Fleet, upstream: Upstream, key: str, go: threading.Event, threads: ThreadPoolExecutor, how: str
):
    upstream.answers([WaitFor(go), *BROKEN[how]])
    asked = both_ask(fleet, upstream, threads, key, 5, **question())
    upstream.answers(chat_answer())
    go.set()
    first, *others = answers_of(asked.all)
    assert first.status_code >= 400
    assert {answer.status_code for answer in others} == {200}
    one_call(others, 5)
    assert len(upstream.requests) == 2


def test_after_two_that_failed_all_get_the_error(
    fleet: Fleet, upstream: Upstream, key: str, go: threading.Event, threads: ThreadPoolExecutor
):
    upstream.script = [WaitFor(go), *BROKEN["closed"]]
    asked = both_ask(fleet, upstream, threads, key, 5, **question())
    go.set()
    answers = answers_of(asked.all)
    assert {answer.status_code for answer in answers} == {502}
    assert len({answer.json()["error"]["code"] for answer in answers}) == 1
    assert len(upstream.requests) == 2
    assert is_idle(fleet.first)
    assert is_idle(fleet.last)


def test_an_error_of_the_question_itself_reaches_all(
    fleet: Fleet, upstream: Upstream, key: str, go: threading.Event, threads: ThreadPoolExecutor
):
    """Another process cannot hide the credential that an error may repeat, so it asks itself, once."""
    upstream.script = [WaitFor(go), *error_answer(400, "bad", code="no")]
    asked = both_ask(fleet, upstream, threads, key, 5, **question())
    go.set()
    answers = answers_of(asked.all)
    assert {answer.status_code for answer in answers} == {400}
    assert len(upstream.requests) == 2


def test_an_answer_that_breaks_off_is_whole_for_nobody(
    fleet: Fleet, upstream: Upstream, key: str, go: threading.Event, threads: ThreadPoolExecutor
):
    script: Script = [stream_head(), *map(Chunk, chat_frames()[:2]), WaitFor(go), Reset()]
    upstream.script = script
    asked = {**STREAM, **question()}
    asking = both_ask(fleet, upstream, threads, key, **asked)
    go.set()
    for answer in answers_of(asking.all):
        assert b"upstream_disconnected" in answer.content
        assert b"[DONE]" not in answer.content
    assert len(upstream.requests) == 1
    upstream.script = chat_stream()
    assert ask(fleet.last, key, **asked).headers["x-cache"] == "MISS"


# --- processes that end --------------------------------------------------------------------------------------


class Doomed(NamedTuple):
    """Two servers of one installation, of which the first makes the call and is then ended."""

    first: Sluice
    last: Sluice
    key: str


@pytest.fixture
def doomed(start_sluice: StartSluice) -> Doomed:
    first = start_sluice("postgres", redis=True, workers=1, LIMIT_PATIENCE_SECS=5)
    last = start_sluice(first.database_url, redis=first.redis_url, workers=1, LIMIT_PATIENCE_SECS=5)
    return Doomed(first, last, key_of_project(first))


def gone(asking: Any) -> None:
    """The client of a server that was killed sees its connection break."""
    with pytest.raises(httpx.TransportError):
        asking.result(60)


@pytest.mark.parametrize("body", [{}, STREAM], ids=["plain", "stream"])
def test_a_killed_process_is_followed_by_one_that_waits(
    doomed: Doomed, upstream: Upstream, go: threading.Event, threads: ThreadPoolExecutor, body: dict[str, Any]
):
    fleet = Fleet([doomed.first, doomed.last], upstream)
    upstream.answers([WaitFor(go), *chat_answer()])
    asked = both_ask(fleet, upstream, threads, doomed.key, 5, **{**body, **question()})
    upstream.answers(chat_stream() if body else chat_answer())
    doomed.first.kill()
    answers = answers_of(asked.others)
    assert {answer.status_code for answer in answers} == {200}
    one_call(answers, 5)
    assert len(upstream.requests) == 2
    go.set()
    gone(asked.leader)


def test_a_process_that_hangs_is_followed_by_one_that_waits(
    doomed: Doomed, upstream: Upstream, go: threading.Event, threads: ThreadPoolExecutor
):
    fleet = Fleet([doomed.first, doomed.last], upstream)
    upstream.answers([WaitFor(go), *chat_answer()])
    asked = both_ask(fleet, upstream, threads, doomed.key, 5, **question())
    upstream.answers(chat_answer())
    pids = doomed.first.worker_pids()
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        answers = answers_of(asked.others)
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
    assert {answer.status_code for answer in answers} == {200}
    one_call(answers, 5)
    assert len(upstream.requests) == 2
    go.set()
    asked.leader.result(60)


def test_a_stream_of_a_killed_process_breaks_off(
    doomed: Doomed, upstream: Upstream, go: threading.Event, threads: ThreadPoolExecutor
):
    upstream.script = [stream_head(), Chunk(chat_frames()[0]), WaitFor(go)]
    asked = {**CHAT, **STREAM, **question()}
    leader = threads.submit(ask, doomed.first, doomed.key, **asked)
    upstream.wait_for(1)
    with doomed.last.client(doomed.key).stream("POST", "/v1/chat/completions", json=asked) as follower:
        pieces = follower.iter_bytes()
        text = next(pieces)
        doomed.first.kill()
        text += b"".join(pieces)
    assert b"upstream_disconnected" in text
    assert b"[DONE]" not in text
    go.set()
    gone(leader)
    assert is_idle(doomed.last)


def test_without_redis_each_process_asks_itself(
    doomed: Doomed, upstream: Upstream, go: threading.Event, threads: ThreadPoolExecutor
):
    """Those that wait for another process's answer do not wait for ever when Redis goes."""
    fleet = Fleet([doomed.first, doomed.last], upstream)
    upstream.answers([WaitFor(go), *chat_answer()])
    asked = both_ask(fleet, upstream, threads, doomed.key, 5, **question())
    upstream.answers(chat_answer())
    assert doomed.first.redis is not None
    doomed.first.redis.stop()
    answers = answers_of(asked.others)
    assert {answer.status_code for answer in answers} == {200}
    one_call(answers, 5)
    go.set()
    assert asked.leader.result(60).status_code == 200
    assert len(upstream.requests) == 2
    doomed.first.redis.start()


# --- clients that leave --------------------------------------------------------------------------------------


@pytest.mark.parametrize("when", BEFORE_THE_HEAD)
def test_the_client_that_asked_first_leaves_and_those_of_another_server_get_all(
    fleet: Fleet, upstream: Upstream, key: str, go: threading.Event, threads: ThreadPoolExecutor, when: str
):
    body, script = BEFORE_THE_HEAD[when]
    upstream.script = script(go)
    asked = {**body, **question()}
    call = f"leader-{next(serial)}"
    with leader_of(fleet.first, key, asked, call):
        (received,) = upstream.wait_for(1)
        before = said(fleet)
        asking = [threads.submit(ask, fleet.last, key, **asked) for _ in range(3)]
        soon(lambda: under_way(fleet.last) == 3 and said(fleet) > before)
    assert not received.closed_by_peer.wait(0.5)
    go.set()
    answers = answers_of(asking)
    assert set(caches(answers)) <= {"JOINED", "HIT"}
    assert len({answer.content for answer in answers}) == 1
    assert len(upstream.requests) == 1
    assert is_idle(fleet.first)
    row = row_of(fleet.first, call)
    assert (row["outcome"], row["error"]) == ("client_closed", "client_closed")
    assert int(row["cost_picousd"]) == 2000 * 10**6  # who made the call pays for all of it
    assert ask(fleet.last, key, **asked).headers["x-cache"] == "HIT"


def test_the_provider_is_let_go_when_all_have_left(fleet: Fleet, upstream: Upstream, key: str):
    never = threading.Event()
    upstream.script = [stream_head(), Chunk(chat_frames()[0]), WaitFor(never)]
    asked = {**STREAM, **question()}
    with leader_of(fleet.last, key, asked) as follower:
        follower.close()
    soon(lambda: is_idle(fleet.last))
    upstream.reset()
    upstream.script = [stream_head(), Chunk(chat_frames()[0]), WaitFor(never)]
    asked = {**STREAM, **question()}
    with leader_of(fleet.first, key, asked) as leader:
        (received,) = upstream.wait_for(1)
        with leader_of(fleet.last, key, asked) as follower:
            assert follower.recv(100).startswith(b"HTTP/1.1 200")
            leader.close()
            assert not received.closed_by_peer.wait(0.5)
    assert received.closed_by_peer.wait(5)
    assert is_idle(fleet.first)
    assert is_idle(fleet.last)
    assert len(upstream.requests) == 1
