"""The rows and totals that a running server has written to the ledger."""

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
    """Wait until `count` rows have these values, and return them, the oldest first. More rows are an error."""
    rows: list[dict[str, Any]] = []

    def are_there() -> bool:
        rows[:] = [row for row in server.rows() if all(row[name] == value for name, value in values.items())]
        return len(rows) >= count

    assert processes.poll(are_there, timeout=TIMEOUT_S), f"{len(rows)} rows, not {count}\n{server.log_text()[-4000:]}"
    assert len(rows) == count, f"{len(rows)} rows, not {count}: {values}"
    return rows


def row_of(server: Sluice, request_id: str) -> dict[str, Any]:
    """Wait for the one row of the request with this id or correlation id, and return it."""
    name = "id" if request_id.startswith(REQUEST_ID) else "correlation_id"
    return rows_where(server, 1, **{name: request_id})[0]


def shown_row_of(server: Sluice, answer: httpx.Response) -> dict[str, Any]:
    """The row of this answer's request, as the management API shows it."""
    path = f"/api/requests/{answer.headers['x-request-id']}"
    soon(lambda: server.api("GET", path).status_code == httpx.codes.OK)
    return dict(server.api("GET", path).json())


def rows_of(server: Sluice, crew: Crew, count: int) -> list[dict[str, Any]]:
    """Wait until the crew's key has `count` rows, and return them. More rows are an error."""
    return rows_where(server, count, key_id=int(crew.ids["key"]))


def totals_of(server: Sluice, crew: Crew) -> dict[str, int]:
    """What the crew's scopes have spent in all time according to the ledger's totals, in picodollars, by kind."""
    rows = query(server.database_url, "SELECT kind, ident, cost_picousd FROM usage_scopetotal WHERE slot = -1")
    found = {(row["kind"], row["ident"]): int(row["cost_picousd"]) for row in rows}
    return {kind: found.get((kind, ident), 0) for kind, ident in crew.ids.items()}


def booked(server: Sluice, crew: Crew) -> int:
    """The sum of the costs in the rows of the crew's key, in picodollars."""
    rows = query(server.database_url, "SELECT key_id, cost_picousd FROM usage_requestrecord")
    return sum(int(row["cost_picousd"] or 0) for row in rows if str(row["key_id"]) == crew.ids["key"])


def all_agree(server: Sluice, crew: Crew, owed: int, kinds: Sequence[str]) -> None:
    """Check that the rows, the totals of all scopes and the API agree with `owed`, the provider's own count."""
    soon(lambda: booked(server, crew) >= owed)
    assert booked(server, crew) == owed
    totals = totals_of(server, crew)
    totals.pop("global")  # other tests spend from it too
    assert set(totals.values()) == {owed}, totals
    assert {kind: crew.spent(server, kind) for kind in kinds} == dict.fromkeys(kinds, owed)
