"""What the first step makes of a method, a path and a query, without a server."""

from __future__ import annotations

import pytest

from proxy.errors import BadRequest, MethodNotAllowed, NotFound
from tests.kit.exchanges import exchange_of


@pytest.mark.parametrize(
    "method, raw, label, path",
    [
        ("POST", "/v1/chat/completions", "/v1/chat/completions", "/v1/chat/completions"),
        ("GET", "/v1/chat/completions", "/v1/chat", "/v1/chat/completions"),
        ("POST", "/v1/responses/compact", "/v1/responses/compact", "/v1/responses/compact"),
        ("GET", "/v1/responses/resp_1", "/v1/responses/{id}", "/v1/responses/resp_1"),
        ("POST", "/v1/audio/speech", "/v1/audio", "/v1/audio/speech"),
        ("POST", "/v1/x/chat", "/v1/{other}", "/v1/x/chat"),
        ("GET", "/v1/x/chat/completions", "/v1/{other}", "/v1/x/chat/completions"),
        ("GET", "/v1/models", "/v1/models", "/v1/models"),
        ("GET", "/v1/models/a%2fb", "/v1/models", "/v1/models/a%2Fb"),
        ("HEAD", "/v1/models/a%2Fb", "/v1/models", "/v1/models/a%2Fb"),
        ("GET", "/v1/files/%c3%a9", "/v1/files", "/v1/files/%C3%A9"),
    ],
)
def test_a_path_finds_its_endpoint_and_goes_on_in_one_spelling(method: str, raw: str, label: str, path: str):
    exchange = exchange_of(method, raw)
    assert (exchange.endpoint.label, exchange.path, exchange.rest) == (label, path, path[3:])
    assert exchange.dialect is exchange.endpoint.dialect
    assert (exchange.deployment, exchange.query) == ("", "")


@pytest.mark.parametrize(
    "method, end",
    [
        ("POST", "/chat/completions"),
        ("GET", "/chat/completions"),
        ("POST", "/embeddings"),
        ("POST", "/audio/transcriptions"),
        ("GET", "/models/a%2Fb"),
        ("POST", "/files"),
    ],
)
@pytest.mark.parametrize("before", ["/openai", "/openai/v1", "/openai/deployments/my%20model"])
def test_a_path_of_azures_is_the_one_under_v1(method: str, before: str, end: str):
    azures, plain = exchange_of(method, before + end, query=b"api-version=1"), exchange_of(method, "/v1" + end)
    assert azures.endpoint is plain.endpoint
    assert (azures.path, azures.rest, azures.query) == ("/v1" + end, end, "api-version=1")
    assert azures.deployment == azures.model == ("my model" if "deployments" in before else "")


@pytest.mark.parametrize("query", [b"", b"a=b&c=%20%C3%A9", b"!~", b"a?b#c"])
def test_a_query_goes_on_as_it_is(query: bytes):
    assert exchange_of("GET", "/v1/files", query=query).query == query.decode()


@pytest.mark.parametrize("query", [b"a b", b"a=\r\nHost: x", b"\x00", b"\x7f", b"\xff", "é".encode()])
@pytest.mark.parametrize("path", ["/v1/files", "/openai/files", "/v1/chat/completions"])
def test_a_query_that_no_url_can_have_is_refused(path: str, query: bytes):
    with pytest.raises(BadRequest) as refused:
        exchange_of("POST", path, query=query)
    assert refused.value.code == "invalid_query"


@pytest.mark.parametrize(
    "method, path, allowed",
    [
        ("GET", "/v1/embeddings", b"POST"),
        ("DELETE", "/v1/responses", b"POST"),
        ("OPTIONS", "/openai/deployments/m/embeddings", b"POST"),
        ("PUT", "/v1/chat/completions", b"GET, POST"),
        ("POST", "/v1/models", b"GET, HEAD"),
    ],
)
def test_a_method_that_a_path_does_not_take_is_refused_with_those_that_it_takes(method: str, path: str, allowed: bytes):
    with pytest.raises(MethodNotAllowed) as refused:
        exchange_of(method, path)
    assert refused.value.headers == [(b"allow", allowed)]


@pytest.mark.parametrize(
    "method, path",
    [
        ("POST", "/v1/x/chat/completions"),
        ("PUT", "/v1/x/responses"),
        ("POST", "/openai/x/chat/completions"),
        ("POST", "/openai/deployments/m/Chat/completions/"),
        ("GET", "/v1/files/a%2Fb"),
        ("DELETE", "/v1/models/a%2Fb"),
        ("POST", "/v1/models/a%2Fb"),
    ],
)
def test_another_spelling_of_an_endpoint_or_a_path_is_refused(method: str, path: str):
    with pytest.raises(NotFound) as refused:
        exchange_of(method, path)
    assert refused.value.code == "path_not_canonical"
