"""`manage.py` without a journal and without metrics, to measure the relay alone. Only the benchmark runs it."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import django

import manage

if TYPE_CHECKING:
    from usage.event import RequestEvent
    from usage.journal.spool import Spool


def only_encode(_: Spool, event: RequestEvent) -> bytes:
    """Takes the place of `Spool.add`. The request log needs the encoded event in either case."""
    from usage.journal.record import encode

    return encode(event)


def nothing(*_: object) -> None:
    pass


def main() -> int:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    django.setup()
    from usage.journal.spool import Spool
    from usage.telemetry.metrics import RequestMetrics

    for kind, name, instead in (
        (Spool, "add", only_encode),
        (RequestMetrics, "began", nothing),
        (RequestMetrics, "ended", nothing),
    ):
        setattr(kind, name, instead)
    return manage.main()


if __name__ == "__main__":
    sys.exit(main())
