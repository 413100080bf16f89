"""OpenAPI and its page."""

from __future__ import annotations

import json
import re
from io import StringIO
from typing import Any

import pytest
from django.contrib.staticfiles import finders
from django.core.management import call_command
from rest_framework.test import APIClient

from tests.kit.openapi import openapi_document


@pytest.mark.parametrize("path", ["/api/schema", "/api/schema/"])
def test_the_schema_names_every_resource(db, path):
    answer = APIClient().get(path + "?format=json")
    assert answer.status_code == 200
    paths = answer.json()["paths"]
    for noun in ("projects", "keys", "providers", "credentials", "prices", "requests", "audit"):
        assert f"/api/{noun}/" in paths
        assert f"/api/{noun}/{{id}}/" in paths
    assert {"/api/keys/{id}/revoke/", "/api/keys/{id}/rotate/", "/api/keys/revoke/"} <= set(paths)


def test_the_schema_is_made_without_a_warning(db):
    call_command("spectacular", "--validate", "--fail-on-warn", stdout=StringIO())


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return openapi_document()


def operations(document: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [(verb, path, told) for path, verbs in document["paths"].items() for verb, told in verbs.items()]


def test_what_goes_in_is_described_apart_from_what_comes_out(document):
    schemas = document["components"]["schemas"]
    for name, schema in schemas.items():
        if name.endswith("Request"):
            assert schema["additionalProperties"] is False, name
            assert not [member for member, told in schema["properties"].items() if told.get("readOnly")], name
        else:
            assert not [member for member, told in schema.get("properties", {}).items() if told.get("writeOnly")], name
    for noun in ("Key", "Project", "Team", "Tier", "User", "Provider", "Credential", "Price", "RequestRecord"):
        assert set(schemas[noun]["required"]) == set(schemas[noun]["properties"]), noun
    assert schemas["Key"]["properties"]["project"] == {"type": "integer"}
    assert "oneOf" in schemas["KeyRequest"]["properties"]["project"]


def test_secrets_go_in_and_never_come_out(document):
    schemas = document["components"]["schemas"]
    for noun, secret in (("Credential", "secret"), ("Provider", "api_key")):
        assert schemas[f"{noun}Request"]["properties"][secret]["writeOnly"] is True
        assert secret not in schemas[noun]["properties"]
    assert "key" not in schemas["Key"]["properties"]
    assert "key" in schemas["MintedKey"]["properties"]


def test_an_update_may_leave_out_what_nobody_can_read(document):
    body = document["paths"]["/api/credentials/{id}/"]["put"]["requestBody"]["content"]["application/json"]
    name = body["schema"]["$ref"].rpartition("/")[2]
    assert document["components"]["schemas"][name]["required"] == ["alias"]


def test_every_operation_tells_of_its_errors_in_their_one_shape(document):
    for verb, path, told in operations(document):
        expected = {"400", "406", "503"}
        if path != "/api/auth/validate/":
            expected |= {"401", "403"}
        if "{id}" in path or path == "/api/prices/effective/":
            expected |= {"404"}
        if verb != "get":
            expected |= {"413", "415"} | (set() if path.endswith("/validate/") else {"409"})
        errors = {status: answer for status, answer in told["responses"].items() if status >= "400"}
        assert set(errors) == expected, (verb, path)
        for answer in errors.values():
            assert answer["description"]
            assert answer["content"] == {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}


def test_every_operation_tells_who_may_ask(document):
    session: dict[str, Any] = {"get": {"session": []}}
    changing: dict[str, Any] = {"session": [], "csrfToken": []}
    for verb, path, told in operations(document):
        known = [{"managementToken": []}, {"userToken": []}, session.get(verb, changing)]
        assert told["security"] == (known if path != "/api/auth/validate/" else [*known, {}])
    assert set(document["components"]["securitySchemes"]) == {"managementToken", "userToken", "session", "csrfToken"}


def test_descriptions_speak_of_the_api_and_not_of_its_code(document):
    text = json.dumps(document["components"])
    for word in ("mix-in", "serializer", "DRF", "Django", "`Limited`", "ref_name"):
        assert word not in text, word


@pytest.mark.parametrize("path", ["/api/docs", "/api/docs/"])
def test_the_page_loads_nothing_from_elsewhere(db, path):
    page = APIClient().get(path).content.decode()
    sources = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert len(sources) >= 3
    for source in sources:
        assert source.startswith("/static/")
        assert finders.find(source.removeprefix("/static/"))
