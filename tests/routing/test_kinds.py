"""F50: how each kind of provider is addressed and paid."""

from __future__ import annotations

from typing import Any

import pytest

from tests.kit.environment import UPSTREAM_KEY
from tests.kit.providers import AddProvider
from tests.kit.requests import JSON, ask
from tests.kit.sluice import Sluice
from tests.kit.upstream import Upstream, chat_answer

SECRET = "sk-of-this-provider"
OWN: dict[str, Any] = {"credential": "own", "api_key": SECRET}


@pytest.mark.parametrize(
    "kind, base, options, called, auth",
    [
        ("openai", "/v1", {}, "/v1/chat/completions", ("authorization", f"Bearer {SECRET}")),
        ("openai", "/api/v3", {}, "/api/v3/chat/completions", ("authorization", f"Bearer {SECRET}")),
        ("openai", "", {}, "/chat/completions", ("authorization", f"Bearer {SECRET}")),
        ("openai", "/v1/", {"headers": {"X-Extra": "yes"}}, "/v1/chat/completions", ("x-extra", "yes")),
        (
            "azure",
            "/openai",
            {},
            "/openai/deployments/deployed/chat/completions?api-version=2024-10-21",
            ("api-key", SECRET),
        ),
        (
            "azure",
            "/openai",
            {"api_version": "2025-01-01-preview"},
            "/openai/deployments/deployed/chat/completions?api-version=2025-01-01-preview",
            ("api-key", SECRET),
        ),
        ("azure", "/openai/v1", {}, "/openai/v1/chat/completions", ("api-key", SECRET)),
        (
            "custom",
            "/x",
            {"paths": {"/chat/completions": "/generate"}, "auth_header": "X-Token", "auth_format": "Key {key}"},
            "/x/generate",
            ("x-token", f"Key {SECRET}"),
        ),
        ("custom", "/x", {}, "/x/chat/completions", ("authorization", f"Bearer {SECRET}")),
    ],
)
def test_a_kind_is_called_at_its_path_with_its_credential(
    router: Sluice,
    upstream: Upstream,
    key: str,
    add_provider: AddProvider,
    kind: str,
    base: str,
    options: dict[str, Any],
    called: str,
    auth: tuple[str, str],
):
    upstream.script = chat_answer(model="deployed")
    add_provider("under-test", base, kind=kind, models={"asked": "deployed"}, options=options, **OWN)
    answer = ask(router, key, model="asked")
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-provider"] == "under-test"
    assert answer.json()["model"] == "asked"
    received = upstream.last
    assert (received.path + (f"?{received.query}" if received.query else "")) == called
    assert received.header(auth[0]) == auth[1]
    assert received.json()["model"] == "deployed"
    assert received.header("host") == f"127.0.0.1:{upstream.port}"
    if auth[0] != "authorization" and auth[0] != "x-extra":
        assert received.header("authorization") is None
    assert UPSTREAM_KEY not in str(received.headers)


def test_a_clients_header_does_not_stand_beside_the_credential_of_a_kind(
    router: Sluice, upstream: Upstream, key: str, add_provider: AddProvider
):
    upstream.script = chat_answer()
    options = {"auth_header": "X-Pass", "auth_format": "{key}", "headers": {"X-Team-Token": "ours", "X-Trace": "ours"}}
    add_provider("custom-headers", "/x", kind="custom", models={"odd-model": ""}, options=options, **OWN)
    sent = {"x-pass": "the client's", "x-team-token": "the client's", "x-trace": "the client's"}
    assert ask(router, key, model="odd-model", headers=sent).status_code == 200
    assert upstream.last.header_values("x-pass") == [SECRET]
    assert upstream.last.header_values("x-team-token") == ["ours"]
    assert upstream.last.header_values("x-trace") == ["the client's", "ours"]  # no credential, by its name


def test_a_provider_without_a_credential_gets_none(
    router: Sluice, upstream: Upstream, key: str, add_provider: AddProvider
):
    upstream.script = chat_answer()
    add_provider("free", "/free", models={"free-model": ""})
    assert ask(router, key, model="free-model").status_code == 200
    assert upstream.last.path == "/free/chat/completions"
    assert upstream.last.header("authorization") is None
    assert upstream.last.header("api-key") is None


def test_the_simulator_answers_without_any_network(
    router: Sluice, upstream: Upstream, key: str, add_provider: AddProvider
):
    add_provider("simulated", kind="simulator", base_url="", models={"sim": ""})
    answer = ask(router, key, model="sim")
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-provider"] == "simulated"
    assert not [r for r in upstream.requests if r.path.endswith("completions")]


def test_the_simulators_faults_end_as_a_providers_do(router: Sluice, key: str, add_provider: AddProvider):
    add_provider("faulty", kind="simulator", base_url="", models={"faulty": ""})
    for kind in ("reset", "cut", "malformed", "html"):
        answer = ask(router, key, model="faulty", simulate={"fault": {"kind": kind}})
        assert (answer.status_code, answer.json()["error"]["type"]) == (502, "upstream_error"), (kind, answer.text)


def test_what_is_passed_through_goes_to_the_provider_of_its_model_with_its_name(
    router: Sluice, upstream: Upstream, key: str, add_provider: AddProvider
):
    add_provider("images", "/images", models={"painter": "painter-3"}, **OWN)
    answer = ask(
        router, key, path="/v1/images/generations?a=1", content=b'{"model":"painter","prompt":"a"}', headers=JSON
    )
    assert answer.status_code == 200
    assert (upstream.last.path, upstream.last.query) == ("/images/images/generations", "a=1")
    assert upstream.last.json() == {"model": "painter-3", "prompt": "a"}
    assert upstream.last.header("authorization") == f"Bearer {SECRET}"


def test_what_names_no_model_goes_to_the_first_provider(
    router: Sluice, upstream: Upstream, key: str, add_provider: AddProvider
):
    add_provider("drained", "/drained", weight=0, priority=1)
    add_provider("default", "/default", priority=2, models={"x": ""})
    assert ask(router, key, path="/v1/files", method="GET").headers["x-provider"] == "default"
    assert upstream.last.path == "/default/files"
