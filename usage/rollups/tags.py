"""Sets of tags. Each has an id that is computed from it. Sums are stored by this id, because tags can be too long for a
database index."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from functools import lru_cache

import msgspec
from django.db import connection

from usage.rollups.state import TagSet

NO_TAGS = 0
"""The id of the empty set, which has no row."""


def in_order(tags: Iterable[str]) -> tuple[str, ...]:
    """Sort the tags and remove duplicates, so that equal sets are the same."""
    return tuple(sorted(set(tags)))


@lru_cache(maxsize=1024)
def tags_id(tags: tuple[str, ...]) -> int:
    """Return the id of a set of tags: always the same for a set, positive, and of 63 bits."""
    if not tags:
        return NO_TAGS
    digest = hashlib.blake2b(msgspec.json.encode(in_order(tags)), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1 or 1


def tags_from(text: str) -> tuple[str, ...]:
    """Return the tags in the JSON of a ledger row. Anything that is not a text in a list is ignored."""
    tags = msgspec.json.decode(text)
    return in_order(tag for tag in tags if isinstance(tag, str)) if isinstance(tags, list) else ()


def keep_tag_sets(sets: Mapping[int, tuple[str, ...]]) -> None:
    """Insert missing rows for these sets, in the transaction of the sums that use them.

    All writers use the same order, which prevents deadlocks. It is not cached which rows exist, because a rollback or a
    restored backup would make that wrong.
    """
    rows = [
        (number, msgspec.json.encode(in_order(sets[number])).decode()) for number in sorted(sets) if number != NO_TAGS
    ]
    if not rows:
        return
    table = connection.ops.quote_name(TagSet._meta.db_table)
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(
                f"INSERT INTO {table} (id, tags) SELECT id, tags::jsonb "  # noqa: S608 (no value in it)
                "FROM unnest(%s::bigint[], %s::text[]) AS new (id, tags) ORDER BY id ON CONFLICT (id) DO NOTHING",
                [list(column) for column in zip(*rows, strict=True)],
            )
        else:
            cursor.executemany(
                f"INSERT INTO {table} (id, tags) VALUES (%s, %s) ON CONFLICT (id) DO NOTHING",  # noqa: S608
                rows,
            )
