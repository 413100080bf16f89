"""F28: a key uses the models on its list, however the request names them."""

from __future__ import annotations

import json

import httpx
import pytest

from tests.kit.management import minted
from tests.kit.requests import JSON, ask, error_of, refused
from tests.kit.sluice import Sluice
from tests.kit.upstream import Upstream

ALLOWED, FORBIDDEN = "gpt-4.1-mini", "o1-forbidden"

pytestmark = pytest.mark.key(allowed_models=[ALLOWED, "gpt-4o-*"], project={"unmetered": "allow"})


def names_of_models(body: bytes) -> set[str]:
    """Every value that some reader of the body could take for the model."""
    pairs: list[tuple[str, object]] = json.loads(body, object_pairs_hook=list)
    return {str(value) for name, value in pairs if name.lower() == "model"}


def assert_unseen(upstream: Upstream) -> None:
    """The upstream has not seen the forbidden model in a whole request, in any spelling."""
    for received in upstream.requests:
        if received.complete.is_set():
            assert FORBIDDEN.encode() not in received.body, received.body
            assert rb"\u006f1-forbidden" not in received.body


@pytest.mark.parametrize(
    "listed, model, fits",
    [
        (["gpt-4.1-mini"], "gpt-4.1-mini", True),
        (["gpt-4.1-mini"], "gpt-4.1-mini-2", False),
        (["gpt-4.1-mini"], "GPT-4.1-MINI", False),
        (["gpt-4.1-mini"], " gpt-4.1-mini", False),
        (["gpt-4.1-*"], "gpt-4.1-nano", True),
        (["gpt-4.1-*"], "gpt-4.1", False),
        (["gpt-4.1-*"], "xgpt-4.1-nano", False),
        (["gpt-?"], "gpt-4", True),
        (["gpt-?"], "gpt-45", False),
        (["a", "b-*"], "b-1", True),
        (["*"], "anything", True),
        (["x", "*"], "anything", True),
        ([], "anything", True),
    ],
)
def test_names_and_globs_decide(sluice: Sluice, upstream: Upstream, listed: list[str], model: str, fits: bool):
    _, key = minted(sluice, allowed_models=listed)
    answer = ask(sluice, key, model=model)
    if fits:
        assert answer.status_code == 200
        return
    error = refused(answer, 403, "model_not_allowed")
    assert (error["type"], error["param"]) == ("permission_error", "model")
    assert repr(model) in error["message"]
    assert upstream.requests == []


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"o1-forbidden","messages":[]}',
        b'{"model":"gpt-4.1-mini","messages":[],"model":"o1-forbidden"}',
        b'{"model":"o1-forbidden","messages":[],"model":"gpt-4.1-mini"}',
        b'{"mod\\u0065l":"o1-forbidden","messages":[]}',
        b'{"model":"gpt-4.1-mini","messages":[],"mod\\u0065l":"o1-forbidden"}',
        b'{"mod\\u0065l":"o1-forbidden","messages":[],"model":"gpt-4.1-mini"}',
        b'{"model":"\\u006f1-forbidden","messages":[]}',
        b'{ "model" : "gpt-4.1-mini" ,\n "model" : "o1-forbidden" }',
        b'{"model":["o1-forbidden"]}',
        b'{"model":{"name":"o1-forbidden"}}',
        b'\xef\xbb\xbf{"model":"o1-forbidden"}',
        '{"model":"o1-forbidden"}'.encode("utf-16"),
        b'{"model":"gpt-4.1-mini"}{"model":"o1-forbidden"}',
        b'{"model":"gpt-4.1-mini"}\n{"model":"o1-forbidden"}',
        b'{"model":"gpt-4.1-mini","pad":"' + b"x" * 300_000 + b'","model":"o1-forbidden"}',
    ],
    ids=lambda body: body[:50],
)
@pytest.mark.parametrize(
    "path",
    ["/v1/chat/completions", "/v1/responses", "/v1/embeddings", "/v1/images/generations", "/v1/responses/compact"],
)
def test_no_spelling_of_the_body_gets_a_forbidden_model_through(
    sluice: Sluice, upstream: Upstream, key: str, path: str, body: bytes
):
    answer = ask(sluice, key, path=path, content=body, headers=JSON)
    if answer.status_code == httpx.codes.OK:
        # Served, so with the allowed model alone, whichever way the body is read.
        assert names_of_models(upstream.last.body) == {ALLOWED}
    else:
        assert answer.status_code in (400, 403), answer.text
        error_of(answer)
    assert_unseen(upstream)


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/images/generations"])
def test_a_name_in_another_case_does_not_name_a_second_model(sluice: Sluice, upstream: Upstream, key: str, path: str):
    """Go's JSON reader, in Ollama and LocalAI, takes `Model` for `model`; the last of them wins."""
    body = b'{"model":"gpt-4.1-mini","messages":[],"Model":"o1-forbidden"}'
    ask(sluice, key, path=path, content=body, headers=JSON)
    assert_unseen(upstream)


