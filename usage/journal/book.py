"""Events into the ledger, in one transaction; or one by one, where the database refuses some of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from django.db import DatabaseError, InterfaceError, OperationalError, connection

from usage.audit.refusals import audit_refusals
from usage.event import RequestEvent
from usage.ledger import Position, write_events

AWAY = (OperationalError, InterfaceError)
"""The database is not there or not able; what else it raises is about the row."""

UNFIT = (DatabaseError, ValueError, OverflowError)
"""A row that the database refuses, or that cannot even be told to it: a time in the year 300000."""

Refused = Callable[[RequestEvent, str], None]
Done = Callable[[int], None]


def book(events: Sequence[RequestEvent], positions: Sequence[Position], refused: Refused, done: Done) -> None:
    """Write events. `positions`: how far the journal is read after each of them, where it is the ledger that keeps it.

    `refused` is told of each event that does not fit and why; `done`, of how many of them are through, whenever some
    are. Raises what `AWAY` has; the events that are not through can be written later.
    """
    try:
        new = write_events(events, positions[-1] if positions else None)
    except AWAY:
        raise
    except UNFIT:
        connection.close()
        _book_singly(events, positions, refused, done)
    else:
        done(len(events))
        audit_refusals(new)


def _book_singly(events: Sequence[RequestEvent], positions: Sequence[Position], refused: Refused, done: Done) -> None:
    for number, event in enumerate(events):
        try:
            new = write_events([event], positions[number] if positions else None)
        except AWAY:
            raise
        except UNFIT as error:
            connection.close()
            new = []
            refused(event, f"the ledger refused it ({type(error).__name__})")
        done(number + 1)
        audit_refusals(new)
