"""Stored answers in a superuser's browser."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from msgspec import structs

from cache.entry import packed, unpacked
from cache.models import CachedResponse, CachePurge
from tests.kit.admin_pages import confirmed
from tests.kit.rows import make_cached
from usage.models import AuditEntry

LIST = "/admin/cache/cachedresponse/"
PLAIN, STREAM = "a" * 64 + "p", "b" * 64 + "s"


@pytest.fixture
def answers(db):
    make_cached(PLAIN)
    make_cached(STREAM, model="o4-mini", project_id=8, request_id="req_2", path="/v1/responses")
    make_cached("c" * 64 + "p", expires_at=timezone.now() - timedelta(seconds=1))


def shown(page):
    assert page.status_code == 200
    return [name for name in (PLAIN, STREAM) if f"{LIST}{name}/change/" in page.content.decode()]


@pytest.mark.parametrize(
    "query,expected",
    [
        ("", [PLAIN, STREAM]),
        (f"q={PLAIN[:20]}", [PLAIN]),
        ("q=req_2", [STREAM]),
        ("q=o4", [STREAM]),
        ("q=nothing", []),
        ("stream__exact=1", [STREAM]),
        ("path=/v1/responses", [STREAM]),
        ("project=8", [STREAM]),
        ("project=9", []),
        ("project=x", []),
    ],
)
def test_answers_that_may_be_used_are_searched_and_filtered(admin, answers, query, expected):
    assert shown(admin.get(f"{LIST}?{query}")) == expected


def test_the_list_reads_no_answers_and_does_not_read_the_table(admin, answers):
    with CaptureQueriesContext(connection) as queries:
        page = admin.get(LIST)
    statements = [each["sql"] for each in queries if "cache_cachedresponse" in each["sql"]]
    assert shown(page) == [PLAIN, STREAM]
    assert not [each for each in statements if '"packed"' in each or "DISTINCT" in each or "LIMIT" not in each]


def test_large_answers_are_cut(admin, db):
    row = make_cached(PLAIN)
    entry = unpacked(bytes(row.packed))
    assert entry is not None
    row.packed = packed(structs.replace(entry, pieces=((0.0, b"x" * 100_000 + b"the end"),)))
    row.save()
    page = admin.get(f"{LIST}{PLAIN}/change/").content.decode()
    assert ("xxx" in page, "the end" in page, "There is more" in page) == (True, False, True)


def test_an_answer_is_shown_with_its_frames_or_its_body(admin, answers):
    assert "0.500 s  e {}" in admin.get(f"{LIST}{STREAM}/change/").content.decode()
    assert "{}</pre>" in admin.get(f"{LIST}{PLAIN}/change/").content.decode()


def test_what_an_answer_says_is_no_markup(admin, db):
    row = make_cached(PLAIN)
    row.packed = bytes(row.packed).replace(b"{}", b"<i")
    row.save()
    assert "&lt;i</pre>" in admin.get(f"{LIST}{PLAIN}/change/").content.decode()


def test_answers_are_read_only(admin, answers):
    assert admin.get(LIST + "add/").status_code == 403
    assert admin.post(f"{LIST}{PLAIN}/change/", {"model": "x"}).status_code == 403
    assert admin.post(f"{LIST}{PLAIN}/delete/", {"post": "yes"}).status_code == 403


def test_selected_answers_are_purged(admin, answers):
    sent = {"action": "purge_selected", "_selected_action": [PLAIN]}
    page = admin.post(LIST, sent, follow=True)
    assert "Purged 1 answer." in page.content.decode()
    assert shown(admin.get(LIST)) == [STREAM]
    assert CachePurge.objects.get().cache_key == PLAIN[:-1]
    entry = AuditEntry.objects.get(target_kind="purge")
    assert (entry.action, entry.actor) == ("create", "root")
    assert shown(admin.get(LIST)) == [STREAM]


def test_everything_is_purged_after_a_yes(admin, answers):
    sent = {"action": "purge_everything", "_selected_action": [PLAIN]}
    assert admin.post(LIST, sent).status_code == 200
    assert CachePurge.objects.count() == 0
    assert "Purged everything" in confirmed(admin, LIST, sent).content.decode()
    assert CachedResponse.objects.count() == 0
    assert "purge" in admin.get("/admin/cache/cachepurge/").content.decode()
