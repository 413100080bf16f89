"""Bounds how long a server process takes to end after SIGTERM, whatever hangs in it."""

from __future__ import annotations

import faulthandler
import socket
from types import FrameType

from uvicorn import Config, Server
from uvicorn.server import ServerState

LAST_SECS = 10.0
"""How long a process may take to end after the grace period. It writes its last events in that time."""


def longest_end_s(config: Config) -> float:
    """How many seconds after SIGTERM the process of a server ends at the latest."""
    return (config.timeout_graceful_shutdown or 0) + LAST_SECS


def end_within(seconds: float) -> None:
    """End this process after `seconds`. The stack of each thread is then written to standard error.

    The timer needs no interpreter lock, and also counts while the interpreter waits for threads at its end. A second
    call replaces the first.
    """
    faulthandler.dump_traceback_later(seconds, exit=True)


class State(ServerState):
    """uvicorn's, with which it tells connections of a stop: those that are there as it begins."""

    def __init__(self) -> None:
        super().__init__()
        self.is_stopping = False
        """For connections that were accepted before, and get here only now."""


class EndingServer(Server):
    """uvicorn's server, whose process ends within `longest_end_s` of a signal. It exits with 1 if something hangs."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.server_state: State = State()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self.server_state.is_stopping = True
        await super().shutdown(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if not self.should_exit:
            end_within(longest_end_s(self.config))
        super().handle_exit(sig, frame)
