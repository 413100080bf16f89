"""Plays scripts inside Sluice's own process, behind the interface of the data plane's upstream client.

No thread, no socket, no task: whoever reads moves the script on. A read that is cancelled loses nothing, for the
script's timeline is kept in deadlines, not in sleeps.
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
    """An answer whose head has come; the body is read piece by piece."""

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
        """Wait for more of the body, or its end, or its failure, no longer than until then, in the loop's time."""
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
        """What there is of the body, b"" at its clean end; ConnectionResetError when it was cut or aborted."""
        if self._began:
            # A reader that is never made to wait would keep everyone else from the event loop.
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
        """What was read comes again with the next read."""
        self._back = data

    def rest(self) -> bytes | None:
        """None: the script's timeline says when the body comes."""
        return None

    def abort(self) -> None:
        """Drops the answer; a pending read wakes with ConnectionResetError."""
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
        """The pieces up to the next pause, at most about READ_BYTES."""
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
        """Until the script's time has come, or an abort."""
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
    """The answer as soon as its head is there; ConnectionResetError when there is none.

    `path` is what follows the base path, with or without a query; `defaults` are the provider's options.
    """
    named = {name.decode("latin-1"): value.decode("latin-1") for name, value in headers}
    played = script(Request(method, path.partition("?")[0], named, body), MEMORY, defaults)
    simulated = SimulatedAnswer(iter(played.actions))
    await simulated._head()
    return simulated
