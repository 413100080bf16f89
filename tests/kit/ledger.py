"""What a running server has written of its requests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import httpx

from tests.kit.accounts import Crew
from tests.kit.databases import query
from tests.kit.services import processes
from tests.kit.sluice import Sluice
from tests.kit.waiting import TIMEOUT_S, soon

REQUEST_ID = "req_"


def rows_where(server: Sluice, count: int, **values: object) -> list[dict[str, Any]]:
    """The rows that have these values, the oldest first, as soon as there are so many; more are an error."""
    rows: list[dict[str, Any]] = []

    def are_there() -> bool:
        rows[:] = [row for row in server.rows() if all(row[name] == value for name, value in values.items())]
        return len(rows) >= count

    assert processes.poll(are_there, timeout=TIMEOUT_S), f"{len(rows)} rows, not {count}\n{server.log_text()[-4000:]}"
    assert len(rows) == count, f"{len(rows)} rows, not {count}: {values}"
    return rows


def row_of(server: Sluice, request_id: str) -> dict[str, Any]:
    """The one row of the request that has this id or this correlation id, as soon as it is there."""
    name = "id" if request_id.startswith(REQUEST_ID) else "correlation_id"
    return rows_where(server, 1, **{name: request_id})[0]


def shown_row_of(server: Sluice, answer: httpx.Response) -> dict[str, Any]:
    """The row as the management API tells it."""
    path = f"/api/requests/{answer.headers['x-request-id']}"
    soon(lambda: server.api("GET", path).status_code == httpx.codes.OK)
    return dict(server.api("GET", path).json())


def rows_of(server: Sluice, crew: Crew, count: int) -> list[dict[str, Any]]:
    """The rows of the crew's key, and no more than so many."""
    return rows_where(server, count, key_id=int(crew.ids["key"]))


def totals_of(server: Sluice, crew: Crew) -> dict[str, int]:
    """Of all time, as the ledger's totals have it, in picodollars."""
    rows = query(server.database_url, "SELECT kind, ident, cost_picousd FROM usage_scopetotal WHERE slot = -1")
    found = {(row["kind"], row["ident"]): int(row["cost_picousd"]) for row in rows}
    return {kind: found.get((kind, ident), 0) for kind, ident in crew.ids.items()}


def booked(server: Sluice, crew: Crew) -> int:
    """The sum of the rows of this key, in picodollars."""
    rows = query(server.database_url, "SELECT key_id, cost_picousd FROM usage_requestrecord")
    return sum(int(row["cost_picousd"] or 0) for row in rows if str(row["key_id"]) == crew.ids["key"])


def all_agree(server: Sluice, crew: Crew, owed: int, kinds: Sequence[str]) -> None:
    """The rows, the totals of all scopes, and what the API shows, are what the provider counted."""
    soon(lambda: booked(server, crew) >= owed)
    assert booked(server, crew) == owed
    totals = totals_of(server, crew)
    totals.pop("global")  # others spend of it too
    assert set(totals.values()) == {owed}, totals
    assert {kind: crew.spent(server, kind) for kind in kinds} == dict.fromkeys(kinds, owed)
