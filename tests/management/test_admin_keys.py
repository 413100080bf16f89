"""Keys and projects in a superuser's browser."""

from __future__ import annotations

import re

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client

from keys.admin.keys import VirtualKeyAdmin
from keys.admin.limits import CappedPaginator
from keys.models import VirtualKey
from keys.tokens import read_token, secret_matches
from tests.kit.admin_pages import confirmed, key_form, tokens_in
from tests.kit.html_forms import filled
from tests.kit.rows import make_key, make_project

LIST = "/admin/keys/virtualkey/"


def test_adding_a_key_mints_it_and_shows_the_token_once(admin):
    project = make_project()
    page = admin.post(LIST + "add/", key_form(project, allowed_models="gpt-*, o4", tags="a\nb", rpm="5"), follow=True)
    [token] = tokens_in(page)
    key = VirtualKey.objects.get()
    assert (key.name, key.project, key.allowed_models, key.tags, key.rpm) == (
        "k",
        project,
        ["gpt-*", "o4"],
        ["a", "b"],
        5,
    )
    assert secret_matches(read_token(token, "sk-sluice-").secret, bytes(key.salt), bytes(key.secret_hash))
    assert "Copy</button>" in page.content.decode()
    for again in (LIST, f"{LIST}{key.pk}/change/", "/admin/"):
        assert token not in admin.get(again).content.decode()
    assert token not in str(dict(admin.session))
    assert token not in str(admin.cookies)
    assert LogEntry.objects.get().object_id == str(key.pk)


@pytest.mark.parametrize("blank", [{}, {"metadata": ""}])
def test_what_is_left_blank_is_empty(admin, blank):
    admin.post(LIST + "add/", key_form(make_project(), **blank))
    key = VirtualKey.objects.get()
    assert (key.metadata, key.tags, key.allowed_models, key.rpm) == ({}, [], [], None)


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": ""},
        {"name": "taken"},
        {"rpm": "0"},
        {"rpm": "x"},
        {"metadata": "[1]"},
        {"metadata": "{"},
        {"project": "99"},
    ],
    ids=str,
)
def test_what_does_not_fit_is_an_error_in_the_form(admin, wrong):
    project = make_project()
    make_key("taken", project=project)
    page = admin.post(LIST + "add/", key_form(project, **wrong))
    assert page.status_code == 200
    assert "errorlist" in page.content.decode()
    assert VirtualKey.objects.count() == 1


def test_an_inactive_project_is_an_error_in_the_form(admin):
    page = admin.post(LIST + "add/", key_form(make_project(is_active=False)))
    assert "This project is inactive" in page.content.decode()
    assert not VirtualKey.objects.exists()


def test_changing_a_key_keeps_its_secret(admin):
    key = make_key(tags=["a"])
    page = admin.post(f"{LIST}{key.pk}/change/", key_form(key.project, name="renamed", tags="a"), follow=True)
    after = VirtualKey.objects.get()
    assert after.name == "renamed"
    assert (after.public_id, bytes(after.secret_hash)) == (key.public_id, bytes(key.secret_hash))
    assert tokens_in(page) == []


def test_rotating_shows_the_new_token_once(admin):
    key = make_key()
    page = confirmed(admin, f"{LIST}{key.pk}/rotate/")
    [token] = tokens_in(page)
    assert read_token(token, "sk-sluice-").public_id == VirtualKey.objects.get().public_id != key.public_id
    assert tokens_in(admin.get(f"{LIST}{key.pk}/change/")) == []


@pytest.mark.parametrize("verb", ["rotate", "revoke"])
def test_the_buttons_take_a_post_with_the_csrf_token(db, verb, admin):
    key = make_key()
    assert f'href="{LIST}{key.pk}/{verb}/"' in admin.get(f"{LIST}{key.pk}/change/").content.decode()
    assert admin.put(f"{LIST}{key.pk}/{verb}/").status_code == 405
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = admin.cookies
    sent = filled(admin.get(f"{LIST}{key.pk}/{verb}/"), "ask_form")
    assert strict.post(f"{LIST}{key.pk}/{verb}/", {**sent, "csrfmiddlewaretoken": ""}).status_code == 403
    assert VirtualKey.objects.get().public_id == key.public_id


@pytest.mark.parametrize("verb", ["rotate", "revoke"])
@pytest.mark.parametrize("permissions", [(), ("keys.view_virtualkey",)])
def test_the_buttons_take_the_permission_to_change(make_user, verb, permissions):
    key, client = make_key(), Client()
    client.force_login(make_user(*permissions))
    for ask in (client.get, client.post):
        assert ask(f"{LIST}{key.pk}/{verb}/").status_code == 403
    assert (VirtualKey.objects.get().public_id, VirtualKey.objects.get().status) == (key.public_id, "active")


@pytest.mark.parametrize("pk", ["999", "abc", "9" * 30, "²"])
def test_a_button_of_a_key_that_is_not_there_is_404(admin, pk):
    assert admin.post(f"{LIST}{pk}/rotate/").status_code == 404


