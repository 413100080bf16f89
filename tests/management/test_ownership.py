"""F32: users and their own keys."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from rest_framework.test import APIClient

from keys.models import Team, VirtualKey
from keys.tokens import read_token
from tests.kit.rows import make_key, make_project, make_record

SINCE = datetime(2020, 1, 1, tzinfo=UTC)
LATER, SOONER = datetime(2030, 1, 2, tzinfo=UTC), datetime(2030, 1, 1, tzinfo=UTC)


@pytest.fixture
def ann(make_user):
    return make_user(name="ann", is_staff=False)


@pytest.fixture
def as_ann(ann):
    client = APIClient()
    client.force_login(ann)
    return client


def test_a_user_makes_keys_that_are_the_users_own(as_ann, ann):
    told = as_ann.post("/api/keys", {"name": "mine", "rpm": 5, "tags": ["t"]}).json()
    assert (told["owner"], told["project_name"], told["rpm"]) == (ann.pk, "default", 5)
    assert read_token(told["key"], "sk-sluice-").public_id == VirtualKey.objects.get().public_id


def test_a_list_and_its_filters_show_a_users_own_keys_alone(as_ann, ann, make_user):
    make_key("mine", owner=ann)
    make_key("nobody's")
    make_key("bob's", owner=make_user(name="bob"))
    for query in ("", "?search=s", "?project=default", "?owner=bob", "?name=bob's", "?status=active"):
        names = {row["name"] for row in as_ann.get(f"/api/keys{query}").json()["results"]}
        assert names <= {"mine"}
    assert len(as_ann.get("/api/keys").json()["results"]) == 1


def test_a_header_makes_nobody_somebody_else(db, ann, make_user):
    """Identity is the session, a token of ours or the management token; nothing else that a client can write."""
    make_key("mine", owner=ann)
    for header in ("Remote-User", "X-Forwarded-User", "X-User-Id", "X-Authentik-Username"):
        assert APIClient().get("/api/keys", headers={header: "ann"}).status_code == 401
        client = APIClient()
        client.force_login(make_user(name=f"u{header}", is_staff=False))
        assert client.get("/api/keys", headers={header: "ann"}).json()["results"] == []


@pytest.mark.parametrize("fields", [{"project": "other"}, {"owner": "bob"}, {"upstream_alias": "second"}], ids=str)
def test_what_is_the_operators_is_403(as_ann, ann, make_user, fields):
    make_user(name="bob")
    make_project("other")
    assert as_ann.post("/api/keys", {"name": "new", **fields}).status_code == 403
    key = make_key(owner=ann)
    assert as_ann.patch(f"/api/keys/{key.pk}", fields).status_code == 403
    assert VirtualKey.objects.get().owner == ann


@pytest.mark.parametrize("more", [{}, {"rpm": "x"}, {"name": ""}], ids=str)
@pytest.mark.parametrize("field", ["owner", "project", "team"])
def test_no_answer_tells_whether_there_is_one_of_that_name(as_ann, ann, make_user, field, more):
    make_user(name="there")
    make_project("there")
    Team.objects.create(name="there")
    key = make_key("mine", owner=ann)
    for method, path in (("post", "/api/keys"), ("patch", f"/api/keys/{key.pk}")):
        answers = [getattr(as_ann, method)(path, {"name": "k", field: name, **more}) for name in ("there", "nobody")]
        assert [answer.status_code for answer in answers] == [403, 403]
        assert answers[0].json() == answers[1].json()
    assert VirtualKey.objects.get().name == "mine"


@pytest.mark.parametrize("field", ["owner", "project", "team"])
def test_no_list_tells_whether_there_is_one_of_that_name(as_ann, ann, make_user, field):
    make_user(name="there")
    make_project("there")
    Team.objects.create(name="there")
    make_key("mine", owner=ann)
    answers = [as_ann.get(f"/api/keys?{field}={name}") for name in ("there", "nobody", "99999")]
    assert [(answer.status_code, answer.json()["results"]) for answer in answers] == [(200, [])] * 3


def test_a_key_may_be_made_for_a_team_of_ones_own_and_no_other(as_ann, ann):
    mine, other = Team.objects.create(name="mine"), Team.objects.create(name="other")
    mine.members.add(ann)
    assert as_ann.post("/api/keys", {"name": "a", "team": "mine"}).json()["team"] == mine.pk
    assert as_ann.post("/api/keys", {"name": "b", "team": other.pk}).status_code == 403
    key = VirtualKey.objects.get()
    assert as_ann.patch(f"/api/keys/{key.pk}", {"team": None}).status_code == 403  # away from the team's limits


LIMITS: dict[str, Any] = {
    "rpm": 10,
    "rps": 5,
    "burst": 5,
    "budget": Decimal(10),
    "period": "month",
    "expires_at": SOONER,
    "allowed_models": ["gpt-*", "o4"],
}


@pytest.mark.parametrize(
    "wider",
    [
        {"rpm": 11},
        {"rpm": None},
        {"burst": 6},
        {"budget": "10.000001"},
        {"budget": None},
        {"period": "day"},
        {"time_zone": "Asia/Tokyo"},
        {"soft_threshold": "0.9"},
        {"expires_at": LATER.isoformat()},
        {"expires_at": None},
        {"allowed_models": []},
        {"allowed_models": ["*"]},
        {"allowed_models": ["o4", "o5"]},
    ],
    ids=str,
)
def test_owners_do_not_widen_their_keys(as_ann, ann, wider):
    key = make_key(owner=ann, **LIMITS)
    answer = as_ann.patch(f"/api/keys/{key.pk}", wider)
    assert (answer.status_code, set(answer.json()["errors"])) == (400, set(wider))


@pytest.mark.parametrize(
    "said,status",
    [
        ({"burst": 6}, 400),
        ({"burst": 100_000}, 400),
        ({"rps": 2, "burst": 6}, 400),
        ({"burst": 5}, 200),
        ({"rps": 2, "burst": 4}, 200),
        ({"burst": None}, 200),
        ({"rps": 2}, 200),
    ],
    ids=str,
)
def test_a_blank_burst_is_the_operators_rps(as_ann, ann, said, status):
    """X20: as it is counted."""
    key = make_key(owner=ann, rps=5)
    answer = as_ann.patch(f"/api/keys/{key.pk}", said)
    assert answer.status_code == status
    if status == 400:
        assert set(answer.json()["errors"]) == {"burst"}


def test_a_burst_may_be_blank_again_where_that_is_no_more_than_before(as_ann, ann):
    wide, narrow = make_key("w", owner=ann, rps=5, burst=9), make_key("n", owner=ann, rps=5, burst=2)
    assert as_ann.patch(f"/api/keys/{wide.pk}", {"burst": None}).status_code == 200
    assert as_ann.patch(f"/api/keys/{narrow.pk}", {"burst": None}).status_code == 400


def test_a_key_without_a_rate_may_get_any_rate_and_burst(as_ann, ann):
    key = make_key(owner=ann)
    assert as_ann.patch(f"/api/keys/{key.pk}", {"rps": 5, "burst": 50}).status_code == 200


def test_owners_do_not_switch_on_what_was_switched_off(as_ann, ann):
    key = make_key(owner=ann, is_active=False)
    assert as_ann.patch(f"/api/keys/{key.pk}", {"is_active": True}).status_code == 400


@pytest.mark.parametrize(
    "narrower",
    [
        {"rpm": 9},
        {"tpm": 100},
        {"budget": "9.999999"},
        {"expires_at": "2029-01-01T00:00:00Z"},
        {"allowed_models": ["o4"]},
        {"is_active": False},
        {"name": "renamed", "notes": "n", "tags": ["t"], "metadata": {"a": 1}},
    ],
    ids=str,
)
def test_owners_narrow_their_keys(as_ann, ann, narrower):
    key = make_key(owner=ann, **LIMITS)
    answer = as_ann.patch(f"/api/keys/{key.pk}", narrower)
    assert answer.status_code == 200
    assert {name: answer.json()[name] for name in narrower} == narrower


def test_a_key_that_is_read_may_be_written_back_by_its_owner(as_ann, ann):
    key = make_key(owner=ann, **LIMITS)
    path = f"/api/keys/{key.pk}"
    assert as_ann.put(path, as_ann.get(path).json()).status_code == 200


def test_a_new_key_is_held_against_the_defaults(as_ann, settings):
    settings.KEY_DEFAULT_RPM, settings.KEY_DEFAULT_BUDGET = 10, Decimal(5)
    for wider in ({"rpm": 11}, {"rpm": None}, {"budget": "5.01"}, {"period": "day"}):
        assert as_ann.post("/api/keys", {"name": "k", **wider}).status_code == 400
    told = as_ann.post("/api/keys", {"name": "k", "rpm": 9}).json()
    assert (told["rpm"], told["budget"]) == (9, "5.000000")


def test_a_users_account_is_theirs_to_see_and_not_to_change(as_ann, ann):
    [me] = as_ann.get("/api/users").json()["results"]
    assert (me["username"], me["tier"], me["user"]) == ("ann", "free", ann.pk)
    assert as_ann.patch(f"/api/users/{me['id']}", {"tier": "paid", "budget": 10**6}).status_code == 403


def test_requests_are_shown_to_whom_they_are_of(as_ann, ann, make_user):
    make_record("mine", user=ann)
    make_record("bob's", user=make_user(name="bob"))
    make_record("nobody's")
    assert [row["id"] for row in as_ann.get("/api/requests").json()["results"]] == ["mine"]
    assert as_ann.get("/api/requests/bob's").status_code == 404


def test_a_row_of_somebody_else_is_not_there(as_ann, make_user):
    key = make_key(owner=make_user(name="bob"))
    for method, path in (("get", ""), ("patch", ""), ("delete", ""), ("post", "/rotate"), ("post", "/revoke")):
        answer = getattr(as_ann, method)(f"/api/keys/{key.pk}{path}", {})
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    after = VirtualKey.objects.get()
    assert (after.status, after.public_id) == ("active", key.public_id)


def test_keys_of_a_deactivated_user_are_inactive_wherever_they_are_looked_for(api, ann, make_user):
    for name, fields in (("on", {}), ("off", {"is_active": False}), ("over", {"expires_at": SINCE})):
        make_key(f"ann's {name}", owner=ann, **fields)
        make_key(f"bob's {name}", owner=make_user(name=f"bob-{name}"), **fields)
        make_key(f"nobody's {name}", **fields)
    ann.is_active = False
    ann.save()
    for status, many in (("active", 2), ("inactive", 5), ("expired", 2)):
        rows = api.get(f"/api/keys?status={status}").json()["results"]
        assert {row["status"] for row in rows} == {status}
        assert len(rows) == many
