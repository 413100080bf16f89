"""The ground that the other tests stand on holds."""

from __future__ import annotations

import socket
import sys
import threading
import time
from decimal import Decimal
from pathlib import Path

import httpx
import psycopg
import pytest

from config.environment import ConfigurationError, Environment
from tests.kit import plain
from tests.kit.databases import databases, drop_database, make_database, query
from tests.kit.environment import ROOT, server_environment
from tests.kit.services import PostgresServer, RedisServer, Services, packages, processes
from tests.kit.sluice import Metrics
from tests.kit.upstream import (
    Chunk,
    Close,
    EndChunks,
    Head,
    Received,
    Reset,
    Script,
    Send,
    Upstream,
    Wait,
    WaitFor,
    chat_answer,
    chat_stream,
    json_answer,
    sse,
    stream_head,
)

CHAT = {"model": "gpt-4.1-mini", "messages": [{"role": "user", "content": "hi"}]}


@pytest.fixture
def client(upstream: Upstream):
    with plain.client(base_url=upstream.url, timeout=5) as client:
        yield client


# --- The upstream --------------------------------------------------------------------------------------------
def test_upstream_answers_as_a_provider_would(upstream: Upstream, client: httpx.Client):
    assert client.post("/chat/completions", json=CHAT).json()["choices"][0]["message"]["content"] == "hi"
    assert client.post("/responses", json={"model": "m", "input": "x"}).json()["usage"]["input_tokens"] == 9
    assert len(client.post("/embeddings", json={"model": "m", "input": ["a", "b"]}).json()["data"]) == 2
    assert client.post("/completions", json={"model": "m", "prompt": "x"}).json()["object"] == "text_completion"
    assert client.get("/models").json()["object"] == "list"
    assert [r.path for r in upstream.requests][:2] == ["/v1/chat/completions", "/v1/responses"]


def test_upstream_keeps_one_connection_alive(upstream: Upstream, client: httpx.Client):
    for _ in range(3):
        client.post("/chat/completions", json=CHAT)
    assert len({r.connection_id for r in upstream.requests}) == 1
    assert upstream.open_connections == 1
    assert upstream.peak_open_requests == 1
    upstream.wait_until(lambda: upstream.open_requests == 0)


@pytest.mark.parametrize("include_usage", [True, False])
def test_upstream_streams_usage_when_it_is_asked_for(client: httpx.Client, include_usage: bool):
    body = {**CHAT, "stream": True, "stream_options": {"include_usage": include_usage}}
    with client.stream("POST", "/chat/completions", json=body) as answer:
        lines = [line for line in answer.iter_lines() if line]
    assert lines[-1] == "data: [DONE]"
    assert ('"usage":{' in lines[-2]) is include_usage


def test_upstream_echoes_what_it_got_elsewhere(upstream: Upstream, client: httpx.Client):
    told = client.request("PATCH", "/things?a=1", content=b"abc", headers={"X-Thing": "Yes"}).json()
    assert (told["method"], told["path"], told["query"], told["body_bytes"]) == ("PATCH", "/v1/things", "a=1", 3)
    assert ["X-Thing", "Yes"] in told["headers"]
    assert upstream.last.header("x-thing") == "Yes"


def test_answers_are_taken_from_the_queue_then_by_path_then_from_the_default(upstream: Upstream, client: httpx.Client):
    def by_model(received: Received) -> Script:
        return json_answer({"who": received.json()["model"]})

    upstream.script = json_answer({"who": "default"})
    upstream.paths["/models"] = json_answer({"who": "path"})
    upstream.answers(json_answer({"who": "first"}, status=429, headers={"Retry-After": "2"}), by_model)
    first = client.get("/models")
    assert (first.status_code, first.headers["retry-after"], first.json()["who"]) == (429, "2", "first")
    assert client.post("/x", json=CHAT).json()["who"] == "gpt-4.1-mini"
    assert client.get("/models").json()["who"] == "path"
    assert client.get("/x").json()["who"] == "default"


