"""A client that takes nothing of its answer does not hold its slot and the provider's connection for ever."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tests.kit.clients import named, new_id
from tests.kit.ledger import row_of
from tests.kit.requests import CHAT, STREAM
from tests.kit.services import processes
from tests.kit.sluice import Sluice, StartSluice
from tests.kit.upstream import Upstream, chat_stream, json_answer
from tests.kit.vitals import is_idle
from tests.kit.wire import connect, request_bytes

LARGE = "x" * 4096
MANY = [LARGE] * 4096


def is_held(server: Sluice, peer: socket.socket) -> bool:
    """Whether the server's end of this connection is established."""
    ends = f":{server.port:04X} 0100007F:{peer.getsockname()[1]:04X} 01 "
    return ends in Path("/proc/net/tcp").read_text()


@pytest.fixture
def impatient(start_sluice: StartSluice) -> Sluice:
    return start_sluice(SEND_TIMEOUT_SECS=1)


def test_a_stream_that_nobody_reads_ends(impatient: Sluice, upstream: Upstream):
    call = new_id()
    upstream.answers(chat_stream(MANY))
    with connect(impatient, receive_buffer=4096) as peer:
        peer.sendall(request_bytes(impatient, STREAM, **named(call)))
        upstream.wait_until(lambda: upstream.requests)
        assert upstream.last.closed_by_peer.wait(20)
        row = row_of(impatient, call)
    assert (row["outcome"], row["error"]) == ("client_closed", "client_stalled")
    assert is_idle(impatient)


def test_an_answer_that_is_whole_does_not_wait_for_ever(impatient: Sluice, upstream: Upstream):
    upstream.answers(json_answer({"object": "chat.completion", "choices": [], "filler": LARGE * 2048}))
    with connect(impatient, receive_buffer=4096) as peer:
        peer.sendall(request_bytes(impatient, CHAT))
        upstream.wait_until(lambda: upstream.requests and upstream.last.answered.is_set())
        assert is_idle(impatient)
        assert processes.poll(lambda: not is_held(impatient, peer), timeout=20)


def test_a_client_that_takes_a_little_now_and_then_is_served_to_the_end(impatient: Sluice, upstream: Upstream):
    call = new_id()
    upstream.answers(chat_stream([LARGE] * 512))
    taken = 0
    with connect(impatient, receive_buffer=65_536) as peer:
        peer.sendall(request_bytes(impatient, STREAM, connection="close", **named(call)))
        peer.settimeout(20)
        while piece := peer.recv(16_384):
            taken += len(piece)
            impatient.metrics()  # a pause of some milliseconds, which adds up to more than the time that is allowed
    assert taken > 512 * 4096
    assert row_of(impatient, call)["outcome"] == "complete"
