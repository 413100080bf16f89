"""Several workers behind one socket: uvicorn's supervisor, which also tidies the metrics of workers that are gone."""

from __future__ import annotations

from prometheus_client import multiprocess
from uvicorn.supervisors.multiprocess import Multiprocess

from usage.loops import LOOPS


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
