"""The built-in upstream that needs no account: see `providers/simulator/`."""

from __future__ import annotations

from providers.kinds.base import Kind


class Simulator(Kind):
    """Without a base URL it answers in the process; with one, it is another process's `manage.py simulator`."""

    name = "simulator"
    needs_base_url = False
