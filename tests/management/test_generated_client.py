"""X38: a client that knows the OpenAPI document alone makes, reads, writes back, changes and deletes every resource."""

from __future__ import annotations

import re
from typing import Any

import jsonschema
import pytest
from rest_framework.test import APIClient

from tests.kit.openapi import openapi_document

TEXTS = {"email": "ann@example.org", "date-time": "2030-01-01T00:00:00Z", "decimal": "1"}
"""An example of each format."""


class GeneratedClient:
    """Operations by method and path. What it sends and what it gets must be as the document says."""

    def __init__(self, document: dict[str, Any], api: APIClient) -> None:
        self.document = document
        self.api = api

    def operation(self, method: str, path: str) -> dict[str, Any]:
        return dict(self.document["paths"][path][method])

    def body_schema(self, method: str, path: str) -> dict[str, Any]:
        content = self.operation(method, path)["requestBody"]["content"]
        return self.resolved(content["application/json"]["schema"])

    def resolved(self, schema: dict[str, Any]) -> dict[str, Any]:
        """As JSON Schema: references followed, and `nullable` as a type of its own."""
        if "$ref" in schema:
            schema = self.document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
        found: dict[str, Any] = {}
        for word, value in schema.items():
            if word in ("oneOf", "allOf", "anyOf"):
                found[word] = [self.resolved(one) for one in value]
            elif word == "properties":
                found[word] = {name: self.resolved(one) for name, one in value.items()}
            elif word in ("items", "additionalProperties") and isinstance(value, dict):
                found[word] = self.resolved(value)
            else:
                found[word] = value
        if not found.pop("nullable", False):
            return found
        return {**found, "type": [found["type"], "null"]} if "type" in found else {"anyOf": [found, {"type": "null"}]}

    def call(self, method: str, path: str, body: Any = None, **ids: Any) -> Any:
        """The answer's document, of a status that is a success in the document."""
        if body is not None:
            jsonschema.validate(body, self.body_schema(method, path))
        answer = getattr(self.api, method)(path.format(**ids), body)
        responses = self.operation(method, path)["responses"]
        assert str(answer.status_code) in responses, answer.content
        assert answer.status_code < 300, answer.content
        content = responses[str(answer.status_code)].get("content")
        if content is None:
            assert not answer.content
            return None
        document = answer.json()
        jsonschema.validate(document, self.resolved(content["application/json"]["schema"]))
        return document

    def refused(self, method: str, path: str, **ids: Any) -> int:
        answer = getattr(self.api, method)(path.format(**ids))
        content = self.operation(method, path)["responses"][str(answer.status_code)]["content"]
        jsonschema.validate(answer.json(), self.resolved(content["application/json"]["schema"]))
        return int(answer.status_code)

    def written_back(self, method: str, path: str, answer: dict[str, Any]) -> dict[str, Any]:
        """What of an answer a request has a member for."""
        members = self.body_schema(method, path)["properties"]
        return {name: value for name, value in answer.items() if name in members}


def example(schema: dict[str, Any]) -> Any:
    """The smallest value that there is of it."""
    if "example" in schema:
        return schema["example"]
    for word in ("oneOf", "allOf", "anyOf"):
        if word in schema:
            return example(schema[word][0])
    if "enum" in schema:
        return schema["enum"][0]
    match schema.get("type"):
        case "object":
            return {name: example(schema["properties"][name]) for name in schema.get("required", [])}
        case "integer":
            return schema.get("minimum", 1)
        case "string":
            return TEXTS.get(schema.get("format", ""), "example-1")
        case "boolean":
            return True
        case "array":
            return []
    raise AssertionError(f"There is no example of {schema}")


def others(schema: dict[str, Any], row: dict[str, Any]) -> dict[str, Any]:
    """Another value of each flag, bounded number and required text."""
    found: dict[str, Any] = {}
    for name, member in schema["properties"].items():
        if name in row and member.get("type") == "boolean":
            found[name] = not row[name]
        elif name in row and "minimum" in member:
            found[name] = member["minimum"] + (row[name] == member["minimum"])
        elif name in schema.get("required", []) and member == {**member, "type": "string"} and "format" not in member:
            found[name] = example(member) + "-other"
    return found


def resources() -> list[str]:
    """The collections that something can be made in."""
    paths = openapi_document()["paths"]
    return [path for path in paths if "post" in paths[path] and "get" in paths.get(f"{path}{{id}}/", {})]


RESOURCES = ["credentials", "keys", "prices", "projects", "providers", "teams", "tiers", "users"]


@pytest.fixture
def client(api: APIClient) -> GeneratedClient:
    return GeneratedClient(openapi_document(), api)


def test_the_document_has_these_resources(db):
    assert [re.sub("/api/|/", "", path) for path in resources()] == RESOURCES


@pytest.mark.parametrize("noun", RESOURCES)
def test_a_generated_client_does_all_with_a_resource(client, noun):
    many, one = f"/api/{noun}/", f"/api/{noun}/{{id}}/"
    made = client.call("post", many, example(client.body_schema("post", many)))
    row = client.call("get", one, id=made["id"])
    assert row.items() <= made.items()
    assert next(found["id"] for found in client.call("get", many)["results"]) == made["id"]

    for method in ("put", "patch"):
        again = client.call(method, one, client.written_back(method, one, row), id=made["id"])
        moving = {"updated_at", "version"}
        assert {name: again[name] for name in row if name not in moving} == {
            name: row[name] for name in row if name not in moving
        }

    changes = others(client.body_schema("put", one), row)
    assert changes
    changed = client.call("patch", one, changes, id=made["id"])
    assert {name: changed[name] for name in changes} == changes
    assert client.call("get", one, id=made["id"])["updated_at"] == changed["updated_at"]

    if noun == "users":
        assert "delete" not in openapi_document()["paths"][one]
        return
    client.call("delete", one, id=made["id"])
    if noun == "keys":
        assert client.call("get", one, id=made["id"])["status"] == "revoked"
    else:
        assert client.refused("get", one, id=made["id"]) == 404


def test_it_sets_the_limits_of_all_requests(client):
    path = "/api/limits/global/"
    before = client.call("get", path)
    client.call("patch", path, client.written_back("patch", path, before))
    assert client.call("patch", path, {"rpm": 7})["rpm"] == 7


def test_a_keys_token_is_in_what_made_it_alone(client):
    made = client.call("post", "/api/keys/", {"name": "k"})
    rotated = client.call("post", "/api/keys/{id}/rotate/", {}, id=made["id"])
    assert made["key"] != rotated["key"]
    for method, path in (("get", "/api/keys/{id}/"), ("patch", "/api/keys/{id}/"), ("post", "/api/keys/{id}/revoke/")):
        assert "key" not in client.call(method, path, id=made["id"])
    schemas = openapi_document()["components"]["schemas"]
    telling = {
        name for name, schema in schemas.items() if schema.get("properties", {}).get("key", {}).get("type") == "string"
    }
    assert telling == {"MintedKey", "KeyQuestionRequest"}
