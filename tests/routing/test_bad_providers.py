"""F59: what a client is told when its provider fails."""

from __future__ import annotations

import datetime
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.fernet import Fernet
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.kit.management import changed, minted
from tests.kit.providers import AddProvider
from tests.kit.requests import ask, refused
from tests.kit.services import processes
from tests.kit.sluice import Sluice
from tests.kit.upstream import Close, Head, Reset, Script, Send, Upstream, body_answer, json_answer
from tests.kit.waiting import soon

HTML = b"<html><body>502 Bad Gateway at 10.0.0.7</body></html>"


def test_a_page_with_200_is_502(router: Sluice, upstream: Upstream, key: str):
    upstream.answers(body_answer(HTML, content_type="text/html"))
    answer = ask(router, key)
    error = refused(answer, 502, "upstream_invalid_response")
    assert error["type"] == "upstream_error"
    assert "10.0.0.7" not in answer.text


@pytest.mark.parametrize("status", [400, 403, 404, 500, 502, 503])
def test_an_error_page_is_wrapped_with_its_status(router: Sluice, upstream: Upstream, key: str, status: int):
    upstream.answers(body_answer(HTML, status, content_type="text/html"))
    answer = ask(router, key)
    refused(answer, status, f"upstream_{status}")
    assert "10.0.0.7" not in answer.text


@pytest.mark.parametrize("status", [400, 401, 404, 409, 422, 429, 500, 503, 529])
def test_a_json_error_is_relayed_as_it_is(router: Sluice, upstream: Upstream, key: str, status: int):
    told = {"error": {"message": "no ünï", "type": "their_type", "param": "p", "code": "c", "more": [1]}, "extra": 1}
    upstream.answers(json_answer(told, status, {"retry-after": "7"}))
    answer = ask(router, key)
    assert (answer.status_code, answer.json()) == (status, told)
    assert answer.headers["retry-after"] == "7"


@pytest.mark.parametrize(
    "script",
    [
        [Reset()],
        [Close()],
        [Send(b"nonsense\r\n\r\n"), Close()],
        [Send(b"HTTP/1.1 999999 X\r\n\r\n"), Close()],
        [Head(200, {"content-type": "application/json", "content-length": "100"}), Send(b'{"id":'), Close()],
        [Head(200, {"content-type": "application/json", "transfer-encoding": "chunked"}), Send(b"zz\r\n"), Close()],
        [Head(200, [("content-length", "2"), ("content-length", "3")]), Send(b"{}"), Close()],
        json_answer([1, 2]),
        json_answer("text"),
        body_answer(b"", content_type="application/json"),
        body_answer(b"[" * 100_000, content_type="application/json"),
        body_answer(b'{"a":"\xff"', content_type="application/json"),
        [Head(200, {"x-a": "b" * 300_000}), Close()],
    ],
    ids=lambda script: str(script)[:60],
)
def test_a_broken_answer_is_502_in_openais_shape(router: Sluice, upstream: Upstream, key: str, script: Script):
    upstream.script = script
    answer = ask(router, key)
    assert answer.status_code == 502, answer.text
    error = answer.json()["error"]
    assert error["type"] == "upstream_error"
    assert "127.0.0.1" not in error["message"]
    soon(lambda: row_of(router, answer.headers["x-request-id"]) == ("upstream_error", 502))


def row_of(router: Sluice, request_id: str) -> tuple[str, int] | None:
    return next(((r["outcome"], r["status_code"]) for r in router.rows() if r["id"] == request_id), None)


def test_an_unreachable_provider_is_502_and_others_go_on(
    router: Sluice, upstream: Upstream, key: str, add_provider: AddProvider
):
    add_provider("gone", base_url=f"http://127.0.0.1:{processes.free_port()}/v1", models={"gone": ""})
    add_provider("nameless", base_url="http://no-such-host.invalid/v1", models={"nameless": ""})
    for model in ("gone", "nameless"):
        answer = ask(router, key, model=model)
        assert answer.status_code == 502, answer.text
        error = answer.json()["error"]
        assert error["type"] == "upstream_error"
        assert "127.0.0.1" not in error["message"]
        assert "invalid" not in error["message"].replace("invalid_", "")
    assert ask(router, key).status_code == 200


@pytest.fixture
def unknown_certificate(tmp_path: Path) -> Iterator[int]:
    """The port of a server whose certificate nobody vouches for."""
    private = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(private.public_key())
        .serial_number(7).not_valid_before(now).not_valid_after(now + datetime.timedelta(days=1))
        .sign(private, hashes.SHA256())
    )  # fmt: skip
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (tmp_path / "pem").write_bytes(pem + certificate.public_bytes(serialization.Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "pem")
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                peer, _ = listening.accept()
            except OSError:
                return
            try:
                context.wrap_socket(peer, server_side=True).close()
            except OSError:
                peer.close()

    threading.Thread(target=serve, daemon=True).start()
    yield listening.getsockname()[1]
    listening.shutdown(socket.SHUT_RDWR)
    listening.close()


def test_a_certificate_that_nobody_vouches_for_is_502(
    router: Sluice, upstream: Upstream, key: str, add_provider: AddProvider, unknown_certificate: int
):
    add_provider("untrusted", base_url=f"https://127.0.0.1:{unknown_certificate}/v1", models={"untrusted": ""})
    add_provider("not-tls", base_url=f"https://127.0.0.1:{upstream.port}/v1", models={"not-tls": ""})
    for model in ("untrusted", "not-tls"):
        answer = ask(router, key, model=model)
        assert answer.status_code == 502, answer.text
        assert answer.json()["error"]["type"] == "upstream_error"
    assert ask(router, key).status_code == 200


def test_a_credential_that_cannot_be_decrypted_is_503_and_others_go_on(start_sluice, upstream: Upstream):
    server = start_sluice("sqlite")
    made = {
        "name": "locked",
        "base_url": upstream.url,
        "credential": "own",
        "api_key": "sk-locked",
        "models": {"locked": ""},
    }
    assert server.api("POST", "/api/providers", json=made).status_code == 201
    own = next(p for p in server.api("GET", "/api/providers").json()["results"] if p["name"] == "openai")
    changed(server, f"/api/providers/{own['id']}", priority=10)
    _, key = minted(server)
    assert server.stop() == 0
    server.env["ENCRYPTION_KEY"] = Fernet.generate_key().decode()
    server.launch()
    answer = ask(server, key, model="locked")
    refused(answer, 503, "credential_unavailable")
    assert "retry-after" in answer.headers
    assert ask(server, key).status_code == 200
    assert "sk-locked" not in server.log_text()
    assert len(upstream.requests) == 1
