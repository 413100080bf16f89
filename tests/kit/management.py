"""Rows of a running server, made and changed through its management API."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx

from tests.kit.sluice import Sluice
from tests.kit.waiting import let_a_second_pass

MODEL = "budget-model"
"""The model that `set_price` prices if none is named."""


def create(server: Sluice, path: str, fields: dict[str, Any]) -> dict[str, Any]:
    """Create a row through the management API. Returns it as the API does."""
    answer = server.api("POST", path, json=fields)
    assert answer.status_code == httpx.codes.CREATED, answer.text
    return dict(answer.json())


def from_now(**span: float) -> str:
    return (datetime.now(UTC) + timedelta(**span)).isoformat()


def changed(server: Sluice, path: str, **fields: Any) -> float:
    """Change a row through the management API. Returns when the answer came, as `time.monotonic()`."""
    answer = server.api("PATCH", path, json=fields)
    assert answer.status_code == httpx.codes.OK, answer.text
    return time.monotonic()


def minted(server: Sluice, **fields: Any) -> tuple[int, str]:
    """Create a key. Returns its id and its token."""
    key = create(server, "/api/keys", {"name": f"key-{time.monotonic_ns()}", **fields})
    return key["id"], key["key"]


def new_project(server: Sluice, **fields: Any) -> int:
    return int(create(server, "/api/projects", {"name": f"project-{time.monotonic_ns()}", **fields})["id"])


def limited_key(server: Sluice, scope: str, **limits: Any) -> tuple[str, str]:
    """Create a key that has these limits through a scope of this kind. Returns its token and the scope's API path."""
    name = f"{scope}-{secrets.token_hex(4)}"
    if scope == "key":
        key_id, token = minted(server, **limits)
        return token, f"/api/keys/{key_id}"
    if scope == "global":
        assert server.api("PATCH", "/api/limits/global", json=limits).status_code == httpx.codes.OK
        return minted(server)[1], "/api/limits/global"
    if scope == "user":
        user = create(server, "/api/users", {"email": f"{name}@example.org", **limits})
        return minted(server, owner=user["user"])[1], f"/api/users/{user['id']}"
    row = create(server, f"/api/{scope}s", {"name": name, **limits})
    return minted(server, **{scope: row["id"]})[1], f"/api/{scope}s/{row['id']}"


def usd(picousd: int) -> str:
    """An amount as the API takes it, in USD."""
    return f"{Decimal(picousd).scaleb(-12):.6f}"


def set_price(server: Sluice, model: str = MODEL, **price: str) -> None:
    """Set the price of a model, as `set_prices`."""
    set_prices(server, {model: price})


def set_prices(server: Sluice, prices: Mapping[str, Mapping[str, str]]) -> None:
    """Set prices by model, in USD for a million tokens. By default input costs 0 and output costs 1.

    The prices are in force in every process when this returns.
    """
    for model, price in prices.items():
        create(server, "/api/prices", {"model": model, "input": "0", "output": "1", **price})
    let_a_second_pass(time.monotonic())
