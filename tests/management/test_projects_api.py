from __future__ import annotations

from typing import Any

import pytest

from keys.models import Project
from keys.ruled import RULES
from tests.kit.rows import LIMITS, make_credential, make_key, make_project

FIELDS = {
    "id",
    "name",
    "is_active",
    "upstream_alias",
    "notes",
    *RULES,
    "capture_bodies",
    "unmetered",
    "foreign_ids",
    "cache_policy",
    "cache_ttl_s",
    "cache_scope",
    "created_at",
    "updated_at",
    *LIMITS,
}


def test_a_project_is_created_read_updated_and_deleted(api):
    make_credential("second")
    made = api.post("/api/projects", {"name": "team", "upstream_alias": "second", "notes": "n"})
    assert made.status_code == 201
    assert set(made.json()) == FIELDS
    path = f"/api/projects/{made.json()['id']}"
    assert api.get(path).json() == made.json()
    assert api.patch(path, {"is_active": False}).json()["is_active"] is False
    assert api.put(path, {"name": "crew"}).json()["name"] == "crew"
    assert api.delete(path).status_code == 204
    assert api.get(path).status_code == 404


def test_a_project_says_what_becomes_of_unmetered_requests(api):
    path = f"/api/projects/{make_project('team').pk}"
    assert api.get(path).json()["unmetered"] is None
    for word in ("allow", "refuse", None):
        assert api.patch(path, {"unmetered": word}).json()["unmetered"] == word
    for wrong in ("", "Allow", "none", True, ["allow"]):
        answer = api.patch(path, {"unmetered": wrong})
        assert (answer.status_code, list(answer.json()["errors"])) == (400, ["unmetered"])


def test_a_project_says_whether_its_keys_may_speak_of_what_nobody_made(api):
    path = f"/api/projects/{make_project('team').pk}"
    assert api.get(path).json()["foreign_ids"] == "refuse"
    for word in ("allow", "refuse"):
        assert api.patch(path, {"foreign_ids": word}).json()["foreign_ids"] == word
    for wrong in ("", "Allow", None, True, ["allow"]):
        answer = api.patch(path, {"foreign_ids": wrong})
        assert (answer.status_code, list(answer.json()["errors"])) == (400, ["foreign_ids"])
    [entry, *_] = api.get("/api/audit?target_kind=project&result=ok").json()["results"]
    assert entry["changes"]["foreign_ids"] == ["allow", "refuse"]


CACHE_FIELDS: dict[str, tuple[list[Any], list[Any]]] = {
    "cache_policy": (["off", "on", "opt_in", None], ["", "On", True, 1]),
    "cache_ttl_s": ([1, 3600, 366 * 86_400, None], [0, -1, 366 * 86_400 + 1, "soon", True]),
    "cache_scope": (["project", "key", "shared"], ["", "all", None, True]),
}


@pytest.mark.parametrize("field", CACHE_FIELDS)
def test_a_project_says_how_it_uses_the_cache(api, field: str):
    path = f"/api/projects/{make_project('team').pk}"
    right, wrong = CACHE_FIELDS[field]
    assert api.get(path).json()[field] == right[0 if field == "cache_scope" else -1]
    for value in right:
        assert api.patch(path, {field: value}).json()[field] == value
    for value in wrong:
        answer = api.patch(path, {field: value})
        assert (answer.status_code, list(answer.json()["errors"])) == (400, [field]), value


def test_the_admin_has_it_beside_the_table_of_what_is_metered(admin):
    project = make_project("team", unmetered="allow")
    page = admin.get(f"/admin/keys/project/{project.pk}/change/").content.decode()
    assert 'name="unmetered"' in page
    assert 'name="foreign_ids"' in page
    assert "endpoint_not_metered" in page
    form = {"name": "team", "period": "total", "soft_threshold": "0.8", "is_active": "on", "unmetered": ""}
    answer = admin.post(f"/admin/keys/project/{project.pk}/change/", form)
    assert answer.status_code == 302, answer.content.decode()
    project.refresh_from_db()
    assert (project.unmetered, project.foreign_ids) == (None, "refuse")


def test_a_duplicate_name_is_409(api):
    make_project("team")
    for answer in (
        api.post("/api/projects", {"name": "team"}),
        api.patch(f"/api/projects/{make_project('other').pk}", {"name": "team"}),
    ):
        assert (answer.status_code, answer.json()["code"]) == (409, "duplicate_name")


@pytest.mark.parametrize("wrong", [{}, {"name": ""}, {"name": "x" * 101}, {"upstream_alias": "A B"}, {"is_active": 3}])
def test_what_does_not_fit_is_400(api, wrong):
    assert api.post("/api/projects", {"name": "p", **wrong} if wrong else {}).status_code == 400


def test_a_project_with_keys_is_not_deleted_and_the_answer_says_why(api):
    key = make_key(project=make_project("team"))
    key.revoke()
    answer = api.delete(f"/api/projects/{key.project_id}")
    assert (answer.status_code, answer.json()["code"]) == (409, "in_use")
    assert "1 virtual key" in answer.json()["detail"]
    assert Project.objects.filter(name="team").exists()


def test_projects_are_listed_newest_first_and_filtered(api):
    make_project("a")
    make_project("b", is_active=False)
    listed = api.get("/api/projects").json()
    assert set(listed) == {"next", "previous", "results"}
    assert [row["name"] for row in listed["results"]] == ["b", "a"]
    assert [row["name"] for row in api.get("/api/projects?is_active=false").json()["results"]] == ["b"]
    assert [row["name"] for row in api.get("/api/projects?name=a").json()["results"]] == ["a"]
