"""One answer of a provider for all who ask the same while it comes, and the record of it.

The first reader reads the provider's connection itself: an answer that nobody else wants costs no task. When another
reader joins, a task reads instead, and each reader goes on at its own pace.
"""

from __future__ import annotations

import asyncio
import copy
import time
from math import inf
from typing import Protocol

from cache.entry import Headers, Piece

KEPT_HEADERS = frozenset({b"content-type", b"content-encoding", b"content-language", b"openai-version"})
"""All others are about the provider's connection, its limits, or this one request."""


class Source(Protocol):
    """What is recorded, as `proxy/wire/answer.py` describes it."""

    status: int
    headers: Headers

    async def comes_by(self, deadline: float) -> bool: ...

    async def read(self) -> bytes: ...

    def put_back(self, data: bytes) -> None: ...

    def rest(self) -> bytes | None: ...

    def abort(self) -> None: ...


class RecordingRoom:
    """How much all answers that are being recorded may take together: clients that read slowly keep them for long."""

    def __init__(self, most_bytes: int) -> None:
        self.most_bytes = most_bytes
        self.used_bytes = 0


class Flight:
    """An answer, which is kept whole as long as it is no larger than `most_bytes`, and as there is room.

    After that no reader can join. Those that are there get all of it, no faster than the slowest of them reads.
    """

    def __init__(self, source: Source, most_bytes: int, room: RecordingRoom) -> None:
        self._source = source
        self._most_bytes = most_bytes
        self._room = room
        self._began = time.monotonic()
        self._pieces: list[Piece] = []
        self._bytes = 0
        self._first = 0
        """The number of the first piece in `_pieces`; those before it were dropped."""
        self._keeps_all = True
        self._is_over = False
        self._failure: Exception | None = None
        self._is_read_alone = False
        self._task: asyncio.Task[None] | None = None
        self._waiters: list[asyncio.Future[None]] = []
        self.status = source.status
        self._readers = [FlightReader(self, source.status, source.headers, is_first=True)]

    @property
    def pieces(self) -> tuple[Piece, ...] | None:
        """The whole body; None where its end has not come, and where it was not kept."""
        return tuple(self._pieces) if self._is_over and self._keeps_all else None

    @property
    def kept_headers(self) -> Headers:
        return [header for header in self._source.headers if header[0] in KEPT_HEADERS]

    @property
    def is_over(self) -> bool:
        """Whether the end has come."""
        return self._is_over

    @property
    def is_alone(self) -> bool:
        """Whether the first reader reads the provider's connection itself."""
        return self._task is None and len(self._readers) == 1

    @property
    def is_shared(self) -> bool:
        """Whether anybody reads it beside the first reader, or instead of it."""
        return any(not reader.is_first for reader in self._readers)

    @property
    def first_reader(self) -> FlightReader:
        """The reader of the request that made the call, until it leaves."""
        return self._readers[0]

    def join(self) -> FlightReader | None:
        """Another reader, from the first piece on. None where the beginning is not there any more."""
        if not self._keeps_all:
            return None
        reader = FlightReader(self, self._source.status, self.kept_headers)
        self._readers.append(reader)
        self._read_for_all()
        return reader

    # --- called by readers --------------------------------------------------------------------------------

    async def read_alone(self, reader: FlightReader) -> bytes:
        self._is_read_alone = True
        try:
            piece = await self._source.read()
            self._keep(piece)
            reader.at = self._first + len(self._pieces)
            return piece
        except Exception as error:
            self._failure = copy.copy(error)
            raise
        finally:
            self._stop_reading_alone()

    async def comes_alone(self, deadline: float) -> bool:
        self._is_read_alone = True
        try:
            return await self._source.comes_by(deadline)
        finally:
            self._stop_reading_alone()

    def rest_alone(self, reader: FlightReader) -> bytes | None:
        rest = self._source.rest()
        if rest is not None:
            if rest:
                self._keep(rest)
            self._is_over = True
            reader.at = self._first + len(self._pieces)
        return rest

    def has_news(self, reader: FlightReader) -> bool:
        """Whether there is something to read for it: a piece, the end, or a failure."""
        return reader.at < self._first + len(self._pieces) or self._is_over or self._failure is not None

    def take(self, reader: FlightReader) -> bytes:
        """All that has come since its last piece; b"" at the end. Call it when there are news. Raises the failure."""
        texts = [text for _, text in self._pieces[reader.at - self._first :]]
        if not texts and not self._is_over:
            assert self._failure is not None
            raise copy.copy(self._failure)
        reader.at = self._first + len(self._pieces)
        if not self._keeps_all:
            self._drop_what_all_have()
        return texts[0] if len(texts) == 1 else b"".join(texts)

    async def wait(self) -> None:
        """Wait for the next change."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        await waiter

    def leave(self, reader: FlightReader) -> None:
        """The last reader ends the use of the provider's answer, and the record."""
        if reader not in self._readers:
            return
        self._readers.remove(reader)
        if self._readers:
            if not self._keeps_all:
                self._drop_what_all_have()
            return
        if self._task is not None:
            self._task.cancel()
        self._keeps_all = False
        self._drop(len(self._pieces))
        self._source.abort()

    # --- reading the provider's connection ------------------------------------------------------------------

    def _stop_reading_alone(self) -> None:
        self._is_read_alone = False
        if len(self._readers) > 1:
            self._read_for_all()

    def _read_for_all(self) -> None:
        if self._task is None and not (self._is_read_alone or self._is_over or self._failure is not None):
            self._task = asyncio.get_running_loop().create_task(self._read())
        self._wake()

    async def _read(self) -> None:
        try:
            while not self._is_over:
                while self._pieces and not self._keeps_all and self._bytes >= self._most_bytes:
                    await self.wait()
                self._keep(await self._source.read())
                self._wake()
        except Exception as error:  # each reader raises it
            self._failure = copy.copy(error)
            self._wake()

    def _wake(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    # --- what is kept -------------------------------------------------------------------------------------

    def _keep(self, piece: bytes) -> None:
        size = len(piece)
        if not size:
            self._is_over = True
            return
        if self._bytes + size > self._most_bytes or self._room.used_bytes + size > self._room.most_bytes:
            self._keeps_all = False
        if self._keeps_all or len(self._readers) > 1 or self._task is not None:
            self._bytes += size
            self._room.used_bytes += size
            self._pieces.append((time.monotonic() - self._began, piece))
        if not self._keeps_all:
            self._drop_what_all_have()

    def _drop_what_all_have(self) -> None:
        self._drop(min(reader.at for reader in self._readers) - self._first)

    def _drop(self, count: int) -> None:
        if count <= 0:
            return
        size = sum(len(text) for _, text in self._pieces[:count])
        self._bytes -= size
        self._room.used_bytes -= size
        self._first += count
        del self._pieces[:count]
        self._wake()


class FlightReader:
    """A flight's answer for one request (`proxy/wire/answer.py`)."""

    __slots__ = ("_again", "_flight", "at", "headers", "is_first", "status")

    def __init__(self, flight: Flight, status: int, headers: Headers, *, is_first: bool = False) -> None:
        self._flight = flight
        self._again = b""
        self.at = 0
        """The number of the next piece."""
        self.status, self.headers = status, headers
        self.is_first = is_first

    async def comes_by(self, deadline: float) -> bool:
        flight = self._flight
        if self._again:
            return True
        if flight.is_alone:
            return await flight.comes_alone(deadline)
        try:
            async with asyncio.timeout_at(deadline if deadline < inf else None):
                while not flight.has_news(self):
                    await flight.wait()
        except TimeoutError:
            return flight.has_news(self)
        return True

    async def read(self) -> bytes:
        if self._again:
            again, self._again = self._again, b""
            return again
        flight = self._flight
        if flight.is_alone:
            return await flight.read_alone(self)
        while not flight.has_news(self):
            await flight.wait()
        return flight.take(self)

    def put_back(self, data: bytes) -> None:
        self._again = data + self._again

    def rest(self) -> bytes | None:
        flight = self._flight
        if not flight.is_alone and not flight.is_over:
            return None
        rest = flight.rest_alone(self) if flight.is_alone else flight.take(self)
        if rest is None:
            return None
        again, self._again = self._again, b""
        return again + rest if again else rest

    def abort(self) -> None:
        """Leave the flight."""
        self._flight.leave(self)
