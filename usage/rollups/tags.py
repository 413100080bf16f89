"""Sets of tags, each with a number that follows from it: sums are kept by the number, since no key of a database's
index may be as long as tags can be."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from functools import lru_cache

import msgspec
from django.db import connection

from usage.rollups.state import TagSet

NO_TAGS = 0
"""The number of the empty set, which has no row."""


def in_order(tags: Iterable[str]) -> tuple[str, ...]:
    """Equal sets are one, however they were written."""
    return tuple(sorted(set(tags)))


@lru_cache(maxsize=1024)
def tags_id(tags: tuple[str, ...]) -> int:
    """The number of a set of tags: the same everywhere and ever, positive, of 63 bits."""
    if not tags:
        return NO_TAGS
    digest = hashlib.blake2b(msgspec.json.encode(in_order(tags)), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1 or 1


def tags_from(text: str) -> tuple[str, ...]:
    """The tags of a row of the ledger, whose column holds JSON; what is not a list of texts was never one of tags."""
    tags = msgspec.json.decode(text)
    return in_order(tag for tag in tags if isinstance(tag, str)) if isinstance(tags, list) else ()


def keep_tag_sets(sets: Mapping[int, tuple[str, ...]]) -> None:
    """Have a row for each of them, in the transaction of the sums that name them. In one order, so that no two writers
    ever wait for each other in a circle.

    Nothing is remembered of what is there: a rollback, or a backup that was restored, would make it untrue.
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
