"""F45: the audit log is read by each of its fields, and edited by nobody."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, transaction

from tests.kit.rows import TOKEN
from usage.audit import guard
from usage.audit.entry import AppendOnly
from usage.audit.file import AuditFile
from usage.audit.prune import prune
from usage.models import AuditEntry

FIELDS: dict[str, Any] = {
    "actor_kind": "user", "actor": "ann", "action": "update", "target_kind": "key", "target_id": "7", "target": "ci",
    "result": "refused", "code": "in_use", "status_code": 409, "ip": "192.0.2.1", "request_id": "mgt_1",
}  # fmt: skip


def make_entry(**fields: Any) -> AuditEntry:
    return AuditEntry.objects.create(**{"actor_kind": "system", "action": "create", **fields})


@pytest.fixture
def entry(db: None) -> AuditEntry:
    make_entry(created_at=datetime(2026, 1, 1, tzinfo=UTC))
    found = make_entry(created_at=datetime(2026, 2, 1, tzinfo=UTC), changes={"rpm": [1, 2]}, **FIELDS)
    make_entry(created_at=datetime(2026, 3, 1, tzinfo=UTC), target_id="70")
    return found


@pytest.mark.parametrize("name", FIELDS)
def test_it_is_filtered_by_each_field(api, entry, name):
    rows = api.get(f"/api/audit?{name}={FIELDS[name]}").json()["results"]
    assert [row["id"] for row in rows] == [entry.pk]
    assert {field: rows[0][field] for field in FIELDS} == FIELDS
    assert rows[0]["changes"] == {"rpm": [1, 2]}


def test_it_is_filtered_by_time_and_searched(api, entry):
    between = "/api/audit?created_after=2026-01-15T00:00:00Z&created_before=2026-02-15T00:00:00Z"
    for path in (between, "/api/audit?search=ann", f"/api/audit/?search={entry.code}"):
        assert [row["id"] for row in api.get(path).json()["results"]] == [entry.pk]


def test_pages_go_by_cursor_newest_first(api, entry):
    page = api.get("/api/audit?page_size=2").json()
    rest = api.get(page["next"]).json()
    ids = [row["id"] for row in page["results"] + rest["results"]]
    assert len(ids) == 3
    assert ids == sorted(ids, reverse=True)


@pytest.mark.parametrize("method", ["put", "patch", "delete", "post"])
def test_the_api_edits_nothing(api, entry, method):
    for path in (f"/api/audit/{entry.pk}", "/api/audit"):
        assert getattr(api, method)(path, {"actor": "x"}).status_code == 405
    assert AuditEntry.objects.filter(actor="ann").exists()


def test_the_admin_shows_and_edits_nothing(admin, entry):
    assert "ann" in admin.get("/admin/usage/auditentry/").content.decode()
    path = f"/admin/usage/auditentry/{entry.pk}"
    assert admin.get(f"{path}/change/").status_code == 200
    for page in (f"{path}/change/", f"{path}/delete/", "/admin/usage/auditentry/add/"):
        assert admin.post(page, {"actor": "x", "post": "yes"}).status_code == 403


def test_the_model_edits_nothing(entry):
    entry.actor = "x"
    with pytest.raises(AppendOnly):
        entry.save()
    with pytest.raises(AppendOnly):
        entry.delete()


@pytest.mark.parametrize("statement", ["UPDATE usage_auditentry SET actor = 'x'", "DELETE FROM usage_auditentry"])
def test_the_database_edits_nothing(entry, statement):
    guard.put(connection)
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)
    assert AuditEntry.objects.get(pk=entry.pk).actor == "ann"


def test_pruning_deletes_what_is_old_and_says_so(entry):
    guard.put(connection)
    assert prune(datetime(2026, 2, 15, tzinfo=UTC)) == 2
    newest, kept = AuditEntry.objects.all()
    assert (newest.action, newest.actor_kind, newest.changes["deleted"]) == ("prune", "cli", 2)
    assert kept.target_id == "70"
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("DELETE FROM usage_auditentry")


def test_pruning_nothing_leaves_no_entry(entry):
    assert prune(datetime(2020, 1, 1, tzinfo=UTC)) == 0
    assert AuditEntry.objects.count() == 3


@pytest.mark.parametrize("where", ["local", "remote"])
def test_the_command_lists(request, transactional_db, where):
    make_entry(**FIELDS)
    make_entry()
    remote = ("--api-url", request.getfixturevalue("live_server").url, "--token", TOKEN) if where == "remote" else ()
    out = StringIO()
    call_command("audit", "list", "--actor", "ann", "--result", "refused", *remote, "--json", stdout=out)
    assert [row["target_id"] for row in json.loads(out.getvalue())["results"]] == ["7"]


def test_the_command_prunes_here_alone(transactional_db):
    make_entry(created_at=datetime(2026, 1, 1, tzinfo=UTC))
    with pytest.raises(CommandError, match="not from afar"):
        call_command("audit", "prune", "--before", "2026-06-01", "--api-url", "http://127.0.0.1:9", "--token", "t")
    out = StringIO()
    call_command("audit", "prune", "--before", "2026-06-01", "--json", stdout=out)
    assert json.loads(out.getvalue()) == {"deleted": 1}
    guard.lift(connection)  # pruning put the triggers back, and Django empties the table after this test
    assert [entry.action for entry in AuditEntry.objects.all()] == ["prune"]


def test_the_file_is_rotated_by_size_and_private(tmp_path: Path):
    file = AuditFile(str(tmp_path / "sub" / "audit.jsonl"), max_bytes=1000, backups=2)
    for number in range(12):
        file.append([AuditEntry(actor_kind="user", actor=f"user-{number}", action="update")])
    files = sorted(path.name for path in (tmp_path / "sub").iterdir() if not path.name.startswith("."))
    assert files == ["audit.jsonl", "audit.jsonl.1", "audit.jsonl.2"]
    lines = [line for name in files for line in (tmp_path / "sub" / name).read_text().splitlines()]
    assert all(json.loads(line)["action"] == "update" for line in lines)
    assert json.loads((tmp_path / "sub" / "audit.jsonl").read_text().splitlines()[-1])["actor"] == "user-11"
    assert all((tmp_path / "sub" / name).stat().st_size <= 1000 for name in files)
    assert (tmp_path / "sub" / "audit.jsonl").stat().st_mode & 0o077 == 0


def test_a_line_is_written_only_once_its_entry_is_committed(
    transactional_db, tmp_path: Path, settings: Any, live_server: Any
):
    settings.AUDIT_FILE = str(tmp_path / "audit.jsonl")
    call_command("projects", "create", "--name", "told", stdout=StringIO())
    with pytest.raises(CommandError):
        call_command("projects", "create", "--name", "told", stdout=StringIO())
    lines = [json.loads(line) for line in (tmp_path / "audit.jsonl").read_text().splitlines()]
    assert [(line["target"], line["result"]) for line in lines] == [("told", "ok"), ("", "refused")]
    assert lines[0]["id"] == AuditEntry.objects.get(target="told").pk


def test_a_file_that_cannot_be_written_stops_nothing(transactional_db, settings, caplog):
    settings.AUDIT_FILE = "/proc/nowhere/audit.jsonl"
    call_command("projects", "create", "--name", "told", stdout=StringIO())
    assert AuditEntry.objects.filter(target="told").exists()
    assert "does not take entries" in caplog.text


def test_an_ip_that_is_none_is_a_400(api):
    answer = api.get("/api/audit?ip=nonsense")
    assert (answer.status_code, list(answer.json()["errors"])) == (400, ["ip"])
