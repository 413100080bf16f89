"""What goes on in the background of a process, in tasks, threads and timers: none of it ends silently.

A loop is a step that is done again and again. A step that raises is logged and counted, and begins anew after a pause
that grows. Health, `/ready` and the metrics tell of it. The names are fixed, since they are labels of metrics.
"""

from __future__ import annotations

import asyncio
import logging
import random
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec

from usage.replace import read_file, replace_file

log = logging.getLogger("sluice.loops")

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 5.0
RECOVERED_S = 1.0
"""A step that goes on for so long after a failure counts as well: some wait for work that may be long in coming."""
LOG_EVERY_S = 1.0
"""A failure of each loop at most; all are counted."""
FILE = "loops.json"
"""Where the ledger's process tells of its loops, beside the journal."""


class State(msgspec.Struct):
    """How a loop is. Times are in Unix seconds."""

    failures: int = 0
    error: str = ""
    """What it failed with last; the class alone, since a text may have secrets in it."""
    failed_at: float = 0.0
    """0: nothing has failed since it was last known to be well."""
    began_at: float = 0.0
    """When it began anew after the failure; 0 while it pauses."""
    needed: bool = False
    """Whether requests depend on it."""

    def is_up(self, now: float) -> bool:
        return not self.failed_at or (self.began_at > 0 and now - self.began_at >= RECOVERED_S)


class LoopStates(msgspec.Struct):
    """The file in which a process keeps the states of its loops."""

    loops: dict[str, State] = {}


class Loop:
    """One of a process. `run` is for a task, `run_until` for a thread; a timer's callback tells of `failed_alone`."""

    def __init__(self, name: str, state: State, tell: Callable[[], None]) -> None:
        self.name = name
        self.state = state
        self._tell = tell
        self._in_a_row = 0
        self._logged_at = 0.0

    async def run(self, step: Callable[[], Awaitable[object]]) -> None:
        """Until the task is cancelled."""
        task = asyncio.current_task()
        assert task is not None
        while True:
            try:
                await step()
                self.is_well()
            except asyncio.CancelledError as error:
                if task.cancelling():
                    raise
                pause_s = self.failed(error)  # somebody cancelled what it waited for, which is no reason to end
            except Exception as error:
                pause_s = self.failed(error)
            else:
                continue
            await asyncio.sleep(pause_s)
            self._begins()

    def run_until(self, stopping: threading.Event, step: Callable[[], object]) -> None:
        """Until `stopping` is set. A step that ends by itself is done again, so it waits for its work or its time."""
        while not stopping.is_set():
            try:
                step()
                self.is_well()
            except Exception as error:
                stopping.wait(self.failed(error))
                self._begins()

    def failed(self, error: BaseException, *, is_logged: bool = False) -> float:
        """It is down. Returns how many seconds to wait before it begins anew. `is_logged`: its step says so itself."""
        self.state.failed_at, self.state.began_at = time.time(), 0.0
        self._count(error, is_logged=is_logged)
        longest: float = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2**self._in_a_row)
        self._in_a_row = min(self._in_a_row + 1, 10)
        return longest * random.uniform(0.5, 1)  # noqa: S311 (so that many do not come back at the same moment)

    def failed_alone(self, error: BaseException) -> None:
        """One of many entries failed; the loop goes on with the others."""
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
        """A step came to its end."""
        if self.state.failed_at:
            self.state.failed_at = self.state.began_at = 0.0
            self._in_a_row = 0
            log.warning("The loop %s is well again.", self.name)
            self._tell()

    def _begins(self) -> None:
        self.state.began_at = time.time()
        self._tell()


class Loops:
    """All loops of a process, by name."""

    def __init__(self) -> None:
        self._loops: dict[str, Loop] = {}
        self._lock = threading.Lock()
        self._file: Path | None = None

    def named(self, name: str, *, needed: bool = False) -> Loop:
        """The loop of this name, whose failures count on from one run of it to the next."""
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
        """Keep a file of them, for other processes."""
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
"""This process's."""


def read_states(directory: Path) -> dict[str, State]:
    """The states of the loops of the process that writes the ledger from this journal. Raises `OSError`."""
    return read_file(directory / FILE, LoopStates).loops
