"""Who made a stored response, where the ledger is late with it."""

from __future__ import annotations

import asyncio

import pytest

from proxy import origins
from proxy.origins import ResponseOrigin, ResponseOrigins

MADE = ResponseOrigin("openai", "default", 1)


@pytest.mark.parametrize("missing", [0, 1, len(origins.PAUSES_S)])
def test_a_row_that_is_late_is_found_and_remembered(monkeypatch: pytest.MonkeyPatch, missing: int):
    monkeypatch.setattr(origins, "PAUSES_S", (0,) * len(origins.PAUSES_S))
    told = iter([*[None] * missing, MADE])

    async def find(_: str) -> ResponseOrigin | None:
        return next(told)

    async def twice() -> list[ResponseOrigin | None]:
        known = ResponseOrigins(find)
        return [await known.find("resp_1"), await known.find("resp_1")]

    assert asyncio.run(twice()) == [MADE, MADE]


def test_what_nobody_made_is_looked_for_so_many_times(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(origins, "PAUSES_S", (0, 0))
    asked: list[str] = []

    async def find(response_id: str) -> None:
        asked.append(response_id)

    assert asyncio.run(ResponseOrigins(find).find("resp_1")) is None
    assert asked == ["resp_1"] * 3
