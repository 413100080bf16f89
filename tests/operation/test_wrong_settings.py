"""X37: what is wrong with the environment is told in a line each, without a traceback and without a secret."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from config.dotenv import Unreadable, bindings, load
from tests.kit.environment import ROOT, server_environment
from tests.kit.services import processes

SECRET = "hunter2"


def run(*command: str, **env: object) -> subprocess.CompletedProcess[str]:
    return processes.run([sys.executable, "manage.py", *command], cwd=ROOT, env=server_environment(**env))


@pytest.mark.parametrize(
    "name, value",
    [
        ("DATABASE_URL", f"postgres://u:{SECRET}/x@host/db"),
        ("DATABASE_URL", f"postgres://u:{SECRET}#x@host/db"),
        ("DATABASE_URL", f"postgres://u:1?{SECRET}@host/db"),
        ("DATABASE_URL", f"postgres://u:1#{SECRET}@host/db"),
        ("DATABASE_URL", f"postgres://u:{SECRET}@host:eighty/db"),
        ("DATABASE_URL", f"postgres://u:{SECRET}@[host/db"),
        ("DATABASE_URL", f"postgres://u:{SECRET}@host:99999/db"),
        ("DATABASE_URL", f"postgres://u:{SECRET}@host/"),
        ("DATABASE_URL", f"postgres://u:{SECRET}@host/db?nonsense=1"),
        ("DATABASE_URL", f"postgres:u:{SECRET}"),
        ("DATABASE_URL", "sqlite://"),
        ("REDIS_URL", f"redis://u:{SECRET}@host:port/0"),
        ("REDIS_URL", f"redis://u:{SECRET}@host/zero"),
        ("REDIS_URL", f"redis://u:{SECRET}@host/0?socket_timeout=soon"),
        ("REDIS_URL", f"redis://u:{SECRET}@host/0?nonsense=1"),
        ("CELERY_BROKER_URL", f"redis://u:{SECRET}/@host:1"),
        ("OPENAI_BASE_URL", "https://host:port/v1"),
        ("DATA_DIR", "/proc/self/nothing"),
    ],
)
def test_a_wrong_value_is_one_line_that_names_the_variable(tmp_path: Path, name: str, value: str):
    done = run("check", **{"DATA_DIR": tmp_path / "data", name: value})
    assert done.returncode == 2, done.stdout + done.stderr
    lines = (done.stdout + done.stderr).strip().splitlines()
    assert [line.startswith(f"sluice: {name}: ") for line in lines] == [True], lines
    assert SECRET not in lines[0]


@pytest.mark.parametrize("command", ["run", "migrate", "serve"])
@pytest.mark.parametrize("path", ["", "?sslmode=nonsense"])
def test_a_database_that_is_not_there_is_one_line(tmp_path: Path, command: str, path: str):
    url = f"postgres://u:{SECRET}@127.0.0.1:{processes.free_port()}/db{path}"
    done = run(command, DATA_DIR=tmp_path / "data", DATABASE_URL=url, PORT=processes.free_port())
    assert done.returncode not in (0, None)
    assert "Traceback" not in done.stdout + done.stderr
    assert SECRET not in done.stdout + done.stderr
    assert done.stderr


@pytest.mark.parametrize("name", ["SECRET_KEY", "ENCRYPTION_KEY"])
def test_a_blank_secret_is_none_and_is_made(tmp_path: Path, name: str):
    done = run("check", **{"DATA_DIR": tmp_path / "data", name: " "})
    assert done.returncode == 0, done.stderr
    assert name in (tmp_path / "data" / "secrets.env").read_text()


def test_an_empty_variable_does_not_hide_the_files(tmp_path: Path):
    file = tmp_path / "env"
    file.write_text("PORT='eighty' # the file's\nHOST=\n")
    done = run("check", DATA_DIR=tmp_path / "data", ENV_FILE=file, PORT="")
    assert done.stderr.startswith("sluice: PORT: 'eighty' does not fit")
    assert run("check", DATA_DIR=tmp_path / "data", ENV_FILE=file, PORT="8000").returncode == 0


READ: list[tuple[str, dict[str, str]]] = [
    ("A=b", {"A": "b"}),
    ("A = b ", {"A": "b"}),
    ("export A=b", {"A": "b"}),
    ("'A B'=c", {"A B": "c"}),
    ("A='b' ", {"A": "b"}),
    ("A='b' # told", {"A": "b"}),
    ('A="b"\t# told', {"A": "b"}),
    ("A='b'# told", {"A": "b"}),
    ("A=b # told", {"A": "b"}),
    ("A=b#c", {"A": "b#c"}),
    ("A='b # c'", {"A": "b # c"}),
    ("A=b'c'", {"A": "b'c'"}),
    ("A=\nB=c", {"A": "", "B": "c"}),
    ("A=''", {"A": ""}),
    ("A", {}),
    ("# A=b\n\n  B=c\r\nC=d\r", {"B": "c", "C": "d"}),
    ('A="b\\nc\\t\\"d\\" \\x"', {"A": 'b\nc\t"d" \\x'}),
    ("A='b\\nc\\'d'", {"A": "b\\nc'd"}),
    ('A="b\nc"\nD=e', {"A": "b\nc", "D": "e"}),
    ("A=b=c==", {"A": "b=c=="}),
    ("A=b\nA=c", {"A": "c"}),
    ("A=b\nC=${A}/${OUTSIDE}/${MISSING}/${MISSING:-else}", {"A": "b", "C": "b/outside//else"}),
    ("A=$B ${", {"A": "$B ${"}),
    ("\ufeffé=ü", {"é": "ü"}),
]


@pytest.mark.parametrize("text, found", READ)
def test_a_file_is_read_as_python_dotenv_reads_it(text: str, found: dict[str, str]):
    """The expected values are what python-dotenv 1.2 gives for these texts."""
    assert bindings(text, {"OUTSIDE": "outside"}) == found


@pytest.mark.parametrize("text, line", [("A=b\nC='d\n", 2), ("=b", 1), ("A=b\nB C=d", 2), ("A='b' c", 1)])
def test_what_is_no_binding_is_told_by_its_line_and_not_by_its_text(tmp_path: Path, text: str, line: int):
    file = tmp_path / "env"
    file.write_text(text)
    with pytest.raises(Unreadable, match=rf"^line {line} cannot be read"):
        load(file, {})


def test_a_file_does_not_replace_what_is_set(tmp_path: Path):
    file = tmp_path / "env"
    file.write_bytes(b"\xef\xbb\xbfA=file\nB=file\nC=file\n")
    variables: dict[str, Any] = {"A": "set", "B": " "}
    load(file, variables)
    assert variables == {"A": "set", "B": "file", "C": "file"}
