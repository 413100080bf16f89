"""X95, X73: a backup that is made while a server serves has every finished request, and can be served from."""

from __future__ import annotations

import stat
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tests.kit.databases import databases, drop_database, query
from tests.kit.load import Load, Numbered
from tests.kit.requests import ask
from tests.kit.services import SERVICES, Services
from tests.kit.sluice import Sluice
from tests.kit.upstream import Upstream
from tests.kit.waiting import soon

ANSWERS = 150


@pytest.mark.parametrize("database", databases)
def test_no_finished_request_is_missing_in_a_backup_under_traffic(
    database: str, start_sluice: Callable[..., Sluice], upstream: Upstream, tmp_path: Path
) -> None:
    upstream.script = Numbered()
    # The installation's own secrets, as without any in the environment.
    server = start_sluice(database, SECRET_KEY="", ENCRYPTION_KEY="")
    server.api("POST", "/api/credentials", json={"alias": "stored", "secret": "sk-stored-canary"})
    load = Load([server])
    backups = [tmp_path / "first", tmp_path / "second"]
    finished: list[set[str]] = []
    with load.running():
        for backup in backups:
            load.wait_for(ANSWERS)
            finished.append(set(load.whole))
            server.manage("backup", str(backup), json=False)
    refused = server.manage("restore", str(backups[0]), json=False, check=False)
    assert (refused.returncode, "stop it first" in refused.stderr) == (1, True), refused.stderr
    key = server.mint()
    server.stop()
    for backup, ids in zip(backups, finished, strict=True):
        assert {path.stat().st_mode & 0o777 for path in backup.rglob("*") if path.is_file()} == {0o600}
        assert stat.S_IMODE(backup.stat().st_mode) == 0o700
        there = server.manage("restore", str(backup), json=False, check=False)
        assert (there.returncode, "--replace" in there.stderr) == (1, True), there.stderr
        server.manage("restore", str(backup), "--replace", json=False)
        server.launch()
        soon(partial(has_all, server, ids))
        assert ask(server, key).status_code == 401, "the key is younger than the backup"
        assert server.manage("credentials", "reencrypt", json=False), "the restored key opens what is stored"
        server.stop()


def has_all(server: Sluice, ids: set[str]) -> bool:
    """Every one has a row, and what is both in the journal and in the database counts once."""
    rows = [row["id"] for row in server.rows()]
    assert len(rows) == len(set(rows))
    totals = query(server.database_url, "SELECT requests FROM usage_scopetotal WHERE kind = 'global' AND slot = -1")
    return ids <= set(rows) and [total["requests"] for total in totals] == [len(rows)]


def test_a_backup_goes_into_another_installation(
    start_sluice: Callable[..., Sluice], services: Services, upstream: Upstream, tmp_path: Path
) -> None:
    server = start_sluice("postgres")
    key = server.mint()
    ask(server, key)
    server.rows(expect=1)
    server.manage("backup", str(tmp_path / "made"), json=False)
    server.stop()
    new = SERVICES.postgres.url_of(SERVICES.postgres.create())
    try:
        server.env.update(DATABASE_URL=new, DATA_DIR=str(tmp_path / "new"))
        server.database_url = new
        server.manage("restore", str(tmp_path / "made"), json=False)
        server.launch()
        assert ask(server, key).status_code == 200
        assert len(server.rows(expect=2)) == 2
        server.stop()
    finally:
        drop_database(new)


def test_what_is_no_backup_is_told_in_a_line(sluice: Sluice, upstream: Upstream, tmp_path: Path) -> None:
    for arguments, line in (
        (
            ("restore", str(tmp_path)),
            f"CommandError: {tmp_path} has no complete backup: there is no manifest.json in it.",
        ),
        (
            ("backup", str(sluice.directory)),
            f"CommandError: {sluice.directory} is there and not empty; name a new directory.",
        ),
    ):
        told = sluice.manage(*arguments, json=False, check=False)
        assert (told.returncode, told.stdout, told.stderr.strip()) == (1, "", line)


def test_a_missing_pg_dump_is_told_in_a_line(
    start_sluice: Callable[..., Sluice], upstream: Upstream, tmp_path: Path
) -> None:
    server = start_sluice("postgres")
    server.env["PATH"] = str(tmp_path)
    told = server.manage("backup", str(tmp_path / "made"), json=False, check=False)
    assert told.stderr.strip() == "CommandError: pg_dump was not found; install PostgreSQL's client programs."
    assert not (tmp_path / "made" / "manifest.json").exists()
