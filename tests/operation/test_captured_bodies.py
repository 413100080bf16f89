"""F125: what requests and answers say is kept for projects that want it, as it was sent, bounded, and nowhere else."""

from __future__ import annotations

import base64
import gzip
import json
import threading
import zlib
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.kit.breaking import HALF
from tests.kit.databases import EACH_DATABASE, query
from tests.kit.files import contents
from tests.kit.management import changed, minted, new_project
from tests.kit.requests import CHAT, ask
from tests.kit.sluice import Sluice
from tests.kit.upstream import (
    Reset,
    Upstream,
    WaitFor,
    body_answer,
    chat_answer,
    chat_stream,
    error_answer,
    json_answer,
    usage_of,
)
from tests.kit.waiting import let_a_second_pass, soon
from tests.kit.wire import answer_on, connect, request_bytes

MOST = 4096

pytestmark = [
    pytest.mark.server(each=EACH_DATABASE, BODY_CAPTURE_BYTES=MOST),
    pytest.mark.key(project={"capture_bodies": "all"}),
]


def bodies_of(server: Sluice, request_id: str) -> dict[str, Any]:
    """As soon as they are there."""
    path = f"/api/requests/{request_id}/bodies"
    soon(lambda: server.api("GET", path).status_code == 200)
    found: dict[str, Any] = server.api("GET", path).json()
    return found


def both(server: Sluice, answer: httpx.Response) -> tuple[str, str]:
    found = bodies_of(server, answer.headers["x-request-id"])
    return found["request"]["body"], found["answer"]["body"]


def test_a_plain_request_and_its_answer_are_kept_as_they_were(server: Sluice, upstream: Upstream, key: str):
    upstream.answers(chat_answer("grüezi"))
    sent = json.dumps({**CHAT, "seed": 7}, indent=1).encode()
    answer = ask(server, key, content=sent, headers={"content-type": "application/json"})
    found = bodies_of(server, answer.headers["x-request-id"])
    assert found["request"] == {
        "content_type": "application/json",
        "encoding": "utf-8",
        "body": sent.decode(),
        "note": "",
    }
    assert found["answer"] == {
        "content_type": "application/json",
        "encoding": "utf-8",
        "body": answer.text,
        "note": "",
    }


def test_a_stream_is_kept_as_the_client_got_it(server: Sluice, upstream: Upstream, key: str):
    """Without the usage that was asked for and hidden again."""
    upstream.answers(chat_stream(usage=usage_of(1, 2)))
    answer = ask(server, key, stream=True)
    assert both(server, answer)[1] == answer.text
    assert "usage" not in answer.text
    assert answer.text.endswith("data: [DONE]\n\n")


def test_a_stream_that_is_cut_is_kept_with_the_error_that_ended_it(server: Sluice, upstream: Upstream, key: str):
    upstream.answers([*HALF, Reset()])
    answer = ask(server, key, stream=True)
    kept = both(server, answer)[1]
    assert kept == answer.text
    assert "upstream_disconnected" in kept


def test_what_a_client_that_left_had_been_sent_is_kept(server: Sluice, upstream: Upstream, key: str):
    upstream.answers([*HALF, WaitFor(threading.Event())])
    peer = connect(server)
    peer.sendall(request_bytes(server, {**CHAT, "stream": True}, authorization=f"Bearer {key}"))
    answer, seen = answer_on(peer), b""
    while seen.count(b"abcd") < 3:
        seen += answer.read1(65_536)
    request_id = answer.headers["x-request-id"]
    answer.close()
    peer.close()
    assert bodies_of(server, request_id)["answer"]["body"].count("abcd") == 3


def test_a_refusal_and_a_request_that_is_no_json_are_kept(server: Sluice, upstream: Upstream, key: str):
    answer = ask(server, key, content=b'{"model": nonsense', headers={"content-type": "application/json"})
    assert answer.status_code == 400
    assert both(server, answer) == ('{"model": nonsense', answer.text)


def test_of_errors_alone_those_are_kept_that_did_not_end_complete(server: Sluice, upstream: Upstream):
    project = new_project(server, capture_bodies="errors")
    key = minted(server, project=project)[1]
    narrow = minted(server, project=project, allowed_models=["other"])[1]
    upstream.answers(chat_answer(), error_answer(500, "out of order"))
    complete, failed, refused = ask(server, key), ask(server, key), ask(server, narrow)
    assert [each.status_code for each in (complete, failed, refused)] == [200, 500, 403]
    assert "out of order" in both(server, failed)[1]
    assert "model_not_allowed" in both(server, refused)[1]
    # What ended later is there, so what ended before it was not kept.
    assert not_kept(server, complete)


