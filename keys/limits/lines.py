"""How operations become the lines of a batch. Reservations of the same scopes share a line, and so do settlements.

Redis decides the operations of a line together, which takes little longer than one. Settlements are put before
reservations: both wait for the same batch, and what is released is then free for new requests.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from keys.limits.operations import Batch, OfOne, Operation, Reserve
from keys.limits.scope import Scopes

LARGEST_GROUP = 32
"""Requests that are admitted together share one record in Redis. It is read and written each time that one ends."""


class Line:
    """`operations`: those that Redis' answer to the line is about. `record`: the number of their common record."""

    __slots__ = ("operations", "record", "words")

    def __init__(self, words: list[Any], operations: list[Operation], record: int = 0) -> None:
        self.words, self.operations, self.record = words, operations, record


OnBad = Callable[[Operation, Exception], None]


def lines_of(operations: Iterable[Operation], batch: Batch, on_bad: OnBad) -> list[Line]:
    """An operation that cannot be written (its time zone does not exist) goes to `on_bad`, and fails alone."""
    lines: list[Line] = []
    ending, beginning = SharedLines(), SharedLines()
    for operation in operations:
        try:
            if isinstance(operation, OfOne):
                (beginning if isinstance(operation, Reserve) else ending).add(operation, batch)
            else:
                lines += ending.take() + beginning.take()
                lines.append(Line(operation.write(batch), [operation]))
        except Exception as error:
            on_bad(operation, error)
    return lines + ending.take() + beginning.take()


class SharedLines:
    """Lines that operations with the same scopes can join."""

    def __init__(self) -> None:
        self._lines: list[Line] = []
        self._open: dict[Scopes, Line] = {}

    def add(self, operation: OfOne, batch: Batch) -> None:
        """Raises `ValueError`."""
        reservation = operation.reservation
        scopes = reservation.scopes
        line = self._open.get(scopes)
        if line is None or len(line.operations) == LARGEST_GROUP:
            line = self._open[scopes] = Line([*operation.line(batch), []], [], reservation.id)
            self._lines.append(line)
        if isinstance(operation, Reserve):
            reservation.record = line.record  # set now: if no answer comes, it may be in this record
        line.words[-1].append(operation.entry())
        line.operations.append(operation)

    def take(self) -> list[Line]:
        lines = self._lines
        self._lines, self._open = [], {}
        return lines
