"""`Cache-Control` of requests: RFC 9111, section 5.2.1."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache.directives import MOST_S, NONE, Directives, directives_of

SAID = {
    b"": NONE,
    b"no-cache": Directives(no_cache=True),
    b"No-Store": Directives(no_store=True),
    b"public, max-age=60": Directives(public=True, max_age_s=60),
    b'max-age="60"': Directives(max_age_s=60),
    b"max-age=60, max-age=5": Directives(max_age_s=60),
    b"only-if-cached , no-transform": Directives(only_if_cached=True),
    b"max-age=99999999999": Directives(max_age_s=MOST_S),
    b"max-age=soon": Directives(max_age_s=0),
    b"max-age=-5": Directives(max_age_s=0),
    b"max-age": Directives(max_age_s=0),
    b"private=no-store": NONE,
}


@pytest.mark.parametrize("header, said", SAID.items())
def test_directives(header: bytes, said: Directives):
    assert directives_of(header) == said


def test_pragma_counts_where_there_is_no_cache_control():
    assert directives_of(b"", b"No-Cache") == Directives(no_cache=True)
    assert directives_of(b"max-age=5", b"no-cache") == Directives(max_age_s=5)


@given(st.binary())
def test_nonsense_is_no_failure(header: bytes):
    assert isinstance(directives_of(header), Directives)
