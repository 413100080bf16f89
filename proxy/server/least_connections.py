"""Lets several workers accept from one socket, so that each new connection goes to a worker with few open connections.

Without this the workers race for connections: a worker that is awake takes most of a burst before the others have
woken. So a worker that has clearly more connections than another waits a moment before it accepts. The counts are in
memory that all workers share.

Rejected: a socket for each worker (SO_REUSEPORT). The kernel distributes connections by a hash of the addresses. That
is uneven for few and long connections, a worker that hangs still gets some, and a second server can bind the same
port. Rejected: one process that accepts for all, because each connection would have to be passed on.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import select
import socket
from collections.abc import Callable, Sequence
from ctypes import Array, c_uint64
from typing import Any

from uvicorn.server import ServerState

from usage.loops import LOOPS

SLOTS = 4096
"""More workers than there can be."""

STEP_S = 0.001
"""How long a worker that has more waits before it looks again. The same connection has woken the others."""

WAIT_S = 0.05
"""A worker that has fewer is not waited for after so long without a sign of life: its event loop is blocked, or it has
no file descriptor left to take a connection with.
"""

ASLEEP_S = 0.5
"""How long such a worker is not waited for, unless it gives a sign of life before."""

REFUSED_PAUSE_S = 1.0
"""Pause after the system refused a connection, mostly because no file descriptors were left."""

_COUNT_BITS = 32
_COUNT = (1 << _COUNT_BITS) - 1
_ABSENT = (1 << 64) - 1


class ConnectionCounts:
    """How many connections each worker has open, in memory that all workers share.

    A worker has one 64-bit word. The low bits are its number of connections. The bits above count how often it looked
    for new ones, so the others see whether it is awake. Each word has one writer, and is written and read as a whole.
    """

    def __init__(self) -> None:
        # uvicorn starts workers as new processes ("spawn"), so the memory is handed to them.
        self._words: Array[c_uint64] = multiprocessing.get_context("spawn").RawArray(c_uint64, SLOTS + 1)
        """The first is the highest slot that was used so far; the others are the workers' words, by slot."""

    def new_slot(self, used_slots: set[int]) -> int:
        """The first free slot, for a new worker. Only the supervisor calls this."""
        slot = next(slot for slot in range(1, SLOTS + 1) if slot not in used_slots)
        self.leave(slot)
        self._words[0] = max(self._words[0], slot)
        return slot

    def write(self, slot: int, looks: int, count: int) -> None:
        self._words[slot] = (looks << _COUNT_BITS) & (_ABSENT >> 1) | count

    def leave(self, slot: int) -> None:
        """Mark the worker as one that takes no more connections."""
        self._words[slot] = _ABSENT

    def words(self) -> Sequence[int]:
        return self._words[1 : self._words[0] + 1]


class Connections(set[Any]):
    """A worker's open connections. `tell` is called when one has ended, so that the others learn of it."""

    def __init__(self, tell: Callable[[], object]) -> None:
        super().__init__()
        self._tell = tell

    def discard(self, element: Any) -> None:
        super().discard(element)
        self._tell()


class Listener:
    """A worker's side of the socket. To uvicorn it is one of its servers."""

    def __init__(
        self,
        sock: socket.socket,
        counts: ConnectionCounts,
        slot: int,
        state: ServerState,
        new_protocol: Callable[[], asyncio.Protocol],
    ) -> None:
        sock.setblocking(False)
        self._sock, self._counts, self._slot = sock, counts, slot
        state.connections = self._open = Connections(self._count)
        self._new_protocol = new_protocol
        self._loop = asyncio.get_running_loop()
        self._arriving: set[asyncio.Task[object]] = set()
        self._failures = LOOPS.named("connections")
        self._poll = select.poll()
        self._poll.register(sock, select.POLLIN)
        self._looks = 0
        self._listens = self._is_closed = False
        self._timer: asyncio.TimerHandle | None = None
        self._stood_back_at: float | None = None
        self._previous_words: Sequence[int] = ()
        """The words of all workers when this one began to stand back."""
        self._asleep: dict[int, int] = {}
        """The workers that are not waited for, by index, with their words. A word that changes is a sign of life."""
        self._asleep_until = 0.0
        self._count()
        self._listen()

    def close(self) -> None:
        """Take no more connections. Those that wait at the socket are for the other workers."""
        self._is_closed = True
        self._counts.leave(self._slot)
        self._stop_listening()
        if self._timer is not None:
            self._timer.cancel()

    async def wait_closed(self) -> None:
        """uvicorn itself waits for the connections that were taken."""

    # --- when to take a connection ----------------------------------------------------------------------

    def _look(self) -> None:
        """Take the connection that waits, unless another worker has taken it by now, or stand back for a moment."""
        self._looks += 1
        if self._asleep and self._loop.time() >= self._asleep_until:
            self._asleep.clear()
        if self._has_more(self._count()):
            self._stand_back()
            return
        try:
            self._take()
        except OSError as error:
            self._failures.failed_alone(error)
            self._come_back(REFUSED_PAUSE_S)
        else:
            self._stood_back_at = None
            self._listen()

    def _count(self) -> int:
        """Write the number of this worker's connections for the others, and return it."""
        count = len(self._open) + len(self._arriving)
        if not self._is_closed:
            self._counts.write(self._slot, self._looks, count)
        return count

    def _has_more(self, own: int) -> bool:
        """Whether this worker has more than another one by more than one and an eighth of its own. If the comparison
        were exact, all would wait for a worker that is busy for a moment.
        """
        least = own - 1 - (own >> 3)
        return least > 0 and any(
            word & _COUNT < least and word != _ABSENT and self._asleep.get(at) != word
            for at, word in enumerate(self._counts.words())
        )

    def _stand_back(self) -> None:
        now = self._loop.time()
        if self._stood_back_at is None:
            self._stood_back_at, self._previous_words = now, self._counts.words()
        elif now - self._stood_back_at >= WAIT_S:
            previous, words = self._previous_words, self._counts.words()
            self._asleep = {at: word for at, word in enumerate(words[: len(previous)]) if word == previous[at]}
            self._asleep_until = now + ASLEEP_S
            self._stood_back_at, self._previous_words = now, words
        self._come_back(STEP_S)

    def _come_back(self, after_s: float) -> None:
        self._stop_listening()
        self._timer = self._loop.call_later(after_s, self._look_again)

    def _look_again(self) -> None:
        if self._poll.poll(0):
            self._look()
        else:
            self._stood_back_at = None
            self._listen()

    # --- the socket -------------------------------------------------------------------------------------

    def _listen(self) -> None:
        if not self._listens:
            self._listens = True
            self._loop.add_reader(self._sock, self._look)

    def _stop_listening(self) -> None:
        if self._listens:
            self._listens = False
            self._loop.remove_reader(self._sock)

    def _take(self) -> None:
        """Take one connection, if one waits. Raises `OSError`."""
        try:
            sock, _ = self._sock.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        sock.setblocking(False)
        task = self._loop.create_task(self._loop.connect_accepted_socket(self._new_protocol, sock))
        self._arriving.add(task)
        task.add_done_callback(self._arrived)
        self._count()

    def _arrived(self, task: asyncio.Task[object]) -> None:
        self._arriving.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failures.failed_alone(error)
