"""Loops: the background work of a process, in tasks, threads and timers. None of it ends silently.

A loop repeats a step. If a step raises, the error is logged and counted, and the step is repeated after a pause that
grows. Health, `/ready` and the metrics report the state of loops. Their names are fixed, as they are labels of metrics.
"""

from __future__ import annotations

import asyncio
import logging
import random
import threading
import time
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any

import msgspec

from usage.replace import read_file, replace_file

log = logging.getLogger("sluice.loops")

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 5.0
RECOVERED_S = 1.0
"""After a failure, a step that has run for so long counts as up, because some steps wait long for work."""
LOG_EVERY_S = 1.0
"""For each loop one failure is logged in this time at most. All are counted."""
CANCEL_EVERY_S = 0.5
FILE = "loops.json"
"""The file in the journal's directory with the states of the ledger process's loops."""


class State(msgspec.Struct):
    """The state of a loop. Times are in Unix seconds."""

    failures: int = 0
    error: str = ""
    """The class of the last error. Its message is left out, because it may contain secrets."""
    failed_at: float = 0.0
    """When it last failed; 0 after a step has succeeded since."""
    began_at: float = 0.0
    """When the step was repeated after the failure; 0 during the pause."""
    needed: bool = False
    """Whether requests depend on it."""

    def is_up(self, now: float) -> bool:
        return not self.failed_at or (self.began_at > 0 and now - self.began_at >= RECOVERED_S)


class LoopStates(msgspec.Struct):
    """The file in which a process keeps the states of its loops."""

    loops: dict[str, State] = {}


class Loop:
    """A loop. `run` is for a task, `run_until` for a thread, and the callback of a timer calls `failed_alone`."""

    def __init__(self, name: str, state: State, tell: Callable[[], None]) -> None:
        self.name = name
        self.state = state
        self._tell = tell
        self._in_a_row = 0
        self._logged_at = 0.0

    async def run(self, step: Callable[[], Awaitable[object]]) -> None:
        """Repeat the step until the task is cancelled."""
        task = asyncio.current_task()
        assert task is not None
        while not task.cancelling():  # a step may have lost the cancellation
            try:
                await step()
                self.is_well()
            except asyncio.CancelledError as error:
                if task.cancelling():
                    raise
                pause_s = self.failed(error)  # what the step awaited was cancelled, not this task
            except Exception as error:
                pause_s = self.failed(error)
            else:
                continue
            await asyncio.sleep(pause_s)
            self._begins()

    def run_until(self, stopping: threading.Event, step: Callable[[], object]) -> None:
        """Repeat the step until `stopping` is set. The step itself must wait for work or for a time."""
        while not stopping.is_set():
            try:
                step()
                self.is_well()
            except Exception as error:
                stopping.wait(self.failed(error))
                self._begins()

    def failed(self, error: BaseException, *, is_logged: bool = False) -> float:
        """Mark the loop as down. Return how many seconds to wait before the step is repeated.

        `is_logged` means that the step has logged the error itself.
        """
        self.state.failed_at, self.state.began_at = time.time(), 0.0
        self._count(error, is_logged=is_logged)
        longest: float = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2**self._in_a_row)
        self._in_a_row = min(self._in_a_row + 1, 10)
        return longest * random.uniform(0.5, 1)  # noqa: S311 (so that many do not come back at the same moment)

    def failed_alone(self, error: BaseException) -> None:
        """Count the failure of one of many items. The loop goes on with the others and stays up."""
        self._count(error, is_logged=False)

    def _count(self, error: BaseException, *, is_logged: bool) -> None:
        self.state.failures += 1
        self.state.error = type(error).__name__
        now = time.monotonic()
        if not is_logged and now - self._logged_at >= LOG_EVERY_S:
            self._logged_at = now
            log.error("The loop %s failed and goes on.", self.name, exc_info=error)
        self._tell()

    def is_well(self) -> None:
        """Mark the loop as up, because a step has succeeded."""
        if self.state.failed_at:
            self.state.failed_at = self.state.began_at = 0.0
            self._in_a_row = 0
            log.warning("The loop %s is well again.", self.name)
            self._tell()

    def _begins(self) -> None:
        self.state.began_at = time.time()
        self._tell()


async def end_tasks(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel the tasks until all have ended.

    One cancellation may not be enough, because code that a task calls may lose it. `asyncio.wait_for` does so before
    Python 3.12, if what it waits for ends at the same moment.
    """
    running = set(tasks)
    while running:
        for task in running:
            task.cancel()
        ended, running = await asyncio.wait(running, timeout=CANCEL_EVERY_S)
        for task in ended:
            if not task.cancelled() and (error := task.exception()) is not None:
                log.error("A task failed as it ended.", exc_info=error)


class Loops:
    """All loops of a process, by name."""

    def __init__(self) -> None:
        self._loops: dict[str, Loop] = {}
        self._lock = threading.Lock()
        self._file: Path | None = None

    def named(self, name: str, *, needed: bool = False) -> Loop:
        """Return the loop of this name. Its failures are counted over all its runs."""
        with self._lock:
            loop = self._loops.get(name)
            is_new = loop is None
            if loop is None:
                loop = self._loops[name] = Loop(name, State(needed=needed), self._tell)
        if is_new:
            self._tell()
        return loop

    def states(self) -> dict[str, State]:
        with self._lock:
            return {name: loop.state for name, loop in self._loops.items()}

    def tell_in(self, file: Path) -> None:
        """Write the states to a file whenever one changes, for other processes."""
        self._file = file
        self._tell()

    def _tell(self) -> None:
        if self._file is None:
            return
        with self._lock:
            states = LoopStates({name: loop.state for name, loop in self._loops.items()})
            try:
                replace_file(self._file, states)
            except OSError as error:
                log.warning("How the loops are cannot be told: %s", error.strerror)


LOOPS = Loops()
"""The loops of this process."""


def read_states(directory: Path) -> dict[str, State]:
    """Return the states of the loops of the process that writes the ledger from this journal. Raises `OSError`."""
    return read_file(directory / FILE, LoopStates).loops
