"""Finds which project made a stored object, and at which provider with which credential: later requests go there."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection

from proxy.dialects.stored_kinds import KINDS, STORED_CHAT
from proxy.endpoints import CHAT
from proxy.exchange import Exchange
from usage.ids import object_key
from usage.ledger.stored import Owner

KEPT = 10_000
LABELS = tuple(f"/v1{kind.path}" for kind in KINDS if kind.in_ledger)
"""Paths whose answers have their ids in the ledger."""

PAUSES_S = (0.1, 0.1, 0.1, 0.2, 0.3, 0.4)
"""Seconds between look-ups in the database."""

RECORD_AGAIN_AFTER_S = 86_400
"""Seconds after which the database gets a new time of use for an object."""

NOBODYS_FOR_S = 60
"""How long it is believed that no project made an object. The provider has it by then, so no project will make it."""

Find = Callable[[Collection[str], int | None, bool], Awaitable[dict[str, Owner]]]
"""Looks up keys of objects for a project, in the ledger's rows (True) or in the table beside it. Returns the owners of
those that are known.
"""


class Owners:
    """Finds owners: of recent objects in memory, of the rest in the database.

    The answer of another process may have left a moment before its row is written. So after a miss the database is
    asked again, for longer than the ledger process needs for its batches unless it is held up. Misses are rare, and
    only a project's own programs can cause them.
    """

    def __init__(self, find_in_database: Find) -> None:
        self._recent: OrderedDict[str, dict[int | None, Owner]] = OrderedDict()
        self._nobodys: OrderedDict[str, float] = OrderedDict()
        self._find_in_database = find_in_database

    def remember_for(self, exchange: Exchange) -> None:
        """Remember who made the objects in this exchange's answer, before its client can ask for them."""
        if not exchange.owns_answer:
            return
        if exchange.shared_call is not None:
            exchange.shared_call.response_id = exchange.response_id
        kind, body = exchange.endpoint.makes, exchange.body
        if kind is STORED_CHAT and not exchange.stored_keys and body is not None and "store" not in body.members:
            return  # most requests
        if kind is not None and kind.in_ledger and exchange.response_id and is_kept(exchange):
            self._remember(object_key(exchange.response_id), owner_of(exchange, None))
        if exchange.speaks_of_foreign and (kind is None or kind.in_ledger):
            exchange.stored_keys = ()  # no project may have made the objects in the answer, either
        elif exchange.stored_keys:
            now = time.time()
            owner = owner_of(exchange, now)
            exchange.stored_keys = tuple(key for key in exchange.stored_keys if self._needs_recording(key, owner, now))
            for key in exchange.stored_keys:
                self._remember(key, owner)

    def _needs_recording(self, key: str, owner: Owner, now: float) -> bool:
        previous = self._recent.get(key, {}).get(owner.project_id)
        return previous is None or previous.recorded_at is None or now - previous.recorded_at > RECORD_AGAIN_AFTER_S

    def _remember(self, key: str, owner: Owner) -> None:
        self._recent.setdefault(key, {})[owner.project_id] = owner
        if len(self._recent) > KEPT:
            self._recent.popitem(last=False)

    def use(self, exchange: Exchange, object_id: str, owner: Owner) -> None:
        """Note that a project uses an object of its own. Once a day, its use is recorded in the database."""
        if owner.recorded_at is not None and time.time() - owner.recorded_at > RECORD_AGAIN_AFTER_S:
            key = object_key(object_id)
            self._remember(key, owner._replace(recorded_at=time.time()))
            exchange.stored_keys = (*exchange.stored_keys, key)

    async def find(
        self, ids: Collection[str], project_id: int | None, *, in_ledger: bool, may_be_nobodys: bool = False
    ) -> dict[str, Owner]:
        """The owners of these objects, by id. Waits for rows that are about to be written. Raises `Unavailable`."""
        owners: dict[str, Owner] = {}
        waiting = list(ids)
        for pause_s in (*PAUSES_S, None):
            owners |= await self.look(waiting, project_id, in_ledger=in_ledger)
            now = time.monotonic()
            # Another project's object is waited for as well: else the time would tell it from one that does not exist.
            waiting = [each for each in waiting if each not in owners or owners[each].project_id != project_id]
            if may_be_nobodys:
                waiting = [each for each in waiting if self._nobodys.get(object_key(each), 0) <= now]
            if not waiting:
                return owners
            if pause_s is not None:
                await asyncio.sleep(pause_s)
        if may_be_nobodys:
            for object_id in set(waiting) - set(owners):
                self._nobodys[object_key(object_id)] = now + NOBODYS_FOR_S
                if len(self._nobodys) > KEPT:
                    self._nobodys.popitem(last=False)
        return owners

    async def look(self, ids: Collection[str], project_id: int | None, *, in_ledger: bool) -> dict[str, Owner]:
        """The owners of these objects, as far as they are known now. Raises `Unavailable`."""
        owners: dict[str, Owner] = {}
        ids_by_key: dict[str, str] = {}
        for object_id in ids:
            key = object_key(object_id)
            makers = self._recent.get(key, {})
            if makers:
                owners[object_id] = makers.get(project_id) or next(iter(makers.values()))
            if project_id not in makers:
                ids_by_key[key] = object_id
        if ids_by_key:
            for key, owner in (await self._find_in_database(list(ids_by_key), project_id, in_ledger)).items():
                owners[ids_by_key[key]] = owner
                if owner.project_id == project_id:
                    self._remember(key, owner)
        return owners


def owner_of(exchange: Exchange, recorded_at: float | None) -> Owner:
    attempt = exchange.attempts[-1]
    credential = attempt.credential.alias if attempt.credential else ""
    project_id = exchange.project.id if exchange.project else None
    return Owner(attempt.provider.name, credential, project_id, recorded_at)


def is_kept(exchange: Exchange) -> bool:
    """Whether the provider stores the answer. It stores few chats; those that it stores unasked are found in the
    ledger.
    """
    if exchange.endpoint is not CHAT:
        return True
    assert exchange.body is not None
    return exchange.body.says("store", b"true")
