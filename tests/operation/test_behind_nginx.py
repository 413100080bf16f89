"""X70: behind a real nginx with its defaults, and with what docs/operations.md says, streams come as they are sent."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from string import Template

import httpx
import pytest

from tests.kit import plain
from tests.kit.clients import client_of, key_of
from tests.kit.environment import ROOT
from tests.kit.requests import CHAT, STREAM, WITH_USAGE
from tests.kit.services import processes
from tests.kit.sluice import Sluice
from tests.kit.upstream import Action, Chunk, EndChunks, Upstream, WaitFor, chat_frames, json_answer, stream_head
from tests.kit.wire import request_bytes

CONFIGURATION = Template("""
daemon off; master_process off; pid $directory/pid; error_log $directory/log;
events { }
http {
  access_log off;
  client_body_temp_path $directory/body; proxy_temp_path $directory/proxy; fastcgi_temp_path $directory/fastcgi;
  uwsgi_temp_path $directory/uwsgi; scgi_temp_path $directory/scgi;
  server { listen 127.0.0.1:$port; $location }
}
""")
DEFAULTS = "location / { proxy_pass http://127.0.0.1:8000; }"


def recommended(page: str = "operations.md") -> str:
    """The very lines of the page."""
    text = (ROOT / "docs" / page).read_text()
    return text.split("```nginx\n")[1].split("```")[0]


def of_a_server() -> str:
    """Without what is about TLS."""
    return "location / {" + recommended("put-it-on-a-server.md").partition("location / {")[2].rpartition("}")[0]


PARAMS = {"its defaults": lambda: DEFAULTS, "the page's lines": recommended, "a server's lines": of_a_server}


@pytest.fixture(scope="module", params=PARAMS.values(), ids=list(PARAMS))
def front(
    nginx: str, sluice: Sluice, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[int]:
    """The port of an nginx before the server."""
    location: Callable[[], str] = request.param
    directory: Path = tmp_path_factory.mktemp("nginx")
    port = processes.free_port()
    lines = location().replace("127.0.0.1:8000", f"127.0.0.1:{sluice.port}")
    (directory / "conf").write_text(CONFIGURATION.substitute(directory=directory, port=port, location=lines))
    process = processes.start([nginx, "-c", directory / "conf", "-e", directory / "log"])

    def answers() -> bool:
        assert process.poll() is None, (directory / "log").read_text()
        try:
            return plain.get(f"http://127.0.0.1:{port}/health").status_code == 200
        except httpx.TransportError:
            return False

    try:
        assert processes.poll(answers, timeout=20)
        yield port
    finally:
        processes.end(process)


def stream_through(port: int, sluice: Sluice, path: str) -> tuple[HTTPConnection, HTTPResponse]:
    connection = HTTPConnection("127.0.0.1", port, timeout=20)
    _, _, body = request_bytes(sluice, WITH_USAGE).partition(b"\r\n\r\n")
    headers = {"authorization": f"Bearer {key_of(sluice)}", "content-type": "application/json"}
    connection.request("POST", path, body, headers)
    return connection, connection.getresponse()


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/audio/speech"])
def test_each_event_comes_before_the_next_is_sent(sluice: Sluice, upstream: Upstream, front: int, path: str):
    frames = chat_frames()
    seen = [threading.Event() for _ in frames]
    script: list[Action] = [stream_head()]
    for frame, event in zip(frames, seen, strict=True):
        script += [Chunk(frame), WaitFor(event)]
    upstream.answers([*script, EndChunks()])
    connection, answer = stream_through(front, sluice, path)
    with closing(connection):
        assert answer.status == 200
        got = b""
        for position, event in enumerate(seen):
            while got.count(b"\n\n") <= position and (piece := answer.read1(65536)):
                got += piece
            event.set()
        assert got + answer.read() == b"".join(frames)


def test_plain_answers_and_errors_pass(sluice: Sluice, upstream: Upstream, front: int):
    upstream.answers(json_answer({"id": "x", "choices": []}))
    headers = {"authorization": f"Bearer {key_of(sluice)}"}
    url = f"http://127.0.0.1:{front}/v1/chat/completions"
    assert plain.request("POST", url, json=CHAT, headers=headers).json()["id"] == "x"
    assert plain.request("POST", url, json=CHAT).status_code == 401


def test_the_header_is_on_streams_of_events_alone(sluice: Sluice, upstream: Upstream):
    """And it is Sluice's: what a provider orders the server in front to do stays here."""
    orders = {"x-accel-buffering": "yes", "x-accel-redirect": "/internal", "x-sendfile": "/etc/passwd"}
    for path in ("/v1/chat/completions", "/v1/audio/speech"):
        upstream.answers([stream_head(orders), *map(Chunk, chat_frames()), EndChunks()])
        answer = client_of(sluice).post(path, json=STREAM)
        assert answer.headers.get_list("x-accel-buffering") == ["no"]
        assert not {"x-accel-redirect", "x-sendfile"} & set(answer.headers)
        upstream.answers(json_answer({"id": "x", "choices": []}, headers=orders))
        plain_answer = client_of(sluice).post(path, json=CHAT)
        assert not set(orders) & set(plain_answer.headers)
