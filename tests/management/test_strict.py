"""X17: what a management request says is done, or refused by name; nothing in it is dropped without a word."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.urls import URLPattern, URLResolver, get_resolver

from keys.models import COUNTS, Account, Team, Tier
from tests.kit.rows import (
    make_alert,
    make_cached,
    make_credential,
    make_key,
    make_project,
    make_provider,
    make_record,
    new_user,
)
from usage.models import AuditEntry, PriceOverride

METHODS = ("get", "post", "put", "patch", "delete")
LEFT_OUT = "UnknownAddress", "NothingHere", "SpectacularSwaggerView"
"""What is not there, and a page for people."""

NOUNS = ("projects", "keys", "teams", "tiers", "users", "providers", "credentials", "prices")


@pytest.fixture(scope="module")
def made(module_db: None) -> dict[str, Any]:
    owner, team = new_user(), Team.objects.create(name="t", rpm=5, rps=2, burst=3)
    team.members.add(owner)
    rules = {"allowed_params": {"model": ["m"]}, "required_headers": {"X-A": []}, "allowed_methods": ["POST"]}
    return {
        "projects": make_project("p", budget=5, **rules).pk,
        "keys": make_key(owner=owner, team=team, budget=1, period="day", tags=["a"], metadata={"b": [1]}).pk,
        "teams": team.pk,
        "tiers": Tier.objects.create(name="t").pk,
        "users": Account.objects.get(user=owner).public_id,
        "providers": make_provider(model_map={"a": "b"}).pk,
        "credentials": make_credential().pk,
        "prices": PriceOverride.objects.create(model="m", input=1, output=2).pk,
        "requests": make_record().pk,
        "alerts": make_alert().pk,
        "responses": make_cached("a" * 64 + "s").pk,
        "audit": AuditEntry.objects.create(actor_kind="system", action="create").pk,
    }


def views(patterns: Any = None, before: str = "") -> Iterator[tuple[str, Any]]:
    """Every view of Django REST framework's that an address leads to."""
    for pattern in get_resolver().url_patterns if patterns is None else patterns:
        path = before + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from views(pattern.url_patterns, path)
        elif isinstance(pattern, URLPattern):
            view = getattr(pattern.callback, "cls", None)
            if view is not None and view.__name__ not in LEFT_OUT:
                yield path, pattern.callback


def address(path: str, rows: dict[str, Any]) -> str:
    """A path that the pattern fits, of a row that is there."""
    noun = path.removeprefix("api/").lstrip("^").partition("/")[0]
    path = re.sub(r"\(\?P<(pk|id)>[^)]*\)", lambda _: str(rows[noun]), path)
    path = re.sub(r"\(\?P<prefix>[^)]*\)", "sk-sluice-x", path)
    return "/" + re.sub(r"\^|\$|/\?|\\Z", "", path)


def routes() -> list[tuple[str, str]]:
    found = []
    for path, view in views():
        actions = getattr(view, "actions", None) or [name for name in METHODS if hasattr(view.cls, name)]
        found += [(method, path) for method in METHODS if method in actions]
    return found


def test_there_are_routes_to_walk():
    assert len(routes()) > 60


@pytest.mark.any_database
@pytest.mark.parametrize("method,path", routes())
def test_no_address_takes_what_it_does_not_know(api, rows, make_user, settings, method, path):
    settings.SIGNUP_ENABLED = True
    if path.startswith("^v1/"):
        api.credentials()
        api.force_authenticate(make_user(name="own"))
    where = address(path, rows)
    answer = getattr(api, method)(f"{where}?no_such_parameter=1", {} if method != "delete" else None)
    assert (answer.status_code, "no_such_parameter" in answer.content.decode()) == (400, True), answer.content
    if method != "get":
        answer = getattr(api, method)(where, {"no_such_member": 1})
        assert (answer.status_code, "no_such_member" in answer.content.decode()) == (400, True), answer.content


@pytest.mark.parametrize("method", ["put", "patch"])
@pytest.mark.parametrize("noun", NOUNS)
def test_an_answer_may_be_written_back(api, rows, noun, method):
    where = f"/api/{noun}/{rows[noun]}"
    before = api.get(where).json()
    for _ in range(2):  # the second one is older than the row
        answer = getattr(api, method)(where, before)
        assert answer.status_code == 200, answer.content
    after = api.get(where).json()
    for moving in ("updated_at", "version"):
        before.pop(moving, None), after.pop(moving, None)
    assert after == before


