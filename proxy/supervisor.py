"""Several workers behind one socket: uvicorn's supervisor, which also tidies the metrics of workers that are gone.

A worker ends with its supervisor, however that ends: an orphan would go on serving, with nobody to write the ledger.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from socket import socket

from prometheus_client import multiprocess
from uvicorn.supervisors import multiprocess as supervision
from uvicorn.supervisors.multiprocess import Multiprocess, Process

from usage.loops import LOOPS

LAST_SECS = 10.0
"""Beyond the grace: a worker without a supervisor that has not ended by then is killed."""


class Worker(Process):
    """uvicorn's, which ends in good order when its supervisor has died."""

    def target(self, sockets: list[socket] | None = None) -> None:
        grace_s = (self.config.timeout_graceful_shutdown or 0) + LAST_SECS
        threading.Thread(target=end_with_parent, args=(grace_s,), name="parent", daemon=True).start()
        super().target(sockets)


def end_with_parent(grace_s: float) -> None:
    """Wait for the parent's end, then ask this process to end, and make it.

    By the pipe that multiprocessing keeps between the two, which the kernel closes whatever the parent dies of, also
    before this was called. Linux' own signal for it (PR_SET_PDEATHSIG) is lost where the parent dies before it is asked
    for, comes when the parent's *thread* ends, and is not there on other systems.
    """
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(grace_s)
    os.kill(os.getpid(), signal.SIGKILL)


supervision.Process = Worker  # type: ignore[misc]
"""uvicorn offers no other place to say so."""


class Supervisor(Multiprocess):
    """A worker that died takes its gauges with it; its counters stay, since what it counted has happened."""

    def terminate_all(self) -> None:
        # Its own copies of the sockets would go on taking connections that nobody answers.
        for sock in self.sockets:
            sock.close()
        super().terminate_all()

    def keep_subprocess_alive(self) -> None:
        before = {process.pid for process in self.processes}
        super().keep_subprocess_alive()
        for pid in before - {process.pid for process in self.processes}:
            if pid is None:
                continue
            try:
                multiprocess.mark_process_dead(pid)  # type: ignore[no-untyped-call]
            except Exception as error:  # it would end the supervisor, and leave the workers without one
                LOOPS.named("workers").failed_alone(error)
