"""X76, X78, X79, X35: what a first start tells, and what it does not make where it cannot serve."""

from __future__ import annotations

import shutil
import socket
import sqlite3
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from tests.kit import plain
from tests.kit.environment import ROOT, server_environment
from tests.kit.newcomer import start
from tests.kit.services import Services, packages, processes
from tests.kit.sluice import Sluice


def test_a_port_that_is_taken_ends_the_start_before_anything_is_made(tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        env = server_environment(DATA_DIR=tmp_path / "data", PORT=port, DATABASE_URL="")
        done = subprocess.run(
            [sys.executable, "manage.py", "run"],
            cwd=ROOT, env=env, capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
    assert done.returncode == 1
    assert done.stdout == ""
    [line] = done.stderr.strip().splitlines()
    assert f"127.0.0.1:{port}" in line
    assert "PORT" in line
    database = sqlite3.connect(tmp_path / "data" / "sluice.sqlite3")
    for table in ("auth_user", "keys_virtualkey"):
        assert database.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)
    database.close()


def test_the_next_start_tells_what_was_never_used_and_how_to_get_it_anew(tmp_path: Path):
    data, log = tmp_path / "data", tmp_path / "log"
    for is_first in (True, False):
        process, _ = start(data, log)
        assert processes.end(process, timeout=20) == 0
        told = log.read_text()
        assert ("This is shown once" in told) is is_first
        assert ("Nobody has signed in as admin yet" in told) is not is_first
        assert ("'first-key', shown at the first start, was never used" in told) is not is_first
        for word in (str(data), "Ctrl-C", "changepassword admin", "keys rotate --name first-key"):
            assert word in told


def test_the_processes_beside_the_server_do_not_keep_its_port(start_sluice):
    server = start_sluice()
    ledger = server.ledger_pid()
    listening = {
        line.split()[9] for line in Path("/proc/net/tcp").read_text().splitlines()[1:] if line.split()[3] == "0A"
    }
    held = []
    for fd in Path(f"/proc/{ledger}/fd").iterdir():
        with suppress(FileNotFoundError):  # it was closed since
            held.append(str(fd.readlink()))
    assert not [fd for fd in held if fd.removeprefix("socket:[").removesuffix("]") in listening]


@pytest.mark.parametrize("path", ["/admin/", "/api/keys", "/v1/auth/login"])
def test_a_host_that_is_not_allowed_is_told_which_setting_allows_it(sluice: Sluice, path: str):
    method = "POST" if path.startswith("/v1/") else "GET"
    answer = plain.request(method, sluice.url + path, headers={"host": "llm.example.org:8000"})
    assert answer.status_code == 400
    assert "ALLOWED_HOSTS=localhost,127.0.0.1,[::1],llm.example.org" in answer.text
    wrong = plain.request(method, sluice.url + path, headers={"host": "a_b.example.org:80:80"})
    assert wrong.status_code == 400


def test_a_redis_cluster_is_refused_in_one_line(services: Services, tmp_path: Path):
    packages.require(["redis-server"])
    port = processes.free_port()
    directory = processes.make_directory("cluster")
    options = ["--port", port, "--cluster-port", processes.free_port(), "--dir", directory, "--save", ""]
    program = packages.find("redis-server")
    assert program
    redis = processes.start([program, *map(str, options), "--bind", "127.0.0.1", "--cluster-enabled", "yes"])
    try:
        assert processes.poll(lambda: processes.takes_connections(port), timeout=20)
        env = server_environment(DATA_DIR=tmp_path / "data", REDIS_URL=f"redis://127.0.0.1:{port}", PORT=0)
        done = subprocess.run(
            [sys.executable, "manage.py", "serve"],
            cwd=ROOT, env=env, capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
    finally:
        processes.end(redis)
        shutil.rmtree(directory, ignore_errors=True)
    assert done.returncode == 1
    [line] = (done.stdout + done.stderr).strip().splitlines()
    assert "REDIS_URL" in line
    assert "Redis Cluster" in line
