"""F125: who may see and delete what requests said, in API and admin; how long it stays; how a project asks for it."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from tests.kit.rows import make_key, make_project, make_record
from tests.kit.waiting import soon
from usage.bodies import keep as keeping
from usage.bodies import prune_bodies
from usage.bodies.keep import BodyKeeper, CapturedBodies
from usage.bodies.redact import Redaction
from usage.bodies.show import RawBody, Showing
from usage.models import RequestBodies, RequestRecord

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
PATH = "/api/requests/r1/bodies"


def make_bodies(pk: str = "r1", **fields: Any) -> RequestBodies:
    given = {
        "created_at": NOW,
        "request": b'{"model": "m"}',
        "request_type": "application/json",
        "answer": b"<script>alert(1)</script>",
        "answer_type": "text/html",
    }
    return RequestBodies.objects.create(id=pk, **{**given, **fields})


def signed_in(user: Any) -> APIClient:
    client = APIClient()
    client.force_authenticate(user)
    return client


@pytest.fixture
def owner(make_user: Any) -> Any:
    """Of the request, and no staff."""
    user = make_user(name="owner", is_staff=False)
    make_record("r1", key=make_key(owner=user), user=user)
    make_bodies()
    return user


def test_who_may_see_the_request_sees_what_it_said(api: APIClient, owner: Any, make_user: Any):
    expected = {
        "id": "r1",
        "created_at": "2026-11-21T12:00:00Z",
        "request": {"content_type": "application/json", "encoding": "utf-8", "body": '{"model": "m"}', "note": ""},
        "answer": {
            "content_type": "text/html",
            "encoding": "utf-8",
            "body": "<script>alert(1)</script>",
            "note": "",
        },
    }
    viewer = make_user("usage.view_requestrecord", name="viewer")
    for client in (api, signed_in(owner), signed_in(viewer)):
        answer = client.get(PATH)
        assert (answer.status_code, answer.json()) == (200, expected)
        assert answer.headers["cache-control"] == "no-store"


def test_others_do_not(owner: Any, make_user: Any):
    stranger = make_user(name="stranger", is_staff=False)
    staff = make_user(name="staff")
    assert signed_in(stranger).get(PATH).status_code == 404
    assert signed_in(staff).get(PATH).status_code == 404
    assert APIClient().get(PATH).status_code == 401


def test_only_those_delete_them_who_may_delete(api: APIClient, owner: Any, make_user: Any):
    viewer = make_user("usage.view_requestrecord", name="viewer")
    for user in (owner, viewer):
        assert signed_in(user).delete(PATH).status_code == 403
    assert RequestBodies.objects.count() == 1
    assert api.delete(PATH).status_code == 204
    assert RequestBodies.objects.count() == 0
    assert RequestRecord.objects.count() == 1
    assert api.get(PATH).status_code == 404
    assert api.delete(PATH).status_code == 404


def test_a_request_without_any_and_no_request_are_404(api: APIClient):
    make_record("r2")
    make_bodies("r3")
    assert api.get("/api/requests/r2/bodies").status_code == 404
    assert api.get("/api/requests/r3/bodies").status_code == 404
    assert api.post("/api/requests/r2/bodies").status_code == 405


def test_the_page_of_a_request_shows_them_as_text(admin: Any):
    make_record("r1")
    make_record("r2")
    make_bodies(request=b"\xff\x00", request_note="Cut after 2 bytes.")
    page = admin.get("/admin/usage/requestrecord/r1/change/").content.decode()
    assert "What was said" in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "<script>alert(1)" not in page
    assert "application/json base64 Cut after 2 bytes." in page
    assert "/wA=" in page
    assert "What was said" not in admin.get("/admin/usage/requestrecord/r2/change/").content.decode()


def test_the_list_of_requests_does_not_read_them(admin: Any):
    make_record("r1")
    make_bodies()
    with CaptureQueriesContext(connection) as queries:
        assert admin.get("/admin/usage/requestrecord/").status_code == 200
    assert not any("requestbodies" in query["sql"] for query in queries.captured_queries)


def test_bodies_go_when_their_time_is_over(db: None, settings: Any):
    settings.BODY_RETENTION_DAYS = 3
    bodies = [
        RequestBodies(id=f"old{n}", created_at=NOW - timedelta(days=3, seconds=1 + n), request=b"x")
        for n in range(1203)
    ]
    RequestBodies.objects.bulk_create(bodies)
    make_bodies("young", created_at=NOW - timedelta(days=3))
    assert prune_bodies(NOW) == 1203
    assert [row.pk for row in RequestBodies.objects.all()] == ["young"]
    assert prune_bodies(NOW) == 0


def test_a_project_says_what_is_kept(api: APIClient):
    project = make_project("p")
    path = f"/api/projects/{project.pk}"
    assert api.get(path).json()["capture_bodies"] == "off"
    assert api.patch(path, {"capture_bodies": "errors"}).json()["capture_bodies"] == "errors"
    answer = api.patch(path, {"capture_bodies": "some"})
    assert answer.status_code == 400
    assert "capture_bodies" in answer.json()["errors"]
    made = api.post("/api/projects", {"name": "q", "capture_bodies": "all"})
    assert (made.status_code, made.json()["capture_bodies"]) == (201, "all")


def test_the_admin_has_it_on_the_projects_page(admin: Any):
    project = make_project("p")
    page = admin.get(f"/admin/keys/project/{project.pk}/change/").content.decode()
    assert 'name="capture_bodies"' in page


# --- the thread that writes them -------------------------------------------------------------------------------


def captured(pk: str, said: bytes = b"hello") -> CapturedBodies:
    return CapturedBodies(
        pk, NOW.timestamp(), RawBody(bytearray(said), len(said), "", ""), RawBody(bytearray(), 0, "", ""), []
    )


def keeper() -> BodyKeeper:
    return BodyKeeper(Showing(Redaction("sk-sluice-"), list, 1024))


@pytest.mark.django_db(transaction=True)
def test_they_wait_while_the_database_is_away(monkeypatch: pytest.MonkeyPatch):
    away = threading.Event()
    asked = threading.Event()
    create = type(RequestBodies.objects).bulk_create

    def bulk_create(self: Any, *args: Any, **options: Any) -> Any:
        asked.set()
        if away.is_set():
            raise OperationalError("gone")
        return create(self, *args, **options)

    monkeypatch.setattr(type(RequestBodies.objects), "bulk_create", bulk_create)
    monkeypatch.setattr(keeping, "TRY_AGAIN_S", 0.01)
    away.set()
    bodies = keeper()
    bodies.add(captured("a"))
    assert asked.wait(10)
    bodies.add(captured("b"))
    away.clear()
    soon(lambda: RequestBodies.objects.count() == 2)
    bodies.stop()
    assert {row.pk for row in RequestBodies.objects.all()} == {"a", "b"}


@pytest.mark.django_db(transaction=True)
def test_what_waits_is_bounded_and_what_is_lost_is_counted(monkeypatch: pytest.MonkeyPatch):
    def gone(self: Any, *args: Any, **options: Any) -> Any:
        raise OperationalError("gone")

    monkeypatch.setattr(type(RequestBodies.objects), "bulk_create", gone)
    monkeypatch.setattr(keeping, "WAITING_BYTES", 10_000)
    monkeypatch.setattr(keeping, "EVERY_S", 60)  # nothing is taken off the queue until it stops
    lost_before = keeping._dropped._value.get()
    bodies = keeper()
    for number in range(20):
        bodies.add(captured(f"r{number}", b"x" * 976))
    assert keeping._dropped._value.get() - lost_before == 15  # each counts as 2,000 bytes
    bodies.stop()
    assert keeping._dropped._value.get() - lost_before == 20


@pytest.mark.django_db(transaction=True)
def test_the_same_request_twice_is_one(monkeypatch: pytest.MonkeyPatch):
    bodies = keeper()
    bodies.add(captured("a"))
    bodies.add(captured("a"))
    bodies.stop()
    assert RequestBodies.objects.count() == 1
    assert connection.is_usable()


class Spoiled(Redaction):
    """One that fails on some text."""

    def redacted(self, body: bytes, *args: Any, **options: Any) -> bytes:
        if body == b"spoil-canary":
            raise RecursionError(body)
        return super().redacted(body, *args, **options)


@pytest.mark.django_db(transaction=True)
def test_one_that_cannot_be_redacted_is_not_kept_and_the_others_are(caplog: pytest.LogCaptureFixture):
    bodies = BodyKeeper(Showing(Spoiled("sk-sluice-"), list, 1024))
    for pk, said in (("a", b"x"), ("b", b"spoil-canary"), ("c", b"y")):
        bodies.add(captured(pk, said))
    bodies.stop()
    assert {row.pk for row in RequestBodies.objects.all()} == {"a", "c"}
    assert "request b are not kept: RecursionError" in caplog.text
    assert "spoil-canary" not in caplog.text
