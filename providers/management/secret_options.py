"""Options of commands that take a secret, from the environment or standard input: other users cannot see it there."""

from __future__ import annotations

import os
import sys
from typing import Any

from django.core.management.base import CommandError, CommandParser


def add_secret(parser: CommandParser, name: str, *, required: bool = False) -> None:
    """Add the options `--<name>` and `--<name>-env`."""
    secret = parser.add_mutually_exclusive_group(required=required)
    secret.add_argument(
        f"--{name}",
        metavar="SECRET",
        help=f"`-` reads it from standard input. Others on this machine can see it here; see --{name}-env.",
    )
    secret.add_argument(f"--{name}-env", metavar="VAR", help="The environment variable that holds the secret.")


def read_secret(options: dict[str, Any], name: str) -> str | None:
    """The secret that was given; None if neither option was. Raises `CommandError` if it is empty."""
    option = name.replace("-", "_")
    value: str | None = options[option]
    variable: str | None = options[f"{option}_env"]
    if variable is not None:
        secret = os.environ.get(variable, "").strip()
        if not secret:
            raise CommandError(f"The environment variable {variable} is not set.")
        return secret
    if value != "-":
        return value
    secret = sys.stdin.readline().strip()
    if not secret:
        raise CommandError("Standard input has no secret on its first line.")
    return secret
