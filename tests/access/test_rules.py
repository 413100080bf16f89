"""F46: a project's rules are in force in a running server."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.kit.forms import form
from tests.kit.management import changed, minted, new_project
from tests.kit.requests import ask, refused
from tests.kit.sluice import Sluice
from tests.kit.upstream import Upstream
from tests.kit.waiting import in_force, soon

MINI = "gpt-4.1-mini"


def ruled(server: Sluice, **rules: Any) -> str:
    """A key of a project with these rules."""
    return minted(server, project=new_project(server, **rules))[1]


def test_a_parameter_has_one_of_its_values_or_the_request_is_refused(sluice: Sluice, upstream: Upstream):
    key = ruled(
        sluice, allowed_params={"model": [MINI, "o4-*"], "temperature": [0, 0.5], "response_format.type": ["text"]}
    )
    assert ask(sluice, key).status_code == 200
    assert ask(sluice, key, model="o4-mini", temperature=0.5, response_format={"type": "text"}).status_code == 200
    before = len(upstream.requests)
    error = refused(ask(sluice, key, temperature=1), 400, "param_not_allowed")
    assert (error["param"], error["type"]) == ("temperature", "invalid_request_error")
    assert "0, 0.5" in error["message"]
    assert refused(ask(sluice, key, model="gpt-5"), 400, "param_not_allowed")["param"] == "model"
    nested = refused(ask(sluice, key, response_format={"type": "json_object"}), 400, "param_not_allowed")
    assert nested["param"] == "response_format.type"
    assert len(upstream.requests) == before


def test_no_spelling_of_a_parameter_gets_around_its_rule(sluice: Sluice, upstream: Upstream):
    key = ruled(sluice, allowed_params={"model": [MINI], "n": [1]})
    for body in (
        b'{"model": "gpt-5", "model": "gpt-4.1-mini", "N": 2}',
        b'{"model": "gpt-4.1-mini", "N": 2}',
        b'{"model": "gpt-4.1-mini", "\\u006e": 2}',
    ):
        answer = ask(sluice, key, content=body, headers={"content-type": "application/json"})
        assert answer.status_code == 400, answer.text
    doubled = b'{"model": "gpt-5", "model": "gpt-4.1-mini", "n": 2, "n": 1}'
    assert ask(sluice, key, content=doubled, headers={"content-type": "application/json"}).status_code == 200
    assert json.loads(upstream.last.body, object_pairs_hook=list) == [("model", MINI), ("n", 1)]


def test_the_model_that_a_header_chooses_is_held_to_the_rule(sluice: Sluice, upstream: Upstream):
    key = ruled(sluice, allowed_params={"model": [MINI]})
    refused(ask(sluice, key, model="auto", headers={"x-preferred-model": "gpt-5"}), 400, "param_not_allowed")
    assert ask(sluice, key, model="auto", headers={"x-preferred-model": MINI}).status_code == 200


def test_a_body_that_is_passed_on_is_read_first_or_refused(sluice: Sluice, upstream: Upstream):
    key = ruled(sluice, allowed_params={"size": ["256x256"]})
    path, json_type = "/v1/images/generations", {"content-type": "application/json"}
    assert ask(sluice, key, path=path, content=b'{"size": "256x256"}', headers=json_type).status_code == 200
    refused(ask(sluice, key, path=path, content=b'{"size": "1024x1024"}', headers=json_type), 400, "param_not_allowed")
    large = b'{"size": "1024x1024", "pad": "' + b"x" * 1_100_000 + b'"}'
    refused(ask(sluice, key, path=path, content=large, headers=json_type), 400, "param_not_allowed")
    before = len(upstream.requests)
    unreadable: list[tuple[bytes, str]] = [
        (b'{"size": "1024x1024"', "application/json"), (b'[{"size": "1024x1024"}]', "application/json"),
        (b'{"size": "1024x1024"}', "text/plain"), (b"size=1024x1024", "application/x-www-form-urlencoded"),
    ]  # fmt: skip
    for content, content_type in unreadable:
        answer = ask(sluice, key, path=path, content=content, headers={"content-type": content_type})
        refused(answer, 400, "param_not_readable")
    assert len(upstream.requests) == before
    assert ask(sluice, key, path="/v1/files", method="GET").status_code == 200


@pytest.mark.parametrize(
    "fields,fits",
    [
        ([("temperature", b"0.5"), ("model", b"whisper-1")], True),
        ([("temperature", b"1")], False),
        ([("TEMPERATURE", b"1")], False),
        ([("temperature[]", b"1")], False),
        ([("temperature", b"0.5\r\nmore")], False),
        ([("temperature", b"0.5"), ("temperature", b"1")], False),
        ([("other", b"1")], True),
    ],
)
def test_a_forms_fields_are_checked_while_it_streams_by(sluice: Sluice, upstream: Upstream, fields: Any, fits: bool):
    key = ruled(sluice, allowed_params={"temperature": [0, 0.5], "model": ["whisper-*"]})
    body = form(*fields, ("file", b"\0" * 50_000))
    answer = ask(
        sluice, key, path="/v1/audio/transcriptions", content=body,
        headers={"content-type": "multipart/form-data; boundary=B"},
    )  # fmt: skip
    if fits:
        assert answer.status_code == 200, answer.text
        assert upstream.last.body == body
    else:
        assert answer.status_code == 400, answer.text
        assert not [r for r in upstream.requests if r.complete.is_set() and r.body == body]


def test_a_required_header_is_there_with_one_of_its_values(sluice: Sluice, upstream: Upstream):
    key = ruled(sluice, required_headers={"X-Team": ["red", "b*"], "X-Trace": []})
    assert ask(sluice, key, headers={"x-team": "blue", "x-trace": "1"}).status_code == 200
    error = refused(ask(sluice, key, headers={"x-trace": "1"}), 400, "header_required")
    assert 'X-Team with one of the values "red", "b*"' in error["message"]
    refused(ask(sluice, key, headers={"x-team": "green", "x-trace": "1"}), 400, "header_required")
    assert "X-Trace" in refused(ask(sluice, key, headers={"x-team": "red"}), 400, "header_required")["message"]


def test_methods_and_paths_are_those_of_the_lists(sluice: Sluice, upstream: Upstream):
    key = ruled(sluice, allowed_methods=["POST"], allowed_paths=["/v1/chat/completions"])
    assert ask(sluice, key).status_code == 200
    refused(ask(sluice, key, path="/v1/Chat//completions/"), 404, "path_not_canonical")
    answer = ask(sluice, key, path="/v1/models", method="GET")
    refused(answer, 405, "method_not_allowed")
    assert answer.headers["allow"] == "POST"
    for path in ("/v1/embeddings", "/v1/chat/completions/x", "/v1/chat/other"):
        refused(ask(sluice, key, path=path), 404, "path_not_allowed")
    refused(ask(sluice, key, path="/v1/%63hat/other"), 404, "path_not_canonical")


def test_pages_of_other_origins_are_refused(sluice: Sluice, upstream: Upstream):
    key = ruled(sluice, allowed_origins=["https://app.example.org"])
    assert ask(sluice, key).status_code == 200
    assert ask(sluice, key, headers={"origin": "https://app.example.org"}).status_code == 200
    answer = ask(sluice, key, headers={"origin": "https://evil.example"})
    assert refused(answer, 403, "origin_not_allowed")["type"] == "permission_error"
    assert "access-control-allow-origin" not in answer.headers


def test_a_project_without_rules_is_not_held_to_anothers(sluice: Sluice, upstream: Upstream):
    ruled(sluice, allowed_methods=["GET"], allowed_params={"model": ["x"]})
    assert ask(sluice, minted(sluice)[1], temperature=2).status_code == 200


def test_a_change_of_rules_is_in_force_within_a_second(sluice: Sluice, upstream: Upstream):
    project = new_project(sluice)
    _, key = minted(sluice, project=project)
    assert ask(sluice, key, temperature=1).status_code == 200
    changed(sluice, f"/api/projects/{project}", allowed_params={"temperature": [0]})
    in_force(lambda: ask(sluice, key, temperature=1).status_code == 400)
    changed(sluice, f"/api/projects/{project}", allowed_params={})
    in_force(lambda: ask(sluice, key, temperature=1).status_code == 200)


def test_a_broken_rule_is_in_the_audit_log(sluice: Sluice, upstream: Upstream):
    answer = ask(sluice, ruled(sluice, allowed_params={"n": [1]}), n=2)
    path = f"/api/audit?request_id={answer.headers['x-request-id']}"
    soon(lambda: sluice.api("GET", path).json()["results"])
    (entry,) = sluice.api("GET", path).json()["results"]
    assert (entry["code"], entry["status_code"], entry["actor_kind"]) == ("param_not_allowed", 400, "key")
