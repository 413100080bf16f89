"""`manage.py` commands, run in this process."""

from __future__ import annotations

import json
from io import StringIO

from django.core.management import call_command


class Terminal:
    """Runs commands, each with the arguments `extra`, such as those that name a remote server. Returns their output."""

    def __init__(self, *extra: str) -> None:
        self.extra = extra

    def __call__(self, *arguments: str) -> str:
        out = StringIO()
        call_command(*arguments, *self.extra, stdout=out)
        return out.getvalue()

    def json(self, *arguments: str):
        return json.loads(self(*arguments, "--json"))
