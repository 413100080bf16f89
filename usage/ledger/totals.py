"""Totals: what each key, user, team and project and the whole gateway used. Written in the ledger's transactions.

Limits over long periods (requests of a day, all requests, a budget) start from these numbers, so no limit ever scans
the ledger. A scope has one row for all time, and one for each quarter of an hour (slot) in which it was used. In every
time zone, midnight is the beginning of a slot.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import NamedTuple

from django.db import connection
from django.db.models import F, Q, Sum

from usage.event import RequestEvent
from usage.records import ScopeTotal

MILLION_PICOUSD = 10**18
HALF = 10**9
"""Big columns are summed as quotients and remainders of this number: a sum over 64 bits is an error in SQLite."""

SLOT_S = 900
EVER = -1
"""The slot of the row for all time."""

GLOBAL = ("global", "1")
TIER = "tier"
"""The kind of a scope that counts a user's embeddings, for the limits of the user's tier. Its id is the user's."""

EMBEDDINGS = "/v1/embeddings"
READ_AT_ONCE = 100

KEPT_DAYS = 40
"""Longer than a month in any time zone. No limit asks for older slots."""


class TotalQuery(NamedTuple):
    """A scope, and where its periods begin, in Unix seconds: `since` for money (0: all time), `day` for requests."""

    kind: str
    id: str
    since: int
    day: int


class ScopeUsage(NamedTuple):
    """What a scope used: picodollars since `TotalQuery.since`, all its requests, requests since `TotalQuery.day`."""

    spent_picousd: int
    requests: int
    requests_since_day: int


def scopes_of(event: RequestEvent) -> Iterator[tuple[str, str]]:
    for kind, number in (("key", event.key), ("user", event.user), ("team", event.team), ("project", event.project)):
        if number is not None:
            yield kind, str(number)
    if event.endpoint == EMBEDDINGS and event.user is not None:
        yield TIER, str(event.user)
    yield GLOBAL


def add_totals(events: Iterable[RequestEvent]) -> None:
    """Add events that are new to the ledger to the totals. An unknown cost adds nothing."""
    sums: defaultdict[tuple[str, str, int], list[int]] = defaultdict(lambda: [0, 0])
    for event in events:
        cost = event.cost_picousd or 0
        if not cost and not event.requests:
            continue
        slot = int(event.at) // SLOT_S
        for kind, ident in scopes_of(event):
            for place in (EVER, slot):
                total = sums[kind, ident, place]
                total[0] += event.requests
                total[1] += cost
    if not sums:
        return
    table = connection.ops.quote_name(ScopeTotal._meta.db_table)
    is_postgres = connection.vendor == "postgresql"
    values = (
        "SELECT * FROM unnest(%s::text[], %s::text[], %s::int[], %s::bigint[], %s::bigint[], %s::bigint[])"
        if is_postgres
        else "VALUES (%s, %s, %s, %s, %s, %s)"
    )
    statement = (
        f"INSERT INTO {table} (kind, ident, slot, requests, cost_millions, cost_picousd) {values} "
        "ON CONFLICT (kind, ident, slot) DO UPDATE SET "
        f"requests = {table}.requests + excluded.requests, "
        # Whole millions are carried over before the addition, so that `cost_picousd` stays below two million dollars.
        f"cost_millions = {table}.cost_millions + excluded.cost_millions + {table}.cost_picousd / {MILLION_PICOUSD}, "
        f"cost_picousd = {table}.cost_picousd %% {MILLION_PICOUSD} + excluded.cost_picousd"
        ", unseen = excluded.unseen"  # the column's default: alerts have to look at this total again
    )
    # All writers use the same order, which prevents deadlocks.
    rows: list[tuple[str | int, ...]] = [
        (*place, requests, *divmod(cost, MILLION_PICOUSD)) for place, (requests, cost) in sorted(sums.items())
    ]
    with connection.cursor() as cursor:
        if is_postgres:
            cursor.execute(statement, list(map(list, zip(*rows, strict=True))))
        else:
            cursor.executemany(statement, rows)


def read_totals(wanted: Sequence[TotalQuery]) -> list[ScopeUsage]:
    """Return the usage for each query, in the same order. Raises `DatabaseError`."""
    usages: list[ScopeUsage] = []
    for start in range(0, len(wanted), READ_AT_ONCE):
        usages += _read(wanted[start : start + READ_AT_ONCE])
    return usages


def _read(wanted: Sequence[TotalQuery]) -> list[ScopeUsage]:
    which = Q()
    for want in wanted:
        slots = Q(slot=EVER) | Q(slot__gte=min(want.day, want.since or want.day) // SLOT_S)
        which |= Q(kind=want.kind, ident=want.id) & slots
    rows: defaultdict[tuple[str, str], list[tuple[int, int, int]]] = defaultdict(list)
    for kind, ident, slot, requests, millions, cost in ScopeTotal.objects.filter(which).values_list(
        "kind", "ident", "slot", "requests", "cost_millions", "cost_picousd"
    ):
        rows[kind, ident].append((slot, requests, millions * MILLION_PICOUSD + cost))
    return [_usage_of(want, rows[want.kind, want.id]) for want in wanted]


def _usage_of(want: TotalQuery, rows: Sequence[tuple[int, int, int]]) -> ScopeUsage:
    ever_requests = sum(requests for slot, requests, _ in rows if slot == EVER)
    today = sum(requests for slot, requests, _ in rows if slot != EVER and slot >= want.day // SLOT_S)
    if want.since:
        spent = sum(cost for slot, _, cost in rows if slot != EVER and slot >= want.since // SLOT_S)
    else:
        spent = sum(cost for slot, _, cost in rows if slot == EVER)
    return ScopeUsage(spent, ever_requests, today)


def spent_since(kind: str, idents: Sequence[str], since: int) -> dict[str, int]:
    """Return the picodollars that each scope spent since then (Unix seconds; 0: all time). Raises `DatabaseError`."""
    slots = Q(slot__gte=since // SLOT_S) if since else Q(slot=EVER)
    rows = ScopeTotal.objects.filter(slots, kind=kind, ident__in=idents)
    upper, lower = exact_sums("cost_picousd")
    sums = rows.values_list("ident").annotate(whole=Sum("cost_millions"), upper=upper, lower=lower).order_by()
    return {ident: int(whole) * MILLION_PICOUSD + int(above) * HALF + int(below) for ident, whole, above, below in sums}


def exact_sums(column: str) -> tuple[Sum, Sum]:
    """Return two sums for a column of big numbers. Their exact sum is the first times `HALF` plus the second."""
    return Sum(F(column) / HALF, default=0), Sum(F(column) % HALF, default=0)


def forget_slots(now: datetime) -> int:
    """Delete the slots that no limit asks for any more. The rows for all time stay. Returns the number deleted."""
    oldest = int(now.timestamp()) // SLOT_S - KEPT_DAYS * 86_400 // SLOT_S
    table = connection.ops.quote_name(ScopeTotal._meta.db_table)
    with connection.cursor() as cursor:
        cursor.execute(f"DELETE FROM {table} WHERE slot >= 0 AND slot < %s", [oldest])  # noqa: S608 (no value in it)
        return int(cursor.rowcount)