@pytest.mark.parametrize(
    "path",
    [
        "/v1/chat/completions/",
        "/v1/chat//completions",
        "/v1//chat/completions",
        "/v1/Chat/Completions",
        "/v1/CHAT/COMPLETIONS/",
        "/v1/%63hat/completions",
        "/v1/chat%2fcompletions",
        "/v1/chat/./completions",
        "/v1/x/../chat/completions",
        "/v1/chat/completions?model=gpt-4.1-mini",
        "/v1/chat/completions;a=b",
        "/v1/chat/completions/%20",
        "//v1/chat/completions",
        "/V1/chat/completions",
    ],
)
def test_no_spelling_of_the_path_gets_a_forbidden_model_through(
    sluice: Sluice, upstream: Upstream, key: str, path: str
):
    for content_type in ("application/json", "Application/JSON; charset=utf-8"):
        body = json.dumps({"model": FORBIDDEN, "messages": []}).encode()
        answer = ask(sluice, key, path=path, content=body, headers={"content-type": content_type})
        assert 400 <= answer.status_code < 500, answer.text
    assert_unseen(upstream)


@pytest.mark.parametrize(
    "content_type",
    ["application/json", "application/vnd.api+json", "text/plain", "", "application/x-www-form-urlencoded"],
)
def test_no_content_type_gets_a_forbidden_model_through(
    sluice: Sluice, upstream: Upstream, key: str, content_type: str
):
    """Some servers read JSON whatever it is called."""
    body = b'{"model":"o1-forbidden","prompt":"a cat"}'
    headers = {"content-type": content_type} if content_type else {}
    answer = ask(sluice, key, path="/v1/images/generations", content=body, headers=headers)
    assert answer.status_code in (400, 403, 415), answer.text
    assert_unseen(upstream)


def test_a_url_encoded_form_does_not_get_a_forbidden_model_through(sluice: Sluice, upstream: Upstream, key: str):
    headers = {"content-type": "application/x-www-form-urlencoded"}
    answer = ask(sluice, key, path="/v1/images/generations", content=b"model=o1-forbidden&prompt=a", headers=headers)
    assert answer.status_code in (400, 403, 415), answer.text
    assert_unseen(upstream)


@pytest.mark.parametrize("model", ["o1-forbidden\n", "o1-forbidden\u0000", "o1-forbidden" + "x" * 200])
def test_a_name_that_cannot_be_a_models_is_no_way_around_the_list(
    sluice: Sluice, upstream: Upstream, key: str, model: str
):
    body = json.dumps({"model": model, "prompt": "a"}).encode()
    answer = ask(sluice, key, path="/v1/images/generations", content=body, headers=JSON)
    assert answer.status_code in (400, 403), answer.text
    assert_unseen(upstream)


def test_a_body_that_is_chunked_or_large_is_read_too(sluice: Sluice, upstream: Upstream, key: str):
    body = b'{"model":"o1-forbidden","prompt":"a cat"}'
    client = sluice.client(key)
    chunked = client.post("/v1/images/generations", content=iter([body[:10], body[10:]]), headers=JSON)
    refused(chunked, 403, "model_not_allowed")
    large = body[:-1] + b',"pad":"' + b"x" * 1024 * 1024 + b'"}'
    refused(ask(sluice, key, path="/v1/images/generations", content=large, headers=JSON), 403, "model_not_allowed")
    assert_unseen(upstream)


def test_the_preferred_model_is_checked_too(sluice: Sluice, upstream: Upstream, key: str):
    for model in ("auto", "", None):
        refused(ask(sluice, key, model=model, headers={"x-preferred-model": FORBIDDEN}), 403, "model_not_allowed")
    assert ask(sluice, key, model=ALLOWED, headers={"x-preferred-model": FORBIDDEN}).status_code == 200
    assert_unseen(upstream)


def test_what_names_no_model_passes(sluice: Sluice, upstream: Upstream, key: str):
    assert ask(sluice, key, path="/v1/files", method="GET").status_code == 200
    allowed = b'{"model":"gpt-4o-mini","prompt":"a"}'
    assert ask(sluice, key, path="/v1/images/generations", content=allowed, headers=JSON).status_code == 200
    assert upstream.last.body == allowed
