"""`manage.py simulator`."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kit import plain
from tests.kit.simulations import HELLO

ROOT = Path(__file__).parents[2]


def start(*options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "manage.py", "simulator", "--port", "0", *options]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_with_its_defaults_until_the_signal(number):
    with start("--tokens", "3", "--usage", "none") as process:
        try:
            assert process.stdout
            assert process.stderr
            line = process.stdout.readline()
            assert line.startswith("simulator on http://127.0.0.1:")
            base = line.split()[-1]
            answer = plain.post(f"{base}/chat/completions", json=HELLO).json()
            assert len(answer["choices"][0]["message"]["content"].split()) == 3
            assert "usage" not in answer
            process.send_signal(number)
            assert process.wait(10) == 0
            assert process.stderr.read() == ""
        finally:
            process.kill()


@pytest.mark.parametrize("options", [("--tokens", "-3"), ("--usage", "maybe"), ("--fault", '{"kind": "fire"}')])
def test_a_wrong_default_stops_the_start_with_one_line(options):
    with start(*options) as process:
        _, error = process.communicate(timeout=20)
    assert process.returncode == 1
    assert error.count("\n") == 1
    assert options[0].removeprefix("--") in error
