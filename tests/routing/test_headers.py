"""F60: which headers pass, and the ones that Sluice adds."""

from __future__ import annotations

import re

import pytest

from tests.kit.requests import ask
from tests.kit.sluice import Sluice
from tests.kit.upstream import Upstream, chat_answer, chat_stream, error_answer, json_answer
from tests.kit.waiting import soon

STAY_BELOW = {
    "cookie": "a=b", "x-api-key": "", "api-key": "", "openai-organization": "org-1", "openai-project": "proj-1",
    "proxy-authorization": "Basic x", "proxy-connection": "keep-alive", "te": "trailers", "trailer": "x-sum",
    "upgrade": "h2c", "keep-alive": "timeout=5", "forwarded": "for=1.2.3.4", "via": "1.1 proxy", "x-real-ip": "1.2.3.4",
    "x-forwarded-for": "1.2.3.4", "x-forwarded-host": "h", "x-forwarded-proto": "https", "x-forwarded-anything": "x",
    "x-client-ip": "1.2.3.4", "true-client-ip": "1.2.3.4", "cf-connecting-ip": "1.2.3.4",
    "x-cluster-client-ip": "1.2.3.4", "x-forwarded": "for=1.2.3.4", "client-ip": "1.2.3.4", "x-remote-user": "ann",
    "x-originating-ip": "1.2.3.4", "fly-client-ip": "1.2.3.4", "x-azure-clientip": "1.2.3.4", "x-original-url": "/a",
    "x-envoy-external-address": "1.2.3.4", "x-amzn-trace-id": "Root=1", "x-rewrite-url": "/a", "front-end-https": "on",
    "x-auth-token": "t", "x-goog-api-key": "g", "x-amz-security-token": "s", "x-auth-request-user": "ann",
    "x-request-id": "r", "x-correlation-id": "c", "x-sluice-key": "k", "x-cache-skip": "1", "x-cache-replay": "timed",
    "cache-control": "no-cache", "if-none-match": '"a"', "origin": "https://o", "referer": "https://r",
    "sec-fetch-mode": "cors", "sec-websocket-key": "x", "x-preferred-model": "m",
}  # fmt: skip
GO_UP = {
    "user-agent": "client/1", "openai-beta": "assistants=v2", "idempotency-key": "i-1", "x-stainless-lang": "python",
    "accept": "application/json", "accept-language": "de", "x-anything-else": "yes", "http-referer": "https://app",
    "x-title": "App",
}  # fmt: skip
COME_DOWN = {
    "openai-processing-ms": "12", "openai-version": "2020-10-01", "openai-organization": "org-9", "x-other": "yes",
    "retry-after": "3", "content-language": "en",
}  # fmt: skip
STAY_ABOVE = {
    "set-cookie": "a=b", "server": "cloudflare", "via": "1.1 x", "x-powered-by": "php", "alt-svc": "h3", "cf-ray": "1",
    "cf-cache-status": "HIT", "strict-transport-security": "max-age=1", "www-authenticate": "Bearer", "nel": "{}",
    "report-to": "{}", "access-control-allow-origin": "*", "keep-alive": "timeout=5", "x-forwarded-for": "1.2.3.4",
    "proxy-authenticate": "Basic", "etag": '"e"', "age": "3", "x-envoy-upstream-service-time": "5",
    "x-frame-options": "DENY", "content-security-policy": "x", "x-sluice-version": "9",
}  # fmt: skip


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/other/thing"])
def test_the_clients_own_headers_stay_below(router: Sluice, upstream: Upstream, key: str, path: str):
    headers = {name: value for name, value in STAY_BELOW.items() if value}
    assert ask(router, key, path=path, headers={**headers, **GO_UP}).status_code == 200
    sent = {name.lower(): value for name, value in upstream.last.headers}
    assert not set(STAY_BELOW) & set(sent)
    assert {name: sent.get(name) for name in GO_UP} == GO_UP
    assert key not in str(sent)


@pytest.mark.parametrize("name", ["authorization", "x-api-key", "api-key"])
def test_the_clients_key_stays_below_in_whichever_header_it_came(
    router: Sluice, upstream: Upstream, key: str, name: str
):
    headers = {name: f"Bearer {key}" if name == "authorization" else key}
    assert ask(router, headers=headers).status_code == 200
    assert key not in str(upstream.last.headers)


