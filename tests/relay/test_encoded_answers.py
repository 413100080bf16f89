"""X3: an answer that comes under a `content-encoding`, though none was asked for, is read and counted all the same."""

from __future__ import annotations

import gzip
import json
import threading
import zlib
from collections.abc import Callable
from typing import Any

import brotli
import httpx
import pytest
import zstandard

from tests.kit.accounts import new_crew
from tests.kit.ledger import row_of
from tests.kit.management import minted, new_project
from tests.kit.packing import bare_deflate
from tests.kit.providers import add_provider
from tests.kit.requests import CHAT, MODEL, ask, refused
from tests.kit.sluice import Sluice
from tests.kit.upstream import (
    Chunk,
    EndChunks,
    Head,
    Reset,
    Script,
    Send,
    Upstream,
    WaitFor,
    body_answer,
    chat_frames,
    responses_stream,
    stream_head,
    usage_of,
)
from tests.kit.upstream.answers import response_object, response_usage
from tests.kit.waiting import soon

Pack = Callable[[bytes], bytes]
USAGE = usage_of(1000, 200)
ANSWER: dict[str, Any] = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "model": MODEL,
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}],
    "usage": USAGE,
}
TEXT = json.dumps(ANSWER).encode()
MEANINGLESS = ["utf-8", "UTF-8", "", "identity, identity", "none", "identity, utf-8"]


def in_members(text: bytes) -> bytes:
    return gzip.compress(text[:50]) + gzip.compress(text[50:])


def in_frames(text: bytes) -> bytes:
    return zstandard.compress(text[:50]) + zstandard.compress(text[50:])


PACKED: dict[str, tuple[str, Pack]] = {
    "gzip": ("gzip", gzip.compress),
    "x-gzip": ("X-GZip", gzip.compress),
    "several members": ("gzip", in_members),
    "zlib": ("deflate", zlib.compress),
    "bare": ("deflate", bare_deflate),
    "zstd": ("zstd", zstandard.compress),
    "several frames": ("zstd", in_frames),
    "br": ("br", brotli.compress),
    "gzip beside a word that means nothing": ("identity, gzip", gzip.compress),
}


def encoded(body: bytes, encoding: str) -> Script:
    return body_answer(body, headers={"content-encoding": encoding}, content_type="application/json")


def raw_answer(server: Sluice, key: str, **body: Any) -> tuple[httpx.Response, bytes]:
    """The answer, and its body as it came."""
    with server.client(key).stream("POST", "/v1/chat/completions", json={**CHAT, **body}) as answer:
        return answer, b"".join(answer.iter_raw())


def counts_of(server: Sluice, answer: httpx.Response) -> tuple[int, int, str]:
    row = row_of(server, answer.headers["x-request-id"])
    assert row["cost_usd"] > 0
    return row["prompt_tokens"], row["completion_tokens"], row["usage_source"]


@pytest.mark.parametrize("encoding", MEANINGLESS)
def test_an_encoding_that_means_nothing_is_none(sluice: Sluice, upstream: Upstream, key: str, encoding: str):
    upstream.answers(encoded(TEXT, encoding))
    answer, body = raw_answer(sluice, key)
    assert (answer.status_code, body) == (200, TEXT)
    assert counts_of(sluice, answer) == (1000, 200, "provider")


@pytest.mark.parametrize("how", PACKED)
def test_a_compressed_answer_is_read_and_passes_as_it_came(sluice: Sluice, upstream: Upstream, key: str, how: str):
    encoding, pack = PACKED[how]
    upstream.answers(encoded(pack(TEXT), encoding))
    answer, body = raw_answer(sluice, key)
    assert (answer.status_code, body) == (200, pack(TEXT))
    assert answer.headers["content-encoding"] == encoding
    assert counts_of(sluice, answer) == (1000, 200, "provider")


@pytest.mark.parametrize("how", PACKED)
def test_one_that_is_edited_leaves_uncompressed(sluice: Sluice, upstream: Upstream, key: str, how: str):
    name = f"alias-of-{how.replace(' ', '-')}"
    add_provider(sluice, upstream.url, name, {name: MODEL})
    encoding, pack = PACKED[how]
    upstream.answers(encoded(pack(TEXT), encoding))
    answer, body = raw_answer(sluice, key, model=name)
    assert "content-encoding" not in answer.headers
    assert json.loads(body) == {**ANSWER, "model": name}
    row = row_of(sluice, answer.headers["x-request-id"])
    assert (row["prompt_tokens"], row["completion_tokens"], row["usage_source"]) == (1000, 200, "provider")