def not_kept(server: Sluice, answer: httpx.Response) -> bool:
    request_id = answer.headers["x-request-id"]
    soon(lambda: server.api("GET", f"/api/requests/{request_id}").status_code == 200)
    return server.api("GET", f"/api/requests/{request_id}/bodies").status_code == 404


@pytest.mark.elapsed
def test_nothing_is_kept_unless_a_project_says_so_and_until_it_says_otherwise(server: Sluice, upstream: Upstream):
    project = new_project(server)
    assert server.api("GET", f"/api/projects/{project}").json()["capture_bodies"] == "off"
    key = minted(server, project=project)[1]
    before = ask(server, key)
    let_a_second_pass(changed(server, f"/api/projects/{project}", capture_bodies="all"))
    during = ask(server, key)
    assert both(server, during)[1] == during.text
    let_a_second_pass(changed(server, f"/api/projects/{project}", capture_bodies="off"))
    after = ask(server, key)
    marker = ask(server, minted(server, project=new_project(server, capture_bodies="all"))[1])
    bodies_of(server, marker.headers["x-request-id"])
    assert not_kept(server, before)
    assert not_kept(server, after)


@pytest.mark.parametrize("size", [MOST - 200, MOST, 10 * MOST, 3_000_000])
def test_long_bodies_are_cut(server: Sluice, upstream: Upstream, key: str, size: int):
    upstream.answers(json_answer({"data": "y" * size}))
    sent = b'{"model": "m", "input": "' + b"x" * size + b'"}'
    answer = ask(server, key, path="/v1/embeddings", content=sent)
    assert answer.status_code == 200
    found = bodies_of(server, answer.headers["x-request-id"])
    for kept, whole in ((found["request"], sent), (found["answer"], answer.content)):
        assert kept["body"].encode() == whole[:MOST]
        assert kept["note"] == ("" if len(whole) <= MOST else f"Cut after {MOST:,} bytes.")


def test_a_long_stream_is_cut(server: Sluice, upstream: Upstream, key: str):
    upstream.answers(chat_stream(["token"] * 500))
    answer = ask(server, key, stream=True)
    assert both(server, answer)[1].encode() == answer.content[:MOST]


