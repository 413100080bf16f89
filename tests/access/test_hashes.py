"""X96: what was hashed for a request is hashed once, over all the beginnings of its transaction."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.contrib.auth.hashers import identify_hasher

from keys.hashing import PBKDF2, BCrypt, Hashes, HashOutside, hashes


@pytest.fixture
def current() -> Iterator[Hashes]:
    """Those of a request under way."""
    token = hashes.set(made := Hashes())
    yield made
    hashes.reset(token)


class Making:
    """Makes something else each time."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> str:
        self.times += 1
        return f"made {self.times}"


def test_each_beginning_has_the_same_salts_in_the_same_order():
    known, make = Hashes(), Making()
    known.begin()
    assert [known.salt(make) for _ in range(2)] == ["made 1", "made 2"]
    known.begin()
    assert [known.salt(make) for _ in range(3)] == ["made 1", "made 2", "made 3"]
    known.begin()
    assert [known.salt(make) for _ in range(3)] == ["made 1", "made 2", "made 3"]


def test_what_was_hashed_is_not_hashed_again_and_else_what_is_asked_is():
    known, make = Hashes(), Making()
    assert [known.of((asked,), make) for asked in "aab"] == ["made 1", "made 1", "made 2"]


@pytest.mark.django_db
def test_inside_of_a_transaction_it_is_worked_out_by_who_began_it(current: Hashes):
    make = Making()
    current._hashes["before",] = "known"
    assert current.of(("before",), make) == "known"
    with pytest.raises(HashOutside) as outside:
        current.of(("password",), make)
    assert make.times == 0
    with pytest.raises(HashOutside):
        outside.value.make()  # this is still inside
    assert not isinstance(outside.value, Exception), "views turn those into answers"


def test_what_was_wanted_inside_is_there_at_the_next_beginning(current: Hashes):
    make = Making()
    outside = HashOutside(lambda: current.of(("password",), make))
    assert outside.make() == "made 1"
    assert current.of(("password",), make) == "made 1"


def test_passwords_are_hashed_once_for_each_password_salt_and_cost(current: Hashes):
    hasher = PBKDF2()
    first = hasher.encode("password", "salt", 2)
    assert hasher.encode("password", "salt", 2) is first
    others = [
        hasher.encode(*asked) for asked in (("other", "salt", 2), ("password", "tlas", 2), ("password", "salt", 3))
    ]
    assert len({first, *others}) == 4
    assert len(current._hashes) == 4
    assert hasher.verify("password", first)


def test_a_hash_of_bcrypt_is_made_with_the_salts_of_the_request(current: Hashes):
    hasher = BCrypt()
    hasher.rounds = 4
    salts = [hasher.salt(), hasher.salt()]
    current.begin()
    assert [hasher.salt(), hasher.salt()] == salts
    assert salts[0] != salts[1]
    made = hasher.encode("password", salts[0])
    assert hasher.encode("password", salts[0]) is made
    assert len(current._hashes) == 1
    assert identify_hasher(made).algorithm == "bcrypt_sha256"


def test_where_nobody_can_begin_again_a_password_is_hashed_where_it_is():
    hasher, quick = BCrypt(), PBKDF2()
    assert hashes.get() is None
    assert hasher.salt() != hasher.salt()
    assert quick.verify("password", quick.encode("password", "salt", 2))
    assert not quick.verify("other", quick.encode("password", "salt", 2))
