"""X55: compressed bodies of requests are unpacked within the bound of plain ones; unknown codings are told apart."""

from __future__ import annotations

import functools
import gzip
import json
import random
import zlib
from collections.abc import Callable

import brotli
import pytest
import zstandard

from proxy.steps.unpack import STEP_BYTES
from tests.kit.clients import client_of, key_of
from tests.kit.management import minted, new_project
from tests.kit.packing import bare_deflate
from tests.kit.providers import add_provider
from tests.kit.requests import CHAT, STREAM, ask, refused
from tests.kit.sluice import Sluice
from tests.kit.upstream import Upstream, echo

MOST = 2_000_000

pytestmark = pytest.mark.server(MAX_PAYLOAD_BYTES=MOST)


def members(raw: bytes) -> bytes:
    """gzip in several members is gzip, too."""
    return b"".join(gzip.compress(raw[at : at + 7]) for at in range(0, len(raw), 7))


def frames(raw: bytes) -> bytes:
    """zstd in several frames is zstd, too."""
    return b"".join(zstandard.compress(raw[at : at + 7]) for at in range(0, len(raw), 7))


PACKERS: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "gzip": ("gzip", gzip.compress),
    "x-gzip": ("X-GZip", gzip.compress),
    "gzip in members": ("gzip", members),
    "deflate": ("deflate", zlib.compress),
    "bare deflate": ("deflate", bare_deflate),
    "zstd": ("zstd", zstandard.compress),
    "zstd at its most": ("ZSTD", zstandard.ZstdCompressor(level=19, write_content_size=False).compress),
    "zstd in frames": ("zstd", frames),
    "br": ("br", brotli.compress),
    "identity": ("identity", bytes),
    "identity and gzip": ("identity, gzip", gzip.compress),
}


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


@pytest.mark.parametrize("how", ["gzip", "deflate", "bare deflate", "zstd", "br"])
def test_a_packed_body_in_chunks(sluice: Sluice, upstream: Upstream, how: str):
    coding, pack = PACKERS[how]
    said = "".join(random.Random(7).choices("abcdefgh ", k=1_000_000))
    packed = pack(json.dumps({**STREAM, "user": said}).encode())
    headers = {"content-type": "application/json", "content-encoding": coding}
    pieces = (packed[at : at + 1000] for at in range(0, len(packed), 1000))
    assert client_of(sluice).post("/v1/chat/completions", content=pieces, headers=headers).status_code == 200
    assert upstream.last.json()["user"] == said


@pytest.mark.parametrize("how", ["gzip", "bare deflate", "zstd", "br"])
def test_a_body_that_ends_behind_a_step(sluice: Sluice, upstream: Upstream, how: str):
    """What is left is in the decoder, when all that came was fed to it."""
    coding, pack = PACKERS[how]
    headers = {"content-type": "application/json", "content-encoding": coding}
    for size in range(STEP_BYTES - 40, STEP_BYTES + 600, 80):
        raw = json.dumps({**CHAT, "user": ""}).encode()
        raw = raw[:-2] + b"x" * (size - len(raw)) + raw[-2:]
        answer = client_of(sluice).post("/v1/chat/completions", content=pack(raw), headers=headers)
        assert answer.status_code == 200, (size, answer.text)
        assert len(upstream.last.json()["user"]) == len(json.loads(raw)["user"])


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/moderations"])
@pytest.mark.parametrize("how", ["gzip", "deflate", "zstd", "br"])
def test_a_bomb_is_413(sluice: Sluice, upstream: Upstream, path: str, how: str):
    raw = b'{"model":"gpt-4.1-mini","messages":"' + b" " * 100_000_000 + b'"}'
    coding, pack = PACKERS[how]
    if how == "br":
        pack = functools.partial(brotli.compress, quality=3)
    headers = {"content-type": "application/json", "content-encoding": coding}
    answer = ask(sluice, key_of(sluice), path=path, content=pack(raw), headers=headers)
    refused(answer, 413, "payload_too_large")
    assert upstream.requests == []


