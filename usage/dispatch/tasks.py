"""Run dispatchers: for the command, for periodic tasks, and beside the ledger."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import NamedTuple

from django.conf import settings
from django.db import connections

from usage.dispatch import DISPATCHERS
from usage.dispatch.book import Book, claimed
from usage.dispatch.dead_letters import DeadLetters, DeadLetterSource
from usage.dispatch.delivery import AWAY, Delivery, Pace
from usage.dispatch.target import Target
from usage.journal.source import Source
from usage.journal.sources import open_source
from usage.sending.post import new_client

log = logging.getLogger("sluice.dispatch")

LONGEST_S = 60.0
"""The bound of a periodic task. It ends even if events arrive as fast as they are delivered."""


LONGEST_DRAIN_S = 3600.0
"""The bound of a command that delivers what waits."""


class Outcome(NamedTuple):
    """Numbers of events that were delivered and refused for good. If some are left, `error` says why."""

    delivered: int
    refused: int
    is_all: bool
    error: str


class AlreadyAtWork(Exception):
    """Another process runs a dispatcher of this name on this host."""


def dispatch_configured() -> dict[str, int]:
    """Deliver what waits for each dispatcher of DISPATCH_TO. Return how many events each of them delivered.

    A dispatcher is skipped if it failed and its next try is not due, or if another process on this host runs it. What
    is not delivered waits for the next call.
    """
    targets: Sequence[Target] = settings.DISPATCHERS
    if not targets:
        return {}
    with ThreadPoolExecutor(len(targets), "dispatch") as pool:
        return dict(zip((target.name for target in targets), pool.map(_drain, targets), strict=True))


def _drain(target: Target) -> int:
    try:
        with at_work(target) as (delivery, book):
            before = book.state.delivered
            if book.state.retry_at <= time.time():
                delivery.drain(time.time() + LONGEST_S)
            return book.state.delivered - before
    except AlreadyAtWork:
        return 0
    except AWAY as error:
        log.warning("Dispatcher %s cannot read the journal: %s", target.name, type(error).__name__)
        return 0
    finally:
        connections.close_all()


def dispatch(target: Target, stopping: threading.Event) -> None:
    """Deliver until `stopping` is set. Raises `AlreadyAtWork`, and what `open_source` raises."""
    try:
        with at_work(target) as (delivery, _):
            delivery.run(stopping)
    finally:
        connections.close_all()


def dispatch_once(target: Target) -> Outcome:
    """Deliver what waits. Raises `AlreadyAtWork`, and what `open_source` raises."""
    with at_work(target) as (delivery, book):
        return _drain_now(delivery, book)


def resend(target: Target) -> Outcome:
    """Send the dead letters again. Raises `AlreadyAtWork` and `OSError`."""
    with at_work(target, DeadLetterSource(dead_letters_of(target.name))) as (delivery, book):
        return _drain_now(delivery, book)


def _drain_now(delivery: Delivery, book: Book) -> Outcome:
    """Deliver what waits at once, even if an earlier failure set a pause: a person asked for it."""
    state = book.state
    delivered, refused = state.delivered, state.dead_letters
    state.retry_at = 0.0
    is_all = delivery.drain(time.time() + LONGEST_DRAIN_S)
    return Outcome(state.delivered - delivered, state.dead_letters - refused, is_all, state.error)


def dead_letters_of(name: str) -> DeadLetters:
    return DeadLetters(settings.DISPATCH_DIR, name, settings.DISPATCH_DEAD_LETTERS_MAX_BYTES)


@contextmanager
def at_work(target: Target, source: Source | None = None) -> Iterator[tuple[Delivery, Book]]:
    """Open a dispatcher and its source, and hold its lock. Raises `AlreadyAtWork`."""
    with claimed(settings.DISPATCH_DIR, target.name) as is_ours:
        if not is_ours:
            raise AlreadyAtWork(f"a dispatcher named {target.name!r} works on this host already")
        book = Book(settings.DISPATCH_DIR, target.name)
        pace = Pace(settings.DISPATCH_BATCH_EVENTS, settings.DISPATCH_BATCH_SECS)
        events = source or open_source(target.consumer)
        try:
            with new_client(settings.DISPATCH_TIMEOUT_SECS) as client:
                dispatcher = DISPATCHERS[target.kind](target, client)
                yield Delivery(dispatcher, events, book, dead_letters_of(target.name), pace), book
        finally:
            leave(events, target.name)


def leave(events: Source, name: str) -> None:
    """Close the source. If Redis is away, a warning is enough: another process takes the entries over later."""
    try:
        events.close()
    except AWAY as error:
        log.warning("Dispatcher %s leaves a journal that is away (%s).", name, type(error).__name__)