@pytest.mark.parametrize("noun", NOUNS)
def test_a_read_only_member_of_another_value_is_refused(api, rows, noun):
    where = f"/api/{noun}/{rows[noun]}"
    before = api.get(where).json()
    other = {**before, "created_at": "2020-01-01T00:00:00Z"}
    for method in (api.put, api.patch):
        answer = method(where, other)
        assert answer.status_code == 400
        assert set(answer.json()["errors"]) >= {"created_at"}
    assert api.patch(where, {"created_at": before["created_at"]}).status_code == 200


def test_what_is_spent_cannot_be_said(api, rows):
    answer = api.patch(f"/api/keys/{rows['keys']}", {"spent": "-1", "total_requests": 7})
    assert answer.status_code == 400
    assert {"spent", "total_requests"} <= set(answer.json()["errors"])


def test_what_a_change_answers_is_of_after_it_also_where_an_answer_was_written_back(api, rows):
    where = f"/api/keys/{rows['keys']}"
    told = api.put(where, {**api.get(where).json(), "budget": "7"}).json()
    assert (told["budget"], told["remaining"]) == ("7.000000", "7.000000000000")


BLANKS = [
    *(("keys", name) for name in (*COUNTS, "budget", "expires_at") if name != "burst"),
    *(("keys", name) for name in ("owner", "team", "soft_threshold", "is_active")),
    *(("projects", name) for name in ("budget", "rpm", "soft_threshold")),
    *(("teams", "budget"), ("users", "budget"), ("tiers", "daily_embeddings")),
    *(("prices", name) for name in ("cached_input", "audio_output", "valid_from", "input", "per_request")),
    *(("providers", "weight"), ("providers", "priority"), ("credentials", "provider")),
]


@pytest.mark.parametrize("blank", ["", " "])
@pytest.mark.parametrize("noun,member", BLANKS, ids=str)
def test_a_blank_text_takes_nothing_away(api, rows, noun, member, blank):
    """X18: only null does."""
    where = f"/api/{noun}/{rows[noun]}"
    before = api.get(where).json()
    answer = api.patch(where, {member: blank})
    assert (answer.status_code, list(answer.json()["errors"])) == (400, [member])
    assert api.get(where).json() == before


def test_null_takes_a_budget_away(api, rows):
    assert api.patch(f"/api/keys/{rows['keys']}", {"budget": None}).json()["budget"] is None


def test_a_blank_text_takes_nothing_away_from_the_limits_of_everybody(api):
    api.patch("/api/limits/global", {"budget": "5"})
    assert api.patch("/api/limits/global", {"budget": ""}).status_code == 400
    assert api.get("/api/limits/global").json()["budget"] == "5.000000"


REFUSED = [
    ("keys", {"rpm_limt": 5}, "rpm_limt", "rpm"),
    ("keys", {"max_rpm": 5}, "max_rpm", "rpm"),
    ("keys", {"budgett": "1"}, "budgett", "budget"),
    ("keys", {"key": "sk-mine"}, "key", ""),
    ("keys", {"openai_api_key": "sk-x"}, "openai_api_key", ""),
    ("keys", {"id": 7}, "id", ""),
    ("keys", {"status": "revoked"}, "status", ""),
    ("keys", {"max_budget": "1", "budget": "2"}, "max_budget", "budget"),
    ("keys", {"expires_days": 1, "duration_minutes": 5}, "duration_minutes", "expires_at"),
    ("keys", {"expires_days": "soon"}, "expires_days", ""),
    ("keys", {"expires_days": -1}, "expires_days", ""),
    ("keys", {"rpm": 1, "RPM": 100}, "RPM", "rpm"),
    ("projects", {"is_activ": False}, "is_activ", "is_active"),
    ("projects", {"allowed_param": {}}, "allowed_param", "allowed_params"),
    ("projects", {"rules": {"allowed_methods": ["POST"]}}, "rules", ""),
    ("projects", {"openai_api_key": "sk-x"}, "openai_api_key", ""),
    ("providers", {"url": "http://x/v1"}, "url", "base_url"),
    ("providers", {"base_url": "http://x/v1", "kind": "custom", "options": {"header": {}}}, "options", "header"),
    ("teams", {"member": []}, "member", "members"),
    ("tiers", {"embeddings": 5}, "embeddings", "daily_embeddings"),
]


