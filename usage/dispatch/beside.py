"""Run the configured dispatchers in the process that writes the ledger. Each host does, as each has its own journal."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from types import TracebackType

from django.conf import settings

from usage.dispatch.delivery import AWAY
from usage.dispatch.target import Target
from usage.dispatch.tasks import AlreadyAtWork, dispatch
from usage.loops import LOOPS

log = logging.getLogger("sluice.dispatch")

LOOK_AGAIN_S = 5.0
STOP_S = 5.0
"""How long all present deliveries together may take to end. What they did not acknowledge is delivered again."""


class Dispatchers:
    """A context manager in which each dispatcher of DISPATCH_TO delivers in a thread of its own.

    None runs if DISPATCH_WITH_SERVER is off.
    """

    def __init__(self) -> None:
        targets: Sequence[Target] = settings.DISPATCHERS if settings.DISPATCH_WITH_SERVER else []
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._work, args=(target,), name=f"dispatch {target.name}", daemon=True)
            for target in targets
        ]

    def __enter__(self) -> Dispatchers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        until = time.monotonic() + STOP_S
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))

    def _work(self, target: Target) -> None:
        def step() -> None:
            try:
                dispatch(target, self._stopping)
            except AlreadyAtWork:
                log.info("Dispatcher %s is at work elsewhere on this host.", target.name)
            except AWAY as error:
                log.warning("Dispatcher %s cannot read the journal: %s", target.name, type(error).__name__)
            self._stopping.wait(LOOK_AGAIN_S)

        LOOPS.named(f"dispatch-{target.name}").run_until(self._stopping, step)
