"""F144, P42: how it starts, and how it ends."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
import uvicorn

from proxy.server.deadlines import RequestDeadline, RequestDeadlines
from proxy.server.ending import State
from proxy.server.protocol import HttpProtocol
from tests.kit.databases import migrate
from tests.kit.environment import ROOT, server_environment
from tests.kit.outages import postgres_outage
from tests.kit.requests import CHAT
from tests.kit.services import PostgresServer, Services, processes
from tests.kit.sluice import Sluice
from tests.kit.spread import spread
from tests.kit.upstream import Upstream, WaitFor, chat_answer, chat_stream
from tests.kit.waiting import soon
from tests.kit.wire import CHAT as CHAT_BYTES
from tests.kit.wire import Reply, connect, read_reply, request, sized


@pytest.mark.parametrize("workers", [1, 2])
def test_a_stop_lets_a_stream_end_and_takes_no_new_connection(start_sluice, upstream: Upstream, workers: int):
    server = start_sluice("postgres" if workers > 1 else "sqlite", redis=workers > 1, workers=workers)
    key = server.mint()
    go = threading.Event()
    script = list(chat_stream())
    upstream.answers([*script[:3], WaitFor(go), *script[3:]])
    client = server.client(key)
    with client.stream("POST", "/v1/chat/completions", json={**CHAT, "stream": True}) as answer:
        pieces = answer.iter_bytes()
        text = next(pieces)
        codes: list[int] = []
        stopping = threading.Thread(target=lambda: codes.append(server.stop()))
        stopping.start()
        soon(lambda: not processes.takes_connections(server.port))
        assert codes == []
        go.set()
        text += b"".join(pieces)
    assert text.endswith(b"data: [DONE]\n\n")
    stopping.join(40)
    assert codes == [0]
    rows = server.rows(expect=1)
    assert [(row["outcome"], row["stream"]) for row in rows] == [("complete", True)]


@pytest.mark.elapsed
def test_a_stop_does_not_wait_for_idle_connections_or_beyond_its_grace(start_sluice, upstream: Upstream):
    server = start_sluice(GRACE_SECS=1)
    key = server.mint()
    idle = server.client(key)
    assert idle.get("/v1/models").status_code == 200
    script = list(chat_stream())
    upstream.answers([*script[:3], WaitFor(threading.Event()), *script[3:]])
    with server.client(key).stream("POST", "/v1/chat/completions", json={**CHAT, "stream": True}) as answer:
        pieces = answer.iter_bytes()
        next(pieces)
        began = time.monotonic()
        stopping = threading.Thread(target=server.stop)
        stopping.start()
        rest = b"".join(pieces)
        assert time.monotonic() - began < 10
        stopping.join()
    # It was cut off, and told so, as a provider's failure is told; and its end is one.
    *_, event = [line[6:] for line in rest.splitlines() if line.startswith(b"data: ")]
    assert json.loads(event)["error"]["code"] == "shutdown"
    assert b"[DONE]" not in rest
    outcomes = {row["stream"]: (row["outcome"], row["error"]) for row in server.rows(expect=2)}
    assert outcomes == {False: ("complete", ""), True: ("internal_error", "shutdown")}


def test_a_worker_that_is_frozen_does_not_keep_the_others_from_ending(start_sluice, upstream: Upstream):
    server = start_sluice("postgres", redis=True, workers=2, GRACE_SECS=1)
    key = server.mint()
    script = list(chat_stream())
    upstream.answers([*script[:3], WaitFor(threading.Event()), *script[3:]])
    with server.client(key).stream("POST", "/v1/chat/completions", json={**CHAT, "stream": True}) as answer:
        pieces = answer.iter_bytes()  # kept, since the end of an iterator is that of its connection
        next(pieces)  # whoever relays this does not end before the grace is over
        [frozen] = [pid for pid, count in spread(server.port, server.worker_pids()).items() if count]
        codes: list[int] = []
        stopping = threading.Thread(target=lambda: codes.append(server.stop()))
        stopping.start()
        soon(lambda: not processes.takes_connections(server.port))
        os.kill(frozen, signal.SIGSTOP)
        stopping.join(120)
    assert codes == [0]
    assert f"Worker {frozen} did not end in time, and is killed." in server.log_text()


def test_a_connection_that_gets_here_as_a_stop_has_begun_is_told_of_it():
    """Else its client would send requests until the process ends, and their events would be lost."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})

    async def test() -> bytes:
        config = uvicorn.Config(app, http=HttpProtocol)
        config.load()
        state = State()
        state.is_stopping = True
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: HttpProtocol(config, state, {}), "127.0.0.1", 0)
        async with server, asyncio.timeout(20):
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            writer.write(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
            answer = await reader.read()
            writer.close()
        return answer

    answer = asyncio.run(test())
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"connection: close\r\n" in answer


def test_requests_that_the_server_forgot_end_before_their_journal():
    async def test() -> None:
        deadlines = RequestDeadlines()
        ended: list[str] = []

        async def last_words(name: str, wait_s: float) -> None:
            waiting: Any = SimpleNamespace(call=None, answer_ended=False, is_needed=False)
            deadline = RequestDeadline(waiting, deadlines.watched)
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                await asyncio.sleep(wait_s)  # the event loop has other work
                ended.append(name)
            finally:
                deadline.close()

        interrupted = asyncio.create_task(last_words("interrupted", 0.01))
        forgotten = asyncio.create_task(last_words("forgotten", 0.0))
        await asyncio.sleep(0)
        interrupted.cancel()
        await deadlines.end_requests()
        assert ended == ["interrupted", "forgotten"]
        assert forgotten.done()
        await deadlines.end_requests()
        deadlines.stop()

    asyncio.run(test())


HANGING = """
import signal
import threading
import uvicorn
from proxy.server import ending

ending.LAST_SECS = 1
signal.signal(signal.SIGTERM, lambda *_: None)  # uvicorn raises the signal again

async def app(scope, receive, send):
    await receive()
    await send({"type": "lifespan.startup.complete"})
    print("started", flush=True)
    await receive()
    %s

ending.EndingServer(uvicorn.Config(app, port=0, lifespan="on", timeout_graceful_shutdown=1)).run()
"""


@pytest.mark.elapsed
@pytest.mark.parametrize(
    "hanging",
    [
        "threading.Event().wait()",
        "threading.Thread(target=threading.Event().wait).start(); await send({'type': 'lifespan.shutdown.complete'})",
    ],
    ids=["the loop", "a thread"],
)
def test_a_process_in_which_something_hangs_ends_and_shows_where(hanging: str):
    command = [sys.executable, "-c", HANGING % hanging]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=server_environment(), text=True
    ) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == "started\n"
        server.terminate()
        _, shown = server.communicate(timeout=60)
    assert server.returncode == 1
    assert "Timeout (0:00:02)!" in shown
    assert "in wait" in shown