def test_a_zstd_window_is_bounded(sluice: Sluice, upstream: Upstream):
    """Its memory is what the sender asks for; no more than 8 MiB is given."""
    raw = json.dumps(CHAT).encode()
    headers = {"content-type": "application/json", "content-encoding": "zstd"}
    for log, status in ((23, 200), (24, 400), (27, 400)):
        parameters = zstandard.ZstdCompressionParameters(window_log=log)
        packer = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
        answer = ask(sluice, key_of(sluice), content=packer.compress(raw) + packer.flush(), headers=headers)
        assert answer.status_code == status, answer.text
    refused(answer, 400, "invalid_content_encoding")


@pytest.mark.parametrize("coding", ["compress", "gzip, gzip", "gzip,br", "zstd, gzip", "x", "gzip;q=1"])
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/moderations"])
def test_an_unknown_coding_is_415_and_told_which_there_are(sluice: Sluice, upstream: Upstream, path: str, coding: str):
    headers = {"content-type": "application/json", "content-encoding": coding}
    answer = ask(sluice, key_of(sluice), path=path, content=b"\x1f\x9d", headers=headers)
    refused(answer, 415, "unsupported_content_encoding")
    assert answer.headers["accept-encoding"] == "gzip, deflate, zstd, br"
    assert upstream.requests == []


SMALL = b'{"model":"gpt-4.1-mini"}'
DAMAGED = {
    "gzip, cut": gzip.compress(SMALL)[:-5],
    "gzip, none": SMALL,
    "gzip, empty": b"",
    "gzip, more behind it": gzip.compress(SMALL) + b"x",
    "gzip, another sum": gzip.compress(SMALL)[:-8] + bytes(8),
    "gzip, members without end": gzip.compress(b"") * 5000,
    "zstd, cut": zstandard.compress(SMALL)[:-1],
    "zstd, none": SMALL,
    "zstd, empty": b"",
    "zstd, more behind it": zstandard.compress(SMALL) + b"x",
    "zstd, frames without end": zstandard.compress(b"") * 5000,
    "br, cut": brotli.compress(SMALL)[:-1],
    "br, none": SMALL,
    "br, empty": b"",
    "br, more behind it": brotli.compress(SMALL) + b"x",
    "br, twice": brotli.compress(SMALL) * 2,
}


@pytest.mark.parametrize("how", DAMAGED)
def test_a_damaged_one_is_400(sluice: Sluice, upstream: Upstream, how: str):
    coding = how.partition(",")[0]
    headers = {"content-type": "application/json", "content-encoding": coding}
    answer = ask(sluice, key_of(sluice), content=DAMAGED[how], headers=headers)
    assert coding in refused(answer, 400, "invalid_content_encoding")["message"]
    assert upstream.requests == []


FORM = b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\n%s\r\n--b--\r\n'
FORM_TYPE = "multipart/form-data; boundary=b"


@pytest.mark.parametrize("how", ["gzip", "zstd", "br"])
def test_a_packed_form_is_checked_and_goes_up_plain(sluice: Sluice, upstream: Upstream, how: str):
    """Else what it is packed in would hide its fields from the key's models and the project's rules."""
    upstream.script = echo
    coding, pack = PACKERS[how]
    _, some = minted(sluice, allowed_models=["mine"], project=new_project(sluice, unmetered="allow"))
    headers = {"content-type": FORM_TYPE, "content-encoding": coding}
    answer = ask(sluice, some, path="/v1/audio/transcriptions", content=pack(FORM % b"theirs"), headers=headers)
    refused(answer, 403, "model_not_allowed")
    answer = ask(sluice, some, path="/v1/audio/transcriptions", content=pack(FORM % b"mine"), headers=headers)
    assert answer.status_code == 200, answer.text
    assert (upstream.last.body, upstream.last.header("content-encoding")) == (FORM % b"mine", None)
    headers["content-encoding"] = "compress"
    answer = ask(sluice, some, path="/v1/audio/transcriptions", content=FORM % b"theirs", headers=headers)
    refused(answer, 415, "unsupported_content_encoding")


def test_what_is_no_json_and_no_form_stays_packed(sluice: Sluice, upstream: Upstream):
    packed = gzip.compress(b"hello")
    headers = {"content-type": "application/octet-stream", "content-encoding": "gzip"}
    assert client_of(sluice).post("/v1/files", content=packed, headers=headers).status_code == 200
    assert (upstream.last.body, upstream.last.header("content-encoding")) == (packed, "gzip")
