"""The programmable provider: a TCP server in a thread of the test process. It can send any bytes."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from tests.kit.upstream.answers import default_answer
from tests.kit.upstream.connection import Connection
from tests.kit.upstream.received import Received
from tests.kit.upstream.scripts import Answer, Script


class Upstream:
    """The programmable provider: `with Upstream() as upstream:`.

    A request is answered by the first answer that `answers()` has queued; else by the entry of `paths` for its path;
    else by `script`; else by `default_answer`. An answer is a script, or a function from the request to a script.
    """

    def __init__(self) -> None:
        self._state = threading.Condition()
        self._connections: dict[int, Connection] = {}
        self._accepted = 0
        self._reset_state()

    def _reset_state(self) -> None:
        self.requests: list[Received] = []
        self.paths: dict[str, Answer] = {}
        """Answers by path, with or without `/v1`: `upstream.paths["/models"] = …`."""
        self.script: Answer | None = None
        self.early = False
        """True: requests are answered when their headers have come, before their bodies."""
        self.errors: list[Exception] = []
        self._queue: deque[Answer] = deque()
        self._open: set[Received] = set()
        self.peak_open_requests = 0
        self.peak_open_connections = len(self._connections)

    # --- for tests -----------------------------------------------------------------------------------------
    def __enter__(self) -> Upstream:
        ready = threading.Event()
        self._thread = threading.Thread(target=self._serve, args=(ready,), name="upstream", daemon=True)
        self._thread.start()
        assert ready.wait(10), "the upstream did not start"
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(10)

    @property
    def url(self) -> str:
        """The base URL for a provider, with its version prefix."""
        return f"http://127.0.0.1:{self.port}/v1"

    def answers(self, *answers: Answer) -> None:
        """Queue answers for the next requests, one each, in order."""
        with self._state:
            self._queue.extend(answers)

    def reset(self) -> None:
        """Forget all requests and answers. Connections with an open request are cut, and idle ones stay."""
        with self._state:
            busy = {received.connection_id for received in self._open}
        if busy:
            self._loop.call_soon_threadsafe(self._abort, busy)
            self.wait_until(lambda: not busy & self._connections.keys())
        with self._state:
            self._reset_state()

    @property
    def open_connections(self) -> int:
        return len(self._connections)

    @property
    def open_requests(self) -> int:
        """The requests that are neither answered nor given up by the peer."""
        return len(self._open)

    @property
    def last(self) -> Received:
        return self.requests[-1]

    def wait_for(self, count: int, timeout: float = 20) -> list[Received]:
        """Wait until `count` requests have come whole, or were given up by the peer. Returns them."""
        self.wait_until(lambda: len(self.whole()) >= count, timeout)
        return self.whole()

    def whole(self) -> list[Received]:
        return [r for r in self.requests if r.complete.is_set() or r.closed_by_peer.is_set()]

    def wait_until(self, predicate: Callable[[], Any], timeout: float = 20) -> None:
        """Wait until the predicate is true. It is called after every change here, and at least every 50 ms."""
        deadline = time.monotonic() + timeout
        with self._state:
            while not predicate():
                left = deadline - time.monotonic()
                if left <= 0:
                    raise AssertionError(f"not within {timeout} s; the upstream has {self.requests}")
                self._state.wait(min(left, 0.05))

    # --- for connections, on the event loop ----------------------------------------------------------------
    def opened(self, connection: Connection) -> None:
        with self._state:
            self._connections[connection.number] = connection
            self.peak_open_connections = max(self.peak_open_connections, len(self._connections))
            self._state.notify_all()

    def closed(self, connection: Connection) -> None:
        with self._state:
            self._connections.pop(connection.number, None)
            self._state.notify_all()

    def received(self, request: Received) -> bool:
        """Add a request whose headers have come. Returns whether it is answered early."""
        with self._state:
            self.requests.append(request)
            self._open.add(request)
            self.peak_open_requests = max(self.peak_open_requests, len(self._open))
            self._state.notify_all()
            return self.early

    def done(self, request: Received) -> None:
        with self._state:
            self._open.discard(request)
            self._state.notify_all()

    def changed(self) -> None:
        with self._state:
            self._state.notify_all()

    def failed(self, error: Exception) -> None:
        """Keep the error of a test's answer function. The fixture `upstream` raises it at the end of the test."""
        with self._state:
            self.errors.append(error)
            self._state.notify_all()

    def script_for(self, request: Received) -> Script:
        with self._state:
            short = request.path.removeprefix("/v1")
            if self._queue:
                answer = self._queue.popleft()
            else:
                answer = self.paths.get(request.path) or self.paths.get(short) or self.script or default_answer
        return answer(request) if callable(answer) else answer

    # --- the thread ----------------------------------------------------------------------------------------
    def _serve(self, ready: threading.Event) -> None:
        asyncio.run(self._listen(ready))

    async def _listen(self, ready: threading.Event) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        server = await self._loop.create_server(self._accept, "127.0.0.1", 0, backlog=1024)
        self.port: int = server.sockets[0].getsockname()[1]
        ready.set()
        await self._stopping.wait()
        server.close()
        self._abort(set(self._connections))
        # The transports close in the next turns of the event loop.
        while self._connections:  # noqa: ASYNC110
            await asyncio.sleep(0)

    def _accept(self) -> Connection:
        self._accepted += 1
        return Connection(self, self._accepted)

    def _abort(self, numbers: set[int]) -> None:
        for number in numbers:
            if connection := self._connections.get(number):
                connection.transport.abort()
