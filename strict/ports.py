"""What an app asks of others that it does not know: a port, typed by a protocol, into which the root puts what answers.

`config/ports.py` fills them when Django is set up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Generic, Protocol, TypeVar

from django.core.management.base import BaseCommand, CommandParser

T = TypeVar("T")


class Port(Generic[T]):
    """`PORT()` is what answers."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._answering: T | None = None

    def __call__(self) -> T:
        """Raises `RuntimeError` where nobody was handed in."""
        if self._answering is None:
            raise RuntimeError(f"Nobody answers {self._name}: config/ports.py has to say who does.")
        return self._answering

    def fill(self, answering: T) -> None:
        self._answering = answering

    @contextmanager
    def filled(self, answering: T) -> Iterator[None]:
        """For a while, by another one."""
        before, self._answering = self._answering, answering
        try:
            yield
        finally:
            self._answering = before


class CommandLine(Protocol):
    """The shared part of the commands that manage this Sluice or another one (`keys/management/cli.py`)."""

    def read(self, parser: CommandParser, verbs: dict[str, tuple[Any, str]]) -> dict[str, CommandParser]: ...

    def run(self, options: dict[str, Any]) -> None: ...

    def refuse(self, reason: str) -> Exception: ...

    def one_of(self, parser: CommandParser, called: str = "name") -> None: ...


MakeCommandLine = Callable[[BaseCommand, Sequence[str]], CommandLine]
"""For a command, with the columns in which it lists."""

COMMAND_LINE: Port[MakeCommandLine] = Port("COMMAND_LINE")
