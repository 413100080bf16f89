"""Readers of the sender's streams. To be cheap, they look only for frames and their times."""

from __future__ import annotations

import asyncio
import re
import time
from array import array
from typing import Any, cast

from bench.servers import MODEL, Server
from proxy.bench.target import Target

STAMP = re.compile(rb'"content":"(\d{19})"')
UNFINISHED = len(b'"content":"0"') + 18 - 1
"""One byte less than a stamp has. So much is kept of each piece, because the next one may complete a stamp."""
AT_ONCE = 50


class Reader(asyncio.Protocol):
    def __init__(self, readers: Readers, request: bytes) -> None:
        self.readers = readers
        self.request = request
        self.tail = b""
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        now = time.monotonic_ns()
        data = self.tail + data
        readers = self.readers
        if not readers.is_timing:
            readers.frames += len(STAMP.findall(data))
        else:
            stamps = STAMP.findall(data)
            readers.frames += len(stamps)
            readers.delays_s.extend([(now - int(stamp)) / 1e9 for stamp in stamps])
        self.tail = data[-UNFINISHED:]

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.readers.is_closing:
            self.readers.lost += 1


class Readers:
    """Opens `count` streams and reads them. The end of the `async with` closes them."""

    def __init__(self, server: Server, count: int, *, every_s: float = 0, frames: int = 10**9) -> None:
        body: dict[str, Any] = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}], "stream": True}
        body |= {"every_s": every_s, "frames": frames}
        self.target = Target.of(server.url, body, key=server.key)
        self.count = count
        self.frames = 0
        self.delays_s = array("d")
        self.is_timing = False
        self.is_closing = False
        self.lost = 0
        """Streams that ended before we ended them."""
        self.open: list[Reader] = []

    async def __aenter__(self) -> Readers:
        loop = asyncio.get_running_loop()

        def new() -> Reader:
            return Reader(self, self.target.request)

        while len(self.open) < self.count:
            some = min(AT_ONCE, self.count - len(self.open))
            opening = (loop.create_connection(new, self.target.host, self.target.port) for _ in range(some))
            self.open += [reader for _, reader in await asyncio.gather(*opening)]
            await asyncio.sleep(0.01)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.is_closing = True
        for reader in self.open:
            if reader.transport is not None:
                reader.transport.abort()
        await asyncio.sleep(0.3)
