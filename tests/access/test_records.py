"""X96: what a process remembers of a key is what its row says, for every combination that decides something."""

from __future__ import annotations

from decimal import Decimal

import pytest
from django.contrib.auth.models import User

from keys.access import InactiveProject, check_project
from keys.models import Project, VirtualKey
from keys.records import load_keys
from tests.kit.rows import key_record

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("own", [True, False])
@pytest.mark.parametrize("owners", [True, False, None])
def test_a_key_is_active_where_it_is_and_its_owner_too(own: bool, owners: bool | None):
    owner = None if owners is None else User.objects.create_user("ann", is_active=owners)
    row, _ = VirtualKey.objects.mint(name="k", owner=owner, is_active=own)
    assert key_record(row).is_active == (own and owners is not False)


@pytest.mark.parametrize(
    "models, exact, globs, takes, refuses",
    [
        ([], set(), (), ["a", "b"], []),
        (["a"], {"a"}, (), ["a"], ["b", "A", ""]),
        (["a*"], set(), ("a*",), ["a", "ab"], ["b", "AB"]),
        (["b", "a*"], {"b"}, ("a*",), ["a", "b"], ["bb", "c"]),
        (["b", "*"], set(), (), ["a", "b"], []),
    ],
    ids=str,
)
def test_a_list_of_models_is_kept_as_names_and_patterns(
    models: list[str], exact: set[str], globs: tuple[str, ...], takes: list[str], refuses: list[str]
):
    found = key_record(VirtualKey.objects.mint(name="k", allowed_models=models)[0])
    assert (set(found.exact_models), found.model_globs) == (exact, globs)
    assert [found.may_use(model) for model in takes] == [True] * len(takes)
    assert [found.may_use(model) for model in refuses] == [False] * len(refuses)
    assert found.is_bound == bool(refuses)


@pytest.mark.parametrize("models", [[], ["*"]])
def test_a_budget_binds_a_key_without_a_list(models: list[str]):
    found = key_record(VirtualKey.objects.mint(name="k", allowed_models=models, budget=Decimal(1))[0])
    assert found.is_bound


@pytest.mark.parametrize("said, kept", [("off", ""), ("errors", "errors"), ("all", "all")])
def test_a_project_keeps_bodies_as_it_says(said: str, kept: str):
    project = Project.objects.create(name="p", capture_bodies=said)
    row, _ = VirtualKey.objects.mint(name="k", project=project)
    assert load_keys([row.public_id])[row.public_id][1].captures == kept


def test_a_key_is_found_under_the_ids_that_were_asked_for_alone():
    row, _ = VirtualKey.objects.mint(name="k")
    old = row.public_id
    row.rotate(60)
    assert set(load_keys([row.public_id])) == {row.public_id}
    assert set(load_keys([old])) == {old}
    both = load_keys([old, row.public_id])
    assert both[old][0].secret_hash != both[row.public_id][0].secret_hash
    assert (both[old][0].grace_until is None, both[row.public_id][0].grace_until) == (False, None)


def test_a_key_is_served_only_within_an_active_project():
    row, _ = VirtualKey.objects.mint(name="k")
    check_project(load_keys([row.public_id])[row.public_id][1])
    Project.objects.filter(pk=row.project_id).update(is_active=False)
    for project in (None, load_keys([row.public_id])[row.public_id][1]):
        with pytest.raises(InactiveProject):
            check_project(project)
