"""The gate, over small suites of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.gate import runner
from tests.gate.__main__ import marked, plan
from tests.gate.runner import Gate, Run
from tests.kit.environment import ROOT
from tests.kit.services import processes, reaper

STEADY = "def test_steady(): pass"
ONCE = r"""
import pathlib, pytest
@pytest.mark.parametrize("x", ["a b", "$(touch pwned)", "'[é]::\n", "-k"])
def test_once(x):
    mark = pathlib.Path(__file__).with_name(f"seen-{x.encode().hex()}")
    seen = mark.exists()
    mark.touch()
    assert seen, "the first time"
"""
TWICE = "def test_twice():\n    print('it said this')\n    assert 1 == 2"
MOST = f"""
import pytest
@pytest.mark.parametrize("n", range({runner.MOST_AGAIN + 1}))
def test_all(n): open(__file__ + ".ran", "a").write("x"); assert False
"""
Make = Callable[..., list[str]]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Files of a suite by name; how to run them: options."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # they would take most of the time

    def made(**files: str) -> list[str]:
        (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = -q -p no:cacheprovider\n")
        for name, text in files.items():
            (tmp_path / f"test_{name}.py").write_text(textwrap.dedent(text))
        return ["-c", str(tmp_path / "pytest.ini"), "--rootdir", str(tmp_path), "--gate-again"]

    return made


def gate(tmp_path: Path, *lanes: list[Run]) -> int:
    return Gate(tmp_path / "services").go([lanes])


def test_a_test_that_fails_once_is_unsteady_and_the_run_green(make: Make, tmp_path: Path, capfd):
    run = Run("one", [str(tmp_path)], make(once=ONCE, steady=STEADY), {"TEST_DATABASE": "x y"})
    assert gate(tmp_path, [run]) == 0
    lines = capfd.readouterr().out.splitlines()
    named = [line for line in lines if line.startswith("unsteady: TEST_DATABASE=x y test_once.py::test_once[")]
    assert len(named) == 4
    assert lines[-4:] == named, "the last lines name them"
    assert all("AssertionError: the first time" in line for line in named)
    assert [line.split(" in ")[0] for line in lines[:-4]] == ["1 passed, 4 rerun", *["1 passed, 3 deselected"] * 4]
    kept = (tmp_path / "services" / "unsteady").read_text()
    assert kept.splitlines()[:4] == named
    assert "assert seen" in kept, "what is needed to mend it"


def test_a_test_that_fails_twice_is_red_and_its_output_shown(make: Make, tmp_path: Path, capfd):
    run = Run("one", [str(tmp_path)], make(twice=TWICE, once=ONCE), is_shown=True)
    assert gate(tmp_path, [run]) == 1
    out = capfd.readouterr().out
    assert "it said this" in out
    assert out.splitlines()[-1] == "RED: failed twice: test_twice.py::test_twice: assert 1 == 2"
    assert "unsteady: test_once.py::test_once[-k]" in out, "told all the same"


def test_what_was_unsteady_last_time_is_forgotten(make: Make, tmp_path: Path, capfd):
    run = Run("one", [str(tmp_path)], make(once=ONCE))
    assert [gate(tmp_path, [run]), gate(tmp_path, [run])] == [0, 0]
    assert not (tmp_path / "services" / "unsteady").exists()
    assert capfd.readouterr().out.splitlines()[-1].startswith("4 passed in ")


@pytest.mark.parametrize("where", ["setup", "teardown"])
def test_a_fixture_that_fails_counts_as_its_test(make: Make, tmp_path: Path, capfd, where: str):
    fails = 'assert seen, "the first time"'
    text = f"""
    import pathlib, pytest
    @pytest.fixture
    def it():
        mark = pathlib.Path(__file__).with_name("seen")
        seen = mark.exists()
        mark.touch()
        {fails if where == "setup" else "pass"}
        yield
        {fails}
    def test_one(it): pass
    """
    assert gate(tmp_path, [Run("one", [str(tmp_path)], make(one=text))]) == 0
    last = capfd.readouterr().out.splitlines()[-1]
    assert last == "unsteady: test_one.py::test_one: AssertionError: the first time"


def test_many_failures_are_not_run_again(make: Make, tmp_path: Path, capfd):
    assert gate(tmp_path, [Run("one", [str(tmp_path)], make(most=MOST))]) == 1
    assert (tmp_path / "test_most.py.ran").read_text() == "x" * (runner.MOST_AGAIN + 1)
    out = capfd.readouterr().out
    assert "def test_all(n)" in out
    assert out.splitlines()[-1].startswith(f"RED: {runner.MOST_AGAIN + 1} tests failed, too many to run again: ")


BROKEN = {
    "a syntax error": ("def", "ended with 2"),
    "an error while collecting": ("raise ValueError('not to be collected')", "ended with 2"),
    "killed": ("import os, signal\ndef test_it(): os.kill(os.getpid(), signal.SIGKILL)", "ended with -9"),
    "an exit that looks as if tests had failed": ("import os\ndef test_it(): os._exit(1)", "ended with 1"),
    "an exit that looks green": ("import os\ndef test_it(): os._exit(0)", "ended with 0"),
    "no tests": ("", "ended with 5"),
    "an exit with a word": ("import pytest\ndef test_it(): pytest.exit('missing', returncode=3)", "ended with 3"),
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_run_that_does_not_come_to_its_end_is_red_at_once(make: Make, tmp_path: Path, capfd, how: str):
    text, words = BROKEN[how]
    waits = "import pathlib, time\ndef test_it():\n    pathlib.Path(__file__ + '.runs').touch()\n    time.sleep(600)"
    options = make(bad=text, waits=waits, once=ONCE)
    lanes = [[Run("bad", [str(tmp_path / "test_bad.py")], options)]]
    if how == "killed":
        lanes.append([Run("other", [str(tmp_path / "test_once.py"), str(tmp_path / "test_waits.py")], options)])
    assert gate(tmp_path, *lanes) == 1
    out = capfd.readouterr().out
    assert f"RED: the run 'bad' {words}" in out
    assert "unsteady" not in out


@pytest.mark.parametrize(
    "text", ["def", "raise ValueError", "import pytest\n@pytest.mark.parametrize\ndef test_it(): pass"]
)
def test_a_shared_file_that_cannot_be_collected_is_red(make: Make, tmp_path: Path, capfd, text: str):
    options = [*make(a=ONCE, bad=text, steady=STEADY), f"--gate-share={tmp_path / 'share'}"]
    assert gate(tmp_path, [Run("one", [str(tmp_path)], options, is_shown=True)]) == 1
    out = capfd.readouterr().out
    assert "test_bad.py can't be collected" in out
    assert out.splitlines()[-1].startswith("RED: the run 'one' ended with 2")


def test_a_run_that_takes_for_ever_is_red(make: Make, tmp_path: Path, capfd, monkeypatch: pytest.MonkeyPatch):
    text = "import signal\ndef test_hangs():\n    open(__file__ + '.runs', 'x')\n    signal.pause()"
    run = Run("one", [str(tmp_path)], make(hangs=text))
    with ThreadPoolExecutor(1) as pool:
        ended = pool.submit(gate, tmp_path, [run])
        processes.poll((tmp_path / "test_hangs.py.runs").exists, timeout=60)
        monkeypatch.setattr(runner, "RUN_SECS", 0)
        assert ended.result() == 1
    out = capfd.readouterr().out
    assert "RED: the run 'one' took over 0 s" in out
    assert "test_hangs" in out, "where it stood"


def test_two_lanes_share_the_files(make: Make, tmp_path: Path, capfd):
    """Each waits for the other once, so both have to run some, and a file's fixtures are made once."""
    text = """
    import os, pathlib, pytest, time
    here = pathlib.Path(__file__).parent
    @pytest.fixture(scope="module", autouse=True)
    def made(of_all):
        with open(__file__ + ".made", "a") as file: file.write(f"{os.getpid()} ")
        yield
        with open(__file__ + ".made", "a") as file: file.write("ended")
    @pytest.mark.parametrize("n", range(3))
    def test_it(n):
        (here / f"lane-{os.getpid()}").touch()
        while len(list(here.glob("lane-*"))) < 2: time.sleep(0.01)
    """
    names = ("a", "b", "c", "d", "e")
    (tmp_path / "conftest.py").write_text("import pytest\n@pytest.fixture(scope='module')\ndef of_all(): pass")
    options = [*make(**dict.fromkeys(names, text)), f"--gate-share={tmp_path / 'share'}"]
    start = Run("start", [str(tmp_path)], [*options, "--gate-first=test_c"])
    end = Run("end", [str(tmp_path)], [*options, "--gate-first=test_c", "--gate-from-the-end"])
    assert gate(tmp_path, [start], [end]) == 0
    made = {name: (tmp_path / f"test_{name}.py.made").read_text().split() for name in names}
    assert {tuple(words[1:]) for words in made.values()} == {("ended",)}
    assert made["c"][0] != made["e"][0], "one begins with what comes first, one at the end"
    counts = [int(line.split()[0]) for line in capfd.readouterr().out.splitlines() if " passed" in line]
    assert sum(counts) == 15


