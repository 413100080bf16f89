"""Two tenants share a pool of provider connections; one of them writes nothing but HTTP, as odd as it comes.

Whatever it sends, every request that reaches the provider was authorized as such and is whole, none carries a word of
the other tenant, and the other tenant gets its own answers. `FUZZ_EXAMPLES` has it look for longer.
"""

from __future__ import annotations

import json
import os
import re
import socket
from itertools import count

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.kit.management import new_project
from tests.kit.sluice import Sluice, StartSluice
from tests.kit.upstream import Received, Script, Upstream, json_answer
from tests.kit.wire import connect

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "150"))
MODEL = "gpt-4.1-mini"
FORBIDDEN = "o1-forbidden"
SETTINGS = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
ALLOWED = re.compile(r"/v1/(?:chat/completions|embeddings|files(?:/[\w%~.:@;=-]+)*|moderations)")
"""What the odd tenant's project lets pass, as its rules have it."""

UPGRADES = (
    b"", b"connection: upgrade\r\nupgrade: h2c\r\n", b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n",
    b"upgrade: websocket\r\nconnection: close, upgrade\r\n", b"connection: keep-alive\r\nupgrade: x\r\n",
)  # fmt: skip
ODDITIES = (
    b"", b"expect: 100-continue\r\n", b"connection: close\r\n", b"connection: content-length\r\n",
    b"connection: authorization\r\n", b"x-http-method-override: DELETE\r\n", b"content-length : 3\r\n",
    b"content-length: 3\r\n", b"content-length: +3\r\n", b"transfer-encoding: chunked, identity\r\n",
    b"transfer-encoding: xchunked\r\n", b"transfer-encoding:\tchunked\r\n", b"x: a\r\n b\r\n", b"x: \x00\r\n", b"\r\n",
    b"host: other\r\n", b"authorization: Bearer sk-other\r\n", b"te: trailers\r\n", b"trailer: content-length\r\n",
)  # fmt: skip
LINES = (
    b"POST /v1/chat/completions HTTP/1.1", b"POST /v1/embeddings HTTP/1.1", b"POST /v1/files HTTP/1.1",
    b"POST /v1/moderations HTTP/1.1", b"GET /v1/files HTTP/1.1", b"DELETE /v1/files/x HTTP/1.1",
    b"POST /v1//chat/completions HTTP/1.1", b"POST /v1/chat%2fcompletions HTTP/1.1", b"GET /v1/models HTTP/1.1",
    b"POST /v1/files/..%2finternal HTTP/1.1", b"POST /internal HTTP/1.1", b"GET /v1/files HTTP/1.0",
    b"POST http://elsewhere/v1/files HTTP/1.1", b"CONNECT /v1/files HTTP/1.1", b"OPTIONS /v1/files HTTP/1.1",
    b"POST /v1/files?a=b HTTP/1.1", b"POST /v1/batches HTTP/1.1", b"HEAD /v1/files HTTP/1.1",
    b"GET  /v1/files HTTP/1.1",
)  # fmt: skip
SMUGGLED = b"GET /internal HTTP/1.1\r\nhost: provider\r\nx-smuggled: 1\r\n\r\n"
BODIES = (
    b"", b"{}", b'{"model":"%s","messages":[]}' % MODEL.encode(), b'{"model":"%s","input":"x"}' % MODEL.encode(),
    b'{"model":"%s","messages":[]}' % FORBIDDEN.encode(), b"x" * 3000, SMUGGLED, SMUGGLED * 3, b"0\r\n\r\n" + SMUGGLED,
    b'{"model":"%s","model":"%s"}' % (MODEL.encode(), FORBIDDEN.encode()),
)  # fmt: skip


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """One request: mostly framed as its head says, sometimes shorter, longer, or in another way."""
    line, body = draw(st.sampled_from(LINES)), draw(st.sampled_from(BODIES))
    kind = draw(st.sampled_from((b"application/json", b"application/octet-stream", b"text/plain")))
    head = line + b"\r\nhost: sluice\r\nauthorization: Bearer TOKEN\r\ncontent-type: " + kind + b"\r\n"
    head += draw(st.sampled_from(UPGRADES)) + draw(st.sampled_from(ODDITIES))
    framing = draw(
        st.sampled_from(("length", "length", "chunks", "chunks", "short", "long", "none", "both", "trailer"))
    )
    chunks = b"%x\r\n%s\r\n" % (len(body), body) if body else b""
    if framing == "length":
        return head + b"content-length: %d\r\n\r\n" % len(body) + body
    if framing == "chunks":
        return head + b"transfer-encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"
    if framing == "trailer":
        trailer = draw(st.sampled_from((b"content-length: 9\r\n", b"x-a: b\r\n", b"host: x\r\n", b":\r\n")))
        return head + b"transfer-encoding: chunked\r\n\r\n" + chunks + b"0\r\n" + trailer + b"\r\n"
    if framing == "short":
        return head + b"content-length: %d\r\n\r\n" % (len(body) + draw(st.integers(1, 300))) + body
    if framing == "long":
        return head + b"content-length: %d\r\n\r\n" % max(0, len(body) - draw(st.integers(1, 300))) + body
    if framing == "both":
        return head + b"content-length: %d\r\ntransfer-encoding: chunked\r\n\r\n" % len(body) + chunks + b"0\r\n\r\n"
    return head + b"\r\n" + body