@pytest.mark.parametrize("workers", [1, 2])
def test_a_database_that_falls_silent_does_not_hold_a_stop_up(
    workers: int, start_sluice, services: Services, upstream: Upstream
):
    with PostgresServer() as postgres:
        url = postgres.url_of(postgres.create())
        migrate(url)
        server = start_sluice(url, redis=workers > 1, workers=workers, DATABASE_TIMEOUT_SECS=1, GRACE_SECS=1)
        key = server.mint()
        assert server.client(key).get("/health").status_code == 200
        with postgres_outage(postgres, "frozen"):
            with contextlib.suppress(httpx.TimeoutException):  # a look-up and a report are under way
                server.client(key).get("/v1/models", timeout=1)
            assert server.client(key).get("/health", timeout=20).status_code in (200, 503)
            assert server.stop() == 0


def test_who_still_waits_when_the_grace_is_over_is_told_so(start_sluice, upstream: Upstream):
    server = start_sluice(GRACE_SECS=1)
    key = server.mint()
    upstream.answers([WaitFor(threading.Event())])
    with connect(server) as peer:
        peer.sendall(request(key, sized(CHAT_BYTES), body=CHAT_BYTES))
        upstream.wait_for(1)
        assert server.stop() == 0
        reply = read_reply(peer)
    assert reply is not None
    assert (reply.status, reply.error["code"], reply.headers["retry-after"]) == (503, "shutdown", "1")
    [row] = server.rows(expect=1)
    assert (row["id"], row["status_code"]) == (reply.headers["x-request-id"], 503)
    assert (row["outcome"], row["error"]) == ("internal_error", "shutdown")


