"""X96: what a key with a list of models, and a project with rules, may ask for, without a server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from keys.access import InactiveProject, ModelNotAllowed
from keys.rules import MethodRefused, OriginRefused, ParamRefused, ParamUnreadable
from proxy.errors import BadRequest, Forbidden
from proxy.exchange import Exchange
from proxy.steps.authorize import authorize, authorized_upload
from proxy.wire.form_model import ModelField
from tests.kit.exchanges import BUDGET, FORM, JSON, exchange_of, key_of, project_of, rules_of, snapshot_of
from tests.kit.forms import form

LISTED, FREE = key_of("a", "b-*"), key_of()
CHUNKED = (b"transfer-encoding", b"chunked")
ORIGIN = (b"origin", b"https://a.example")
OPEN = project_of(unmetered="allow")


def outcome(exchange: Exchange) -> str:
    """`passes`, the code of the refusal, or the name of the exception."""
    try:
        authorize(exchange, snapshot_of())
    except (BadRequest, Forbidden) as error:
        return error.code
    except (InactiveProject, ModelNotAllowed, MethodRefused, OriginRefused, ParamRefused, ParamUnreadable) as error:
        return error.code
    return "passes"


@pytest.mark.parametrize(
    "key, project, told",
    [
        (FREE, None, "project_inactive"),
        (FREE, project_of(is_active=False), "project_inactive"),
        (None, project_of(is_active=False), "project_inactive"),
        (FREE, project_of(), "passes"),
        (None, project_of(), "passes"),
        (None, None, "passes"),
    ],
)
def test_a_project_has_to_be_active(key: Any, project: Any, told: str):
    assert outcome(exchange_of(body={"model": "a"}, key=key, project=project)) == told


@pytest.mark.parametrize(
    "path, body, headers, told",
    [
        ("/v1/chat/completions", {"model": "a"}, (), "passes"),
        ("/v1/chat/completions", {"model": "b-1"}, (), "passes"),
        ("/v1/chat/completions", {"model": "c"}, (), "model_not_allowed"),
        ("/v1/chat/completions", {"model": "a", "Model": "c"}, (), "model_not_readable"),
        ("/v1/chat/completions", {"model": "a", "MODEL": "a"}, (), "model_not_readable"),
        ("/v1/chat/completions", {"MODEL": "a"}, (), "missing_required_parameter"),
        ("/v1/files", {"model": "c"}, (), "model_not_allowed"),
        ("/v1/files", {"model": "a"}, (), "passes"),
        ("/v1/files", {"model": 1}, (), "model_not_readable"),
        ("/v1/files", {"Model": "a"}, (), "model_not_readable"),
        ("/v1/files", {}, (), "passes"),
        ("/v1/files", b"[1]", (JSON,), "model_not_readable"),
        ("/v1/files", b"", (JSON,), "passes"),
        ("/v1/files", b"x", (FORM,), "passes"),
        ("/v1/files", b"x", ((b"content-type", b"text/plain"),), "model_not_readable"),
        ("/v1/files", None, ((b"content-type", b"text/plain"), CHUNKED), "model_not_readable"),
        ("/v1/files", None, (), "passes"),
    ],
)
def test_a_list_of_models_holds_for_whatever_names_one(path: str, body: Any, headers: Any, told: str):
    assert outcome(exchange_of("POST", path, body, *headers, key=LISTED, project=OPEN)) == told
    if told != "missing_required_parameter":
        assert outcome(exchange_of("POST", path, body, *headers, key=FREE, project=OPEN)) == "passes"


@pytest.mark.parametrize(
    "path, body, headers, told",
    [
        ("/v1/chat/completions", {"model": "m", "n": 1}, (), "passes"),
        ("/v1/chat/completions", {"model": "m", "n": 2}, (), "param_not_allowed"),
        ("/v1/chat/completions", {"model": "x", "n": 1}, (), "param_not_allowed"),
        ("/v1/responses", {"prompt": {"id": "p"}}, (), "param_not_readable"),
        ("/v1/files", {"n": 2}, (), "param_not_allowed"),
        ("/v1/files", {"n": 1}, (), "passes"),
        ("/v1/files", b"[1]", (JSON,), "param_not_readable"),
        ("/v1/files", b"", (JSON,), "passes"),
        ("/v1/files", b"x", ((b"content-type", b"text/plain"),), "param_not_readable"),
        ("/v1/files", b"x", (FORM,), "passes"),
        ("/v1/files", None, (), "passes"),
    ],
)
def test_a_rule_for_parameters_needs_a_body_that_can_be_read(path: str, body: Any, headers: Any, told: str):
    ruled = project_of(unmetered="allow", rules=rules_of(params={"n": [1], "model": ["m"]}))
    assert outcome(exchange_of("POST", path, body, *headers, key=FREE, project=ruled)) == told
    assert outcome(exchange_of("POST", path, body, *headers, key=FREE, project=OPEN)) == "passes"


def test_a_rule_for_another_parameter_leaves_the_model_to_the_provider():
    ruled = project_of(unmetered="allow", rules=rules_of(params={"n": [1]}))
    assert outcome(exchange_of("POST", "/v1/responses", {"prompt": {"id": "p"}}, key=FREE, project=ruled)) == "passes"


def test_a_model_that_the_gateway_chose_is_what_its_rule_is_about():
    ruled = project_of(rules=rules_of(params={"model": ["m"]}))
    preferring = [JSON, (b"x-preferred-model", b"m")]
    assert (
        outcome(exchange_of("POST", "/v1/chat/completions", {"model": "auto"}, *preferring, project=ruled)) == "passes"
    )


@pytest.mark.parametrize(
    "origins, origin, told, kept",
    [
        (["https://a.example"], ORIGIN, "passes", True),
        (["https://b.example"], ORIGIN, "origin_not_allowed", False),
        ([], ORIGIN, "passes", False),
        (None, ORIGIN, "passes", False),
    ],
)
def test_a_page_reads_the_answers_of_the_projects_that_name_it(origins: Any, origin: Any, told: str, kept: bool):
    project = project_of(rules=None if origins is None else rules_of(origins=origins, methods=["POST"]))
    exchange = exchange_of("POST", "/v1/chat/completions", {"model": "a"}, JSON, origin, key=FREE, project=project)
    exchange.cors_origin = ORIGIN[1]
    assert outcome(exchange) == told
    assert exchange.cors_origin == (ORIGIN[1] if kept else b"")


def test_rules_come_before_what_is_metered_and_that_before_models():
    bound = key_of("a", scopes=(BUDGET,))
    ruled = project_of(rules=rules_of(methods=["GET"]))
    assert outcome(exchange_of("POST", "/v1/batches", {"model": "c"}, key=bound, project=ruled)) == "method_not_allowed"
    assert outcome(exchange_of("POST", "/v1/batches", {"model": "c"}, key=bound, project=project_of())) == (
        "endpoint_not_metered"
    )
    assert outcome(exchange_of("GET", "/v1/models", None, key=bound, project=project_of())) == "passes"
    assert outcome(exchange_of(body={"model": "a"}, key=bound, project=project_of())) == "passes"


# --- forms -----------------------------------------------------------------------------------------------------


def uploaded(exchange: Exchange, *pieces: bytes) -> list[Any]:
    """What went on of a form, or what it was refused with; then as the last one."""
    sent: list[Any] = []

    async def given() -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece

    async def work() -> None:
        try:
            async for piece in authorized_upload(exchange, given()):
                sent.append(piece)  # noqa: PERF401 - what came before a refusal counts
        except (Forbidden, BadRequest, ModelNotAllowed, ParamRefused, ParamUnreadable) as error:
            sent.append(error.code)

    asyncio.run(work())
    return sent


def sent_by(key: Any, project: Any = OPEN, path: str = "/v1/audio/transcriptions", **known: Any) -> Exchange:
    return exchange_of("POST", path, None, FORM, CHUNKED, key=key, project=project, **known)


@pytest.mark.parametrize("key, project", [(LISTED, OPEN), (FREE, OPEN), (None, None), (LISTED, None)])
def test_a_form_goes_on_as_it_came(key: Any, project: Any):
    pieces = [form(("model", "a"), end=""), form(("file", "x" * 50))]
    assert uploaded(sent_by(key, project), *pieces) == pieces
    assert uploaded(sent_by(key, project)) == []


def test_the_last_piece_of_a_form_waits_for_its_end():
    begun = form(("file", "x"), end="--B\r\nContent-Disposition: form-data; na")
    assert uploaded(sent_by(LISTED), begun) == ["model_not_readable"]
    assert uploaded(sent_by(LISTED), form(("model", "a"), end=""), begun)[1:] == ["model_not_readable"]
    assert uploaded(sent_by(FREE), begun) == [begun]


@pytest.mark.parametrize(
    "key, project, known, fields, told",
    [
        (LISTED, OPEN, {}, [("model", "c")], "model_not_allowed"),
        (LISTED, OPEN, {}, [("model", "a"), ("model", "c")], "model_not_allowed"),
        (FREE, OPEN, {}, [("model", "c")], None),
        (FREE, project_of(rules=rules_of(params={"n": [1]})), {}, [("n", "2")], "param_not_allowed"),
        (FREE, project_of(rules=rules_of(params={"n": [1]})), {}, [("n", "1"), ("model", "c")], None),
        (LISTED, project_of(rules=rules_of(params={"n": [1]})), {}, [("n", "2"), ("model", "a")], "param_not_allowed"),
        (LISTED, project_of(rules=rules_of(params={"n": [1]})), {}, [("n", "1"), ("model", "c")], "model_not_allowed"),
    ],
)
def test_the_fields_of_a_form_are_checked(key: Any, project: Any, known: Any, fields: Any, told: str | None):
    whole = form(*fields)
    assert uploaded(sent_by(key, project, **known), whole) == [told or whole]


@pytest.mark.parametrize("named, told", [("m", None), (" m ", None), ("n", "endpoint_not_metered")])
def test_a_metered_form_names_one_model(named: str, told: str | None):
    known: dict[str, Any] = {"is_metered_form": True, "model_field": ModelField(b" m", 0, 2), "model": "m"}
    whole = form(("model", "m"), ("model", named))
    assert uploaded(sent_by(key_of(scopes=(BUDGET,)), **known), whole) == [told or whole]
    known["is_metered_form"] = False
    assert uploaded(sent_by(FREE, **known), whole) == [whole]


@pytest.mark.parametrize(
    "key, project, known, told",
    [
        (LISTED, OPEN, {}, "model_not_readable"),
        (FREE, project_of(rules=rules_of(params={"n": [1]})), {}, "param_not_readable"),
        (LISTED, OPEN, {"is_metered_form": True, "model_field": ModelField(b"a", 0, 1)}, "endpoint_not_metered"),
    ],
)
def test_a_form_that_two_readers_could_read_differently_is_refused(key: Any, project: Any, known: Any, told: str):
    odd = b'--B\r\nContent-Disposition: form-data; name="mo\\"del"\r\n\r\nc\r\n--B--\r\n'
    assert uploaded(sent_by(key, project, **known), odd) == [told]


def test_a_files_id_is_said_in_json():
    of_a_container = "/v1/containers/cntr_1/files"
    exchange = sent_by(FREE, path=of_a_container)
    kind = exchange.endpoint.one_of
    assert kind is not None
    assert kind.names_others
    assert uploaded(exchange, form(("file_id", "file-1"))) == ["body_not_readable"]
    whole = form(("file", "x"))
    assert uploaded(exchange, whole) == [whole]
    named = form(("model", "a"), ("file", "x"))
    assert uploaded(sent_by(LISTED, path=of_a_container), named) == [named]
    assert uploaded(sent_by(FREE, path="/v1/files"), form(("file_id", "file-1"))) == [form(("file_id", "file-1"))]