def echo_as_chat(received: Received) -> Script:
    """The provider says what it was sent, in the shape of a chat's answer."""
    said = received.body.decode("latin-1")
    return json_answer({"id": "x", "object": "chat.completion", "choices": [], "said": said})


@pytest.fixture(scope="module")
def serials():
    return count()


@pytest.fixture
def shared(start_sluice: StartSluice) -> Sluice:
    """Patient enough for no example: a body that stays away is not waited for."""
    return start_sluice(BODY_TIMEOUT_SECS=1, HEADER_TIMEOUT_SECS=1)


def send_odd(peer: socket.socket, data: bytes, step: int) -> None:
    """In pieces, and without reading: the server may have closed the connection by then."""
    try:
        for at in range(0, len(data), step):
            peer.sendall(data[at : at + step])
    except (BrokenPipeError, ConnectionResetError):
        pass


def check(received: Received, theirs: bytes) -> None:
    """One request as the provider got it: authorized, and of one tenant alone."""
    assert ALLOWED.fullmatch(received.path), received
    assert received.method != "CONNECT", received
    assert received.header("x-smuggled") is None, received
    assert received.header("upgrade") is None, received
    assert len(received.header_values("host")) == 1, received
    if theirs in received.body:
        assert json.loads(received.body)["user"].encode() == theirs, received
    elif received.complete.is_set() and received.path in ("/v1/chat/completions", "/v1/embeddings"):
        assert json.loads(received.body)["model"] == MODEL, received


def test_one_tenants_requests_never_touch_anothers(shared: Sluice, upstream: Upstream, serials):
    upstream.script = echo_as_chat
    paths = ["/v1/chat/completions", "/v1/embeddings", "/v1/files", "/v1/files/*", "/v1/moderations"]
    project = new_project(shared, unmetered="allow", allowed_paths=paths)
    odd = shared.mint(project=project, allowed_models=[MODEL]).encode()
    client = shared.client(shared.mint())

    @SETTINGS
    @given(st.lists(requests(), min_size=1, max_size=4), st.sampled_from((1, 7, 64, 4096, 1 << 20)), st.booleans())
    def look(sent: list[bytes], step: int, early: bool) -> None:
        upstream.early = early
        theirs = f"tenant-{next(serials):08d}"
        body = {"model": MODEL, "messages": [], "user": theirs}
        with connect(shared) as peer:
            send_odd(peer, b"".join(sent).replace(b"TOKEN", odd), step)
            upstream.early = False
            for _ in range(2):
                answer = client.post("/v1/chat/completions", json=body)
                assert answer.status_code == httpx.codes.OK, answer.text
                assert json.loads(answer.json()["said"])["user"] == theirs
        seen, upstream.requests[:] = list(upstream.requests), []
        for received in seen:
            check(received, theirs.encode())

    look()
