"""One spelling of a path: what two readers could understand differently is refused, and no provider sees it."""

from __future__ import annotations

import re

import pytest
from django.urls import get_resolver
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import BadRequest, NotFound
from proxy.steps.paths import RESERVED, canonical_path, check_names_no_endpoint
from tests.kit.sluice import Sluice
from tests.kit.upstream import Upstream
from tests.kit.wire import CHAT, Reply, request, send, sized

RESPONSE = "resp_0123456789"

OF_OTHERS = [
    f"/v1//responses/{RESPONSE}", f"/v1/responses//{RESPONSE}", f"/v1/responses/{RESPONSE}/", "/v1/responses/",
    "/v1/responses/%20", "/v1/responses/%09", f"/v1/Responses/{RESPONSE}", f"/v1/%72esponses/{RESPONSE}",
    f"/v1/responses%2f{RESPONSE}", f"/v1/responses%2F{RESPONSE}", f"/v1/v1/responses/{RESPONSE}",
    f"/v1/x%2f..%2fresponses/{RESPONSE}", f"/v1/responses;a=b/{RESPONSE}", f"/v1/responses/%2e/{RESPONSE}",
    f"/v1/responses/x/..;/{RESPONSE}", f"/v1/responses/{RESPONSE}%00", f"/v1/responses/{RESPONSE}%20",
    f"/v1/responses/{RESPONSE};v=1", f"/v1/responses/%25{RESPONSE}", f"/v1/responses/x%252f..%252f{RESPONSE}",
]  # fmt: skip
LEADING_OUT = [
    "/v1/x%2f..%2f..%2finternal", "/v1/x%2F..%2F..%2Finternal", "/v1/x%5c..%5cinternal", "/v1/x/%2e%2e/internal",
    "/v1/x/.%2E/%2e./internal", "/v1/x/..;/internal", "/v1/files/x%252f..%252finternal", "/v1/.", "/v1/..",
    "/v1/files/x%3f/../y", "/v1/files/%23", "/v1/files/%", "/v1/files/%zz", "/v1/files/%0d%0ax", "/v1/files\\x",
    "/v1/V1/files", "/v1/v1beta/files", "/v1/v2/files",
]  # fmt: skip
MODELS_UNREAD = [
    "/v1/chat%2fcompletions", "/v1/chat%2f.%2fcompletions", "/v1/chat//completions", "/v1/chat/completions/",
    "/v1/Chat/Completions", "/v1/%63hat/completions", "/v1/chat/./completions", "/v1/chat/completions;a=b",
    "/v1/chat;x/completions", "/v1/chat/completions%20", "/v1/chat/completions.", "/v1/chat/COMPLETIONS",
    "/v1/v1/chat/completions", "/v1/openai/v1/chat/completions", "/v1/deployments/M/chat/completions",
    "/v1/openai/deployments/M/chat/completions", "/v1/engines/M/completions", "/v1/engines/M/embeddings",
    "/v1/deployments/M/embeddings", "/v1/deployments/M/responses", "/v1/Embeddings", "/v1/embeddings/",
    "/v1/responses/", "/v1/x/responses",
]  # fmt: skip


def ask(server: Sluice, key: str, method: str, path: str) -> Reply:
    line = f"{method} {path} HTTP/1.1".encode()
    body = CHAT if method == "POST" else b""
    (reply,) = send(server, request(key, sized(body), b"connection: close", line=line, body=body))
    return reply


@pytest.mark.parametrize("path", OF_OTHERS)
@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_no_spelling_reads_or_deletes_a_stored_response(
    strict: Sluice, upstream: Upstream, key: str, method: str, path: str
):
    reply = ask(strict, key, method, path)
    assert reply.status in (400, 404), reply
    assert reply.error["code"] in ("invalid_path", "path_not_canonical", "response_not_found"), reply
    assert not upstream.requests


@pytest.mark.parametrize("path", LEADING_OUT)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_no_spelling_leaves_the_providers_base_path(
    strict: Sluice, upstream: Upstream, key: str, method: str, path: str
):
    reply = ask(strict, key, method, path)
    assert reply.status in (400, 404), reply
    assert reply.error["code"] in ("invalid_path", "path_not_canonical"), reply
    assert not upstream.requests


@pytest.mark.parametrize("path", MODELS_UNREAD)
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
def test_no_spelling_runs_a_model_unread(strict: Sluice, upstream: Upstream, key: str, method: str, path: str):
    reply = ask(strict, key, method, path)
    assert (reply.status, reply.error["code"]) == (404, "path_not_canonical"), reply
    assert not upstream.requests


@pytest.mark.parametrize("header", ["x-http-method-override", "x-method-override", "x-http-method", "x-original-url"])
def test_no_header_asks_for_another_method_or_path(strict: Sluice, upstream: Upstream, key: str, header: str):
    line = b"GET /v1/files HTTP/1.1"
    send(strict, request(key, f"{header}: DELETE".encode(), b"connection: close", line=line))
    assert upstream.last.header(header) is None


def first_segments_of_django() -> list[str]:
    """The first segments under /v1/ at which Django has a view."""
    shapes = (str(each.pattern).removeprefix("^") for each in get_resolver().url_patterns)
    found = {re.split(r"[^a-z_-]", shape.removeprefix("v1/"))[0] for shape in shapes if shape.startswith("v1/")}
    return sorted(found - {""})


