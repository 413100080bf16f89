"""The worker's side of reading long JSON: it starts the child for the first long text, and asks it one at a time.

Long texts wait for their turn. If the child fails, the worker does not read the text itself: else one request could
cause the delay for all others that the child prevents. If the child dies or takes too long, one request fails, and the
next one starts another child. If a client leaves, the child that reads its text is killed: it may be in the middle of
something long.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any, TypeVar

from proxy.errors import BadRequest, Unavailable
from proxy.heavy.body import HeavyBody
from proxy.heavy.jobs import (
    LENGTH_BYTES,
    NOT_AN_OBJECT,
    TOO_COMPLEX,
    AnswerFacts,
    Job,
    ReadAnswer,
    ReadRequest,
    Refused,
    Result,
    decode_result,
    encode,
)
from proxy.wire.body_facts import RequestFacts
from proxy.wire.jsonbody import NotAnObject
from proxy.wire.pieces import PIECE_BYTES

log = logging.getLogger("sluice.proxy")

READ_S = 60.0
"""Seconds for one text. The child's limit of CPU time is reached first, unless other processes keep the CPU busy."""

WAIT_S = 60.0
"""Seconds that a text waits for those before it."""

ROOT = Path(__file__).resolve().parents[2]
T = TypeVar("T", RequestFacts, AnswerFacts)


class Child:
    """A child process, and the socket to it."""

    def __init__(
        self, process: subprocess.Popen[bytes], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._process, self._reader, self._writer = process, reader, writer

    @classmethod
    async def start(cls, most_bytes: int) -> Child:
        """Raises `OSError`."""
        here, there = socket.socketpair()
        with there:
            command = [sys.executable, "-m", "proxy.heavy", str(there.fileno()), str(most_bytes)]
            try:
                process = await asyncio.to_thread(started, command, there.fileno())
            except BaseException:
                here.close()
                raise
        return cls(process, *await asyncio.open_unix_connection(sock=here))

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    async def ask(self, job: Job, raw: bytes) -> Result:
        """Send a job and its text, and wait for the result. Raises `ConnectionError`, `EOFError` if the child died."""
        head = encode(job)
        self._writer.write(len(head).to_bytes(LENGTH_BYTES) + head)
        view = memoryview(raw)
        for at in range(0, len(view), PIECE_BYTES):
            self._writer.write(view[at : at + PIECE_BYTES])
            await self._writer.drain()
        length = int.from_bytes(await self._reader.readexactly(LENGTH_BYTES))
        result: Result = decode_result(await self._reader.readexactly(length))
        return result

    def kill(self) -> asyncio.Future[int]:
        """End the child, which may be dead already. Returns its exit code."""
        self._process.kill()
        self._writer.transport.abort()
        # In a thread, because the kernel may have much memory to free before the process has ended.
        return asyncio.get_running_loop().run_in_executor(None, self._process.wait)


def started(command: list[str], line: int) -> subprocess.Popen[bytes]:
    """Raises `OSError`."""
    return subprocess.Popen(command, pass_fds=[line], stdin=subprocess.DEVNULL, cwd=ROOT)  # noqa: S603 (our own)


class HeavyReader:
    """One for each worker."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._child: Child | None = None
        self._turn = asyncio.Lock()

    async def read_request(
        self, raw: bytes, endpoint: str, names: tuple[bytes, ...], params: dict[str, list[Any]]
    ) -> HeavyBody:
        """Raises `NotAnObject`, `BadRequest`, `Unavailable`."""
        facts = await self._ask_in_turn(ReadRequest(len(raw), endpoint, names, params), raw, RequestFacts)
        return HeavyBody(raw, facts)

    async def read_answer(self, raw: bytes) -> AnswerFacts:
        """Raises `NotAnObject`, `BadRequest`, `Unavailable`."""
        return await self._ask_in_turn(ReadAnswer(len(raw)), raw, AnswerFacts)

    async def _ask_in_turn(self, job: Job, raw: bytes, kind: type[T]) -> T:
        try:
            async with asyncio.timeout(WAIT_S):
                await self._turn.acquire()
        except TimeoutError:
            raise busy() from None
        try:
            result = await self._ask(job, raw)
        finally:
            self._turn.release()
        if isinstance(result, kind):
            return result
        assert isinstance(result, Refused)
        raise NotAnObject(result.message) if result.code == NOT_AN_OBJECT else BadRequest(result.code, result.message)

    async def _ask(self, job: Job, raw: bytes) -> Result:
        """Raises `Unavailable`."""
        child, self._child = self._child, None  # a child that was left in the middle of a text is not asked again
        try:
            if child is not None and not child.is_alive:
                await child.kill()
                child = None
            if child is None:
                child = await Child.start(self._most_bytes)
            async with asyncio.timeout(READ_S):
                result = await child.ask(job, raw)
        except BaseException as error:
            ended_with = await child.kill() if child is not None else None
            if not isinstance(error, OSError | EOFError):  # a timeout is an `OSError` too
                raise
            if ended_with == -signal.SIGPROF:
                return Refused(TOO_COMPLEX, "It takes more time to read the body than the gateway gives to one.")
            log.error("The process that reads long bodies failed: %s, %s", type(error).__name__, ended_with)
            raise failed() from None
        self._child = child
        return result

    async def stop(self) -> None:
        """End the child. No request may be under way any more."""
        child, self._child = self._child, None
        if child is not None:
            await child.kill()


def busy() -> Unavailable:
    return Unavailable(
        "body_reader_busy",
        "The gateway reads other long bodies before this one. Try again shortly.",
        headers=[(b"retry-after", b"5")],
    )


def failed() -> Unavailable:
    return Unavailable(
        "body_reader_failed",
        "The process that reads long bodies ended, or did not come to this one in time. Try again shortly.",
        headers=[(b"retry-after", b"1")],
    )
