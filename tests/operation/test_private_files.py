"""X30: what Sluice keeps on disk is for its owner alone, also what an earlier version left open."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

from tests.kit.environment import ROOT, server_environment
from tests.kit.requests import CHAT
from tests.kit.services import processes
from tests.kit.upstream import Upstream, chat_answer


def open_to_others(directory: Path) -> dict[str, str]:
    """What others may read, write or enter: the directory itself, and all that is in it."""
    found = (directory, *directory.rglob("*"))
    return {str(path): stat.filemode(path.stat().st_mode) for path in found if path.stat().st_mode & 0o077}


def test_all_that_a_server_writes_is_its_owners_alone(start_sluice, upstream: Upstream):
    upstream.answers(chat_answer())
    server = start_sluice()
    data, database = Path(server.env["DATA_DIR"]), Path(server.database_url.removeprefix("sqlite:///"))
    assert server.client(server.mint()).post("/v1/chat/completions", json=CHAT).status_code == 200
    assert open_to_others(data) == {}
    assert {"audit.jsonl", "journal"} <= {path.name for path in data.iterdir()}
    files = [database, database.with_name(database.name + "-wal"), database.with_name(database.name + "-shm")]
    assert [stat.S_IMODE(path.stat().st_mode) for path in files] == [0o600] * 3


def test_what_an_earlier_version_left_open_is_closed_by_the_next_command(tmp_path: Path):
    data, outside = tmp_path / "data", tmp_path / "outside"
    outside.write_text("somebody else's")
    env = server_environment(DATA_DIR=data, DATABASE_URL="")
    migrate = [sys.executable, "manage.py", "migrate", "-v", "0"]
    processes.run(migrate, cwd=ROOT, env=env, check=True)
    (data / "journal").mkdir()
    (data / "journal" / "1-1.spool").write_text("")
    (data / "link").symlink_to(outside)
    for path in (data, *data.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() else 0o644)
    outside.chmod(0o644)
    processes.run(migrate, cwd=ROOT, env=env, check=True)
    (data / "link").unlink()
    assert open_to_others(data) == {}
    assert outside.stat().st_mode & 0o777 == 0o644


def test_a_database_elsewhere_is_closed_and_its_directory_is_not(tmp_path: Path):
    database = tmp_path / "db.sqlite3"
    tmp_path.chmod(0o755)
    env = server_environment(DATA_DIR=tmp_path / "data", DATABASE_URL=f"sqlite:///{database}")
    for _ in range(2):
        processes.run([sys.executable, "manage.py", "migrate", "-v", "0"], cwd=ROOT, env=env, check=True)
        assert database.stat().st_mode & 0o777 == 0o600
        database.chmod(0o644)
    assert tmp_path.stat().st_mode & 0o777 == 0o755


def test_a_directory_of_everybody_is_refused_and_left_as_it_is(tmp_path: Path):
    shared = tmp_path / "everybodys"
    shared.mkdir()
    shared.chmod(0o1777)
    done = processes.run([sys.executable, "manage.py", "check"], cwd=ROOT, env=server_environment(DATA_DIR=shared))
    assert done.returncode == 2
    assert done.stderr.startswith("sluice: DATA_DIR: ")
    assert shared.stat().st_mode & 0o7777 == 0o1777


def test_a_log_file_elsewhere_keeps_the_mode_that_its_operator_gave_it(start_sluice, tmp_path: Path):
    log = tmp_path / "logs" / "sluice.log"
    log.parent.mkdir()
    log.parent.chmod(0o755)
    log.touch()
    log.chmod(0o664)
    server = start_sluice(LOG_FILE=log, LOG_FILE_MAX_BYTES=1024, LOG_FILE_BACKUPS=1)
    key = server.mint()
    while not log.with_name("sluice.log.1").exists():
        server.client(key).get("/v1/models")
    assert server.stop() == 0
    assert [stat.S_IMODE(os.stat(path).st_mode) for path in (log, f"{log}.1")] == [0o664, 0o664]
    assert stat.S_IMODE(log.parent.stat().st_mode) == 0o755
