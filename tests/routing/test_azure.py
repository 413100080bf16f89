"""X53: a program for Azure changes its endpoint alone, and a provider of kind azure is spoken to as Azure wants it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any
from urllib.parse import parse_qs

import pytest
from openai import AzureOpenAI, NotFoundError

from providers.kinds.azure import Azure
from proxy.steps.trace import target
from tests.kit.management import minted
from tests.kit.providers import AddProvider
from tests.kit.requests import JSON, ask
from tests.kit.sluice import Sluice
from tests.kit.upstream import Received, Script, Upstream, chat_answer, chat_stream, error_answer, json_answer

MESSAGES: Any = [{"role": "user", "content": "hi"}]
FORM = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\nRIFF\r\n--b--\r\n'


def azure(received: Received) -> Script:
    """Strict as Azure is: its own credential, one version, a deployment that exists, no options that it has not."""
    if received.header("api-key") != "azure-canary" or received.header("authorization"):
        return error_answer(401, "Access denied due to invalid subscription key.")
    versions = parse_qs(received.query).get("api-version", [])
    if len(versions) != 1:
        return error_answer(404, f"Resource not found: {len(versions)} versions")
    _, _, path = received.path.partition("/openai/deployments/deployed/")
    if path == "audio/transcriptions":
        return json_answer({"text": versions[0]})
    if path != "chat/completions":
        return error_answer(404, "The API deployment for this resource does not exist.", "DeploymentNotFound")
    if received.json().get("stream_options"):
        return error_answer(400, "Unknown parameter: stream_options")
    if received.json().get("stream"):
        return chat_stream(usage_shape="none")
    return chat_answer(versions[0], model="gpt-4.1-2025")


@pytest.fixture
def at_azure(upstream: Upstream, add_provider: AddProvider) -> None:
    upstream.script = azure
    options = {"api_version": "2024-06-01", "include_usage": False}
    fields = {"kind": "azure", "credential": "own", "api_key": "azure-canary", "options": options}
    add_provider("azure-mock", "/openai", models={"asked/name": "deployed"}, priority=1, **fields)


@pytest.fixture
def sdk(router: Sluice, key: str) -> Iterator[AzureOpenAI]:
    options: dict[str, Any] = {"api_key": key, "api_version": "2025-01-01", "max_retries": 0}
    with closing(AzureOpenAI(azure_endpoint=router.url, **options)) as client:
        yield client


@pytest.mark.usefixtures("at_azure")
def test_the_sdk_for_azure_works(sdk: AzureOpenAI):
    """The client's version goes before the provider's, and once."""
    made = sdk.chat.completions.create(model="asked/name", messages=MESSAGES)
    assert (made.choices[0].message.content, made.model) == ("2025-01-01", "asked/name")
    stream = sdk.chat.completions.create(model="asked/name", messages=MESSAGES, stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices) == "Hello world!"


@pytest.mark.usefixtures("at_azure")
def test_a_client_with_a_deployment_of_its_own_works(router: Sluice, key: str):
    options: dict[str, Any] = {"api_key": key, "api_version": "2025-01-01", "max_retries": 0}
    with closing(AzureOpenAI(azure_endpoint=router.url, azure_deployment="asked%2Fname", **options)) as client:
        made = client.chat.completions.create(model="whatever", messages=MESSAGES)
        assert made.choices[0].message.content == "2025-01-01"
        told = client.audio.transcriptions.create(model="whatever", file=("a.wav", b"RIFF"))
        assert told.text == "2025-01-01"


def test_what_its_program_asks_for_may_be_anywhere(router: Sluice, upstream: Upstream, sdk: AzureOpenAI):
    assert sdk.chat.completions.create(model="gpt-4.1-mini", messages=MESSAGES).choices
    assert (upstream.last.path, upstream.last.json()["model"]) == ("/v1/chat/completions", "gpt-4.1-mini")
    assert sdk.responses.create(model="gpt-4.1-mini", input="hi").output
    assert upstream.last.path == "/v1/responses"
    assert sdk.models.list().object == "list"
    with pytest.raises(NotFoundError):
        sdk.responses.retrieve("resp_nobodys")


@pytest.mark.usefixtures("at_azure")
def test_the_providers_version_holds_where_the_client_says_none(router: Sluice, key: str):
    answer = ask(router, key, model="asked/name")
    assert answer.json()["choices"][0]["message"]["content"] == "2024-06-01"
    answer = ask(router, key, path="/v1/chat/completions?api-version=2025-02-02&a=1", model="asked/name")
    assert answer.json()["choices"][0]["message"]["content"] == "2025-02-02"


@pytest.mark.usefixtures("at_azure")
@pytest.mark.parametrize("content", [b'{"messages":[]}', b'{"model":"other","messages":[]}'])
def test_the_deployment_in_the_path_is_the_model(router: Sluice, upstream: Upstream, key: str, content: bytes):
    path = "/openai/deployments/asked%2Fname/chat/completions?api-version=2025-01-01"
    assert ask(router, key, path=path, content=content, headers=JSON).status_code == 200
    assert upstream.last.json()["model"] == "deployed"


@pytest.mark.usefixtures("at_azure")
def test_a_form_finds_its_deployment_by_the_path(router: Sluice, key: str):
    path = "/openai/deployments/asked%2Fname/audio/transcriptions?api-version=2025-01-01"
    headers = {"content-type": "multipart/form-data; boundary=b"}
    answer = ask(router, key, path=path, content=FORM, headers=headers)
    assert (answer.status_code, answer.json()) == (200, {"text": "2025-01-01"})


@pytest.mark.parametrize("end", ["chat/completions", "audio/transcriptions", "images/generations"])
def test_a_keys_models_hold_for_the_deployment(router: Sluice, upstream: Upstream, end: str):
    _, some = minted(router, allowed_models=["mine"])
    body = b'{"model":"mine","messages":[]}'
    for beginning in ("/openai", "/openai/v1", "/v1", "/v1/openai"):
        path = f"{beginning}/deployments/theirs/{end}"
        answer = ask(router, some, path=path, content=body, headers=JSON)
        assert answer.status_code in (403, 404), answer.text
    assert upstream.requests == []


@pytest.mark.parametrize(
    "path",
    [
        "/openai",
        "/openai/",
        "/openai/deployments/a%00b/chat/completions",
        "/openai/deployments/x/%2e%2e/files",
        "/openai/deployments/" + "x" * 201 + "/chat/completions",
        "/openai/auth/login",
        "/v1/openai/keys",
        "/openai/admin",
    ],
)
def test_no_odd_path_gets_far(router: Sluice, upstream: Upstream, path: str):
    answer = ask(router, path=path, content=b"{}", headers=JSON)
    assert answer.status_code in (400, 401, 404), answer.text
    assert upstream.requests == []


def test_traces_call_it_as_opentelemetry_does():
    told = target("anything", Azure.telemetry_name, "proxy.example.com", None)
    assert told.vendor == "azure.ai.openai"