def test_what_comes_on_an_open_connection_just_after_the_stop_is_answered(start_sluice, upstream: Upstream):
    """A busy client sends its next request before it can know of the stop."""
    upstream.answers(chat_answer())
    replies = (asked_just_after_the_stop(start_sluice()) for _ in range(3))  # on a machine that stands still, too late
    reply = next(filter(None, replies))
    assert (reply.status, reply.headers["connection"]) == (200, "close")


def asked_just_after_the_stop(server: Sluice) -> Reply | None:
    """None where the server had closed the connection before the request reached it."""
    asking = request(server.mint(), sized(CHAT_BYTES), body=CHAT_BYTES)
    with connect(server) as peer:
        stopping = threading.Thread(target=server.stop)
        stopping.start()
        while processes.takes_connections(server.port):
            pass
        try:
            peer.sendall(asking)
            reply = read_reply(peer)
        except ConnectionError:
            reply = None
        stopping.join()
    assert [row["outcome"] for row in server.rows()] == ["complete"] * bool(reply), "what was begun was not answered"
    return reply


@pytest.mark.parametrize("way", ["option", "setting"])
def test_several_workers_without_redis_are_refused_in_one_line(tmp_path: Path, way: str):
    port = processes.free_port()
    settings = {"WORKERS": "2"} if way == "setting" else {}
    env = server_environment(DATA_DIR=tmp_path, PORT=port, REDIS_URL="", **settings)
    option = ["--workers", "2"] if way == "option" else []
    done = processes.run([sys.executable, "manage.py", "serve", *option], cwd=ROOT, env=env)
    assert done.returncode not in (0, None)
    lines = (done.stdout + done.stderr).strip().splitlines()
    assert len(lines) == 1, lines
    assert "REDIS_URL" in lines[0]
    assert not processes.takes_connections(port)


WITHOUT_NETWORK = """
import json, os, subprocess, sys, time, urllib.error, urllib.request
port = "18000"
url = f"http://127.0.0.1:{port}"
run = lambda *a: subprocess.run([sys.executable, "manage.py", *a], check=True, capture_output=True, text=True).stdout
def call(path, token, body):
    told = {"authorization": "Bearer " + token, "content-type": "application/json"}
    request = urllib.request.Request(url + path, json.dumps(body).encode(), told)
    return json.load(urllib.request.urlopen(request, timeout=20))
run("migrate", "--no-input", "-v", "0")
server = subprocess.Popen([sys.executable, "manage.py", "serve", "--port", port])
try:
    for _ in range(300):
        try:
            urllib.request.urlopen(url + "/ready", timeout=1)
            break
        except OSError:
            time.sleep(0.1)
    token = os.environ["MANAGEMENT_TOKEN"]
    call("/api/providers", token, {"name": "sim", "kind": "simulator"})
    key = call("/api/keys", token, {"name": "k"})["key"]
    for _ in range(300):
        try:
            answer = call("/v1/chat/completions", key, {"model": "m", "messages": [{"role": "user", "content": "hi"}]})
            break
        except urllib.error.HTTPError:  # the provider is not heard of yet
            time.sleep(0.1)
    else:
        sys.exit("the provider was never heard of")
    print("ANSWERED", answer["choices"][0]["message"]["role"])
finally:
    server.terminate()
    print("ENDED", server.wait(15))
"""


def test_it_starts_and_answers_without_any_network(tmp_path: Path):
    """P42: a network namespace with nothing in it but the loopback."""
    namespace = ["unshare", "-n"] if os.geteuid() == 0 else ["unshare", "-rn"]
    env = server_environment(DATA_DIR=tmp_path, DATABASE_URL=f"sqlite:///{tmp_path}/db.sqlite3")
    command = [*namespace, "sh", "-c", 'ip link set lo up && exec "$0" -c "$1"', sys.executable, WITHOUT_NETWORK]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False, timeout=50)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ANSWERED assistant" in done.stdout
    assert "ENDED 0" in done.stdout
