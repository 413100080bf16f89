"""Dead letters: events that a target refused for good. They are kept in a file, and can be listed and sent again."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path

import msgspec

from usage.event import RequestEvent
from usage.journal.source import Backlog, PendingEvent, Source


class DeadLetter(msgspec.Struct):
    """An event that was refused. `at` is when that was, in Unix seconds."""

    at: float
    reason: str
    event: RequestEvent


class Full(OSError):
    """The file of dead letters has reached its bound."""


class DeadLetters:
    """The file `NAME.dead.jsonl`: one object a line, readable by its owner only. Writers hold the dispatcher's lock."""

    def __init__(self, directory: Path, name: str, most_bytes: int) -> None:
        self.file = directory / f"{name}.dead.jsonl"
        self.resending = directory / f"{name}.resending.jsonl"
        self._most_bytes = most_bytes

    def add(self, letters: Sequence[DeadLetter]) -> None:
        """Append letters; they are on the disk when this returns. Raises `OSError`, and `Full`."""
        if self.file.exists() and self.file.stat().st_size > self._most_bytes:
            raise Full(0, "there are as many dead letters as DISPATCH_DEAD_LETTERS_MAX_BYTES allows")
        self.put_back(letters)

    def read(self, *files: Path) -> Iterator[DeadLetter]:
        """Yield the letters of these files; by default all, oldest first, including those that are being sent again.

        Raises `OSError`.
        """
        for file in files or (self.resending, self.file):
            for number, line in enumerate(_lines(file), 1):
                try:
                    yield msgspec.json.decode(line, type=DeadLetter)
                except msgspec.MsgspecError:
                    raise OSError(f"line {number} of {file} is no dead letter; mend it or take it out") from None

    def put_back(self, letters: Iterable[DeadLetter]) -> None:
        """Append letters without checking the bound, because they were in the file before. Raises `OSError`."""
        descriptor = os.open(self.file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            for letter in letters:
                file.write(msgspec.json.encode(letter) + b"\n")
            file.flush()
            os.fsync(descriptor)


class DeadLetterSource(Source):
    """A source of dead letters, to deliver them again.

    What is refused again becomes a dead letter again. What is not done when the source is closed is put back. After a
    crash the next source begins with the same letters.
    """

    def __init__(self, letters: DeadLetters) -> None:
        self._letters = letters
        if not letters.resending.exists() and letters.file.exists():
            letters.file.replace(letters.resending)
        self._unread = enumerate(letters.read(letters.resending))
        self._left = sum(1 for _ in letters.read(letters.resending))
        self._unfinished: dict[str, DeadLetter] = {}

    def read(self, most: int) -> list[PendingEvent]:
        new = {str(number): letter for number, letter in islice(self._unread, most)}
        self._unfinished |= new
        return [PendingEvent(token, letter.event) for token, letter in new.items()]

    def done(self, events: Sequence[PendingEvent]) -> None:
        for each in events:
            del self._unfinished[each.token]
        self._left -= len(events)

    def backlog(self) -> Backlog:
        return Backlog(self._left, 0, None)

    def close(self) -> None:
        self._letters.put_back(chain(self._unfinished.values(), (letter for _, letter in self._unread)))
        self._letters.resending.unlink(missing_ok=True)


def _lines(file: Path) -> Iterator[bytes]:
    try:
        with file.open("rb") as lines:
            for line in lines:
                if line.endswith(b"\n"):  # the last line is incomplete if its writer died
                    yield line
    except FileNotFoundError:
        return
