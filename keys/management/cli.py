"""What the commands for nouns (`keys`, `projects`, `providers`, …) share.

Each verb of a noun is written once, against the management API, and works on this installation or, with `--api-url`,
on another. Other apps get this by a port (`strict/ports.py`): they do not import this one.
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
"""Takes the connection and the options; answers with a document for `--json` and, for people, a text.

A blank text stands for the usual one: a table for a list, a line for each field of a row.
"""

SHOWN_ONCE = frozenset({"mint", "rotate"})
"""Verbs that answer with a secret which nothing shows again."""

ROOM = 4096
"""More than such an answer takes."""


class ManagementCLI:
    """Reads the verbs of one command and runs the one that was asked for."""

    def __init__(self, command: BaseCommand, columns: tuple[str, ...]) -> None:
        self.command = command
        self.columns = columns

    def read(self, parser: CommandParser, verbs: dict[str, tuple[Verb, str]]) -> dict[str, CommandParser]:
        """A parser for each verb, with the options that all of them have."""
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
        """A type for arguments: `a,b` as a list; blank is an empty one."""
        return [item.strip() for item in text.split(",") if item.strip()]

    @staticmethod
    def one_of(parser: CommandParser, called: str = "name") -> None:
        """The options that name one row: its id, or the field that it is called by."""
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
            # A key has one state; the switch alone would say that a revoked one is active.
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
    """That a secret which is shown once can be: on a full disk or a closed pipe it would be made, and lost.

    Raises `Refused`. What is written for this is taken back, or went where nobody reads.
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
        return  # a test's, or another program's, that keeps it in memory
    except OSError as error:
        raise Refused(f"The output cannot be written ({error.strerror}); nothing was made.") from None


def encodable(text: str, output: TextIO) -> str:
    """What the terminal's encoding cannot show is shown escaped."""
    encoding = getattr(output, "encoding", None) or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def _row_id(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise argparse.ArgumentTypeError(f"{text!r} is not an id")
    return int(text)
