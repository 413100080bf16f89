"""F46: a project's rules are stored as they were meant, or refused with the reason."""

from __future__ import annotations

import json
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from keys.models import Project
from keys.records import load_projects
from tests.kit.rows import TOKEN, make_project

RULES: dict[str, Any] = {
    "allowed_params": {"model": ["gpt-4.1-*"], "temperature": [0, 0.5], "response_format.type": ["json_object"]},
    "allowed_origins": ["https://app.example.org", "https://*.example.org", "http://localhost:3000"],
    "required_headers": {"X-Team": ["red", "b*"], "X-Trace": []},
    "allowed_methods": ["POST", "GET"],
    "allowed_paths": ["/v1/chat/*", "/v1/models"],
}
EMPTY = {name: type(value)() for name, value in RULES.items()}


def test_rules_are_stored_shown_and_taken_away(api):
    made = api.post("/api/projects", {"name": "p", **RULES})
    assert made.status_code == 201
    assert {name: made.json()[name] for name in RULES} == RULES
    path = f"/api/projects/{made.json()['id']}"
    assert load_projects()[made.json()["id"]].rules is not None
    assert {name: api.patch(path, EMPTY).json()[name] for name in RULES} == EMPTY
    assert load_projects()[made.json()["id"]].rules is None


@pytest.mark.parametrize(
    "name,wrong,reason",
    [
        ("allowed_params", [], "Write an object"),
        ("allowed_params", {"model": []}, "at least one"),
        ("allowed_params", {"model": "gpt"}, "Write a list"),
        ("allowed_params", {"model": ["a", "a"]}, "stands twice"),
        ("allowed_params", {"model": [None]}, "null stands for"),
        ("allowed_params", {"a..b": [1]}, "not a parameter's name"),
        ("allowed_params", {"": [1]}, "not a parameter's name"),
        ("allowed_params", {"a": [1], "a.b": [1]}, "contradict"),
        ("allowed_params", {"a.b.c": [1], "a.b": [1]}, "contradict"),
        ("allowed_params", {"Model": ["a"], "model": ["b"]}, "upper and lower case"),
        ("allowed_params", {f"p{n}": [1] for n in range(201)}, "more than 200"),
        ("allowed_origins", {}, "list of origins"),
        ("allowed_origins", ["app.example.org"], "list of origins"),
        ("allowed_origins", ["https://app.example.org/"], "list of origins"),
        ("allowed_origins", ["*", "https://app.example.org"], "every origin"),
        ("required_headers", [], "Write an object"),
        ("required_headers", {"X Team": []}, "not a header's name"),
        ("required_headers", {"Authorization": []}, "credential"),
        ("required_headers", {"X-Team": "red"}, "list of texts"),
        ("required_headers", {"X-Team": [], "x-team": []}, "stands twice"),
        ("allowed_methods", ["post"], "Write a list of GET"),
        ("allowed_methods", ["POST", "POST"], "stands twice"),
        ("allowed_methods", {}, "Write a list"),
        ("allowed_paths", ["/api/keys"], "under /v1/"),
        ("allowed_paths", "/v1/*", "under /v1/"),
    ],
)
def test_what_is_no_rule_is_refused_with_the_reason(api, name, wrong, reason):
    answer = api.post("/api/projects", {"name": "p", name: wrong})
    assert (answer.status_code, list(answer.json()["errors"])) == (400, [name])
    assert reason in answer.json()["errors"][name][0]
    assert not Project.objects.filter(name="p").exists()


def test_the_admin_stores_rules_and_clears_them(admin):
    project = make_project()
    path = f"/admin/keys/project/{project.pk}/change/"
    filled = {"name": "p", "is_active": "on", "period": "total", "soft_threshold": "0.8"}
    form = {**filled, **{name: json.dumps(value) for name, value in RULES.items()}}
    assert admin.post(path, form).status_code == 302
    project.refresh_from_db()
    assert {name: getattr(project, name) for name in RULES} == RULES
    assert admin.post(path, {**filled, **dict.fromkeys(RULES, "")}).status_code == 302
    project.refresh_from_db()
    assert {name: getattr(project, name) for name in RULES} == EMPTY
    page = admin.post(path, {**form, "allowed_methods": '["post"]'})
    assert "Write a list of GET" in page.content.decode()


@pytest.mark.parametrize("where", ["local", "remote"])
def test_the_command_takes_rules(request, transactional_db, where):
    remote = ("--api-url", request.getfixturevalue("live_server").url, "--token", TOKEN) if where == "remote" else ()
    call_command("projects", "create", "--name", "p", "--rules", json.dumps(RULES), *remote, stdout=StringIO())
    project = Project.objects.get(name="p")
    assert {name: getattr(project, name) for name in RULES} == RULES
    update = ("projects", "update", "--name", "p", *remote)
    call_command(*update, "--rules", '{"allowed_methods": []}', stdout=StringIO())
    project.refresh_from_db()
    assert (project.allowed_methods, project.allowed_paths) == ([], RULES["allowed_paths"])
    for wrong in ("{", "[]", '{"methods": []}', '{"allowed_methods": ["post"]}'):
        with pytest.raises(CommandError):
            call_command(*update, "--rules", wrong, stdout=StringIO())
