"""P19, what it does (the bench says how fast): no frame waits for another one."""

from __future__ import annotations

import json

import pytest

from tests.kit.clients import client_of
from tests.kit.requests import RESPONSES, STREAM, WITH_USAGE
from tests.kit.sluice import Sluice
from tests.kit.streams import halting, pieces_until
from tests.kit.upstream import Chunk, EndChunks, Upstream, chat_frames, responses_stream, stream_head
from tests.kit.wire import answer_on, connect, request_bytes


@pytest.mark.parametrize("body", [STREAM, WITH_USAGE], ids=["usage hidden", "untouched"])
def test_each_chunk_arrives_before_the_provider_sends_the_next(sluice: Sluice, upstream: Upstream, body: dict):
    frames = chat_frames(usage_shape="none")
    script, gates = halting(frames)
    upstream.answers(script)
    with client_of(sluice).stream("POST", "/v1/chat/completions", json=body) as answer:
        pieces = answer.iter_raw()
        for frame, gate in zip(frames, gates, strict=True):
            pieces_until(pieces, frame)
            gate.set()
        assert b"".join(pieces) == b""


def test_each_event_of_a_response_arrives_before_the_provider_sends_the_next(sluice: Sluice, upstream: Upstream):
    frames = [action.data for action in responses_stream() if isinstance(action, Chunk)]
    script, gates = halting(frames)
    upstream.answers(script)
    with client_of(sluice).stream("POST", "/v1/responses", json={**RESPONSES, "stream": True}) as answer:
        pieces = answer.iter_raw()
        for frame, gate in zip(frames, gates, strict=True):
            pieces_until(pieces, frame)
            gate.set()


def test_comments_that_keep_a_connection_alive_do_so(sluice: Sluice, upstream: Upstream):
    """OpenRouter and others send them while a model thinks; held back, they help nobody."""
    frames = [b": OPENROUTER PROCESSING\n\n", b": still\n\n", *chat_frames()]
    script, gates = halting(frames)
    upstream.answers(script)
    with client_of(sluice).stream("POST", "/v1/chat/completions", json=WITH_USAGE) as answer:
        pieces = answer.iter_raw()
        for frame, gate in zip(frames, gates, strict=True):
            pieces_until(pieces, frame)
            gate.set()


@pytest.mark.parametrize("end", [b"\r", b"\r\n"], ids=["CR", "CRLF"])
def test_other_line_ends_hold_nothing_back(sluice: Sluice, upstream: Upstream, end: bytes):
    frames = [frame.replace(b"\n", end) for frame in chat_frames()]
    script, gates = halting(frames)
    upstream.answers(script)
    with client_of(sluice).stream("POST", "/v1/chat/completions", json=WITH_USAGE) as answer:
        pieces = answer.iter_raw()
        for frame, gate in zip(frames, gates, strict=True):
            pieces_until(pieces, frame)
            gate.set()


def test_pieces_of_what_is_passed_through_arrive_one_by_one(sluice: Sluice, upstream: Upstream):
    pieces_sent = [b"a" * 10, b"b", b"\0\xff"]
    script, gates = halting(pieces_sent)
    upstream.answers(script)
    with client_of(sluice).stream("GET", "/v1/thoughts/f/content") as answer:
        pieces = answer.iter_raw()
        for piece, gate in zip(pieces_sent, gates, strict=True):
            pieces_until(pieces, piece)
            gate.set()


def test_the_end_of_a_stream_is_told_when_the_provider_ends_it(sluice: Sluice, upstream: Upstream):
    """Not at `[DONE]`: the connection is the provider's until it says so; then the client can go on."""
    upstream.answers([stream_head(), *map(Chunk, chat_frames()), EndChunks()], [stream_head(), EndChunks()])
    with connect(sluice) as peer:
        peer.sendall(request_bytes(sluice, WITH_USAGE))
        assert answer_on(peer).read() == b"".join(chat_frames())
        peer.sendall(request_bytes(sluice, method="GET", path="/v1/models"))
        assert json.load(answer_on(peer))["object"] == "list"
