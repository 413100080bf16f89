"""The HTTP client for providers, behind a small interface that hides the protocol.

`Upstream.send` returns an `Answer` whose head has arrived. The caller reads it to its end or calls `abort`; doing both,
or one of them twice, is harmless. A request is sent again only if its pooled connection turned out to be dead. Only
connecting has a timeout here; for everything else, the caller cancels.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections import deque
from collections.abc import AsyncIterable, Callable

from providers.catalog import Origin, ProviderRecord
from providers.kinds.base import read_lines
from proxy.upstream.connection import BrokenBeforeAnswer, Connection, ConnectionFailed, NotConnected
from proxy.upstream.forward_proxy import ForwardProxies, open_tunnel
from proxy.wire.answer import Answer
from proxy.wire.pieces import Pieces
from usage.loops import LOOPS

Body = bytes | AsyncIterable[bytes]

CHUNKED = b"transfer-encoding: chunked\r\n"
IDLE_SECS = 30.0
"""A pooled connection that was idle for longer is not used again: most servers and load balancers close theirs after a
minute.
"""


class Upstream:
    """Connections to all providers, kept alive in a pool for each origin."""

    def __init__(self, *, verify_ssl: bool, connect_timeout_s: float) -> None:
        self._connect_timeout_s = connect_timeout_s
        self._verify_ssl = verify_ssl
        self._tls: ssl.SSLContext | None = None
        self._idle: dict[Origin, deque[Connection]] = {}
        self._proxies = ForwardProxies.from_environment()
        self._loop = asyncio.get_running_loop()
        self._sweep: asyncio.TimerHandle | None = None
        self._failures = LOOPS.named("idle-connections")

    async def send(
        self,
        provider: ProviderRecord,
        method: str,
        path: str,
        lines: bytes,
        body: Body,
        again: Callable[[], None] | None = None,
    ) -> Answer:
        """Send a request and wait for the head of its answer.

        `lines` are the header lines without `host`. They decide how the body is framed: the pieces of an iterator are
        sent as they come, in chunks if `lines` ends with `CHUNKED`, else under the `content-length` in the last line.
        `again` is called if the request is sent once more, because its pooled connection was dead.

        Raises `ConnectionFailed`.
        """
        origin = provider.origin
        if origin is None:
            from providers.simulator import inprocess  # most installations do not use it

            whole = body if isinstance(body, bytes) else b"".join([piece async for piece in body])
            try:
                return await inprocess.answer(method, path, read_lines(lines), whole, provider.options)
            except ConnectionResetError as error:
                raise BrokenBeforeAnswer(
                    "upstream_disconnected", "The provider closed the connection without an answer."
                ) from error
        target = self._proxies.absolute(origin, path)
        first = f"{method} {target} HTTP/1.1\r\nhost: ".encode("ascii")
        if isinstance(body, bytes):
            data = b"%s%s\r\n%s\r\n%s" % (first, provider.host_header, lines, body)
            return await self._send_whole(origin, method, data, again)
        head = b"%s%s\r\n%s\r\n" % (first, provider.host_header, lines)
        length = declared_length(lines)
        if isinstance(body, Pieces) and (connection := self._pooled(origin)) is not None:
            try:
                return await self._send_streamed(connection, method, head, body, length)
            except BrokenBeforeAnswer:  # the same race as in `_send_whole`
                if again is not None:
                    again()
        # Other streams cannot be sent twice, so they do not use a pooled connection, which may be dead.
        return await self._send_streamed(await self._connect(origin), method, head, body, length)

    async def _send_whole(self, origin: Origin, method: str, data: bytes, again: Callable[[], None] | None) -> Answer:
        connection = self._pooled(origin) or await self._connect(origin)
        is_fresh = not connection.was_used
        while True:
            connection.start(method, data)
            try:
                await connection.read_head()
                return connection
            except BrokenBeforeAnswer:
                # A race with the provider's idle timeout, or the provider's reaction to this very request. So it is
                # sent once more, and on a fresh connection: the others of the pool may be dead as well.
                if is_fresh:
                    raise
                if again is not None:
                    again()
            except BaseException:
                connection.close()
                raise
            connection, is_fresh = await self._connect(origin), True

    @staticmethod
    async def _send_streamed(
        connection: Connection, method: str, head: bytes, body: AsyncIterable[bytes], length: int | None
    ) -> Answer:
        connection.start(method, head)
        upload = connection.upload(_upload(connection, body, length))
        reading = asyncio.create_task(connection.read_head())
        try:
            await asyncio.wait({upload, reading}, return_when=asyncio.FIRST_COMPLETED)
            if upload.done() and (not reading.done() or reading.exception()):
                upload.result()  # a failure of the upload is the cause of what the provider does then
            await reading
            return connection  # if the answer comes early, the rest of the body is sent while it is read
        except BaseException:
            connection.close()
            raise
        finally:
            if not reading.done():
                reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
            del reading, upload  # their exceptions refer to this frame, and so to the body: a reference cycle

    def _pooled(self, origin: Origin) -> Connection | None:
        idle = self._idle.get(origin)
        oldest = time.monotonic() - IDLE_SECS
        while idle:
            connection = idle.pop()
            if connection.is_open and not connection.transport.is_closing():
                if connection.idle_since > oldest:
                    return connection
                connection.close()
        return None

    async def _connect(self, origin: Origin) -> Connection:
        def pool(connection: Connection) -> None:
            connection.idle_since = time.monotonic()
            self._idle.setdefault(origin, deque()).append(connection)
            if self._sweep is None:
                self._sweep = self._loop.call_later(IDLE_SECS, self._close_idle)

        tls = self._tls_context() if origin.scheme == "https" else None
        proxy = self._proxies.for_origin(origin)
        try:
            async with asyncio.timeout(self._connect_timeout_s):
                if proxy is not None and tls is not None:
                    sock = await open_tunnel(proxy, origin)
                    _, connection = await self._loop.create_connection(
                        lambda: Connection(self._loop, pool), sock=sock, ssl=tls, server_hostname=origin.host
                    )
                else:
                    host, port = (proxy.host, proxy.port) if proxy else (origin.host, origin.port)
                    _, connection = await self._loop.create_connection(
                        lambda: Connection(self._loop, pool), host, port, ssl=tls
                    )
        except TimeoutError:
            raise NotConnected(
                "upstream_connect_timeout", "The provider did not accept a connection in time."
            ) from None
        except ssl.SSLError as error:
            reason = getattr(error, "verify_message", "") or error.reason or "the handshake failed"
            raise NotConnected("upstream_tls_error", f"No trusted connection to the provider: {reason}.") from error
        except OSError as error:
            raise NotConnected("upstream_unreachable", "The provider cannot be reached.") from error
        return connection

    def _tls_context(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = ssl.create_default_context()
            self._tls.set_alpn_protocols(["http/1.1"])
            if not self._verify_ssl:
                self._tls.check_hostname = False
                self._tls.verify_mode = ssl.CERT_NONE
        return self._tls

    def _close_idle(self) -> None:
        """Close connections that were idle for `IDLE_SECS`, and look at the others again later."""
        self._sweep = None
        oldest = time.monotonic() - IDLE_SECS
        for origin, idle in list(self._idle.items()):
            while idle and (not idle[0].is_open or idle[0].idle_since <= oldest):
                connection = idle.popleft()
                try:
                    connection.close()
                except Exception as error:
                    self._failures.failed_alone(error)
            if not idle:
                del self._idle[origin]
        if self._idle:
            self._sweep = self._loop.call_later(IDLE_SECS / 2, self._close_idle)

    def close(self) -> None:
        if self._sweep is not None:
            self._sweep.cancel()
        for idle in self._idle.values():
            for connection in idle:
                connection.close()
        self._idle.clear()


def declared_length(lines: bytes) -> int | None:
    """The length of a streamed body, from the last header line; None if the body is sent in chunks."""
    return None if lines.endswith(CHUNKED) else int(lines.rstrip().rpartition(b" ")[2])


async def _upload(connection: Connection, body: AsyncIterable[bytes], length: int | None) -> None:
    """Send the body. Raises `ConnectionFailed` if it has another length than its head promised."""
    sent = 0
    async for piece in body:
        if not piece:
            continue
        sent += len(piece)
        if length is None:
            await connection.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        elif sent <= length:
            await connection.write(piece)
        else:
            raise ConnectionFailed("request_broken_off", "The request's body is longer than its head says.")
    if length is None:
        await connection.write(b"0\r\n\r\n")
    elif sent < length:
        raise ConnectionFailed("request_broken_off", "The request's body ended before its declared length.")
