"""A connection to Redis for one command at a time, which is all that `batches.py` needs.

redis-py takes 60 µs of CPU time for a command of 1,500 bytes, this connection 13. Shared by the requests of a batch,
the difference is still several microseconds for each. `redis-py` serves URLs that say more than an address, a password
and a database (TLS, options).
"""

from __future__ import annotations

import asyncio
from typing import Any, NamedTuple

import redis
import redis.asyncio
from redis.asyncio.connection import UnixDomainSocketConnection, parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as Disconnected
from redis.exceptions import InvalidResponse, NoScriptError, RedisError, ResponseError
from redis.retry import Retry as SyncRetry

STRING, ERROR, STATUS, NUMBER, LIST = b"$-+:*"
PORT = 6379

Argument = bytes | str | int
Answer = bytes | int | list["Answer"] | None


class Address(NamedTuple):
    """Where Redis is, and the account to use. `path` is that of a Unix socket, in place of `host` and `port`."""

    host: str = "localhost"
    port: int = PORT
    path: str = ""
    db: int = 0
    username: str = ""
    password: str = ""


def connect(url: str) -> Connection | redis.asyncio.Redis:
    """A client without retries: they would outlast the timeout and repeat what Redis may have done.

    Raises `ValueError`.
    """
    options: dict[str, Any] = dict(parse_url(url))
    is_plain = options.pop("connection_class", UnixDomainSocketConnection) is UnixDomainSocketConnection
    if is_plain and options.keys() <= set(Address._fields):
        return Connection(Address(**options))
    return redis.asyncio.Redis.from_url(url, retry=Retry(NoBackoff(), 0))


def is_cluster(url: str, timeout_s: float = 2.0) -> bool:
    """Whether a node of a Redis Cluster answers at `url`. False if nothing answers."""
    with redis.Redis.from_url(
        url, socket_timeout=timeout_s, socket_connect_timeout=timeout_s, retry=SyncRetry(NoBackoff(), 0)
    ) as client:
        try:
            info: Any = client.info("cluster")
        except (RedisError, OSError):
            return False
    return bool(info.get("cluster_enabled"))


class Connection:
    """Connects at the first command, and again after each failure. Only one command may run at a time."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._line: Line | None = None

    async def execute_command(self, *command: Argument) -> Answer:
        """Send one command and return its answer. Raises `RedisError` and `OSError`.

        After a failure, and when the call is cancelled, the connection is closed. Redis may still run the command, but
        its answer cannot be taken for that of the next one. An unknown script is the only error that keeps it open.
        """
        try:
            if self._line is None or self._line.is_lost:
                self._line = await self._connected()
            return await self._line.ask(command)
        except NoScriptError:
            raise
        except BaseException:
            if self._line is not None:
                self._line.close()
            raise

    async def aclose(self) -> None:
        if self._line is not None:
            self._line.close()
            await self._line.gone.wait()

    async def _connected(self) -> Line:
        loop, address = asyncio.get_running_loop(), self._address
        if address.path:
            _, line = await loop.create_unix_connection(Line, address.path)
        else:
            _, line = await loop.create_connection(Line, address.host, address.port)
        try:
            if address.password:
                user = [address.username] if address.username else []
                await line.ask(["AUTH", *user, address.password])
            if address.db:
                await line.ask(["SELECT", address.db])
        except BaseException:
            line.close()
            raise
        return line


class Line(asyncio.Protocol):
    """The bytes of one connection, in RESP: https://redis.io/docs/latest/develop/reference/protocol-spec/"""

    def __init__(self) -> None:
        self.is_lost = False
        self.gone = asyncio.Event()
        self._read = b""
        self._waiting: asyncio.Future[Answer] | None = None
        self._transport: asyncio.Transport

    async def ask(self, command: Any) -> Answer:
        assert self._waiting is None, "one question at a time"
        self._waiting = asyncio.get_running_loop().create_future()
        parts = [part if isinstance(part, bytes) else str(part).encode() for part in command]
        head = b"*%d\r\n" % len(parts)
        self._transport.write(head + b"".join([b"$%d\r\n%b\r\n" % (len(part), part) for part in parts]))
        try:
            return await self._waiting
        finally:
            self._waiting = None

    def close(self) -> None:
        self.is_lost = True
        self._transport.abort()

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def connection_lost(self, error: Exception | None) -> None:
        self._fail(error or Disconnected("Redis closed the connection"))
        self.gone.set()

    def data_received(self, data: bytes) -> None:
        read = self._read + data if self._read else data
        try:
            parsed = parse(read)
        except ValueError:
            self._fail(InvalidResponse(f"Redis answered {read[:50]!r}"))
            return
        if parsed is None:
            self._read = read
            return
        self._read = b""
        answer, length = parsed
        if length == len(read):
            self._deliver(answer)
        else:
            self._fail(InvalidResponse("Redis answered more than was asked"))

    def _deliver(self, answer: Answer | ResponseError) -> None:
        waiting = self._waiting
        if waiting is None:
            self._fail(InvalidResponse("Redis answered what nobody asked"))
        elif not waiting.done():  # it is done if it was cancelled in this turn
            if isinstance(answer, Exception):
                waiting.set_exception(answer)
            else:
                waiting.set_result(answer)

    def _fail(self, error: Exception) -> None:
        self.is_lost = True
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(error)
        self._transport.abort()


def parse(read: bytes, start: int = 0) -> tuple[Answer | ResponseError, int] | None:
    """Parse the answer that begins at `start`.

    Returns it and where it ends, or None if bytes are missing. Raises `ValueError`.
    """
    end = read.find(b"\r\n", start)
    if end < 0:
        return None
    kind, line, length = read[start], read[start + 1 : end], end + 2
    if kind == STRING:
        size = int(line)
        if size < 0:
            return None, length
        if len(read) < length + size + 2:
            return None
        return read[length : length + size], length + size + 2
    if kind == LIST:
        return parse_list(read, length, int(line))
    if kind == STATUS:
        return line, length
    if kind == NUMBER:
        return int(line), length
    if kind == ERROR:
        text = line.decode(errors="replace")
        return (NoScriptError if text.startswith("NOSCRIPT") else ResponseError)(text), length
    raise ValueError(f"no kind of answer: {kind}")


def parse_list(read: bytes, start: int, count: int) -> tuple[Answer | ResponseError, int] | None:
    """Parse `count` answers from `start` on, as `parse` does. An error among them is the answer."""
    if count < 0:
        return None, start
    answers: list[Answer] = []
    failure: ResponseError | None = None
    for _ in range(count):
        parsed = parse(read, start)
        if parsed is None:
            return None
        answer, start = parsed
        if isinstance(answer, ResponseError):
            failure = failure or answer
        else:
            answers.append(answer)
    return failure or answers, start
