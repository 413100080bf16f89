"""OpenAPI and its page."""

from __future__ import annotations

import re
from io import StringIO

import pytest
from django.contrib.staticfiles import finders
from django.core.management import call_command
from rest_framework.test import APIClient


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


def test_secrets_are_write_only_in_the_schema(db):
    schemas = APIClient().get("/api/schema?format=json").json()["components"]["schemas"]
    assert schemas["Credential"]["properties"]["secret"]["writeOnly"] is True
    assert schemas["Provider"]["properties"]["api_key"]["writeOnly"] is True
    assert "key" not in schemas["Key"]["properties"]
    assert "key" in schemas["MintedKey"]["properties"]


@pytest.mark.parametrize("path", ["/api/docs", "/api/docs/"])
def test_the_page_loads_nothing_from_elsewhere(db, path):
    page = APIClient().get(path).content.decode()
    sources = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert len(sources) >= 3
    for source in sources:
        assert source.startswith("/static/")
        assert finders.find(source.removeprefix("/static/"))