def test_scripts_reach_the_wire_byte_by_byte(upstream: Upstream):
    upstream.answers([Head(299, {"X-A": "1", "content-length": "2"}), Send(b"o"), Wait(0.01), Send(b"k")])
    with socket.create_connection(("127.0.0.1", upstream.port)) as peer:
        peer.sendall(b"GET /v1/x HTTP/1.1\r\nhost: u\r\nconnection: close\r\n\r\n")
        assert read_all(peer) == b"HTTP/1.1 299 Unknown\r\nX-A: 1\r\ncontent-length: 2\r\n\r\nok"


def test_chunks_keep_their_borders(upstream: Upstream):
    upstream.answers([stream_head(), Chunk(b"ab"), Chunk(b"c"), EndChunks({"x-sum": "3"})])
    with socket.create_connection(("127.0.0.1", upstream.port)) as peer:
        peer.sendall(b"GET /v1/x HTTP/1.1\r\nhost: u\r\nconnection: close\r\n\r\n")
        assert read_all(peer).endswith(b"\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\nx-sum: 3\r\n\r\n")


def test_reset_and_close_look_different_to_the_peer(upstream: Upstream):
    request = b"GET /v1/x HTTP/1.1\r\nhost: u\r\n\r\n"
    upstream.answers([Reset()], [stream_head(), Chunk(b"a"), Close()])
    with socket.create_connection(("127.0.0.1", upstream.port)) as peer:
        peer.sendall(request)
        with pytest.raises(ConnectionResetError):
            read_all(peer)
    with socket.create_connection(("127.0.0.1", upstream.port)) as peer:
        peer.sendall(request)
        assert read_all(peer).endswith(b"1\r\na\r\n")


def test_a_script_waits_for_the_tests_event(upstream: Upstream, client: httpx.Client):
    go = threading.Event()
    upstream.answers([WaitFor(go), *json_answer({"late": True})])
    answers: list[httpx.Response] = []
    asking = threading.Thread(target=lambda: answers.append(client.get("/x")))
    asking.start()
    upstream.wait_until(lambda: upstream.open_requests == 1)
    assert answers == []
    go.set()
    asking.join(5)
    assert answers[0].json() == {"late": True}


@pytest.mark.parametrize(
    "script",
    [
        [WaitFor(threading.Event())],
        [Wait(60)],
        sse([b"data: x\n\n"] * 1000, delay=0.05),
        [stream_head(), *[Chunk(b"x" * 65_536)] * 2000],
    ],
    ids=["before the head", "asleep", "between frames", "against a full buffer"],
)
def test_upstream_notices_a_peer_that_hangs_up(upstream: Upstream, script: Script):
    upstream.answers(script)
    with socket.create_connection(("127.0.0.1", upstream.port)) as peer:
        peer.sendall(b"GET /v1/x HTTP/1.1\r\nhost: u\r\n\r\n")
        upstream.wait_until(lambda: upstream.open_requests == 1)
        left_at = time.monotonic()
    received = upstream.last
    assert received.closed_by_peer.wait(2)
    assert received.closed_at is not None
    assert received.closed_at - left_at < 0.5
    assert not received.answered.is_set()
    upstream.wait_until(lambda: upstream.open_connections == 0)


def test_a_whole_answer_is_no_hangup(upstream: Upstream, client: httpx.Client):
    client.get("/models")
    client.close()
    upstream.wait_until(lambda: upstream.open_connections == 0)
    assert upstream.last.answered.is_set()
    assert not upstream.last.closed_by_peer.is_set()


def test_sent_bytes_stop_where_the_peer_stops_reading(upstream: Upstream):
    upstream.answers([stream_head(), *[Chunk(b"x" * 65_536)] * 2000])
    with socket.create_connection(("127.0.0.1", upstream.port)) as peer:
        peer.sendall(b"GET /v1/x HTTP/1.1\r\nhost: u\r\n\r\n")
        upstream.wait_until(lambda: upstream.requests and upstream.last.sent_bytes > 0)
        before = -1
        while before != (before := upstream.last.sent_bytes):
            time.sleep(0.1)  # standing still can only be seen by waiting
        assert before < 64 * 1024 * 1024