def test_selected_keys_are_revoked_and_one_sentence_says_so(admin):
    keys = [make_key(name) for name in "abc"]
    chosen = {"action": "revoke_selected", "_selected_action": [key.pk for key in keys[:2]]}
    page = confirmed(admin, LIST, chosen)
    assert "Revoked 2 keys." in page.content.decode()
    assert [key.status for key in VirtualKey.objects.order_by("name")] == ["revoked", "revoked", "active"]


def test_a_revoked_key_can_only_be_looked_at(admin):
    key = make_key()
    confirmed(admin, f"{LIST}{key.pk}/revoke/")
    page = admin.get(f"{LIST}{key.pk}/change/").content.decode()
    assert 'name="_save"' not in page
    assert "Rotate" not in page
    assert admin.post(f"{LIST}{key.pk}/change/", key_form(key.project, name="new")).status_code == 302
    assert VirtualKey.objects.get().name == "k"
    assert admin.post(f"{LIST}{key.pk}/rotate/").status_code == 302
    assert VirtualKey.objects.get().public_id == key.public_id


def test_keys_are_never_deleted_here(admin):
    key = make_key()
    assert "delete_selected" not in admin.get(LIST).content.decode()
    assert admin.post(f"{LIST}{key.pk}/delete/", {"post": "yes"}).status_code == 403


@pytest.mark.parametrize(
    "query,found", [("status=active", True), ("status=revoked", False), ("q=find", True), ("q=zzzzzz", False)]
)
def test_the_list_is_filtered_by_status_and_searched(admin, query, found):
    key = make_key("findable")
    assert (f"{LIST}{key.pk}/change/" in admin.get(f"{LIST}?{query}").content.decode()) is found


def test_the_list_takes_as_many_queries_for_many_keys_as_for_one(admin, make_user, django_assert_max_num_queries):
    for number in range(15):
        make_key(f"k{number}", project=make_project(f"p{number}"), owner=make_user(name=f"u{number}"))
    with django_assert_max_num_queries(12):
        assert admin.get(LIST).status_code == 200


def test_the_list_can_be_filtered_by_the_projects_that_have_keys(admin, django_assert_max_num_queries):
    used, too, unused = (make_project(name=name) for name in ("used", "used too", "unused"))
    make_key(project=used)
    make_key("other", project=too)
    with django_assert_max_num_queries(20) as asked:
        page = admin.get(LIST).content.decode()
    offered = {int(pk) for pk in re.findall(r"\?project__id__exact=(\d+)", page)}
    assert {used.pk, too.pk} <= offered
    assert unused.pk not in offered
    through_all_keys = [query["sql"] for query in asked.captured_queries if "DISTINCT" in query["sql"]]
    assert through_all_keys == [], "with a million keys that takes seconds"


def test_a_project_with_keys_is_not_deleted(admin):
    key = make_key()
    page = admin.post(f"/admin/keys/project/{key.project_id}/delete/", {"post": "yes"})
    assert page.status_code == 200
    assert "Cannot delete project" in page.content.decode()


def test_the_site_is_named_sluice(admin):
    assert "Sluice" in admin.get("/admin/").content.decode()


@pytest.fixture
def seven_keys(db, monkeypatch):
    monkeypatch.setattr("keys.admin.limits.MOST_COUNTED", 5)
    # Long words: a key is also found by how its public id begins, which is random.
    for name in ("scarce first", "scarce second", "scarce third", "many 4", "many 5", "many 6", "many 7"):
        make_key(name)


@pytest.mark.parametrize("list_per_page", [2, 100])
@pytest.mark.parametrize(
    "query,first,count",
    [
        ("scarce", ["scarce third", "scarce second", "scarce first"], 3),
        ("SCARCE SECOND", ["scarce second"], 1),
        ("nothing", [], 0),
    ],
)
def test_a_search_for_a_few_keys_reads_the_table_once(
    admin, seven_keys, monkeypatch, django_assert_max_num_queries, list_per_page, query, first, count
):
    monkeypatch.setattr(VirtualKeyAdmin, "list_per_page", list_per_page)
    with django_assert_max_num_queries(20) as asked:
        shown = admin.get(f"{LIST}?q={query}").context_data["cl"]
        assert [key.name for key in shown.result_list] == first[:list_per_page]
    assert shown.result_count == count
    of_keys = [query["sql"] for query in asked.captured_queries if " LIKE " in query["sql"] and "salt" in query["sql"]]
    assert all('"id" IN (' in sql for sql in of_keys), of_keys


def test_keys_are_counted_up_to_a_cap(seven_keys):
    many, every = (CappedPaginator(VirtualKey.objects.filter(name__contains=word), 2) for word in ("many", ""))
    assert (many.count, many.num_pages, [key.name for key in many.page(2)]) == (4, 2, ["many 5", "many 4"])
    assert (every.count, every.num_pages, [key.name for key in every.page(2)]) == (5, 3, ["many 5", "many 4"])
