"""A request's memory is free when it ends, without Python's collector; and all bodies together have a bound."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kit.clients import client_of
from tests.kit.requests import CHAT
from tests.kit.services import Services
from tests.kit.sluice import Sluice
from tests.kit.upstream import Close, Upstream, chat_answer, error_answer
from tests.kit.vitals import is_idle, memory_kib
from tests.kit.wire import connect, read_reply, request_bytes

MIB = 1024 * 1024
SIZE = 8 * MIB
TIMES = 16


@pytest.fixture(scope="module")
def uncollected(services: Services, _upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sluice]:
    """A server in whose processes the collector never runs."""
    path: Path = tmp_path_factory.mktemp("site")
    (path / "sitecustomize.py").write_text("import gc\ngc.disable()\ngc.enable = gc.collect = lambda *_: 0\n")
    with Sluice.start(upstream_url=_upstream.url, PYTHONPATH=str(path)) as server:
        yield server


def large(**members: object) -> bytes:
    return json.dumps({**CHAT, **members, "messages": [{"role": "user", "content": "x" * SIZE}]}).encode()


def answered(server: Sluice, upstream: Upstream) -> None:
    assert client_of(server).post("/v1/chat/completions", content=large()).status_code == 200


def streamed(server: Sluice, upstream: Upstream) -> None:
    assert client_of(server).post("/v1/chat/completions", content=large(stream=True)).status_code == 200


def refused_by_provider(server: Sluice, upstream: Upstream) -> None:
    upstream.answers(error_answer(400))
    assert client_of(server).post("/v1/chat/completions", content=large()).status_code == 400


def failed_by_provider(server: Sluice, upstream: Upstream) -> None:
    upstream.answers([Close()], [Close()])
    assert client_of(server).post("/v1/chat/completions", content=large()).status_code == 502


def refused_here(server: Sluice, upstream: Upstream) -> None:
    assert client_of(server).post("/v1/chat/completions", content=large(model=7)).status_code == 400


def left_by_client(server: Sluice, upstream: Upstream) -> None:
    with connect(server) as peer:
        peer.sendall(request_bytes(server, large())[:-10])
    assert is_idle(server)


@pytest.mark.parametrize(
    "end", [answered, streamed, refused_by_provider, failed_by_provider, refused_here, left_by_client]
)
def test_a_body_is_free_when_its_request_ends(uncollected: Sluice, upstream: Upstream, end):
    for _ in range(4):
        end(uncollected, upstream)
    before = memory_kib(uncollected, "VmRSS")
    for _ in range(TIMES):
        end(uncollected, upstream)
    grown_mib = (memory_kib(uncollected, "VmRSS") - before) / 1024
    assert grown_mib < TIMES * SIZE / MIB / 2


def test_bodies_beyond_the_room_are_refused_before_they_are_read(start_sluice, upstream: Upstream):
    server: Sluice = start_sluice(MAX_PAYLOAD_BYTES=MIB, MAX_HELD_BODY_BYTES=3 * MIB)
    body = json.dumps({**CHAT, "user": "x" * (MIB - 200)}).encode()
    whole = request_bytes(server, body, connection="close")
    peers = [connect(server) for _ in range(3)]
    try:
        for peer in peers:
            peer.sendall(whole[: len(whole) // 2])
        with connect(server) as beyond:
            beyond.sendall(whole[: len(whole) - len(body)])  # the head alone is enough for the answer
            reply = read_reply(beyond)
            assert reply is not None
            assert (reply.status, reply.error["code"]) == (503, "too_many_bodies")
            assert reply.headers["retry-after"] == "1"
        chunked = request_bytes(server, b"", connection="close", content_length="", transfer_encoding="chunked")
        with connect(server) as beyond:
            beyond.sendall(chunked.replace(b"content-length: \r\n", b"") + b"80000\r\n" + b" " * 0x80000)
            reply = read_reply(beyond)
            assert reply is not None
            assert reply.error["code"] == "too_many_bodies"
        assert client_of(server).get("/v1/models").status_code == 200
        for peer in peers:
            peer.sendall(whole[len(whole) // 2 :])
            reply = read_reply(peer)
            assert reply is not None
            assert reply.status == 200
    finally:
        for peer in peers:
            peer.close()
    upstream.answers(chat_answer())
    for _ in range(5):  # all of it has come back
        assert client_of(server).post("/v1/chat/completions", content=body).status_code == 200


def test_a_room_that_no_body_fits_into_stops_the_start(start_sluice):
    with pytest.raises(Exception, match="MAX_HELD_BODY_BYTES"):
        start_sluice(MAX_PAYLOAD_BYTES=2 * MIB, MAX_HELD_BODY_BYTES=MIB)
