from __future__ import annotations

import pytest

from providers.models import Credential, Provider
from proxy.configuration.changes import current_version
from tests.kit.rows import SECRET, make_credential, make_provider

FIELDS = {
    *("id", "name", "kind", "base_url", "credential", "models", "priority", "weight", "is_enabled", "options"),
    *("health", "created_at", "updated_at", "version"),
}
OPENAI = {"name": "up", "kind": "openai", "base_url": "http://upstream/v1"}


def test_a_provider_is_created_read_updated_and_deleted(api):
    body = {
        **OPENAI,
        "credential": "team-a",
        "models": {"fast": "gpt-4.1-mini"},
        "priority": 1,
        "weight": 5,
        "is_enabled": False,
        "options": {"include_usage": False},
    }
    made = api.post("/api/providers", body)
    assert made.status_code == 201
    assert set(made.json()) == FIELDS
    assert {name: made.json()[name] for name in body} == body
    path = f"/api/providers/{made.json()['id']}"
    assert api.get(path).json() == made.json()
    assert api.patch(path, {"weight": 0}).json()["weight"] == 0
    assert api.put(path, {"name": "other", "base_url": "http://else/v1"}).json()["base_url"] == "http://else/v1"
    assert api.delete(path).status_code == 204
    assert api.get(path).status_code == 404


def test_every_answer_has_the_version_of_the_configuration_and_it_grows(api):
    first = api.post("/api/providers", OPENAI).json()
    second = api.patch(f"/api/providers/{first['id']}", {"weight": 1}).json()
    assert 0 < first["version"] < second["version"] == current_version()
    assert api.get("/api/providers").json()["results"][0]["version"] == second["version"]


def test_a_list_of_models_stands_for_models_that_keep_their_names(api):
    answer = api.post("/api/providers", {**OPENAI, "models": ["gpt-4.1-mini", "o4-*"]})
    assert answer.json()["models"] == {"gpt-4.1-mini": "", "o4-*": ""}


def test_a_duplicate_name_is_409(api):
    make_provider("up")
    for answer in (
        api.post("/api/providers", OPENAI),
        api.patch(f"/api/providers/{make_provider('other').pk}", {"name": "up"}),
    ):
        assert (answer.status_code, answer.json()["code"]) == (409, "duplicate_name")


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "teleprinter"},
        {"kind": None},
        {"base_url": ""},
        {"base_url": "upstream/v1"},
        {"base_url": "ftp://upstream/v1"},
        {"base_url": "http://user:pw@upstream/v1"},
        {"base_url": "http://upstream/v1?x=1"},
        {"base_url": "http://up stream/v1"},
        {"base_url": "http://[::1/v1"},
        {"base_url": "http://upstream:99999/v1"},
        {"base_url": "http://" + "x" * 600},
        {"name": "with space"},
        {"name": ""},
        {"models": "gpt"},
        {"models": [1]},
        {"models": {"a": 1}},
        {"models": {"": "a"}},
        {"models": None},
        {"models": [["a"]]},
        {"weight": -1},
        {"weight": 10**30},
        {"weight": "much"},
        {"priority": -1},
        {"priority": 40000},
        {"options": []},
        {"options": "x"},
        {"options": None},
        {"options": {"unknown": 1}},
        {"options": {"include_usage": "yes"}},
        {"credential": "Bad Alias"},
        {"credential": None},
        {"credential": "x" * 65},
        {"is_enabled": "perhaps"},
        {"api_key": ""},
        {"api_key": 5},
        {"api_key": None},
    ],
    ids=str,
)
def test_a_field_that_does_not_fit_is_400_and_named(api, wrong):
    answer = api.post("/api/providers", {**OPENAI, **wrong})
    assert answer.status_code == 400
    assert set(answer.json()["errors"]) == set(wrong)
    assert not Provider.objects.exists()


@pytest.mark.parametrize(
    "kind, options",
    [
        ("openai", {"api_version": "2024-10-21"}),
        ("openai", {"headers": {"a b": "c"}}),
        ("azure", {"headers": {}}),
        ("azure", {"api_version": "2024 10"}),
        ("custom", {"auth_format": "Token"}),
        ("custom", {"paths": {"/chat/completions": "generate"}}),
        ("simulator", {"model": "x"}),
    ],
    ids=str,
)
def test_what_a_kind_has_no_option_for_is_400_and_named(api, kind, options):
    answer = api.post("/api/providers", {**OPENAI, "kind": kind, "options": options})
    assert (answer.status_code, list(answer.json()["errors"])) == (400, ["options"])


def test_a_simulator_needs_no_url(api):
    assert api.post("/api/providers", {"name": "sim", "kind": "simulator"}).status_code == 201


def test_an_update_that_takes_the_url_away_is_400(api):
    provider = make_provider("sim", kind="simulator", base_url="")
    assert api.patch(f"/api/providers/{provider.pk}", {"kind": "openai"}).status_code == 400


def test_an_api_key_is_stored_as_the_providers_own_credential(api):
    made = api.post("/api/providers", {**OPENAI, "api_key": SECRET}).json()
    assert (made["credential"], "api_key" in made) == ("default", False)
    credential = Credential.objects.get()
    assert (credential.alias, credential.provider_id, credential.secret) == ("default", made["id"], SECRET)
    assert SECRET not in credential.encrypted


def test_an_api_key_goes_under_the_alias_that_is_given_and_replaces_what_was_there(api):
    made = api.post("/api/providers", {**OPENAI, "credential": "mine", "api_key": SECRET}).json()
    assert api.patch(f"/api/providers/{made['id']}", {"api_key": SECRET + "-2"}).status_code == 200
    credential = Credential.objects.get()
    assert (credential.alias, credential.secret) == ("mine", SECRET + "-2")


def test_another_providers_credential_of_the_alias_is_left_alone(api):
    theirs = make_credential("default", provider=make_provider("theirs"))
    unbound = make_credential("default", "sk-unbound-0123456789")
    api.post("/api/providers", {**OPENAI, "api_key": "sk-mine-0123456789"})
    assert [Credential.objects.get(pk=row.pk).secret for row in (theirs, unbound)] == [theirs.secret, unbound.secret]


def test_a_refused_provider_leaves_no_credential_behind(api):
    make_provider("up")
    assert api.post("/api/providers", {**OPENAI, "api_key": SECRET}).status_code == 409
    assert not Credential.objects.exists()


def test_providers_are_filtered(api):
    make_provider("a")
    make_provider("b", kind="azure", is_enabled=False)
    for query, expected in (("kind=azure", ["b"]), ("is_enabled=true", ["a"]), ("name=a", ["a"]), ("", ["b", "a"])):
        assert [row["name"] for row in api.get(f"/api/providers?{query}").json()["results"]] == expected
    assert api.get("/api/providers?kind=x").status_code == 400


def test_a_list_takes_as_many_queries_for_many_rows_as_for_one(api, django_assert_max_num_queries):
    for number in range(20):
        make_provider(f"p{number}")
    with django_assert_max_num_queries(5):
        assert len(api.get("/api/providers").json()["results"]) == 20
