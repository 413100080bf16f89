"""Who made what is stored, where the database is late with it."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

import pytest

from proxy.stored import owners
from proxy.stored.owners import Owners
from usage.ledger.stored import Owner

OWN = Owner("openai", "default", 1)
OTHERS = Owner("openai", "default", 2)


@pytest.fixture(autouse=True)
def without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(owners, "PAUSES_S", (0,) * len(owners.PAUSES_S))


class Database:
    """Tells these things one after the other, then the last one for ever; None: nothing."""

    def __init__(self, *told: Owner | None) -> None:
        self.told = list(told)
        self.asked = 0

    async def find(self, keys: Collection[str], project_id: int | None, in_ledger: bool) -> dict[str, Owner]:
        self.asked += 1
        made = self.told.pop(0) if len(self.told) > 1 else self.told[0]
        return dict.fromkeys(keys, made) if made is not None else {}


def owners_found_by(database: Database, times: int = 1, *, may_be_nobodys: bool = False) -> list[Owner | None]:
    async def ask() -> list[Owner | None]:
        known = Owners(database.find)
        answers = [await known.find(["resp_1"], 1, in_ledger=True, may_be_nobodys=may_be_nobodys) for _ in range(times)]
        return [answer.get("resp_1") for answer in answers]

    return asyncio.run(ask())


@pytest.mark.parametrize("missing", [0, 1, len(owners.PAUSES_S)])
def test_a_row_that_is_late_is_found_and_remembered(missing: int):
    database = Database(*[None] * missing, OWN)
    assert owners_found_by(database, 2) == [OWN, OWN]
    assert database.asked == missing + 1


@pytest.mark.parametrize("first", [None, OTHERS])
def test_what_another_project_made_is_looked_for_as_long_as_what_nobody_did(first: Owner | None):
    database = Database(first)
    assert owners_found_by(database) == [first]
    assert database.asked == len(owners.PAUSES_S) + 1


def test_own_goes_before_what_another_project_made_under_the_same_id():
    assert owners_found_by(Database(OTHERS, None, OWN)) == [OWN]


def test_what_nobody_made_is_believed_for_a_while_where_it_may_be_asked_for():
    database = Database(None)
    assert owners_found_by(database, 3, may_be_nobodys=True) == [None, None, None]
    assert database.asked == len(owners.PAUSES_S) + 3
    database = Database(None)
    owners_found_by(database, 3)
    assert database.asked == 3 * (len(owners.PAUSES_S) + 1)


def test_what_another_project_made_is_never_believed_to_be_nobodys():
    assert owners_found_by(Database(*[None] * (len(owners.PAUSES_S) + 1), OTHERS), 2, may_be_nobodys=True)[1] == OTHERS
