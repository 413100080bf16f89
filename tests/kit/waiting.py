"""Waiting, by polling, until something is true."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from tests.kit.services import processes

IN_FORCE_S = 1.0
"""How long a change may take until it is in force in every process (P16)."""
TIMEOUT_S = 20.0
"""How long a test waits if the promise is only that something happens. It is long because a busy machine is slow."""


def soon(question: Callable[[], Any], within: float = TIMEOUT_S) -> None:
    """Check that the answer becomes true in time."""
    assert processes.poll(question, timeout=within), f"not within {within} s"


def in_force(question: Callable[[], Any]) -> None:
    """Check that a change comes into force. That a second is enough is measured by tests that run alone:
    `test_in_force.py` and P16."""
    soon(question)


def let_a_second_pass(since: float) -> None:
    """Wait until a change made at `since` must be in force. Only then would a late write to a cache show."""
    time.sleep(max(0.0, since + IN_FORCE_S - time.monotonic()))
