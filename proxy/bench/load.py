"""Ask one target over many connections at once. Each connection asks again as soon as it has its answer."""

from __future__ import annotations

import asyncio
import math
from time import perf_counter
from typing import cast

import httptools

from proxy.bench.tally import Tally
from proxy.bench.target import Target

RETRY_S = 0.05
LOOK_S = 0.25
DONE = b"[DONE]"
TAIL = 32


async def load(
    target: Target, *, concurrency: int, requests: int | None = None, seconds: float | None = None, timeout: float = 60
) -> Tally:
    """Ask until `requests` are answered or `seconds` are over, whichever comes first.

    No request starts after that; those under way may end, each within its `timeout`.
    """
    return await Load(target, concurrency, requests, seconds, timeout).run()


class Load:
    """What the connections of one measurement share."""

    def __init__(
        self, target: Target, concurrency: int, requests: int | None, seconds: float | None, timeout: float
    ) -> None:
        if requests is None and seconds is None:
            raise ValueError("a measurement without an end")
        self.target = target
        self.concurrency = concurrency if requests is None else min(concurrency, requests)
        self.left = math.inf if requests is None else requests
        self.seconds = math.inf if seconds is None else seconds
        self.until = math.inf
        self.timeout = timeout
        self.tally = Tally()
        self.asking: set[Connection] = set()

    async def run(self) -> Tally:
        opened = await asyncio.gather(*(self.connect() for _ in range(self.concurrency)))
        began = perf_counter()
        self.until = began + self.seconds
        looking = asyncio.create_task(self.look_after_late_ones())
        try:
            await asyncio.gather(*(self.keep_asking(connection) for connection in opened))
        finally:
            looking.cancel()
        self.tally.seconds = perf_counter() - began
        return self.tally

    def may_ask(self, now: float) -> bool:
        """Whether one more request may be sent. If so, it is counted."""
        if self.left <= 0 or now >= self.until:
            return False
        self.left -= 1
        return True

    async def connect(self) -> Connection | str:
        """A connection, or why there is none."""
        loop = asyncio.get_running_loop()
        target = self.target
        try:
            async with asyncio.timeout(self.timeout):
                _, connection = await loop.create_connection(
                    lambda: Connection(self), target.host, target.port, ssl=target.tls
                )
        except TimeoutError:
            return "connect: timeout"
        except OSError as error:
            return f"connect: {type(error).__name__}"
        return connection

    async def keep_asking(self, connection: Connection | str) -> None:
        """Ask over one connection, and over a new one if that was closed."""
        while self.may_ask(perf_counter()):
            if isinstance(connection, str) or connection.closed.done():
                connection = await self.connect()
            if isinstance(connection, str):
                self.tally.errors[connection] += 1
                await asyncio.sleep(RETRY_S)
                continue
            connection.ask()
            await connection.closed
        if isinstance(connection, Connection):
            connection.transport.abort()

    async def look_after_late_ones(self) -> None:
        """Fail requests that are late. One look at all of them costs less than a timer for each request."""
        while True:
            await asyncio.sleep(LOOK_S)
            latest = perf_counter() - self.timeout
            for connection in [c for c in self.asking if c.sent_at < latest]:
                connection.fail("timeout")


class Connection(asyncio.Protocol):
    """One request after the other; `closed` is done when the last was answered, or the connection went away."""

    transport: asyncio.Transport

    def __init__(self, load: Load) -> None:
        self.load = load
        self.parser = httptools.HttpResponseParser(self)
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.sent_at = 0.0
        self.is_asking = False
        self.heard_body = False
        self.tail = b""
        self.frames = 0
        self.stream = load.target.stream

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.is_asking:
            self.fail("connection closed")
        self.end()

    def data_received(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserCallbackError:
            raise
        except httptools.HttpParserError:
            self.fail("not HTTP/1.1")

    def ask(self) -> None:
        self.is_asking = True
        self.heard_body = False
        self.tail = b""
        self.frames = 0
        self.load.asking.add(self)
        self.sent_at = perf_counter()
        self.transport.write(self.load.target.request)

    def on_body(self, body: bytes) -> None:
        self.load.tally.body_bytes += len(body)
        if not self.stream:
            return
        if not self.heard_body:
            self.heard_body = True
            if self.parser.get_status_code() == 200:
                self.load.tally.first_bytes_s.append(perf_counter() - self.sent_at)
        # Blank lines end frames. JSON has no raw line ends, so nothing else looks like one. Two pieces may share one.
        self.frames += body.count(b"\n\n") + body.count(b"\n\r\n")
        if self.tail[-1:] == b"\n" and body[:1] == b"\n":
            self.frames += 1
        self.tail = (self.tail + body)[-TAIL:]

    def on_message_complete(self) -> None:
        now = perf_counter()
        status = self.parser.get_status_code()
        if not self.is_asking or status < 200:
            return
        self.is_asking = False
        load = self.load
        tally = load.tally
        load.asking.discard(self)
        if status != 200:
            tally.errors[f"status {status}"] += 1
        elif self.stream and DONE not in self.tail:
            tally.errors["stream without its end"] += 1
        else:
            tally.latencies_s.append(now - self.sent_at)
            tally.frames += self.frames - 1 if self.stream else 0  # [DONE] is no chunk
        if not self.parser.should_keep_alive():
            self.transport.close()
            self.end()
        elif load.may_ask(now):
            self.ask()
        else:
            self.end()

    def fail(self, why: str) -> None:
        if self.is_asking:
            self.is_asking = False
            self.load.asking.discard(self)
            self.load.tally.errors[why] += 1
        self.transport.abort()
        self.end()

    def end(self) -> None:
        if not self.closed.done():
            self.closed.set_result(None)
