"""X81, F154: what a row names must be there: the provider of a price, the upstream credential of a key or a project."""

from __future__ import annotations

import pytest

from keys.models import Project, VirtualKey
from tests.kit.rows import make_credential, make_key, make_project, make_provider
from usage.models import PriceOverride

PRICE = {"model": "m", "input": "1", "output": "2"}


def test_a_price_at_a_provider_that_is_not_there_is_refused(sluice):
    assert sluice.api("POST", "/api/providers", json={"name": "groq", "base_url": "http://x/v1"}).status_code == 201
    answer = sluice.api("POST", "/api/prices", json={**PRICE, "provider": "qroq"})
    assert (answer.status_code, list(answer.json()["errors"])) == (400, ["provider"])
    assert "`groq`" in answer.json()["errors"]["provider"][0]
    assert sluice.api("GET", "/api/prices").json()["results"] == []


def test_a_price_whose_provider_is_gone_may_be_changed(api):
    provider = make_provider("up")
    price = api.post("/api/prices", {**PRICE, "provider": "up"}).json()
    provider.delete()
    where = f"/api/prices/{price['id']}"
    assert api.patch(where, {"input": "3"}).status_code == 200
    assert api.put(where, api.get(where).json()).status_code == 200
    assert api.patch(where, {"provider": "down"}).status_code == 400


@pytest.mark.parametrize("noun,model", [("keys", VirtualKey), ("projects", Project)])
def test_an_alias_that_is_not_there_is_refused_and_the_nearest_one_named(api, settings, noun, model):
    settings.UPSTREAM_CREDENTIALS = {"default": "sk-1"}
    make_credential("finance")
    before = model.objects.count()
    answer = api.post(f"/api/{noun}", {"name": "k", "upstream_alias": "finanse"})
    assert (answer.status_code, list(answer.json()["errors"])) == (400, ["upstream_alias"])
    assert "`finance`" in answer.json()["errors"]["upstream_alias"][0]
    assert model.objects.count() == before
    for alias in ("finance", "default"):
        assert api.post(f"/api/{noun}", {"name": alias, "upstream_alias": alias}).status_code == 201
    where = f"/api/{noun}/{model.objects.get(name='default').pk}"
    assert api.patch(where, {"upstream_alias": "defaul"}).status_code == 400


def test_an_alias_of_one_provider_counts(api):
    make_credential("own", provider=make_provider())
    assert api.post("/api/keys", {"name": "k", "upstream_alias": "own"}).status_code == 201


@pytest.mark.parametrize("noun,make", [("keys", make_key), ("projects", make_project)])
def test_what_names_a_credential_that_is_gone_may_be_changed(api, noun, make):
    credential = make_credential("gone")
    where = f"/api/{noun}/{make(upstream_alias='gone').pk}"
    credential.delete()
    assert api.patch(where, {"notes": "n"}).status_code == 200
    assert api.put(where, api.get(where).json()).status_code == 200


def test_the_admin_names_the_field_too(admin):
    page = admin.post("/admin/usage/priceoverride/add/", {**PRICE, "provider": "nowhere", "per_request": "0"})
    assert "There is no such provider" in page.content.decode()
    assert not PriceOverride.objects.exists()
    page = admin.post("/admin/keys/project/add/", {"name": "p", "upstream_alias": "nowhere", "period": "total"})
    assert "There is no such credential" in page.content.decode()
    assert not Project.objects.exists()