def test_a_character_that_is_cut_in_two_leaves_the_text_readable(server: Sluice, upstream: Upstream, key: str):
    upstream.answers(body_answer(b"x" + "ü".encode() * MOST, content_type="text/plain"))
    answer = ask(server, key, path="/v1/thoughts/1/content", method="GET")
    kept = bodies_of(server, answer.headers["x-request-id"])["answer"]
    assert (kept["encoding"], kept["body"]) == ("utf-8", "x" + "ü" * ((MOST - 1) // 2))


def test_what_is_no_text_is_kept_as_bytes(server: Sluice, upstream: Upstream, key: str):
    sound = bytes(range(256))
    upstream.answers(body_answer(sound[::-1], content_type="audio/mpeg"))
    answer = ask(
        server, key, path="/v1/audio/other", content=sound, headers={"content-type": "application/octet-stream"}
    )
    found = bodies_of(server, answer.headers["x-request-id"])
    assert found["request"]["encoding"] == found["answer"]["encoding"] == "base64"
    assert base64.b64decode(found["request"]["body"]) == sound
    assert base64.b64decode(found["answer"]["body"]) == sound[::-1]
    assert found["answer"]["content_type"] == "audio/mpeg"


def squeezed(data: bytes) -> bytes:
    """As some servers send `deflate`: without a head."""
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


@pytest.mark.parametrize(
    "encoding,pack",
    [("gzip", gzip.compress), ("deflate", zlib.compress), ("deflate", squeezed)],
    ids=["gzip", "zlib", "deflate"],
)
def test_a_compressed_answer_is_kept_readable(server: Sluice, upstream: Upstream, key: str, encoding: str, pack: Any):
    text = "one of many lines\n" * 40
    upstream.answers(
        body_answer(pack(text.encode()), headers={"content-encoding": encoding}, content_type="text/plain")
    )
    answer = ask(server, key, path="/v1/thoughts/1/content", method="GET", headers={"accept-encoding": "gzip, deflate"})
    assert answer.headers["content-encoding"] == encoding
    assert both(server, answer)[1] == text


def test_a_small_answer_that_unpacks_to_a_huge_one_is_cut(server: Sluice, upstream: Upstream, key: str):
    packed = gzip.compress(b"z" * 50_000_000)
    upstream.answers(body_answer(packed, headers={"content-encoding": "gzip"}, content_type="text/plain"))
    with server.client(key).stream("GET", "/v1/thoughts/1/content", headers={"accept-encoding": "gzip"}) as answer:
        raw = b"".join(answer.iter_raw())
    assert raw == packed
    kept = bodies_of(server, answer.headers["x-request-id"])["answer"]
    assert (kept["body"], kept["note"]) == ("z" * MOST, f"Cut after {MOST:,} bytes.")


@pytest.mark.parametrize("encoding", ["br", "gzip"])
def test_what_cannot_be_unpacked_is_not_kept_and_says_why(server: Sluice, upstream: Upstream, key: str, encoding: str):
    upstream.answers(body_answer(b"\x8b\0 no such thing", headers={"content-encoding": encoding}, content_type="a/b"))
    with server.client(key).stream("GET", "/v1/thoughts/1/content", headers={"accept-encoding": encoding}) as answer:
        for _ in answer.iter_raw():
            pass
    kept = bodies_of(server, answer.headers["x-request-id"])["answer"]
    assert kept["body"] == ""
    assert kept["note"].startswith("Not kept: compressed as ")


def test_an_upload_is_kept_as_far_as_it_came(server: Sluice, upstream: Upstream, key: str):
    fields = {"content_type": "application/octet-stream", "authorization": f"Bearer {key}", "x_correlation_id": "up-1"}
    peer = connect(server)
    peer.sendall(request_bytes(server, b"first part", path="/v1/files", content_length="1000000", **fields))
    upstream.wait_until(lambda: upstream.requests and upstream.last.body == b"first part")
    peer.close()
    rows: list[dict[str, Any]] = []

    def written() -> bool:
        rows[:] = [row for row in server.rows() if row["correlation_id"] == "up-1"]
        return bool(rows)

    soon(written)
    assert bodies_of(server, rows[0]["id"])["request"]["body"] == "first part"


def test_nothing_of_it_is_in_the_log_the_journal_or_the_row(server: Sluice, upstream: Upstream, key: str):
    upstream.answers(chat_answer("answer-canary-11"))
    answer = ask(server, key, messages=[{"role": "user", "content": "prompt-canary-12"}])
    bodies_of(server, answer.headers["x-request-id"])
    soon(lambda: answer.headers["x-request-id"] in server.log_text())
    rows = query(server.database_url, "SELECT * FROM usage_requestrecord")
    places = [server.log_text(), str(rows), *map(str, query(server.database_url, "SELECT * FROM usage_auditentry"))]
    files = contents(Path(server.env["DATA_DIR"]))
    assert files
    places += [content.decode("latin-1") for path, content in files.items() if "sqlite" not in path.name]
    for place in places:
        assert "answer-canary-11" not in place
        assert "prompt-canary-12" not in place


def test_they_are_deleted_on_demand_and_the_row_stays(server: Sluice, upstream: Upstream, key: str):
    answer = ask(server, key)
    request_id = answer.headers["x-request-id"]
    bodies_of(server, request_id)
    path = f"/api/requests/{request_id}/bodies"
    assert server.api("DELETE", path).status_code == 204
    assert server.api("GET", path).status_code == 404
    assert server.api("DELETE", path).status_code == 404
    assert server.api("GET", f"/api/requests/{request_id}").status_code == 200
    rows = query(server.database_url, "SELECT * FROM usage_requestbodies")
    assert request_id not in {row["id"] for row in rows}
    entries = server.api("GET", "/api/audit?action=delete_bodies").json()["results"]
    assert any(entry["target_id"] == request_id for entry in entries), entries


def test_what_waits_is_written_when_the_server_stops(start_sluice: Any, upstream: Upstream):
    server = start_sluice()
    key = minted(server, project=new_project(server, capture_bodies="all"))[1]
    ids = {ask(server, key).headers["x-request-id"] for _ in range(5)}
    assert server.stop() == 0
    assert {row["id"] for row in query(server.database_url, "SELECT * FROM usage_requestbodies")} == ids
