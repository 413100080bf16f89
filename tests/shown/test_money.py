"""X82: money as people write it, and as machines read it."""

from __future__ import annotations

import re
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shown.cells import cell
from shown.money import about, exact, machine, plain, share
from shown.words import counted

WRITTEN = re.compile(r"-?\$(0|[1-9][0-9]{0,2}(,[0-9]{3})*)\.[0-9]{2,12}")
amounts = st.integers(-(10**25), 10**25).map(lambda pico: Decimal(pico).scaleb(-12))
positive = st.one_of(st.integers(0, 10**20), st.integers(0, 10**6), st.integers(10**12 - 10**6, 10**12 + 10**6)).map(
    lambda pico: Decimal(pico).scaleb(-12)
)


def read(text):
    return Decimal(text.replace("$", "").replace(",", ""))


@given(amounts)
def test_what_is_exact_says_the_amount_and_has_no_exponent(amount):
    assert WRITTEN.fullmatch(exact(amount))
    assert read(exact(amount)) == amount
    assert Decimal(plain(amount)) == amount
    assert not exact(amount).endswith("0") or len(exact(amount).partition(".")[2]) == 2


@given(positive)
def test_what_is_rounded_is_never_more_and_never_looks_like_nothing(amount):
    text = about(amount)
    assert WRITTEN.fullmatch(text)
    assert read(text) <= amount
    assert (read(text) == 0) == (amount == 0)
    assert amount - read(text) < (Decimal("0.01") if amount >= 1 else max(amount / 1000, Decimal("1e-12")))
    if amount >= 1:
        assert len(text.partition(".")[2]) == 2


@given(positive, positive)
def test_what_is_more_is_never_written_as_less(one, other):
    less, more = sorted((one, other))
    assert read(about(less)) <= read(about(more))


@given(positive)
def test_what_is_owed_is_written_as_what_is_had(amount):
    assert about(-amount) == ("-" if amount else "") + about(amount)


@given(amounts)
def test_machines_get_twelve_places_and_no_exponent(amount):
    assert re.fullmatch(r"-?[0-9]+\.[0-9]{12}", machine(amount))
    assert Decimal(machine(amount)) == amount


@pytest.mark.parametrize(
    "amount,as_exact,as_rounded",
    [
        ("0E-12", "$0.00", "$0.00"),
        ("0.000010", "$0.00001", "$0.00001"),
        ("1E-12", "$0.000000000001", "$0.000000000001"),
        ("12.500000", "$12.50", "$12.50"),
        ("9.999999", "$9.999999", "$9.99"),
        ("0.123456789", "$0.123456789", "$0.1234"),
        ("1234567.891", "$1,234,567.891", "$1,234,567.89"),
    ],
)
def test_amounts_as_people_write_them(amount, as_exact, as_rounded):
    assert (exact(Decimal(amount)), about(Decimal(amount))) == (as_exact, as_rounded)


@given(st.floats(0, 1e12))
def test_a_share_has_no_exponent(percent):
    assert re.fullmatch(r"[0-9][0-9,]*(\.[0-9]{1,2})? %", share(percent))


@given(st.integers(0, 10**9))
def test_one_is_one_and_others_are_many(number):
    assert counted(number, "entry", "entries").endswith(" entry") == (number == 1)
    assert counted(number, "key").endswith("s") == (number != 1)


@pytest.mark.parametrize(
    "name,value,shown",
    [
        ("spent", "0.000000000000", "$0.00"),
        ("cost_usd", "0.000012000000", "$0.000012"),
        ("budget", None, "-"),
        ("is_active", True, "yes"),
        ("created_at", "2026-11-30T10:02:03.123456Z", "2026-11-30T10:02:03Z"),
        ("from", "2026-11-30T00:00:00+01:00", "2026-11-30T00:00:00+01:00"),
        ("from", "total", "total"),
        ("name", "2026-11-30T10:02:03Z", "2026-11-30T10:02:03Z"),
        ("spent", "a lot", "a lot"),
        ("tags", ["a"], '["a"]'),
        ("name", "a\x1b[2Jb", "a [2Jb"),
    ],
)
def test_a_cell_of_a_table(name, value, shown):
    assert cell(name, value) == shown
