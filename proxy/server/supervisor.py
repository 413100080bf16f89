"""Runs several workers behind one socket: uvicorn's supervisor, which also cleans up after workers that have ended.

A worker ends with its supervisor, however the supervisor ends: an orphan would go on serving, while no process writes
the ledger.
"""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import os
import signal
import threading
import time
from socket import socket
from typing import cast

from prometheus_client import multiprocess
from uvicorn import Config, Server
from uvicorn.supervisors import multiprocess as supervision
from uvicorn.supervisors.multiprocess import Multiprocess, Process

from proxy.server.ending import EndingServer, longest_end_s
from proxy.server.least_connections import ConnectionCounts, Listener
from usage.loops import LOOPS

LEFT_SECS = 2.0
"""How much longer than a worker may take to end its supervisor waits for it, and the worker itself for its thread."""

log = logging.getLogger("sluice.server")


class WorkerServer(EndingServer):
    """uvicorn's server, which takes connections by a `Listener`, so that no worker takes more than its part."""

    def __init__(self, config: Config, counts: ConnectionCounts, slot: int) -> None:
        super().__init__(config)
        self._counts, self._slot = counts, slot

    async def startup(self, sockets: list[socket] | None = None) -> None:
        await super().startup(sockets=[])
        self.servers += [self._listener(sock) for sock in sockets or []]  # type: ignore[misc]

    def _listener(self, sock: socket) -> Listener:
        return Listener(sock, self._counts, self._slot, self.server_state, self._new_protocol)

    def _new_protocol(self) -> asyncio.Protocol:
        config, state = self.config, self.server_state
        return config.http_protocol_class(config, state, self.lifespan.state)  # type: ignore[call-arg]


class Worker(Process):
    """uvicorn's worker process, which also ends in good order when its supervisor has died."""

    def __init__(self, config: Config, sockets: list[socket], counts: ConnectionCounts, slot: int) -> None:
        super().__init__(config, sockets)
        self.counts, self.slot = counts, slot

    @property
    def server(self) -> Server:
        if self._server is None:
            self._server = WorkerServer(self.config, self.counts, self.slot)
        return self._server

    def target(self, sockets: list[socket] | None = None) -> None:
        within_s = longest_end_s(self.config) + LEFT_SECS
        threading.Thread(target=end_with_parent, args=(within_s,), name="parent", daemon=True).start()
        super().target(sockets)


def end_with_parent(within_s: float) -> None:
    """Wait until the parent has ended. Then send this process SIGTERM, and SIGKILL after `within_s` seconds.

    It waits for the pipe that multiprocessing keeps between the two. The kernel closes the pipe whatever the parent
    dies of, even if it died before this call. Linux' own signal for this (PR_SET_PDEATHSIG) is lost if the parent dies
    before it is requested, comes when the parent's *thread* ends, and does not exist on other systems.
    """
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(within_s)
    os.kill(os.getpid(), signal.SIGKILL)


class Supervisor(Multiprocess):
    """Removes the gauges of a worker that has died. Its counters stay, because what it counted has happened."""

    def __init__(self, config: Config, sockets: list[socket]) -> None:
        super().__init__(config, sockets)
        self._counts = ConnectionCounts()
        supervision.Process = self._new_worker  # type: ignore[misc, assignment]  # uvicorn offers no other place

    def _new_worker(self, config: Config, sockets: list[socket]) -> Worker:
        slot = self._counts.new_slot({worker.slot for worker in self._workers})
        return Worker(config, sockets, self._counts, slot)

    @property
    def _workers(self) -> list[Worker]:
        return cast("list[Worker]", self.processes)

    def terminate_all(self) -> None:
        # The supervisor's own copies of the sockets would keep accepting connections, which nothing would answer.
        for sock in self.sockets:
            sock.close()
        super().terminate_all()

    def join_all(self) -> None:
        """Wait for the workers. One that does not end, such as one that is frozen, is killed."""
        until = time.monotonic() + longest_end_s(self.config) + LEFT_SECS
        for worker in self._workers:
            worker.process.join(max(0.0, until - time.monotonic()))
            if worker.process.is_alive():
                log.error("Worker %d did not end in time, and is killed.", worker.pid)
                worker.process.kill()
                worker.process.join()

    def keep_subprocess_alive(self) -> None:
        before = {worker.pid: worker.slot for worker in self._workers}
        super().keep_subprocess_alive()
        for pid in before.keys() - {worker.pid for worker in self._workers}:
            if pid is None:
                continue
            self._counts.leave(before[pid])
            try:
                multiprocess.mark_process_dead(pid)  # type: ignore[no-untyped-call]
            except Exception as error:  # it would end the supervisor, and leave the workers without one
                LOOPS.named("workers").failed_alone(error)
