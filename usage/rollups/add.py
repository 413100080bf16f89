"""Add to the sums: what is new in the ledger, or what was found missing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import cache
from operator import add
from typing import Any

from django.db import connection

from usage.event import RequestEvent
from usage.rollups.state import (
    KINDS,
    PLACE,
    SUMS,
    DayKindRollup,
    DayModelRollup,
    DayRollup,
    HourKindRollup,
    HourModelRollup,
    HourRollup,
)
from usage.rollups.state import Sums as SumsRow
from usage.rollups.tags import NO_TAGS, keep_tag_sets, tags_id

Place = tuple[Any, ...]
"""The key of a sum, in the order of `PLACE`, `MODEL_PLACE` or `KIND_PLACE`."""
Sums = Mapping[Place, list[int]]

TYPES = {"at": "timestamptz", "provider": "text", "model": "text", "kind": "text"}
"""The types of columns in PostgreSQL. All others are bigint."""

PROVIDER, MODEL = PLACE.index("provider"), PLACE.index("model")
KIND_COLUMNS = tuple((kind, PLACE.index(column)) for kind, column in KINDS.items())
ERRORS = frozenset({"upstream_error", "internal_error"})
HITS = frozenset({"HIT", "JOINED"})


def add_rollups(events: Iterable[RequestEvent]) -> None:
    """Add events that are new to the ledger to the sums, in its transaction. Raises `DatabaseError`."""
    hours: dict[Place, list[int]] = {}
    sets: dict[int, tuple[str, ...]] = {}
    for event in events:
        tagged = NO_TAGS
        if event.tags:
            tagged = tags_id(event.tags)
            sets[tagged] = event.tags
        place = (
            datetime.fromtimestamp(event.at, UTC).replace(minute=0, second=0, microsecond=0),
            event.project or 0,
            event.key or 0,
            event.user or 0,
            event.team or 0,
            event.provider,
            event.model,
            tagged,
        )
        _add(hours, place, sums_of(event))
    of_models: dict[Place, list[int]] = {}
    of_kinds: dict[Place, list[int]] = {}
    for place, sums in hours.items():
        _add(of_models, (place[0], place[PROVIDER], place[MODEL]), sums)
        for kind, column in KIND_COLUMNS:
            _add(of_kinds, (place[0], kind, place[column]), sums)
    keep_tag_sets(sets)
    move(HourRollup, hours)
    move(DayRollup, by_day(hours))
    move(HourModelRollup, of_models)
    move(DayModelRollup, by_day(of_models))
    move(HourKindRollup, of_kinds)
    move(DayKindRollup, by_day(of_kinds))


def by_day(hours: Sums) -> Sums:
    days: dict[Place, list[int]] = {}
    for place, sums in hours.items():
        _add(days, (place[0].replace(hour=0), *place[1:]), sums)
    return days


def sums_of(event: RequestEvent) -> list[int]:
    """Return the sums of one event, in the order of SUMS. `from_ledger.py` computes the same from rows, in SQL."""
    ttft_ms = event.ttft_ms
    return [
        1,
        int(event.outcome in ERRORS),
        int(event.outcome == "refused"),
        int(event.cache in HITS),
        event.prompt_tokens or 0,
        event.completion_tokens or 0,
        event.cached_tokens or 0,
        event.reasoning_tokens or 0,
        event.cost_picousd or 0,
        int(event.cost_picousd is None),
        round(event.duration_ms * 1000),
        0 if ttft_ms is None else round(ttft_ms * 1000),
        int(ttft_ms is not None),
        event.saved_tokens,
        event.saved_picousd,
    ]


def move(model: type[SumsRow], sums: Sums) -> None:
    """Add to the rows, and insert missing ones. All writers use the same order, which prevents deadlocks."""
    if not sums:
        return
    places = sorted(sums)
    rows: list[tuple[Any, ...]]
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            rows = [(*place, *sums[place]) for place in places]
            columns = zip((*model.place, *SUMS), zip(*rows, strict=True), strict=True)
            cursor.execute(move_statement(model), [_array(name, column) for name, column in columns])
        else:
            # Times have the format in which Django writes them to SQLite.
            texts: list[list[Any]] = [
                [str(place[0].replace(tzinfo=None)), *place[1:], *sums[place]] for place in places
            ]
            cursor.executemany(move_statement(model), texts)


@cache
def move_statement(model: type[SumsRow]) -> str:
    quote = connection.ops.quote_name
    table, columns = quote(model._meta.db_table), [quote(name) for name in (*model.place, *SUMS)]
    if connection.vendor == "postgresql":
        types = [TYPES.get(name, "bigint") for name in (*model.place, *SUMS)]
        source = f"SELECT * FROM unnest({', '.join(f'%s::{name}[]' for name in types)})"  # noqa: S608 (no value in it)
    else:
        source = f"VALUES ({', '.join(['%s'] * len(columns))})"
    added = ", ".join(f"{name} = {table}.{name} + excluded.{name}" for name in map(quote, SUMS))
    return (
        f"INSERT INTO {table} ({', '.join(columns)}) {source} "
        f"ON CONFLICT ({', '.join(columns[: len(model.place)])}) DO UPDATE SET {added}"
    )


def _array(name: str, column: tuple[Any, ...]) -> Any:
    """Return a column for PostgreSQL. Numbers are written as text, because psycopg would determine the type of each
    one, which takes longer than all else here."""
    return list(column) if name in TYPES else f"{{{','.join(map(str, column))}}}"


def _add(total: dict[Place, list[int]], place: Place, sums: list[int]) -> None:
    there = total.get(place)
    total[place] = list(sums) if there is None else list(map(add, there, sums))
