"""F6: what Sluice does not read goes through as it is, both ways, piece by piece."""

from __future__ import annotations

import gzip
import hashlib
import itertools
import threading
import zlib
from collections.abc import Iterator

import httpx
import pytest

from tests.kit.clients import client_of
from tests.kit.sluice import Sluice
from tests.kit.upstream import Chunk, EndChunks, Head, Received, Upstream, WaitFor, body_answer, stream_head
from tests.kit.vitals import is_idle, memory_kib
from tests.kit.wire import answer_on, connect, request_bytes

PIECE = bytes(range(256)) * 1024
PIECES = 200
WHOLE = hashlib.sha256(PIECE * PIECES).hexdigest()
MAX_GROWTH_KIB = 30 * 1024


def has(upstream: Upstream, size: int) -> None:
    """Wait until the provider has this much of the body."""
    upstream.wait_until(lambda: upstream.requests and len(upstream.last.body) == size)


@pytest.mark.parametrize("with_length", [True, False], ids=["length", "chunks"])
def test_fifty_megabytes_go_up_as_they_come(sluice: Sluice, upstream: Upstream, with_length: bool):
    """The provider has the first piece before the client has sent the second, and so on."""
    client_of(sluice).get("/v1/models")
    before = memory_kib(sluice, "VmRSS")

    def body() -> Iterator[bytes]:
        for number in range(PIECES):
            yield PIECE
            if number < 5:
                has(upstream, (number + 1) * len(PIECE))

    headers = {"content-type": "video/mp4"} | ({"content-length": str(len(PIECE) * PIECES)} if with_length else {})
    answer = client_of(sluice).post("/v1/files", content=body(), headers=headers)
    assert answer.json()["body_sha256"] == WHOLE
    assert upstream.last.header("content-type") == "video/mp4"
    assert upstream.last.header("content-length") == headers.get("content-length")
    assert memory_kib(sluice, "VmHWM") - before < MAX_GROWTH_KIB


def test_fifty_megabytes_come_down_as_they_come(sluice: Sluice, upstream: Upstream):
    before = memory_kib(sluice, "VmRSS")
    seen = threading.Event()
    pieces = [Chunk(PIECE)] * (PIECES - 1)
    head = Head(200, {"content-type": "video/mp4", "transfer-encoding": "chunked"})
    upstream.answers([head, Chunk(PIECE), WaitFor(seen), *pieces, EndChunks()])
    whole = hashlib.sha256()
    size = 0
    with client_of(sluice).stream("GET", "/v1/thoughts/f/content") as answer:
        for piece in answer.iter_raw():
            whole.update(piece)
            size += len(piece)
            if size >= len(PIECE):
                seen.set()
    assert whole.hexdigest() == WHOLE
    assert memory_kib(sluice, "VmHWM") - before < MAX_GROWTH_KIB


def test_a_form_with_files_arrives_intact(sluice: Sluice, upstream: Upstream):
    boundary = "----x'()+_,-./:=?"
    audio = b"\r\n--\0\xff\r\n----x" * 5000
    body = (
        (
            f'--{boundary}\r\nContent-Disposition: form-data; name="model"\r\n\r\nwhisper-1\r\n'
            f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="é.wav"\r\n'
            "Content-Type: audio/wav\r\n\r\n"
        ).encode()
        + audio
        + f"\r\n--{boundary}--\r\n".encode()
    )
    content_type = f'multipart/form-data; charset=utf-8; boundary="{boundary}"'
    answer = client_of(sluice).post(
        "/v1/audio/transcriptions", content=body, headers={"content-type": content_type, "openai-beta": "x=1"}
    )
    assert answer.status_code == 200
    assert upstream.last.body == body
    assert upstream.last.header("content-type") == content_type
    assert upstream.last.header("openai-beta") == "x=1"


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("body", [b"", b'{"a" : 1.0}', b"\0\xff"], ids=["none", "JSON", "binary"])
def test_any_method_with_any_body(sluice: Sluice, upstream: Upstream, method: str, body: bytes):
    told = client_of(sluice).request(method, "/v1/thoughts/v/files", content=body).json()
    assert (told["method"], told["path"]) == (method, "/v1/thoughts/v/files")
    assert upstream.last.body == body


@pytest.mark.parametrize(
    "target",
    [
        "/v1/thoughts/ab%20c%C3%A9?after=%2B+1&after=2&empty=&bare",
        "/v1/thoughts?a=1&a=2&b[]=x&c=%00",
        "/v1/thoughts/~a-b_c.d!$&'()*+,;=:@",
        "/v1/thoughts?",
        "/v1/never/heard/of?x=a/b?c",
    ],
)
def test_path_and_query_go_up_as_they_were_written(sluice: Sluice, upstream: Upstream, target: str):
    with connect(sluice) as peer:
        peer.sendall(request_bytes(sluice, b"", method="GET", path=target))
        assert answer_on(peer).status == 200
    path, _, query = target.partition("?")
    assert (upstream.last.path, upstream.last.query) == (path, query)


