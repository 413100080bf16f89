"""Plays scripts inside a process of Sluice, as an `Answer` of the data plane (`proxy/wire/answer.py`).

This takes no thread, socket or task: each read plays the script up to its next pause. A read that is cancelled loses
nothing, because the timeline consists of deadlines, not of sleeps.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from typing import Any

from providers.simulator.actions import Action, Cut, End, Head, Malformed, Pause, Piece, Stall
from providers.simulator.memory import Memory
from providers.simulator.script import Request, script

READ_BYTES = 64 * 1024
MEMORY = Memory()


class SimulatedAnswer:
    """An answer whose head has been played. Reading it plays the rest of the script."""

    status: int
    headers: list[tuple[bytes, bytes]]

    def __init__(self, actions: Iterator[Action]) -> None:
        self.status = 0
        self.headers = []
        self._actions = actions
        self._line = asyncio.get_running_loop().time()
        self._waiting = False
        self._began = False
        self._back = b""
        self._ending: Cut | Stall | End | None = None
        self._aborted = asyncio.Event()

    async def comes_by(self, deadline: float) -> bool:
        """Wait until more of the body, its end or its failure is there. False: `deadline` (loop time) came first."""
        try:
            async with asyncio.timeout_at(deadline):
                while not self._has_something():
                    await self._wait()
                    self._back = self._gather()
                if not self._back and isinstance(self._ending, Stall):
                    await self._aborted.wait()
        except TimeoutError:
            return False
        return True

    def _has_something(self) -> bool:
        return bool(self._back) or self._ending is not None or self._aborted.is_set()

    async def read(self) -> bytes:
        """The next bytes of the body; b"" at its end. Raises `ConnectionResetError` if it was cut or aborted."""
        if self._began:
            # Let other tasks run: a script without pauses would never yield to the event loop.
            await asyncio.sleep(0)
        self._began = True
        if self._back:
            data, self._back = self._back, b""
            return data
        while True:
            if self._aborted.is_set():
                raise ConnectionResetError("The answer was aborted.")
            await self._wait()
            if data := self._gather():
                return data
            if isinstance(self._ending, End):
                return b""
            if isinstance(self._ending, Cut):
                raise ConnectionResetError("The simulator cut the connection.")
            if isinstance(self._ending, Stall):
                await self._aborted.wait()

    def put_back(self, data: bytes) -> None:
        """Have the next read return these bytes again."""
        self._back = data

    def rest(self) -> bytes | None:
        """Always None: the body comes when the script's timeline says so."""
        return None

    def abort(self) -> None:
        """Drop the answer. A pending read raises `ConnectionResetError`."""
        self._aborted.set()

    async def _head(self) -> None:
        for action in self._actions:
            if isinstance(action, Pause):
                self._later(action.seconds)
                await self._wait()
            elif isinstance(action, Head):
                self.status = action.status
                self.headers = list(action.headers)
                return
            else:
                break
        raise ConnectionResetError("The simulator reset the connection.")

    def _gather(self) -> bytes:
        """The pieces up to the next pause. It stops once it has `READ_BYTES`."""
        pieces: list[bytes] = []
        size = 0
        while self._ending is None and not self._waiting and size < READ_BYTES:
            match next(self._actions, End()):
                case Piece(data) | Malformed(data):
                    pieces.append(data)
                    size += len(data)
                case Pause(seconds):
                    self._later(seconds)
                case Cut() | Stall() | End() as ending:
                    self._ending = ending
        return b"".join(pieces)

    def _later(self, seconds: float) -> None:
        self._line += seconds
        self._waiting = True

    async def _wait(self) -> None:
        """Wait until the current pause is over, or the answer is aborted."""
        if not self._waiting:
            return
        try:
            async with asyncio.timeout_at(self._line):
                await self._aborted.wait()
        except TimeoutError:
            self._waiting = False


async def answer(
    method: str,
    path: str,
    headers: list[tuple[bytes, bytes]],
    body: bytes,
    defaults: Mapping[str, Any] | None = None,
) -> SimulatedAnswer:
    """The answer, as soon as its head is due. Raises `ConnectionResetError` if the script has no head.

    `path` follows the base path, and may have a query. `defaults` are the provider's options.
    """
    named = {name.decode("latin-1"): value.decode("latin-1") for name, value in headers}
    played = script(Request(method, path.partition("?")[0], named, body), MEMORY, defaults)
    simulated = SimulatedAnswer(iter(played.actions))
    await simulated._head()
    return simulated