def test_django_serves_something_under_v1():
    assert {"auth", "keys"} <= set(first_segments_of_django())


@pytest.mark.parametrize("name", first_segments_of_django())
@pytest.mark.parametrize("tail", ["", "/", "/x", "/x/y"])
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_what_django_serves_under_v1_never_goes_to_a_provider(
    strict: Sluice, upstream: Upstream, key: str, name: str, tail: str, method: str
):
    with strict.client(key) as client:
        reply = client.request(method, f"/v1/{name}{tail}")
    assert 400 <= reply.status_code < 500, reply.text
    assert not upstream.requests


@pytest.mark.parametrize("name", sorted(RESERVED - {"auth", "keys"}))
@pytest.mark.parametrize("tail", ["", "/x", "/batch"])
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_what_is_the_gateways_own_never_goes_to_a_provider(
    strict: Sluice, upstream: Upstream, key: str, name: str, tail: str, method: str
):
    """A program of the system that has it there sends a secret of its user's."""
    reply = ask(strict, key, method, f"/v1/{name}{tail}")
    assert not upstream.requests
    if (name, tail, method) != ("health", "", "GET"):
        assert reply.status in (404, 405), reply
    if name != "health":
        assert reply.error["code"] == "reserved_path"


@given(st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=40))
def test_what_is_canonical_stays_as_it_is(rest: str):
    try:
        path = canonical_path("/v1/" + rest)
    except (BadRequest, NotFound):
        return
    assert canonical_path(path) == path
    assert path.lower() == ("/v1/" + rest).lower()
    assert "//" not in path
    assert "/../" not in path


@pytest.mark.parametrize("raw", LEADING_OUT)
def test_each_such_spelling_is_refused_before_anything_is_asked(raw: str):
    with pytest.raises((BadRequest, NotFound)) as refused:
        check_names_no_endpoint(canonical_path(raw))
    assert refused.value.code in ("invalid_path", "path_not_canonical")


@pytest.mark.parametrize(
    "raw, code, words",
    [
        ("/v1/files/a b", "invalid_path", "percent-encode"),
        ("/v1/files/é", "invalid_path", "percent-encode"),
        ("/v1/files/x\\y", "invalid_path", "percent-encode"),
        ("/v1/", "not_found", "nothing at /v1/"),
        ("/v1", "not_found", "nothing at /v1"),
        ("/v2/files", "not_found", "nothing at /v2/files"),
        ("/v1//files/", "path_not_canonical", "empty segment; say /v1/files"),
        ("/v1/files/%", "invalid_path", "write %25"),
        ("/v1/files/%4", "invalid_path", "write %25"),
        ("/v1/files/%1F", "invalid_path", "control character"),
        ("/v1/files/%7f", "invalid_path", "control character"),
        ("/v1/files/%41", "path_not_canonical", "%41 stands for 'A'"),
        ("/v1/files/%2e", "path_not_canonical", "%2e stands for '.'"),
        ("/v1/files/a%2Fb", "path_not_canonical", "%2F means one thing"),
        ("/v1/files/a%3bb", "path_not_canonical", "%3b means one thing"),
        ("/v1/files/./x", "path_not_canonical", "dot segment"),
        ("/v1/files/..", "path_not_canonical", "dot segment"),
        ("/v1/files/..;a=b/x", "path_not_canonical", "dot segment"),
        ("/v1/Files", "path_not_canonical", "small letters"),
        ("/v1/1files", "path_not_canonical", "small letters"),
        ("/v1/v1/files", "path_not_canonical", "version twice"),
        ("/v1/v2beta", "path_not_canonical", "version twice"),
        ("/v1/keys/x", "reserved_path", "/v1/keys is the gateway's own"),
    ],
)
def test_a_refusal_says_what_is_wrong_with_a_path(raw: str, code: str, words: str):
    with pytest.raises((BadRequest, NotFound)) as refused:
        canonical_path(raw)
    assert refused.value.code == code
    assert words in refused.value.message


@pytest.mark.parametrize(
    "raw, path",
    [
        ("/v1/files", "/v1/files"),
        ("/v1/a_b-c9/X;y=z/...", "/v1/a_b-c9/X;y=z/..."),
        ("/v1/files/%20%c3%a9%80", "/v1/files/%20%C3%A9%80"),
        ("/v1/vector_stores", "/v1/vector_stores"),
        ("/v1/videos", "/v1/videos"),
    ],
)
def test_escapes_are_written_in_capitals_and_all_else_stays(raw: str, path: str):
    assert canonical_path(raw) == path
    check_names_no_endpoint(path)


def test_a_models_name_may_have_a_slash_and_nothing_else_that_separates():
    assert canonical_path("/v1/models/a%2fb", slash_in_name=True) == "/v1/models/a%2Fb"
    for byte in ("%5c", "%25", "%3f", "%23", "%3b"):
        with pytest.raises(NotFound):
            canonical_path(f"/v1/models/a{byte}b", slash_in_name=True)


@pytest.mark.parametrize("raw", MODELS_UNREAD)
def test_an_endpoint_under_another_spelling_is_refused_before_anything_is_asked(raw: str):
    with pytest.raises(NotFound) as refused:
        check_names_no_endpoint(canonical_path(raw))
    assert refused.value.code == "path_not_canonical"