def test_chunked_bodies_are_recorded_in_pieces(upstream: Upstream, client: httpx.Client):
    def body():
        yield b"one"
        upstream.wait_until(lambda: upstream.requests and len(upstream.last.pieces) == 1)
        yield b"two"

    client.post("/files", content=body())
    assert upstream.last.body == b"onetwo"
    assert [size for _, size in upstream.last.pieces] == [3, 3]


def test_expect_100_continue_is_answered(upstream: Upstream):
    with socket.create_connection(("127.0.0.1", upstream.port)) as peer:
        head = (
            b"POST /v1/x HTTP/1.1\r\nhost: u\r\nexpect: 100-continue\r\ncontent-length: 2\r\nconnection: close\r\n\r\n"
        )
        peer.sendall(head)
        assert peer.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        peer.sendall(b"ok")
        assert read_all(peer).startswith(b"HTTP/1.1 200 OK")
    assert upstream.last.body == b"ok"


def test_an_early_answer_does_not_wait_for_the_body(upstream: Upstream):
    upstream.early = True
    upstream.answers([*json_answer({}, status=413, headers={"connection": "close"})])
    with socket.create_connection(("127.0.0.1", upstream.port)) as peer:
        peer.sendall(b"POST /v1/x HTTP/1.1\r\nhost: u\r\ncontent-length: 1000000\r\n\r\nab")
        assert read_all(peer).startswith(b"HTTP/1.1 413 ")


def test_usage_has_the_shape_that_the_test_chose(upstream: Upstream, client: httpx.Client):
    shapes = {}
    for shape in ("usage-only", "last", "every", "none"):
        upstream.answers(chat_stream(["a", "b"], usage_shape=shape, include_done=False))
        shapes[shape] = client.post("/chat/completions", json=CHAT).text.count('"completion_tokens":')
    assert shapes == {"usage-only": 1, "last": 1, "every": 4, "none": 0}


def test_reset_forgets_and_lets_no_request_hang(upstream: Upstream):
    upstream.script = chat_answer()
    upstream.answers([WaitFor(threading.Event())])
    with socket.create_connection(("127.0.0.1", upstream.port)) as peer:
        peer.sendall(b"GET /v1/x HTTP/1.1\r\nhost: u\r\n\r\n")
        upstream.wait_until(lambda: upstream.open_requests == 1)
        upstream.reset()
        assert upstream.requests == []
        assert upstream.script is None
        assert upstream.open_connections == 0


# --- Services ------------------------------------------------------------------------------------------------
def test_postgres_keeps_its_data_over_a_crash(services: Services):
    if not isinstance(services.postgres, PostgresServer):
        pytest.skip("TEST_DATABASE_URL gives a server that is not ours to stop")
    with PostgresServer() as server:
        name = server.create()
        server.stop()
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(server.url)
        server.start()
        server.drop(name)
    assert not server.directory.exists()


@pytest.mark.parametrize("kind", databases)
def test_each_server_gets_a_migrated_database_of_its_own(services: Services, kind: str):
    url, other = make_database(kind), make_database(kind)
    assert url != other
    assert query(url, "SELECT * FROM usage_requestrecord") == []
    assert query(url, "SELECT name FROM django_migrations WHERE app = 'usage'")
    drop_database(url)
    drop_database(other)
    if kind == "postgres":
        with pytest.raises(psycopg.OperationalError, match="does not exist"):
            psycopg.connect(url)


def test_redis_can_be_stopped_and_started_again(services: Services):
    server = services.redis()
    if not isinstance(server, RedisServer):
        pytest.skip("TEST_REDIS_URL gives a server that is not ours to stop")
    with server, server.client() as client:
        client.set("a", 1)
        port = server.port
        server.stop()
        server.start()
        assert server.port == port
        assert client.get("a") is None


def test_a_missing_program_is_one_line_that_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(packages, "find", lambda program: None)
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(packages.Missing, match=r"^The tests need .*install postgresql redis-server, then.*$"):
        packages.require(["initdb", "redis-server"])