@pytest.mark.parametrize("noun,said,member,meant", REFUSED, ids=lambda value: str(value)[:40])
def test_a_member_that_nobody_knows_is_named_with_what_was_meant(sluice, noun, said, member, meant):
    body = {"name": "k", **said}
    answer = sluice.api("POST", f"/api/{noun}", json=body)
    assert answer.status_code == 400
    assert member in answer.json()["errors"]
    assert meant in str(answer.json()["errors"][member])
    assert not [row for row in sluice.api("GET", f"/api/{noun}").json()["results"] if row["name"] == "k"]


TAKEN = [
    ("keys", {"max_budget": "1.5"}, {"budget": "1.500000"}),
    ("keys", {"rpm_limit": 5, "tpm_limit": 100}, {"rpm": 5, "tpm": 100}),
    ("keys", {"rate_limit": 5, "burst": 9}, {"rps": 5, "burst": 9}),
    ("keys", {"is_enabled": False}, {"is_active": False, "status": "inactive"}),
    ("keys", {"alias": "second", "project_id": "default"}, {"upstream_alias": "second", "project_name": "default"}),
    ("projects", {"is_enabled": False, "max_budget": "3"}, {"is_active": False, "budget": "3.000000"}),
    (
        "providers",
        {
            "api_base": "http://x/v1",
            "provider_type": "openai",
            "model_mapping": {"a": "b"},
            "openai_api_key": "sk-1234567",
        },
        {"base_url": "http://x/v1", "kind": "openai", "models": {"a": "b"}, "credential": "default"},
    ),
]


@pytest.mark.parametrize("noun,said,told", TAKEN, ids=lambda value: str(value)[:40])
def test_old_names_are_taken_for_what_they_mean(sluice, noun, said, told):
    sluice.mint()  # so that the project `default` is there
    sluice.api("POST", "/api/credentials", json={"alias": "second", "secret": "sk-second-0123456789"})
    answer = sluice.api("POST", f"/api/{noun}", json={"name": f"old-{'-'.join(said)[:50]}", **said})
    assert answer.status_code == 201, answer.text
    assert {name: answer.json()[name] for name in told} == told


@pytest.mark.parametrize("said,days", [({"expires_days": 3}, 3), ({"duration_minutes": 2880}, 2)], ids=str)
def test_an_old_length_of_life_is_an_end(sluice, said, days):
    from datetime import UTC, datetime, timedelta

    before = datetime.now(UTC)
    told = sluice.api("POST", "/api/keys", json={"name": f"ends-{days}", **said}).json()
    end = datetime.fromisoformat(told["expires_at"])
    assert before + timedelta(days=days) <= end <= datetime.now(UTC) + timedelta(days=days)


@pytest.mark.parametrize(
    "query,named,meant",
    [
        ("keys?stauts=active", "stauts", "status"),
        ("keys?project_id=1", "project_id", "project"),
        ("keys?is_active=true", "is_active", ""),
        ("keys?status=", "status", ""),
        ("keys?project=default&project=other", "project", "twice"),
        ("projects?is_active=maybe", "is_active", ""),
        ("requests?model_name=x", "model_name", "model"),
        ("requests?created_afte=2026-01-01", "created_afte", "created_after"),
        ("usage?group=model", "group", "group_by"),
        ("usage?period=", "period", ""),
        ("usage?from=", "from", ""),
        ("usage/budgets?kinds=key", "kinds", "kind"),
        ("usage/budgets?kind=", "kind", ""),
        ("prices/effective?provider=openai&model=m&at=now", "at", ""),
        ("audit?actions=create", "actions", "action"),
    ],
)
def test_a_filter_that_nobody_knows_is_named(sluice, query, named, meant):
    answer = sluice.api("GET", f"/api/{query}")
    assert answer.status_code == 400
    assert meant in str(answer.json()["errors"][named])


def test_a_member_that_stands_twice_is_refused(sluice):
    answer = sluice.api(
        "POST",
        "/api/keys",
        content=b'{"name": "twice", "rpm": 1, "rpm": 9}',
        headers={"content-type": "application/json"},
    )
    assert answer.status_code == 400
    assert '"rpm" stands twice' in answer.json()["detail"]


def test_signing_in_takes_nothing_else(sluice):
    answer = sluice.client().post("/v1/auth/login", json={"email": "a@b.c", "password": "p", "otp": "1"})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "otp")
