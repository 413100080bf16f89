"""Runs pytest several times: a plan's runs, then alone, in a fresh process, each test that failed in them.

Green: what failed passed then; it is named unsteady. Red: a test that failed twice, more than `MOST_AGAIN` failures, a
run that did not come to its end.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.kit.environment import ROOT
from tests.kit.services import processes

MOST_AGAIN = 10
"""More failures are no unsteadiness."""
RUN_SECS = 3600
LAST_LINES = 200
CLOSING = re.compile(r"^.* in [0-9.]+s\b.*$", re.MULTILINE)
ALL_PASSED, SOME_FAILED = 0, 1


@dataclass(frozen=True)
class Run:
    """One pytest."""

    name: str
    paths: Sequence[str]
    options: Sequence[str] = ()
    env: dict[str, str] = field(default_factory=dict)
    is_shown: bool = False
    """On the terminal as it comes, not in a file."""


Plan = Sequence[Sequence[Sequence[Run]]]
"""Steps, one after the other; in each, lanes side by side; in each of these, runs one after the other."""


@dataclass(frozen=True)
class Failure:
    nodeid: str
    path: str
    text: str
    run: Run

    @property
    def title(self) -> str:
        return " ".join([*(f"{name}={value}" for name, value in self.run.env.items()), self.nodeid])

    @property
    def reason(self) -> str:
        """The line that says most: pytest marks it with an E."""
        marked = re.search(r"^E +(.*)$", self.text, re.MULTILINE)
        return (marked[1] if marked else (self.text.strip().splitlines() or ["no reason was told"])[-1])[:200]


class Broken(Exception):
    """A run that did not come to its end; the text says how."""


class Gate:
    def __init__(self, directory: Path) -> None:
        self._directory = directory / "gate"
        self._unsteady = directory / "unsteady"
        self._durations = directory / "durations"
        self._is_broken = threading.Event()
        # Whatever the developer likes: a run reads what another has compiled.
        self._environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        self._failures: dict[str, Failure] = {}
        self._seconds: Counter[str] = Counter()

    def go(self, plan: Plan) -> int:
        """The exit code."""
        shutil.rmtree(self._directory, ignore_errors=True)
        self._directory.mkdir(parents=True)
        self._unsteady.unlink(missing_ok=True)
        try:
            for step in plan:
                self._side_by_side(step)
            self._tell_durations()
            return self._judge()
        except Broken as broken:
            self._tell_failures()
            say(f"RED: {broken}")
            return 1

    def _side_by_side(self, lanes: Sequence[Sequence[Run]]) -> None:
        with ThreadPoolExecutor(len(lanes)) as pool:
            try:
                ended = [pool.submit(self._one_after_the_other, lane) for lane in lanes]
                broken = [error for one in ended if (error := one.exception())]
            except BaseException:
                self._is_broken.set()
                raise
        # Who was stopped because of another says less than that one.
        for error in sorted(broken, key=lambda one: not one.args):
            raise error
        for run in (run for lane in lanes for run in lane if not run.is_shown):
            say(*closing_lines(self._log(run).read_text(errors="replace")))

    def _one_after_the_other(self, lane: Sequence[Run]) -> None:
        try:
            for run in lane:
                for failure in self._run(run):
                    self._failures[failure.title] = failure
        except BaseException:
            self._is_broken.set()
            raise

    def _run(self, run: Run, *more: str) -> list[Failure]:
        """Run it to its end; what failed."""
        told = self._directory / f"{run.name}.told"
        command = [sys.executable, "-m", "pytest", "-p", "tests.gate.plugin", f"--gate-told={told}"]
        with self._log(run).open("wb") as log:
            process = processes.start(
                [*command, *run.options, *more, *run.paths],
                cwd=ROOT,
                env={**self._environment, **run.env},
                output=None if run.is_shown else log,
            )
            self._wait(run, process)
        lines = [json.loads(line) for line in told.read_text().splitlines()] if told.exists() else []
        finished: dict[str, Any] = next((line for line in lines if "finished" in line), {})
        if process.returncode not in (ALL_PASSED, SOME_FAILED) or finished.get("finished") != process.returncode:
            raise Broken(f"the run {run.name!r} ended with {process.returncode}{self._last_words(run)}")
        self._seconds.update(finished["seconds"])
        failed = [line for line in lines if "failed" in line]
        return [Failure(line["failed"], line["path"], line["text"], run) for line in failed]

    def _wait(self, run: Run, process: subprocess.Popen[bytes]) -> None:
        began = time.monotonic()
        while True:
            try:
                process.wait(0.2)  # so often another lane is looked at
                return
            except subprocess.TimeoutExpired:
                if self._is_broken.is_set():
                    processes.sweep(process)
                    process.wait()
                    raise Broken from None
                if time.monotonic() - began > RUN_SECS:
                    process.send_signal(signal.SIGABRT)  # pytest tells then where each thread is
                    time.sleep(5)
                    processes.sweep(process)
                    process.wait()
                    raise Broken(f"the run {run.name!r} took over {RUN_SECS} s{self._last_words(run)}") from None

    def _judge(self) -> int:
        if len(self._failures) > MOST_AGAIN:
            self._tell_failures()
            say(f"RED: {len(self._failures)} tests failed, too many to run again: {', '.join(self._failures)}")
            return 1
        unsteady: list[Failure] = []
        failed_twice: list[Failure] = []
        for number, failure in enumerate(self._failures.values()):
            (unsteady if self._passes_now(number, failure) else failed_twice).append(failure)
        if unsteady:
            names = [f"unsteady: {failure.title}: {failure.reason}" for failure in unsteady]
            texts = [f"\n{'=' * 20} {failure.title}\n{failure.text}" for failure in unsteady]
            self._unsteady.write_text("\n".join([*names, *texts, ""]))
            say(*names)
        if failed_twice:
            say(*(f"RED: failed twice: {failure.title}: {failure.reason}" for failure in failed_twice))
            return 1
        return 0

    def _passes_now(self, number: int, failure: Failure) -> bool:
        """Alone, in a process of its own. Its output is shown where it fails again."""
        only = self._directory / f"again-{number}.json"
        only.write_text(json.dumps([failure.nodeid]))
        options = [option for option in failure.run.options if not option.startswith("--gate-")]
        again = Run(f"again-{number}", [failure.path], options, failure.run.env)
        failed = self._run(again, f"--gate-only={only}")
        output = self._log(again).read_text(errors="replace")
        say(*([output] if failed else closing_lines(output)))
        return not failed

    def _tell_failures(self) -> None:
        for failure in self._failures.values():
            say(f"{'=' * 20} {failure.title}", failure.text)

    def _tell_durations(self) -> None:
        """All tests, the slowest first."""
        lines = [f"{seconds:8.2f} {nodeid}" for nodeid, seconds in self._seconds.most_common()]
        self._durations.write_text("\n".join([*lines, ""]))

    def _log(self, run: Run) -> Path:
        return self._directory / f"{run.name}.log"

    def _last_words(self, run: Run) -> str:
        if run.is_shown:
            return ", see above"
        return "\n".join([":", *self._log(run).read_text(errors="replace").splitlines()[-LAST_LINES:]])


def closing_lines(output: str) -> list[str]:
    return CLOSING.findall(output)[-1:]


def say(*lines: str) -> None:
    for line in lines:
        print(line, flush=True)
