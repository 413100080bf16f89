"""What the commands for nouns (`keys`, `projects`, `providers`, …) share.

Each verb of a noun is written once, against the management API. It works on this installation or, with `--api-url`, on
another. Other apps use this module through a port (`strict/ports.py`), because they do not import this app.
"""

from __future__ import annotations

import argparse
import errno
import json
import os
import select
import stat
import sys
from collections.abc import Callable
from io import UnsupportedOperation
from typing import Any, TextIO

from django.core.management.base import BaseCommand, CommandError, CommandParser

from keys.management.connections import Connection, Local, Refused, Remote
from shown.cells import cell

Verb = Callable[[Any, dict[str, Any]], tuple[Any, str]]
"""Takes the connection and the options. Returns a document for `--json` and a text for people.

An empty text means the default: a table for a list, one line for each field of a row.
"""

SHOWN_ONCE = frozenset({"mint", "rotate"})
"""Verbs whose answer has a secret that is never shown again."""

ROOM = 4096
"""Bytes; such an answer is smaller."""


class ManagementCLI:
    """Parses the verbs of a command and runs the chosen one."""

    def __init__(self, command: BaseCommand, columns: tuple[str, ...]) -> None:
        self.command = command
        self.columns = columns

    def read(self, parser: CommandParser, verbs: dict[str, tuple[Verb, str]]) -> dict[str, CommandParser]:
        """Make a parser for each verb, with the options that all verbs have."""
        group = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
        parsers: dict[str, CommandParser] = {}
        for name, (run, summary) in verbs.items():
            verb = group.add_parser(name, help=summary, description=summary)
            verb.set_defaults(run=run)
            verb.add_argument("--json", action="store_true", help="Print one JSON document and nothing else.")
            verb.add_argument("--api-url", metavar="URL", help="Do it on the Sluice at this address.")
            verb.add_argument("--token", help="The other Sluice's management token (else SLUICE_TOKEN is read).")
            parsers[name] = verb
        return parsers

    def run(self, options: dict[str, Any]) -> None:
        if options["verb"] in SHOWN_ONCE:
            check_output(sys.stdout)
        document, text = options["run"](self._connect(options), options)
        if options["json"]:
            self.command.stdout.write(json.dumps(document, indent=2))
        else:
            self.command.stdout.write(encodable(text or self._written(document), sys.stdout))
        self.command.stdout.flush()

    @staticmethod
    def refuse(reason: str) -> Refused:
        return Refused(reason)

    @staticmethod
    def listed(text: str) -> list[str]:
        """An argument type: `a,b` becomes a list, a blank text an empty one."""
        return [item.strip() for item in text.split(",") if item.strip()]

    @staticmethod
    def one_of(parser: CommandParser, called: str = "name") -> None:
        """Add the options that name one row: `--id`, or its name in the field `called`."""
        which = parser.add_mutually_exclusive_group(required=True)
        which.add_argument("--id", type=_row_id)
        which.add_argument(f"--{called}")

    def _connect(self, options: dict[str, Any]) -> Connection:
        if not options["api_url"]:
            return Local()
        token = options["token"] or os.environ.get("SLUICE_TOKEN", "")
        if not token:
            raise CommandError("--api-url needs --token, or SLUICE_TOKEN in the environment.", returncode=2)
        return Remote(options["api_url"], token)

    def _written(self, document: Any) -> str:
        if "results" not in document:
            # A key has one state; `is_active` alone would say that a revoked key is active.
            shown = {name: value for name, value in document.items() if name != "is_active" or "status" not in document}
            width = max(map(len, shown), default=0)
            return "\n".join(f"{name:<{width}}  {cell(name, value)}" for name, value in shown.items())
        rows = [[cell(column, row[column]) for column in self.columns] for row in document["results"]]
        table = [[column.upper() for column in self.columns], *rows]
        widths = [max(map(len, cells)) for cells in zip(*table, strict=True)]
        return "\n".join(
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in table
        )


def check_output(output: TextIO) -> None:
    """Check that a secret which is shown only once can be written: on a full disk or a closed pipe it would be lost.

    Raises `Refused`. A test write to a file is undone, and nothing reads one to a device that is no terminal.
    """
    try:
        descriptor = output.fileno()
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISREG(mode):
            size = os.fstat(descriptor).st_size
            os.pwrite(descriptor, b"\n" * ROOM, size)
            os.ftruncate(descriptor, size)
        elif stat.S_ISCHR(mode) and not os.isatty(descriptor):
            os.write(descriptor, b"\n")
        elif stat.S_ISFIFO(mode):
            poll = select.poll()
            poll.register(descriptor, select.POLLOUT)
            if any(events & select.POLLERR for _, events in poll.poll(0)):
                raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))
    except UnsupportedOperation:
        return  # output in memory, of a test or another program
    except OSError as error:
        raise Refused(f"The output cannot be written ({error.strerror}); nothing was made.") from None


def encodable(text: str, output: TextIO) -> str:
    """Escape what the terminal's encoding cannot show."""
    encoding = getattr(output, "encoding", None) or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def _row_id(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise argparse.ArgumentTypeError(f"{text!r} is not an id")
    return int(text)