@pytest.mark.parametrize("connection", ["x-hop, close", "X-Hop,close", "close , x-hop", "keep-alive, X-HOP"])
def test_what_the_connection_header_names_stays_below(router: Sluice, upstream: Upstream, key: str, connection: str):
    assert ask(router, key, headers={"connection": connection, "x-hop": "1", "x-kept": "2"}).status_code == 200
    assert upstream.last.header("x-hop") is None
    assert upstream.last.header("x-kept") == "2"
    assert "hop" not in (upstream.last.header("connection") or "").lower()


def test_the_connection_header_cannot_take_away_what_sluice_sends(router: Sluice, upstream: Upstream, key: str):
    headers = {"connection": "close, authorization, content-length, host, content-type"}
    assert ask(router, key, headers=headers).status_code == 200
    assert upstream.last.header("authorization")
    assert upstream.last.header("host") == f"127.0.0.1:{upstream.port}"
    assert upstream.last.json()["model"]


@pytest.mark.parametrize("way", ["plain", "stream", "error", "passed"])
def test_the_providers_own_headers_stay_above(router: Sluice, upstream: Upstream, key: str, way: str):
    headers = {**COME_DOWN, **STAY_ABOVE, "x-request-id": "up-1", "x-ratelimit-limit-requests": "7",
               "x-ratelimit-remaining-tokens": "8"}  # fmt: skip
    upstream.answers(
        {
            "plain": chat_answer(headers=headers),
            "stream": chat_stream(headers=headers),
            "error": json_answer({"error": {"message": "no"}}, status=418, headers=headers),
            "passed": json_answer({}, headers=headers),
        }[way]
    )
    answer = ask(router, key, path="/v1/batches" if way == "passed" else "/v1/chat/completions", stream=way == "stream")
    told = answer.headers
    assert not set(STAY_ABOVE) & set(told)
    assert {name: told.get(name) for name in COME_DOWN} == COME_DOWN
    assert told["x-upstream-request-id"] == "up-1"
    assert told["x-request-id"] != "up-1"
    assert told["x-upstream-x-ratelimit-limit-requests"] == "7"
    assert told["x-upstream-x-ratelimit-remaining-tokens"] == "8"
    assert "x-ratelimit-limit-requests" not in told


def test_headers_that_the_providers_connection_names_stay_above(router: Sluice, upstream: Upstream, key: str):
    upstream.answers(chat_answer(headers={"connection": "x-hop", "x-hop": "1"}))
    assert "x-hop" not in ask(router, key).headers


def test_no_header_stands_twice(router: Sluice, upstream: Upstream, key: str):
    upstream.answers(
        chat_answer(headers={"x-provider": "evil", "x-cache": "HIT", "server-timing": "x;dur=1", "date": "x"})
    )
    answer = ask(router, key)
    names = [name.lower() for name, _ in answer.headers.raw]
    assert len(names) == len(set(names))
    assert answer.headers["x-provider"] == "openai"
    assert answer.headers["x-cache"] == "BYPASS"


def test_every_answer_carries_sluices_own_headers(router: Sluice, upstream: Upstream, key: str):
    upstream.answers(chat_answer(), chat_stream(), error_answer(500))
    answers = [
        ask(router, key),
        ask(router, key, stream=True),
        ask(router, key),
        ask(router, None),
        ask(router, key, path="/v1/models", method="GET"),
    ]
    ids = [answer.headers["x-request-id"] for answer in answers]
    assert len(set(ids)) == len(ids)
    for answer in answers:
        assert re.match(r"sluice;dur=\d+\.\d+", answer.headers["server-timing"])
    for answer in answers[:3]:
        assert answer.headers["x-provider"] == "openai"
        assert "upstream;dur=" in answer.headers["server-timing"]
        assert answer.headers["x-cache"]
    soon(lambda: set(ids) <= {row["id"] for row in router.rows()})


@pytest.mark.parametrize("name", ["x-correlation-id", "x-request-id"])
def test_the_clients_own_name_for_a_request_is_echoed_and_kept(router: Sluice, upstream: Upstream, key: str, name: str):
    given = f"corr-{name}"
    answer = ask(router, key, headers={name: given})
    assert answer.headers["x-correlation-id"] == given
    assert answer.headers["x-request-id"] != given
    soon(lambda: given in [row["correlation_id"] for row in router.rows()])
    assert ask(router, None, headers={name: given}).headers["x-correlation-id"] == given
    assert len(ask(router, key, headers={name: "x" * 500}).headers["x-correlation-id"]) == 128
