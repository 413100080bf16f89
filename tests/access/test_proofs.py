"""X96: a key is proven by its whole secret, in constant time, by what memory has now, and to the end of its grace."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Collection
from typing import Any

import msgspec
import pytest
from django.conf import settings

from keys.access import ExpiredKey, InvalidKey, check_secret, check_state
from keys.models import VirtualKey
from keys.records import KeyRecord, ProjectRecord, load_keys
from keys.tokens import SECRET_CHARS, hash_secret, new_salt, new_token, read_token, secret_matches
from proxy.bounds import Bounds
from proxy.components import Components
from proxy.configuration import snapshot as snapshot_module
from proxy.server.head import Head
from proxy.steps.authenticate import prove, proven_before
from tests.kit.rows import make_key
from tests.kit.snapshots import hear, in_a_loop, running

PREFIX = "sk-sluice-"


class Watched(bytes):
    """A hash that nobody may compare byte by byte, which takes the longer the more of it is right."""

    def __eq__(self, other: object) -> bool:
        raise AssertionError("compared in a time that tells how much of it was right")

    __ne__ = __eq__
    __hash__ = bytes.__hash__


@pytest.mark.parametrize("place", [0, SECRET_CHARS // 2 - 1, SECRET_CHARS // 2, SECRET_CHARS - 1])
def test_each_character_of_a_secret_counts(place: int):
    secret, salt = new_token().secret, new_salt()
    other = "a" if secret[place] != "a" else "b"
    wrong = secret[:place] + other + secret[place + 1 :]
    assert not secret_matches(wrong, salt, hash_secret(secret, salt))


def test_each_byte_of_a_hash_counts():
    secret, salt = new_token().secret, new_salt()
    stored = hash_secret(secret, salt)
    for place in range(len(stored)):
        wrong = bytearray(stored)
        wrong[place] ^= 1
        assert not secret_matches(secret, salt, bytes(wrong))
    for length in range(len(stored)):
        assert not secret_matches(secret, salt, stored[:length])
    assert not secret_matches(secret, salt, stored + b"\0")


def test_each_byte_of_a_salt_counts():
    secret, salt = new_token().secret, new_salt()
    for place in range(len(salt)):
        wrong = bytearray(salt)
        wrong[place] ^= 1
        assert hash_secret(secret, bytes(wrong)) != hash_secret(secret, salt)


def test_a_hash_is_compared_in_constant_time():
    secret, salt = new_token().secret, new_salt()
    assert secret_matches(secret, salt, Watched(hash_secret(secret, salt)))
    assert not secret_matches(new_token().secret, salt, Watched(hash_secret(secret, salt)))


@pytest.mark.django_db
def test_a_key_is_proven_in_constant_time_by_its_own_secret():
    row, text = VirtualKey.objects.mint(name="proven")
    known = load_keys([row.public_id])[row.public_id][0]
    watched = msgspec.structs.replace(known, secret_hash=Watched(known.secret_hash))
    check_secret(watched, read_token(text, PREFIX).secret)
    with pytest.raises(InvalidKey):
        check_secret(watched, new_token().secret)


@pytest.mark.django_db
@pytest.mark.parametrize("until, refusal", [("grace_until", InvalidKey), ("expires_at", ExpiredKey)])
def test_a_key_is_refused_from_the_very_moment_on(until: str, refusal: type[Exception]):
    row, _ = VirtualKey.objects.mint(name="ending")
    known = load_keys([row.public_id])[row.public_id][0]
    end = 1_790_000_000.0
    ending: KeyRecord = msgspec.structs.replace(known, **{until: end})
    check_state(ending, end - 1e-6)
    for now in (end, end + 1e-6):
        with pytest.raises(refusal):
            check_state(ending, now)


def components_of(snapshot: snapshot_module.Snapshot) -> Components:
    """Those that prove a key; the others are not made."""
    components = Components.__new__(Components)
    components.snapshot, components.bounds = snapshot, Bounds.from_settings(settings)
    return components


@pytest.mark.django_db(transaction=True)
def test_what_was_proven_counts_only_while_memory_has_the_same():
    """Of another request on the connection: the bytes are the same, the key is not what it was."""
    row, text = VirtualKey.objects.mint(name="proven")

    async def work() -> None:
        async with running() as snapshot:
            components = components_of(snapshot)
            head = Head([(b"authorization", b"Bearer " + text.encode())])
            assert proven_before(head, components) is None
            key = await prove(head, text, components)
            assert proven_before(head, components) is key
            await hear(snapshot, lambda: VirtualKey.objects.get(pk=row.pk).change(rpm=7))
            assert proven_before(head, components) is None, "it was forgotten"
            again = await snapshot.find_key(row.public_id)
            assert again is not None
            assert proven_before(head, components) is None, "it is there again, and another one"
            assert await prove(head, text, components) is again
            assert proven_before(head, components) is again

    in_a_loop(work)


@pytest.mark.django_db(transaction=True)
def test_what_was_looked_up_before_a_change_is_looked_up_again(monkeypatch: pytest.MonkeyPatch):
    """The answer of the database is on its way while the key is revoked, and the revocation is heard."""
    row = make_key("revoked")
    has_read, may_answer = threading.Event(), threading.Event()
    answers: list[bool] = []

    def late(public_ids: Collection[str], *rest: Any, **named: Any) -> dict[str, tuple[KeyRecord, ProjectRecord]]:
        found = load_keys(public_ids, *rest, **named)
        answers.append(found[row.public_id][0].is_revoked)
        has_read.set()
        assert may_answer.wait(20)
        return found

    monkeypatch.setattr(snapshot_module, "load_keys", late)

    async def work() -> None:
        async with running() as snapshot:
            asked = asyncio.create_task(snapshot.find_key(row.public_id))
            assert await asyncio.to_thread(has_read.wait, 20)
            await hear(snapshot, row.revoke)
            may_answer.set()
            found = await asked
            assert answers == [False, True]
            assert found is not None
            assert found.is_revoked
            assert snapshot.cached_key(row.public_id) is found

    in_a_loop(work)
