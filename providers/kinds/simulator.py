"""The built-in upstream that needs no account: see `providers/simulator/`."""

from __future__ import annotations

from typing import Any

from providers.kinds.base import Kind
from providers.simulator.settings import problem_with


class Simulator(Kind):
    """Without a base URL it answers in the process; with one, it is another process's `manage.py simulator`.

    Options: what a request's `simulate` member takes, for requests that say nothing.
    """

    name = "simulator"
    needs_base_url = False

    def problem_with(self, options: Any) -> str | None:
        return super().problem_with(options) or problem_with(options)
