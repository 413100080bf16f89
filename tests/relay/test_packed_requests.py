"""X55: compressed bodies of requests are unpacked within the bound of plain ones; unknown codings are told apart."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable, Iterator

import pytest

from tests.access.asking import ask, minted, new_project, refused
from tests.relay.wire import CHAT, STREAM, add_provider, client_of, key_of
from tests.services import Services
from tests.sluice import Sluice
from tests.upstream import Upstream, echo

MOST = 2_000_000


def bare(raw: bytes) -> bytes:
    """`deflate` as some send it, without zlib's head."""
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(raw) + packer.flush()


def members(raw: bytes) -> bytes:
    """gzip in several members is gzip, too."""
    return b"".join(gzip.compress(raw[at : at + 7]) for at in range(0, len(raw), 7))


PACKERS: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "gzip": ("gzip", gzip.compress),
    "x-gzip": ("X-GZip", gzip.compress),
    "gzip in members": ("gzip", members),
    "deflate": ("deflate", zlib.compress),
    "bare deflate": ("deflate", bare),
    "identity": ("identity", bytes),
    "identity and gzip": ("identity, gzip", gzip.compress),
}


@pytest.fixture(scope="module")
def sluice(services: Services, _upstream: Upstream) -> Iterator[Sluice]:
    server = Sluice.start(upstream_url=_upstream.url, MAX_PAYLOAD_BYTES=MOST)
    yield server
    server.close()


@pytest.mark.parametrize("how", PACKERS)
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/moderations"])
def test_a_packed_body_is_read_and_goes_up_plain(sluice: Sluice, upstream: Upstream, how: str, path: str):
    coding, pack = PACKERS[how]
    add_provider(sluice, upstream.url, f"mapping-{how}-{len(path)}".replace(" ", "-"), {f"{how}": "own-name"})
    raw = json.dumps({**CHAT, "model": how}).encode()
    headers = {"content-type": "application/json", "content-encoding": coding}
    answer = client_of(sluice).post(path, content=pack(raw), headers=headers)
    assert answer.status_code == 200, answer.text
    assert upstream.last.json() == {**CHAT, "model": "own-name"}
    assert upstream.last.header("content-encoding") in (None, "identity")


def test_a_packed_body_in_chunks(sluice: Sluice, upstream: Upstream):
    raw = json.dumps({**STREAM, "user": "x" * 1_000_000}).encode()
    packed = gzip.compress(raw, 1)
    headers = {"content-type": "application/json", "content-encoding": "gzip"}
    pieces = (packed[at : at + 100] for at in range(0, len(packed), 100))
    assert client_of(sluice).post("/v1/chat/completions", content=pieces, headers=headers).status_code == 200
    assert upstream.last.json()["user"] == "x" * 1_000_000


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/moderations"])
@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress])
def test_a_bomb_is_413(sluice: Sluice, upstream: Upstream, path: str, pack: Callable[[bytes], bytes]):
    raw = b'{"model":"gpt-4.1-mini","messages":"' + b" " * 100_000_000 + b'"}'
    coding = "gzip" if pack is gzip.compress else "deflate"
    headers = {"content-type": "application/json", "content-encoding": coding}
    answer = ask(sluice, key_of(sluice), path=path, content=pack(raw), headers=headers)
    refused(answer, 413, "payload_too_large")
    assert upstream.requests == []


@pytest.mark.parametrize("coding", ["zstd", "br", "compress", "gzip, gzip", "gzip,br", "x", "gzip;q=1"])
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/moderations"])
def test_an_unknown_coding_is_415_and_told_which_there_are(sluice: Sluice, upstream: Upstream, path: str, coding: str):
    headers = {"content-type": "application/json", "content-encoding": coding}
    answer = ask(sluice, key_of(sluice), path=path, content=b"\x28\xb5\x2f\xfd", headers=headers)
    refused(answer, 415, "unsupported_content_encoding")
    assert answer.headers["accept-encoding"] == "gzip, deflate"
    assert upstream.requests == []


DAMAGED = {
    "cut": gzip.compress(b'{"model":"gpt-4.1-mini"}')[:-5],
    "none": b'{"model":"gpt-4.1-mini"}',
    "empty": b"",
    "more behind it": gzip.compress(b'{"model":"gpt-4.1-mini"}') + b"x",
    "another sum": gzip.compress(b'{"model":"gpt-4.1-mini"}')[:-8] + bytes(8),
    "members without end": gzip.compress(b"") * 5000,
}


@pytest.mark.parametrize("how", DAMAGED)
def test_a_damaged_one_is_400(sluice: Sluice, upstream: Upstream, how: str):
    headers = {"content-type": "application/json", "content-encoding": "gzip"}
    answer = ask(sluice, key_of(sluice), content=DAMAGED[how], headers=headers)
    refused(answer, 400, "invalid_content_encoding")
    assert upstream.requests == []


FORM = b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\n%s\r\n--b--\r\n'
FORM_TYPE = "multipart/form-data; boundary=b"


def test_a_packed_form_is_checked_and_goes_up_plain(sluice: Sluice, upstream: Upstream):
    """Else what it is packed in would hide its fields from the key's models and the project's rules."""
    upstream.script = echo
    _, some = minted(sluice, allowed_models=["mine"], project=new_project(sluice, unmetered="allow"))
    headers = {"content-type": FORM_TYPE, "content-encoding": "gzip"}
    answer = ask(
        sluice, some, path="/v1/audio/transcriptions", content=gzip.compress(FORM % b"theirs"), headers=headers
    )
    refused(answer, 403, "model_not_allowed")
    answer = ask(sluice, some, path="/v1/audio/transcriptions", content=gzip.compress(FORM % b"mine"), headers=headers)
    assert answer.status_code == 200, answer.text
    assert (upstream.last.body, upstream.last.header("content-encoding")) == (FORM % b"mine", None)
    headers["content-encoding"] = "br"
    answer = ask(sluice, some, path="/v1/audio/transcriptions", content=FORM % b"theirs", headers=headers)
    refused(answer, 415, "unsupported_content_encoding")


def test_what_is_no_json_and_no_form_stays_packed(sluice: Sluice, upstream: Upstream):
    packed = gzip.compress(b"hello")
    headers = {"content-type": "application/octet-stream", "content-encoding": "gzip"}
    assert client_of(sluice).post("/v1/files", content=packed, headers=headers).status_code == 200
    assert (upstream.last.body, upstream.last.header("content-encoding")) == (packed, "gzip")