@pytest.mark.parametrize("how", PACKED)
def test_a_compressed_stream_is_read_and_comes_uncompressed(sluice: Sluice, upstream: Upstream, key: str, how: str):
    encoding, pack = PACKED[how]
    packed = pack(b"".join(chat_frames(usage=USAGE)))
    pieces = [Chunk(packed[at : at + 7]) for at in range(0, len(packed), 7)]
    upstream.answers([stream_head({"content-encoding": encoding}), *pieces, EndChunks()])
    answer, body = raw_answer(sluice, key, stream=True)
    assert "content-encoding" not in answer.headers
    assert b'"usage"' not in body, "the client did not ask for it"
    assert body.endswith(b"data: [DONE]\n\n")
    assert counts_of(sluice, answer) == (1000, 200, "provider")


def test_a_compressed_event_leaves_as_soon_as_it_can_be_read(sluice: Sluice, upstream: Upstream, key: str):
    packer = zlib.compressobj(wbits=31)
    first, *others = chat_frames(usage_shape="none")
    flushed = packer.compress(first) + packer.flush(zlib.Z_SYNC_FLUSH)
    rest = packer.compress(b"".join(others)) + packer.flush()
    seen = threading.Event()
    upstream.answers(
        [stream_head({"content-encoding": "gzip"}), Chunk(flushed), WaitFor(seen), Chunk(rest), EndChunks()]
    )
    with sluice.client(key).stream("POST", "/v1/chat/completions", json={**CHAT, "stream": True}) as answer:
        pieces = answer.iter_raw()
        assert next(pieces) == first
        seen.set()
        assert b"".join(pieces) == b"".join(others)


def test_a_compressed_stream_of_responses_is_counted(sluice: Sluice, upstream: Upstream, key: str):
    frames = [action.data for action in responses_stream(usage=response_usage(1000, 200)) if isinstance(action, Chunk)]
    upstream.answers([stream_head({"content-encoding": "gzip"}), Chunk(gzip.compress(b"".join(frames))), EndChunks()])
    answer = ask(sluice, key, path="/v1/responses", input="hi", stream=True)
    assert answer.content == b"".join(frames)
    assert counts_of(sluice, answer) == (1000, 200, "provider")


def test_a_stream_that_breaks_off_within_its_compression_says_so(sluice: Sluice, upstream: Upstream, key: str):
    packer = zlib.compressobj(wbits=31)
    begun = packer.compress(b"".join(chat_frames(usage_shape="none")[:3])) + packer.flush(zlib.Z_SYNC_FLUSH)
    upstream.answers([stream_head({"content-encoding": "gzip"}), Chunk(begun), EndChunks()])
    answer = ask(sluice, key, stream=True)
    assert b"upstream_disconnected" in answer.content
    assert b"[DONE]" not in answer.content
    assert row_of(sluice, answer.headers["x-request-id"])["outcome"] == "upstream_error"


SPOILED = {
    "gzip, cut": gzip.compress(TEXT)[:-9],
    "gzip, garbage": b"no such thing",
    "gzip, plain": TEXT,
    "zstd, cut": zstandard.compress(TEXT)[:-9],
    "zstd, plain": TEXT,
    "br, cut": brotli.compress(TEXT)[:-9],
    "br, plain": TEXT,
}


@pytest.mark.parametrize("how", SPOILED)
def test_what_is_not_what_it_says_is_the_providers_error(sluice: Sluice, upstream: Upstream, key: str, how: str):
    upstream.answers(encoded(SPOILED[how], how.partition(",")[0]))
    refused(ask(sluice, key), 502, "upstream_invalid_response")


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
def test_no_more_than_a_bound_is_inflated_and_the_rest_estimated(
    sluice: Sluice, upstream: Upstream, key: str, encoding: str
):
    answer_text = json.dumps({**ANSWER, "usage": None})[:-1].encode() + b',"pad":"' + b"0" * (70 << 20) + b'"}'
    packed = gzip.compress(answer_text, compresslevel=1) if encoding == "gzip" else zstandard.compress(answer_text, 1)
    upstream.answers(encoded(packed, encoding))
    answer, body = raw_answer(sluice, key)
    assert (answer.status_code, body) == (200, packed)
    assert counts_of(sluice, answer)[1:] == (1, "estimated")  # of "hi"