@pytest.mark.parametrize("status", [200, 201, 202, 206, 301, 302, 307])
def test_status_type_and_body_come_down_as_they_are(sluice: Sluice, upstream: Upstream, status: int):
    body = bytes(range(256))
    headers = {
        "location": "https://elsewhere.test/x",
        "content-range": "bytes 0-255/9999",
        "content-disposition": "a; b=é",
    }
    upstream.answers(body_answer(body, status, headers, content_type="application/x-odd; v=1"))
    answer = client_of(sluice).get("/v1/thoughts/f/content", headers={"range": "bytes=0-255"})
    assert (answer.status_code, answer.content) == (status, body)
    assert answer.headers["content-type"] == "application/x-odd; v=1"
    assert {name: answer.headers[name] for name in headers} == headers
    assert upstream.last.header("range") == "bytes=0-255"


def test_what_comes_compressed_stays_compressed(sluice: Sluice, upstream: Upstream):
    packed = gzip.compress(b"hello" * 1000)
    upstream.answers(body_answer(packed, 200, {"content-encoding": "gzip"}, content_type="text/plain"))
    with client_of(sluice).stream("GET", "/v1/thoughts/f/content") as answer:
        assert b"".join(answer.iter_raw()) == packed
        assert answer.headers["content-encoding"] == "gzip"
    assert upstream.last.header("accept-encoding") == "gzip, br"


ERROR = b'{"error":{"message":"No such file: f","type":"invalid_request_error","param":"id","code":"no_file"}}'


@pytest.mark.parametrize("encoding,packed", [("gzip", gzip.compress(ERROR)), ("deflate", zlib.compress(ERROR))])
def test_a_compressed_error_keeps_its_words(sluice: Sluice, upstream: Upstream, encoding: str, packed: bytes):
    upstream.answers(body_answer(packed, 404, {"content-encoding": encoding}, content_type="application/json"))
    answer = client_of(sluice).get("/v1/thoughts/f")
    assert (answer.status_code, answer.content) == (404, ERROR)
    assert "content-encoding" not in answer.headers


@pytest.mark.parametrize(
    "encoding,packed",
    [("br", b"x"), ("gzip", b"x"), ("gzip", gzip.compress(ERROR)[:-9]), ("gzip", gzip.compress(bytes(2_000_000)))],
    ids=["unknown", "broken", "cut", "a bomb"],
)
def test_an_error_that_cannot_be_unpacked_is_wrapped(sluice: Sluice, upstream: Upstream, encoding: str, packed: bytes):
    upstream.answers(body_answer(packed, 404, {"content-encoding": encoding}, content_type="application/json"))
    answer = client_of(sluice).get("/v1/thoughts/f")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "upstream_404")
    assert "content-encoding" not in answer.headers


def test_events_of_what_is_passed_through_are_not_looked_into(sluice: Sluice, upstream: Upstream):
    stream = b'data: {"half\n\ndata: {"type":"transcript.text.delta"}\r\n\r\n: x'
    upstream.answers([stream_head(), *(Chunk(stream[at : at + 3]) for at in range(0, len(stream), 3)), EndChunks()])
    assert client_of(sluice).post("/v1/audio/transcriptions", content=b"x").content == stream


def test_pieces_up_and_down_keep_their_order_among_many(sluice: Sluice, upstream: Upstream):
    def echo(received: Received) -> list:
        body = received.body
        pieces = [body[start:stop] for start, stop in itertools.pairwise(range(0, len(body) + 999, 999))]
        return [Head(200, {"transfer-encoding": "chunked"}), *map(Chunk, filter(None, pieces)), EndChunks()]

    upstream.script = echo
    for size in (0, 1, 998, 999, 65_536, 1_000_003):
        body = (PIECE * 4)[:size]
        assert client_of(sluice).put("/v1/thoughts/f", content=iter([body[:7], body[7:]])).content == body
    assert is_idle(sluice)


def test_the_servers_own_limit_says_413(sluice: Sluice, upstream: Upstream):
    headers = {"content-type": "application/octet-stream", "content-length": str(2 * 1024**3)}
    with connect(sluice) as peer:
        peer.sendall(
            request_bytes(sluice, b"", path="/v1/files", **{k.replace("-", "_"): v for k, v in headers.items()})
        )
        assert answer_on(peer).status == httpx.codes.REQUEST_ENTITY_TOO_LARGE
