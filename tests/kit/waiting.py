"""Waiting for what is to come: nothing but asking tells of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from tests.kit.services import processes

IN_FORCE_S = 1.0
"""How long a change may take until every process heeds it (P16)."""
TIMEOUT_S = 20.0
"""How long a test waits for what is only to come at all: a busy machine is slow, and nobody is measured by it."""


def soon(question: Callable[[], Any], within: float = TIMEOUT_S) -> None:
    """The answer becomes true."""
    assert processes.poll(question, timeout=within), f"not within {within} s"


def in_force(question: Callable[[], Any]) -> None:
    """The answer becomes true, with nothing done for it. That a second is enough is measured where nothing else runs:
    in `test_in_force.py` and by P16."""
    soon(question)


def let_a_second_pass(since: float) -> None:
    """Until a change that was made then must be in force. A late cache write would show only after that."""
    time.sleep(max(0.0, since + IN_FORCE_S - time.monotonic()))
