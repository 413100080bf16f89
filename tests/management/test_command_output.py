"""X39: where a command's output goes, and members of a team one by one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.kit.environment import ROOT
from tests.kit.sluice import Sluice


def manage(server: Sluice, *command: str, stdout: int | None = None, **env: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "manage.py", *command],
        cwd=ROOT, env={**server.env, **env}, stdout=stdout, stderr=subprocess.PIPE, check=False, timeout=60,
    )  # fmt: skip


def names(server: Sluice) -> set[str]:
    return {key["name"] for key in server.api("GET", "/api/keys").json()["results"]}


def test_a_key_is_not_made_where_its_token_cannot_be_told(sluice: Sluice):
    with Path("/dev/full").open("wb") as full:
        done = manage(sluice, "keys", "mint", "--name", "lost", stdout=full.fileno())
    assert done.returncode == 1
    assert b"nothing was made" in done.stderr
    assert b"Traceback" not in done.stderr
    assert "lost" not in names(sluice)


@pytest.mark.parametrize("form", [(), ("--json",)], ids=["text", "json"])
def test_a_key_is_not_rotated_where_its_new_token_cannot_be_told(sluice: Sluice, form: tuple[str, ...]):
    name = f"kept {len(form)}"
    token = sluice.mint(name)
    with Path("/dev/full").open("wb") as full:
        done = manage(sluice, "keys", "rotate", "--name", name, *form, stdout=full.fileno())
    assert done.returncode == 1
    assert b"nothing was made" in done.stderr
    assert manage(sluice, "keys", "validate", "--key", token, stdout=subprocess.DEVNULL).returncode == 0


def test_a_token_that_goes_into_a_file_is_all_that_is_in_it(sluice: Sluice, tmp_path: Path):
    path = tmp_path / "key"
    path.write_bytes(b"before\n")
    with path.open("ab") as file:
        assert manage(sluice, "keys", "mint", "--name", "kept", stdout=file.fileno()).returncode == 0
    text = path.read_text()
    assert text.startswith("before\nMinted key 'kept'")
    assert "sk-sluice-" in text
    assert "\n\n\n" not in text


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_what_a_terminal_cannot_show_is_escaped(sluice: Sluice, encoding: str):
    sluice.mint(f"Schlüssel 鍵 {encoding}")
    done = manage(sluice, "keys", "list", stdout=subprocess.PIPE, PYTHONIOENCODING=encoding)
    assert done.returncode == 0, done.stderr
    assert f"\\u9375 {encoding}" in done.stdout.decode(encoding)


def test_members_of_a_team_come_and_go_one_by_one(sluice: Sluice):
    ids = {}
    for name in ("ann", "bob", "eve"):
        made = sluice.api("POST", "/api/users", json={"email": f"{name}@example.org"}).json()
        ids[name] = made["user"]
    sluice.manage("teams", "create", "--name", "crew", "--members", "ann@example.org,bob@example.org")
    changed = sluice.manage(
        "teams", "update", "--name", "crew", "--add", "eve@example.org", "--remove", "ann@example.org"
    )
    assert sorted(changed["members"]) == sorted([ids["bob"], ids["eve"]])
    both = sluice.manage("teams", "update", "--name", "crew", "--members", "", "--add", "ann@example.org", check=False)
    assert both.returncode == 2
