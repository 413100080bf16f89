"""A token is told once and a secret never: not by the API, not by the admin, not by a later message."""

from __future__ import annotations

import pytest
from django.test import Client

from keys.models import VirtualKey
from keys.tokens import read_token
from providers.models import Credential
from tests.kit.rows import SECRET, make_provider, make_record

API = ["keys", "projects", "providers", "credentials", "requests", "audit"]
ADMIN = [
    "keys/virtualkey",
    "keys/project",
    "providers/provider",
    "providers/credential",
    "usage/requestrecord",
    "usage/auditentry",
]


@pytest.fixture
def told(api):
    """What must not be seen again, by what it is."""
    minted = api.post("/api/keys", {"name": "k"}).json()
    rotated = api.post(f"/api/keys/{minted['id']}/rotate").json()
    provider = make_provider()
    api.post("/api/credentials", {"alias": "a", "provider": provider.pk, "secret": SECRET})
    api.post("/api/providers", {"name": "b", "base_url": "http://b/v1", "api_key": SECRET + "-of-b"})
    make_record("r1", key_id=minted["id"])
    key = VirtualKey.objects.get()
    return {
        "first token": minted["key"],
        "first secret": read_token(minted["key"], "sk-sluice-").secret,
        "second token": rotated["key"],
        "second secret": read_token(rotated["key"], "sk-sluice-").secret,
        "credential": SECRET,
        "encrypted": Credential.objects.get(alias="a").encrypted,
        "hash": bytes(key.secret_hash).hex(),
        "salt": bytes(key.salt).hex(),
        "whole public id": key.public_id,
    }


def seen(text, told):
    return [name for name, secret in told.items() if secret in text]


@pytest.mark.parametrize("noun", API)
def test_no_answer_of_the_api_tells_one(api, told, noun):
    listed = api.get(f"/api/{noun}")
    assert seen(listed.content.decode(), told) == []
    for row in listed.json()["results"]:
        for method in ("get", "patch", "options"):
            answer = getattr(api, method)(f"/api/{noun}/{row['id']}", None if method == "get" else {})
            assert seen(answer.content.decode(), told) == []


@pytest.mark.parametrize("page", ADMIN)
def test_no_page_of_the_admin_shows_one(admin: Client, told, api, page):
    noun = dict(zip(ADMIN, API, strict=True))[page]
    listed = admin.get(f"/admin/{page}/")
    assert listed.status_code == 200
    assert seen(listed.content.decode(), told) == []
    for row in api.get(f"/api/{noun}").json()["results"]:
        for end in ("change", "history"):
            shown = admin.get(f"/admin/{page}/{row['id']}/{end}/")
            assert shown.status_code == 200
            assert seen(shown.content.decode(), told) == []


def test_a_refused_secret_is_not_repeated(api):
    answer = api.post("/api/credentials", {"alias": "Not Fit", "secret": SECRET})
    assert answer.status_code == 400
    assert SECRET not in answer.content.decode()
    answer = api.post("/api/credentials", {"alias": "a", "secret": SECRET + " "})
    assert answer.status_code == 400
    assert SECRET not in answer.content.decode()


def test_nothing_that_is_stored_holds_the_token(told, db):
    from django.apps import apps
    from django.core import serializers

    for model in apps.get_models():
        stored = serializers.serialize("json", model._default_manager.all())
        never = {
            name: told[name] for name in ("first token", "first secret", "second token", "second secret", "credential")
        }
        assert seen(stored, never) == []
