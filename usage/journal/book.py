"""Write a batch of events into the ledger in one transaction. If the database refuses it, write it in halves."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from django.db import DatabaseError, DataError, IntegrityError, InterfaceError, connection, transaction

from usage.audit.refusals import audit_refusals
from usage.event import RequestEvent
from usage.ids import id_at
from usage.ledger.write import Position, write_events
from usage.writable import make_line_writable

AWAY = (DatabaseError, InterfaceError)
"""The database cannot be reached or cannot write: it is read-only, or lacks a privilege, a column or disk space. Events
wait for it."""

UNFIT = (DataError, IntegrityError, ValueError, OverflowError)
"""The database refuses a row, or a value cannot be sent to it, such as a time in the year 300000. A schema of another
version raises the same errors for every row. So a row that is known to be good is tried before a row is given up."""

Refused = Callable[[RequestEvent, str], None]
Done = Callable[[int], None]


class RefusesEveryRow(DatabaseError):
    """The database refuses even a row that is known to be good."""


def book(events: Sequence[RequestEvent], positions: Sequence[Position], refused: Refused, done: Done) -> None:
    """Write events. `positions` are the journal's positions after each event; empty if the ledger does not store them.

    `refused` is called with each event that the database refuses, and the reason. `done` is called after each
    transaction with the number of events that are dealt with so far. Raises the errors in `AWAY`; the remaining events
    can be written later.
    """
    Booking(events, positions, refused, done).write(0, len(events), is_mended=False)


class Booking(NamedTuple):
    """The arguments of one call of `book`.

    This is a class because nested functions that call each other form a reference cycle. It would keep the events of
    every batch until Python's collector looks at old objects: megabytes, in a process that writes all day.
    """

    events: Sequence[RequestEvent]
    positions: Sequence[Position]
    refused: Refused
    done: Done

    def write(self, first: int, end: int, *, is_mended: bool) -> None:
        try:
            new = write_events(self.events[first:end], self._position(end - 1))
        except UNFIT as error:
            connection.close()
            if not is_mended:
                for event in self.events:  # an older version may have written some of them
                    make_line_writable(event)
                self.write(first, end, is_mended=True)
                return
            if end - first > 1:
                middle = (first + end) // 2
                self.write(first, middle, is_mended=True)
                self.write(middle, end, is_mended=True)
                return
            write_trial_row(error)
            new = self._write_last(first)
        self.done(end)
        audit_refusals(new)

    def _write_last(self, number: int) -> list[RequestEvent]:
        """Try this event once more after the trial row: the database may have been repaired since it refused it."""
        position = self._position(number)
        try:
            return write_events(self.events[number : number + 1], position)
        except UNFIT as error:
            connection.close()
            self.refused(self.events[number], f"the ledger refused it ({reason_of(error)})")
            return write_events([], position)

    def _position(self, number: int) -> Position | None:
        return self.positions[number] if self.positions else None


def write_trial_row(error: Exception) -> None:
    """Write a row that is known to be good, and roll it back.

    Raises `RefusesEveryRow` from `error` if the database refuses that row as well, and the errors in `AWAY`.
    """
    now = time.time()
    row_id = f"{id_at(datetime.fromtimestamp(now, UTC))}-trial"
    plain = RequestEvent(row_id, now, "GET", "/v1/models", 200, "complete", 1.0, cost_picousd=1, requests=1)
    try:
        with transaction.atomic():
            write_events([plain])
            transaction.set_rollback(True)
    except UNFIT as again:
        connection.close()
        raise RefusesEveryRow(f"It refuses every row: {reason_of(again)}") from error


def reason_of(error: Exception) -> str:
    """Return the error's type and the database's message, if that cannot contain values of a row, as details do."""
    cause = error.__cause__
    words = getattr(getattr(cause, "diag", None), "message_primary", None)
    if isinstance(error, RefusesEveryRow) or type(cause).__module__ == "sqlite3":
        words = str(error)
    return f"{type(error).__name__}: {words}" if words else type(error).__name__
