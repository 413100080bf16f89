"""The built-in provider that needs no account: see `providers/simulator/`."""

from __future__ import annotations

from typing import Any

from providers.kinds.base import Kind
from providers.simulator.settings import problem_with


class Simulator(Kind):
    """Without a base URL it answers inside the process. With one, it is a `manage.py simulator` at that address.

    Options: the members of `simulate`, as defaults for requests. They reach only the simulator inside the process.
    """

    name = "simulator"
    needs_base_url = False

    def problem_with(self, options: Any) -> str | None:
        return super().problem_with(options) or problem_with(options)