@pytest.mark.parametrize("encoding", [*MEANINGLESS, "gzip", "deflate"])
def test_a_budget_binds_whatever_the_encoding(sluice: Sluice, upstream: Upstream, encoding: str):
    packs: dict[str, Pack] = {"gzip": gzip.compress, "deflate": zlib.compress}
    upstream.script = encoded(packs.get(encoding, bytes)(TEXT), encoding)
    crew = new_crew(sluice, key={"budget": "0.0001"})
    statuses = [ask(sluice, crew.token).status_code for _ in range(5)]
    assert statuses[0] == 200
    assert statuses[-1] == 429


def unreadable(size: int = 900) -> Script:
    return encoded(b"\x8b" * size, "compress")


def test_one_that_nobody_here_reads_passes_with_an_estimate(sluice: Sluice, upstream: Upstream, key: str):
    upstream.answers(unreadable())
    answer, body = raw_answer(sluice, key)
    assert (answer.status_code, body) == (200, b"\x8b" * 900)
    assert counts_of(sluice, answer)[1:] == (900, "estimated")


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("encoding", ["compress", "zstd, br", "gzip, br", "gzip, gzip", "sdch"])
def test_it_does_not_pass_for_who_must_be_metered(sluice: Sluice, upstream: Upstream, encoding: str, stream: bool):
    whole = body_answer(b"\x8b" * 900, headers={"content-encoding": encoding}, content_type="application/json")
    streamed: Script = [stream_head({"content-encoding": encoding}), Chunk(b"\x8b" * 900), EndChunks()]
    upstream.script = streamed if stream else whole
    for crew in (new_crew(sluice, team={"budget": "1"}), new_crew(sluice, key={"allowed_models": [MODEL]})):
        answer = ask(sluice, crew.token, stream=stream)
        assert "content-encoding" in refused(answer, 502, "upstream_unreadable")["message"]
        assert answer.headers["x-should-retry"] == "false"
        # The provider has made it all the same.
        assert counts_of(sluice, answer)[1:] == (900, "estimated")


def test_a_budget_binds_where_unmetered_is_allowed_by_the_estimate(sluice: Sluice, upstream: Upstream):
    upstream.script = unreadable()
    key = minted(sluice, project=new_project(sluice, unmetered="allow"), budget="0.0001")[1]
    statuses = [raw_answer(sluice, key)[0].status_code for _ in range(5)]
    assert (statuses[0], statuses[-1]) == (200, 429)


def test_one_that_the_provider_spoils_costs_nothing(sluice: Sluice, upstream: Upstream):
    key_id, key = minted(sluice)
    head = Head(200, {"content-type": "application/json", "content-encoding": "compress", "content-length": "900"})
    upstream.answers([head, Send(b"\x8b" * 20), Reset()])
    with pytest.raises(httpx.RemoteProtocolError):
        raw_answer(sluice, key)
    soon(lambda: [row for row in sluice.rows() if row["key_id"] == key_id])
    [row] = [row for row in sluice.rows() if row["key_id"] == key_id]
    assert (row["outcome"], row["cost_usd"]) == ("upstream_error", 0)


def test_a_stored_response_passes_as_its_client_likes_it(sluice: Sluice, upstream: Upstream):
    key = minted(sluice, budget="1")[1]
    stored = json.dumps(response_object("hi")).encode()
    packed = brotli.compress(stored)
    upstream.answers(encoded(stored, "utf-8"), encoded(packed, "br"))
    made = ask(sluice, key, path="/v1/responses", input="hi").json()["id"]
    with sluice.client(key).stream("GET", f"/v1/responses/{made}", headers={"accept-encoding": "br"}) as answer:
        assert b"".join(answer.iter_raw()) == packed