def test_root_installs_what_is_missing_with_apt(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    apt = tmp_path / "apt-get"
    apt.write_text(f"""#!/bin/sh
echo "$DEBIAN_FRONTEND $*" >> {tmp_path}/calls
[ "$2" = update ] || {{ : > {tmp_path}/redis-server; /bin/chmod +x {tmp_path}/redis-server; }}
""")
    apt.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/nowhere")
    monkeypatch.setattr("os.geteuid", lambda: 0)
    packages.require(["redis-server"])
    packages.require(["redis-server"])
    assert (tmp_path / "calls").read_text().splitlines() == [
        "noninteractive -q update",
        "noninteractive -q install -y --no-install-recommends redis-server",
    ]


def test_metrics_are_read_and_summed():
    text = '# TYPE a counter\na_total{x="1",y="2"} 3\na_total{x="1",y="3"} 4\n# TYPE g gauge\ng 5\n'
    metrics = Metrics.parse(text)
    assert metrics['a_total{x="1",y="2"}'] == 3
    assert metrics["g"] == 5
    assert metrics.total("a_total", x="1") == 7
    assert metrics.total("a_total", y="3") == 4


# --- Settings ------------------------------------------------------------------------------------------------
def test_environment_tells_all_errors_together():
    env = Environment({"PORT": "eighty", "DEBUG": "maybe", "WAIT": "-1", "URL": "ftp://user:hidden@host", "EMPTY": ""})
    assert env.integer("PORT", 8000) == 8000
    assert env.flag("DEBUG", True) is True
    assert env.seconds("WAIT", 2.5) == 2.5
    assert env.url("URL", "", ("http", "https")) == ""
    assert env.integer("EMPTY", 7) == 7
    with pytest.raises(ConfigurationError) as caught:
        env.finish()
    lines = str(caught.value).splitlines()
    assert [line.split(":")[1].strip() for line in lines] == ["PORT", "DEBUG", "WAIT", "URL"]
    assert "hidden" not in str(caught.value)


def test_amounts_and_time_zones_are_checked_at_the_start():
    wrong = {"A": "much", "B": "-1", "C": "11", "D": "0.0000001", "E": "NaN", "F": "Mars/Olympus", "G": "europe/berlin"}
    env = Environment({**wrong, "H": "2.5", "I": "0", "J": "Europe/Berlin"})
    assert [env.optional_usd(name, most=10) for name in "ABCDE"] == [None] * 5
    assert [env.time_zone(name, "UTC") for name in "FG"] == ["UTC"] * 2
    assert [env.optional_usd(name, most=10) for name in "HIX"] == [Decimal("2.5"), Decimal(0), None]
    assert [env.time_zone(name, "UTC") for name in "JX"] == ["Europe/Berlin", "UTC"]
    with pytest.raises(ConfigurationError) as caught:
        env.finish()
    assert [line.split(": ")[1] for line in str(caught.value).splitlines()] == list(wrong)


def test_wrong_settings_stop_a_command_with_one_line_each(tmp_path: Path):
    env = server_environment(
        DATA_DIR=tmp_path, PORT="eighty", BUDGET_TIME_ZONE="Mars", DATABASE_URL="mysql://u:secret@h/d"
    )
    done = processes.run([sys.executable, "manage.py", "check"], cwd=ROOT, env=env)
    assert done.returncode == 2
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert len(lines) == 3
    assert all(line.startswith("sluice: ") for line in lines)
    assert {line.split(": ")[1] for line in lines} == {"PORT", "BUDGET_TIME_ZONE", "DATABASE_URL"}
    assert "secret" not in done.stderr


def test_the_developers_settings_do_not_reach_a_server_under_test(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-developer")
    monkeypatch.setenv("REDIS_URL", "redis://production")
    env = server_environment(PORT=1)
    assert "OPENAI_API_KEY" not in env
    assert not env.get("REDIS_URL")
    assert env["PORT"] == "1"


def read_all(peer: socket.socket) -> bytes:
    peer.settimeout(5)
    pieces = []
    while piece := peer.recv(65_536):
        pieces.append(piece)
    return b"".join(pieces)
