"""Clients that close the connection before the answer ends, and checks of what must follow."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable

import pytest

from tests.kit.ledger import row_of
from tests.kit.sluice import Sluice
from tests.kit.upstream import (
    Received,
)
from tests.kit.vitals import is_idle


def by_fin(peer: socket.socket) -> None:
    peer.close()


def by_rst(peer: socket.socket) -> None:
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()


leaving = pytest.mark.parametrize("leave", [by_fin, by_rst], ids=["FIN", "RST"])
Leave = Callable[[socket.socket], None]


def check_let_go(received: Received, left_at: float) -> None:
    assert received.closed_by_peer.wait(5), "the provider was never let go"
    assert received.closed_at is not None
    assert received.closed_at - left_at < 1


def check_row(sluice: Sluice, call: str, status: int) -> None:
    row = row_of(sluice, call)
    assert (row["outcome"], row["error"], row["status_code"]) == ("client_closed", "client_closed", status)
    assert is_idle(sluice)
