"""X54: large JSON, JSON in chunks, and forms are mapped and routed as small JSON is."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest

from tests.kit.management import minted, new_project
from tests.kit.providers import AddProvider
from tests.kit.requests import JSON, ask, refused
from tests.kit.sluice import Sluice
from tests.kit.upstream import Upstream
from tests.kit.wire import answer_on, connect

FORM = {"content-type": 'multipart/form-data; boundary="x=\'y"'}
BOUNDARY = b"--x='y"
AUDIO = b"RIFF\r\n--x='\0\xff\r\n\r\n" * 5000
DECOY = b'\r\nContent-Disposition: form-data; name="model"\r\n\r\ndecoy\r\n--'


def part(name: str, value: bytes, more: str = "") -> bytes:
    return BOUNDARY + f'\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n'.encode() + value + b"\r\n"


def form(model: bytes, *, last: bool = False, file: bytes = AUDIO) -> bytes:
    parts = [part("model", model), part("file", file, '; filename="a.wav"'), part("language", b"de")]
    return b"".join(reversed(parts) if last else parts) + BOUNDARY + b"--\r\n"


@pytest.fixture
def mapped(add_provider: AddProvider) -> None:
    models = {"asked": "a-much-longer-name-of-its-own"}
    add_provider("mapped", "/mapped", models=models, priority=1, credential="own", api_key="sk-mapped-canary")


OWN = b"a-much-longer-name-of-its-own"


@pytest.mark.usefixtures("mapped")
@pytest.mark.parametrize("length", [True, False], ids=["with its length", "in chunks"])
@pytest.mark.parametrize("size", [10, 3_000_000])
def test_json_of_any_size_is_mapped(router: Sluice, upstream: Upstream, key: str, size: int, length: bool):
    body: dict[str, Any] = {"model": "asked", "input": "x" * size}
    raw = json.dumps(body).encode()
    pieces = raw if length else (raw[at : at + 65536] for at in range(0, len(raw), 65536))
    with router.client(key, headers=JSON) as client:
        answer = client.post("/v1/moderations", content=pieces)
    assert (answer.status_code, answer.headers["x-provider"]) == (200, "mapped")
    assert upstream.last.json() == {**body, "model": OWN.decode()}
    assert upstream.last.header("authorization") == "Bearer sk-mapped-canary"


@pytest.mark.usefixtures("mapped")
@pytest.mark.parametrize("length", [True, False], ids=["with its length", "in chunks"])
@pytest.mark.parametrize("last", [True, False])
@pytest.mark.parametrize("file", [AUDIO, DECOY, b"", b"x" * 2_000_000], ids=["audio", "decoy", "empty", "large"])
def test_a_form_is_mapped_wherever_its_model_stands(
    router: Sluice, upstream: Upstream, key: str, length: bool, last: bool, file: bytes
):
    raw = form(b"asked", last=last, file=file)
    pieces = raw if length else (raw[at : at + 999] for at in range(0, len(raw), 999))
    with router.client(key, headers=FORM) as client:
        answer = client.post("/v1/audio/transcriptions", content=pieces)
    assert (answer.status_code, answer.headers["x-provider"]) == (200, "mapped"), answer.text
    assert upstream.last.path == "/mapped/audio/transcriptions"
    assert upstream.last.body == form(OWN, last=last, file=file)
    assert upstream.last.header("content-length") == (str(len(form(OWN, file=file))) if length else None)


@pytest.mark.usefixtures("mapped")
def test_a_packed_form_is_mapped(router: Sluice, upstream: Upstream, key: str):
    headers = {**FORM, "content-encoding": "gzip"}
    answer = ask(router, key, path="/v1/images/edits", content=gzip.compress(form(b"asked")), headers=headers)
    assert (answer.status_code, answer.headers["x-provider"]) == (200, "mapped"), answer.text
    assert upstream.last.body == form(OWN)


def test_a_form_finds_its_deployment_at_azure(router: Sluice, upstream: Upstream, key: str, add_provider: AddProvider):
    add_provider("azure-forms", "/openai", kind="azure", models={"ear": "deployed"}, priority=1)
    answer = ask(router, key, path="/v1/audio/transcriptions", content=form(b"ear", last=True), headers=FORM)
    assert answer.status_code == 200, answer.text
    assert upstream.last.path == "/openai/deployments/deployed/audio/transcriptions"
    assert upstream.last.body == form(b"deployed", last=True)


@pytest.mark.usefixtures("mapped")
@pytest.mark.parametrize(
    "raw", [form(b"nobodys"), BOUNDARY + b"--\r\n", b"", b"no form", form(b"a\nb"), form(b"asked")[:-20]]
)
def test_what_names_no_model_goes_to_the_first_provider_as_it_is(
    router: Sluice, upstream: Upstream, key: str, raw: bytes
):
    answer = ask(router, key, path="/v1/audio/transcriptions", content=raw, headers=FORM)
    assert answer.status_code == 200, answer.text
    assert upstream.last.body == raw.replace(b"\nasked\r", b"\n" + OWN + b"\r")


@pytest.mark.usefixtures("mapped")
def test_a_keys_models_hold_for_the_clients_name(router: Sluice, upstream: Upstream):
    project = new_project(router, unmetered="allow")
    _, some = minted(router, project=project, allowed_models=["asked"])
    _, other = minted(router, project=project, allowed_models=["other"])
    path = "/v1/audio/transcriptions"
    assert ask(router, some, path=path, content=form(b"asked"), headers=FORM).status_code == 200
    refused(ask(router, other, path=path, content=form(b"asked"), headers=FORM), 403, "model_not_allowed")
    two = part("model", b"asked") + form(b"theirs")
    refused(ask(router, some, path=path, content=two, headers=FORM), 403, "model_not_allowed")


@pytest.mark.usefixtures("mapped")
def test_what_follows_the_model_goes_up_as_it_comes(router: Sluice, upstream: Upstream, key: str):
    raw = form(b"asked")
    head = f"POST /v1/audio/transcriptions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\n"
    head += f"content-type: {FORM['content-type']}\r\ncontent-length: {len(raw)}\r\n\r\n"
    with connect(router) as peer:
        peer.sendall(head.encode() + raw[:20_000])
        upstream.wait_until(lambda: upstream.requests and len(upstream.last.body) > 10_000)
        peer.sendall(raw[20_000:])
        assert answer_on(peer).status == 200
    assert upstream.last.body == form(OWN)