def test_all_tests_are_in_the_plan():
    """Sharing, marks and what is ignored leave nothing out."""
    [[ground]], lanes, [[elapsed]] = plan()
    assert len(lanes) > 1
    for run in [lane[0] for lane in lanes]:
        assert run.paths == ["tests"]
        assert run.options[run.options.index("--ignore") + 1] == ground.paths[0]
        assert run.options[run.options.index("-m") + 1] == "not elapsed"
    assert list(elapsed.options[-2:]) == ["-m", "elapsed"]
    assert list(elapsed.paths) == marked()


def test_a_gate_that_is_killed_takes_its_runs_with_it(make: Make, tmp_path: Path):
    options = make(waits="import signal\ndef test_it():\n    open(__file__ + '.runs', 'x')\n    signal.pause()")
    code = f"""
import pathlib
from tests.gate.runner import Gate, Run
from tests.kit.services import processes
print(processes.run_name(), flush=True)
Gate(pathlib.Path({str(tmp_path / "services")!r})).go([[[Run("one", [{str(tmp_path)!r}], {options!r})]]])
"""
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE) as started:
        assert started.stdout is not None
        name = started.stdout.readline().decode().strip()
        assert processes.poll((tmp_path / "test_waits.py.runs").exists, timeout=60)
        os.kill(started.pid, signal.SIGKILL)
        started.wait()
        assert processes.poll(lambda: not any(name in one.runs for one in reaper.processes()), timeout=30)
