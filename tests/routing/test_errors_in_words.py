"""X58: what a provider says in an error that is no JSON is told, bounded and without secrets, and logged."""

from __future__ import annotations

import gzip

import pytest

from tests.kit.environment import MANAGEMENT_TOKEN, UPSTREAM_KEY
from tests.kit.requests import ask, refused
from tests.kit.sluice import Sluice
from tests.kit.upstream import Received, Script, Upstream, body_answer
from tests.kit.waiting import soon

PAGE = (
    b"<!DOCTYPE html><html><head><title>504 Gateway Time-out</title><style>p { color: red }</style></head>"
    b"<body>\r\n<!-- padding --><h1>upstream timed out</h1>\n<script>spy()</script>"
    b"<p>at 10.0.0.7:8080</p></body></html>"
)


def test_a_line_of_text_is_in_the_message_and_in_the_log(router: Sluice, upstream: Upstream, key: str):
    upstream.answers(body_answer(b"no healthy upstream, ask team r\xc3\xa9d", 503, content_type="text/plain"))
    answer = ask(router, key)
    error = refused(answer, 503, "upstream_503")
    assert (
        error["message"] == "The provider answered 503 Service Unavailable. It said: no healthy upstream, ask team réd"
    )
    soon(lambda: f"request {answer.headers['x-request-id']} with 503 and no JSON: no healthy" in router.log_text())


def test_of_a_page_only_its_words_are_told(router: Sluice, upstream: Upstream, key: str):
    upstream.answers(body_answer(PAGE, 504, content_type="text/html"))
    message = refused(ask(router, key), 504, "upstream_504")["message"]
    assert message.endswith("It said: 504 Gateway Time-out upstream timed out at [address]")


def test_a_compressed_one_is_read(router: Sluice, upstream: Upstream, key: str):
    packed = gzip.compress(b"model is loading")
    upstream.answers(body_answer(packed, 500, {"content-encoding": "gzip"}, content_type="text/plain"))
    assert refused(ask(router, key), 500, "upstream_500")["message"].endswith("It said: model is loading")


@pytest.mark.parametrize("status", [200, 401, 500])
def test_no_secret_is_told_or_logged(router: Sluice, upstream: Upstream, key: str, status: int):
    """Of this request, of others, of the installation, or of what only looks like one."""
    others = f"{UPSTREAM_KEY} sk-second-canary {MANAGEMENT_TOKEN} hf_abcdefghijklmnop Bearer abcdef0123"

    def echo(received: Received) -> Script:
        words = f"bad key {received.header('authorization')} {key} {others} api_key=plainword-0815 end"
        return body_answer(words.encode(), status, content_type="text/plain")

    upstream.answers(echo)
    answer = ask(router, key)
    assert answer.status_code == (502 if status == 200 else status)
    assert ("bad key" in answer.text) == (status != 200)
    soon(lambda: f"{answer.headers['x-request-id']} with {status} and no JSON: bad key" in router.log_text())
    for secret in [key, *others.replace("Bearer ", "").split(), "plainword-0815"]:
        assert secret not in answer.text
        assert secret not in router.log_text()


def test_a_secret_across_the_bound_is_not_told_in_part(router: Sluice, upstream: Upstream, key: str):
    for size in (480, 4090, 8185):
        body = b"a " * (size // 2) + UPSTREAM_KEY.encode() + b" b" * 5000
        upstream.answers(body_answer(body, 500, content_type="text/plain"))
        message = refused(ask(router, key), 500, "upstream_500")["message"]
        assert len(message) < 600
        assert UPSTREAM_KEY[:8] not in message


def test_nothing_in_it_can_play_with_a_terminal_or_the_log(router: Sluice, upstream: Upstream, key: str):
    body = 'a\x1b[2J\x07b\r\n{"level":"fake"}\x00\u202ec\ufffdd'.encode() + b"\xff"
    upstream.answers(body_answer(body, 500, content_type="text/plain"))
    answer = ask(router, key)
    message = refused(answer, 500, "upstream_500")["message"]
    assert message.endswith('It said: a[2Jb {"level":"fake"}c\ufffdd\ufffd')
    soon(lambda: answer.headers["x-request-id"] in router.log_text())
    assert '\n{"level":"fake"}' not in router.log_text()


@pytest.mark.parametrize("body", [b"", b" \n ", b"\x00\x01", b"<html></html>"])
def test_where_nothing_was_said_nothing_is_told(router: Sluice, upstream: Upstream, key: str, body: bytes):
    upstream.answers(body_answer(body, 500, content_type="text/html"))
    message = refused(ask(router, key), 500, "upstream_500")["message"]
    assert message == "The provider answered 500 Internal Server Error."
