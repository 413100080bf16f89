"""X82: every error under `/api/` has one shape, whoever answers it; the accounts under `/v1/` have OpenAI's."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.apps import apps
from django.contrib.admindocs.views import simplify_regex
from django.contrib.auth.models import User
from django.core.cache import cache
from django.db import OperationalError
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver
from rest_framework.test import APIClient

from keys.api.keys import ProjectViewSet
from keys.management.connections import Connection, Refused
from keys.models import Project
from strict.errors import error_bytes
from tests.kit.rows import TOKEN, make_key, make_project
from usage.ledger.api import RequestViewSet
from usage.ledger.walk import Slow

PYTHONS = re.compile(r"<class|Traceback|matches the given query|\b(dict|str|NoneType|QuerySet)\b|dictionary")
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "PURGE", "QUERY")
BEARER = f"Bearer {TOKEN}"


def addresses(patterns: Any, before: str = "") -> Iterator[str]:
    for pattern in patterns:
        path = before + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from addresses(pattern.url_patterns, path)
        elif isinstance(pattern, URLPattern):
            yield re.sub(r"<[^>]+>", "77", simplify_regex(path)).replace("/users/77", "/users/usr_77")


ALL = sorted(set(addresses(get_resolver().url_patterns)))
OF_API = [path for path in ALL if path.startswith("/api/")]
OF_ACCOUNTS = [path for path in ALL if path.startswith("/v1/")]


def classes() -> set[str]:
    """Names of models that are no words."""
    return {model.__name__ for model in apps.get_models() if re.search("[a-z][A-Z]", model.__name__)}


def error_of(answer: Any) -> dict[str, Any]:
    """What the error says, which must have the shape."""
    assert answer["Content-Type"] == "application/json", answer.content
    return check(answer.status_code, answer.content)


def check(status: int, body: bytes) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(body)
    assert status >= 400
    assert set(document) == {"detail", "code", "errors"}, document
    assert isinstance(document["detail"], str)
    assert re.fullmatch("[a-z_]+", document["code"])
    for name, problems in document["errors"].items():
        assert problems
        assert all(isinstance(problem, str) and problem for problem in problems)
        assert isinstance(name, str)
    assert document["detail"]
    assert not PYTHONS.search(document["detail"]), document
    assert not any(name in document["detail"] for name in classes()), document
    return document


def of_openai(answer: Any) -> dict[str, Any]:
    assert answer["Content-Type"] == "application/json", answer.content
    document: dict[str, Any] = json.loads(answer.content)["error"]
    assert set(document) == {"message", "type", "param", "code"}
    assert document["message"]
    assert document["code"]
    return document


@pytest.fixture(autouse=True)
def _nobody_tried() -> Iterator[None]:
    """What is tried at the doors of accounts counts in no other test."""
    cache.clear()
    yield
    cache.clear()


def faulty_requests(path: str) -> Iterator[Any]:
    """Answers to what can be wrong with a request, whatever its address takes."""
    client = Client(headers={"authorization": BEARER})
    for method in METHODS:
        if (method, path) == ("GET", "/api/schema/"):
            continue  # which anybody may have, and which takes half a second to make
        yield Client().generic(method, path)
        yield client.generic(method, path)
        yield client.generic(method, path, "{", "application/json")
        yield client.generic(method, path, "[1]", "application/json")
        yield client.generic(method, path, '{"no_such": 1}', "application/json")
        yield client.generic(method, path, "<a/>", "text/xml")
    yield client.post(path, " " * 3_000_000, "application/json")
    yield client.get(path, {"no_such": "1"})
    yield client.get(path, {"format": "no_such"})
    yield client.get(path, headers={"accept": "text/xml"})
    yield client.get(path, headers={"host": "elsewhere.example"})
    yield Client().get(path, headers={"authorization": "Bearer a.b.c"})


def test_the_walk_knows_the_addresses():
    assert {"/api/", "/api/keys/", "/api/keys/77/", "/api/keys/77/rotate/", "/api/schema/", "/api/docs/"} <= set(OF_API)
    assert {"/v1/auth/signup/", "/v1/auth/login/", "/v1/keys/", "/v1/keys/77/"} <= set(OF_ACCOUNTS)


@pytest.mark.parametrize("path", OF_API)
def test_whatever_is_wrong_with_a_request_the_error_has_one_shape(db, path):
    statuses = set()
    for answer in faulty_requests(path):
        if answer.status_code >= 400:
            error_of(answer)
            statuses.add(answer.status_code)
    assert statuses & {400, 404, 405}
    assert 500 not in statuses


@pytest.mark.parametrize("path", OF_API)
def test_a_method_that_nothing_has_is_405_whatever_else_is_wrong(api, path):
    for method in ("PURGE", "QUERY"):
        answer = api.generic(method, f"{path}?no_such=1")
        assert (answer.status_code, error_of(answer)["code"]) == (405, "method_not_allowed")


@pytest.mark.parametrize("path", OF_ACCOUNTS)
def test_under_v1_the_shape_is_openais(db, path):
    refused = [of_openai(answer) for answer in faulty_requests(path) if answer.status_code >= 400]
    assert len(refused) > len(METHODS)


def test_each_status_says_what_is_wrong(api):
    key, project = make_key("taken"), make_project("p")
    make_key("k", project=project)
    too_large = api.generic("POST", "/api/keys", " " * 3_000_000, "application/json")
    for answer, status, code in (
        (api.get("/api/keys/0"), 404, "not_found"),
        (api.get("/api/nowhere"), 404, "not_found"),
        (api.put("/api/keys"), 405, "method_not_allowed"),
        (api.get("/api/keys", HTTP_ACCEPT="text/xml"), 406, "not_acceptable"),
        (api.post("/api/keys", "a", content_type="text/xml"), 415, "unsupported_media_type"),
        (api.post("/api/keys", "{", content_type="application/json"), 400, "parse_error"),
        (api.post("/api/keys", [1]), 400, "invalid"),
        (api.post("/api/keys", {}), 400, "invalid"),
        (api.post("/api/keys", {"name": key.name}), 409, "duplicate_name"),
        (api.delete(f"/api/projects/{project.pk}"), 409, "in_use"),
        (api.get("/api/keys", HTTP_HOST="elsewhere.example"), 400, "host_not_allowed"),
        (too_large, 413, "payload_too_large"),
        (Client().get("/api/keys"), 401, "not_authenticated"),
        (Client(headers={"authorization": "Bearer no"}).get("/api/keys"), 401, "authentication_failed"),
    ):
        assert (answer.status_code, error_of(answer)["code"]) == (status, code)


def test_a_session_without_its_csrf_token_is_refused_in_the_shape(make_user):
    client = Client(enforce_csrf_checks=True)
    client.force_login(make_user(is_superuser=True))
    for path in ("/api/keys", "/api/config/reload"):
        assert error_of(client.post(path, {}, "application/json"))["code"] == "permission_denied"


@pytest.mark.parametrize(
    "path,words",
    [
        ("keys/77", "There is no key '77'."),
        ("keys/x", "There is no key 'x'."),
        ("projects/77", "There is no project '77'."),
        ("users/usr_x", "There is no user 'usr_x'."),
        ("prices/77", "There is no price '77'."),
        ("requests/r77", "There is no request 'r77'."),
        ("audit/77", "There is no audit entry '77'."),
        ("alerts/77", "There is no alert '77'."),
        (f"keys/{'7' * 900}", f"There is no key '{'7' * 64}'."),
    ],
)
def test_what_is_not_there_is_named_in_words(api, path, words):
    assert error_of(api.get(f"/api/{path}"))["detail"] == words


def test_what_is_wrong_with_each_member_is_told_by_its_name(api):
    document = error_of(api.post("/api/keys", {"rpm": 0, "no_such": 1, "allowed_models": [1]}))
    assert set(document["errors"]) == {"no_such"}
    document = error_of(api.post("/api/keys", {"rpm": 0, "allowed_models": [1]}))
    assert set(document["errors"]) == {"name", "rpm", "allowed_models"}
    for name, [problem] in document["errors"].items():
        assert f"{name}: {problem}" in document["detail"]


def test_many_problems_are_a_short_line_and_a_whole_list(api):
    names = {f"member{number}" for number in range(30)}
    document = error_of(api.post("/api/keys", dict.fromkeys(names, 1)))
    assert set(document["errors"]) == names
    assert document["detail"].endswith("And 20 more.")


def test_a_value_that_there_is_already_is_told_by_its_member(api):
    api.post("/api/tiers", {"name": "t"})
    assert set(error_of(api.post("/api/tiers", {"name": "t"}))["errors"]) == {"name"}
    User.objects.create_user("a@b.example", "a@b.example")
    assert set(error_of(api.post("/api/users", {"email": "a@b.example"}))["errors"]) == {"email"}
    price = {"model": "m", "input": "1", "output": "1"}
    api.post("/api/prices", price)
    assert set(error_of(api.post("/api/prices", price))["errors"]) == {"provider", "model", "valid_from"}


@pytest.mark.parametrize(
    "error,status,code",
    [(RuntimeError("a secret"), 500, "internal_error"), (OperationalError("away"), 503, "database_unavailable")],
    ids=["nobody foresaw it", "database"],
)
def test_what_fails_has_the_shape(db, monkeypatch, error, status, code):
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(ProjectViewSet, "get_queryset", fail)
    client = Client(raise_request_exception=False, headers={"authorization": BEARER})
    for answer in (client.get("/api/projects"), client.patch("/api/projects/1", {}, "application/json")):
        assert (answer.status_code, error_of(answer)["code"]) == (status, code)
        assert "secret" not in answer.content.decode()
        assert ("Retry-After" in answer) == (status == 503)


def test_a_search_that_takes_too_long_says_when_to_try_again(api, monkeypatch):
    def slow(*_: object) -> None:
        raise Slow

    monkeypatch.setattr(RequestViewSet, "filter_queryset", slow)
    answer = api.get("/api/requests")
    assert (answer.status_code, error_of(answer)["code"], answer["Retry-After"]) == (503, "too_slow", "5")


def test_two_changes_at_once_are_told_in_the_shape(api, monkeypatch):
    from django.db import IntegrityError

    def collide(*_: object, **__: object) -> None:
        raise IntegrityError

    monkeypatch.setattr("config.middleware.check_references", collide)
    assert error_of(api.post("/api/projects", {"name": "n"}))["code"] == "conflict"
    assert not Project.objects.filter(name="n").exists()


class Answering(Connection):
    """A Sluice elsewhere."""

    def __init__(self, status: int, raw: bytes) -> None:
        self.answer = status, raw

    def exchange(self, *_: Any) -> tuple[int, bytes]:
        return self.answer


@pytest.mark.parametrize(
    "status,raw,words",
    [
        (503, error_bytes("The database does not answer.", "database_unavailable"), "The database does not answer."),
        (409, error_bytes("It is still in use.", "in_use"), "It is still in use."),
        (502, b"<html>Bad Gateway</html>", "The server failed (HTTP 502); its log says why."),
        (404, b'{"error": {"message": "no"}}', "The answer (HTTP 404) is not the management API's."),
        (404, b"[]", "The answer (HTTP 404) is not the management API's."),
        (404, b"<html>", "The answer (HTTP 404) is not the management API's; check the address."),
    ],
)
def test_commands_tell_what_another_sluice_says(status, raw, words):
    with pytest.raises(Refused) as refused:
        Answering(status, raw).call("GET", "keys")
    assert str(refused.value) == words


def test_errors_are_json_to_who_wants_a_page_or_a_file(api):
    for path in ("/api/docs", "/api/schema"):
        assert error_of(APIClient().post(path))["code"] == "method_not_allowed"
    assert set(error_of(api.get("/api/usage?format=csv&period=x"))["errors"]) == {"period"}
    assert error_of(APIClient().get("/api/usage?format=csv"))["code"] == "not_authenticated"
