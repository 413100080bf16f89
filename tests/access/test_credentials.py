"""F20: the three ways to send a key, and what is no key."""

from __future__ import annotations

import pytest

from tests.kit.requests import CHAT, ask, error_of, refused
from tests.kit.sluice import Sluice
from tests.kit.upstream import Upstream


@pytest.mark.parametrize(
    "name, form",
    [
        ("Authorization", "Bearer {}"),
        ("authorization", "bearer {}"),
        ("AUTHORIZATION", "BEARER {}"),
        ("Authorization", "bEaReR   {}"),
        ("X-API-Key", "{}"),
        ("api-key", "{}"),
        ("API-KEY", "{}"),
    ],
)
def test_a_key_is_taken_from_each_of_its_headers_in_any_case(
    sluice: Sluice, upstream: Upstream, key: str, name: str, form: str
):
    answer = ask(sluice, headers={name: form.format(key)})
    assert answer.status_code == 200, answer.text
    assert len(upstream.requests) == 1


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": ""},
        {"authorization": "Bearer"},
        {"authorization": "Basic dXNlcjpwYXNz"},
        {"x-api-key": ""},
        {"cookie": "api-key=x"},
    ],
    ids=str,
)
def test_a_missing_key_is_401_in_openais_shape(sluice: Sluice, upstream: Upstream, headers: dict[str, str]):
    answer = ask(sluice, headers=headers)
    error = refused(answer, 401, "missing_api_key")
    assert error["type"] == "authentication_error"
    assert answer.headers["www-authenticate"] == "Bearer"
    assert upstream.requests == []


@pytest.mark.parametrize("text", ["nonsense", "sk-sluice-", "sk-" + "a" * 48, "Bearer x", "sk-sluice-" + "a" * 52])
@pytest.mark.parametrize("name", ["authorization", "x-api-key", "api-key"])
def test_what_is_no_key_is_401(sluice: Sluice, upstream: Upstream, name: str, text: str):
    answer = ask(sluice, headers={name: f"Bearer {text}" if name == "authorization" else text})
    refused(answer, 401, "invalid_api_key")
    assert text not in answer.text
    assert upstream.requests == []


def test_a_key_in_bytes_outside_of_ascii_is_401(sluice: Sluice):
    headers = {b"x-api-key": b"sk-sluice-" + b"\xe9" * 52}
    answer = sluice.client().post("/v1/chat/completions", headers=headers, json=CHAT)
    refused(answer, 401, "invalid_api_key")


def test_a_key_comes_before_what_the_body_lacks(sluice: Sluice):
    """A caller without a key learns nothing of models; the body's own faults may be told, in the same shape."""
    answer = ask(sluice, model="no-such-model-anywhere")
    refused(answer, 401, "missing_api_key")
    assert error_of(ask(sluice, path="/v1/models", method="GET"))["code"] == "missing_api_key"
    assert error_of(ask(sluice, path="/v1/files", method="GET"))["code"] == "missing_api_key"
    assert error_of(ask(sluice, path="/v1/responses/resp_1", method="GET"))["code"] == "missing_api_key"


def test_two_different_keys_in_two_headers_are_not_a_way_to_be_two_clients(sluice: Sluice, key: str):
    """The Authorization header counts, and what is in the other headers is never sent on."""
    other = "sk-sluice-" + "b" * 52
    assert ask(sluice, key, headers={"x-api-key": other}).status_code == 200
    refused(ask(sluice, other, headers={"x-api-key": key}), 401, "invalid_api_key")
