"""P29: what can change an answer changes its name; the order of members and white space do not."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache.digest import REMEMBERED_BYTES, NoDigest, canonical, digest_of

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
VALUES = st.recursive(
    SCALARS, lambda each: st.lists(each, max_size=3) | st.dictionaries(st.text(), each, max_size=3), max_leaves=10
)
BODIES = st.dictionaries(st.text().filter(lambda name: name not in ("stream", "stream_options")), VALUES, max_size=5)


def digest(text: str, **parts: Any) -> str:
    given_parts = {"scope": b"project 1", "path": "/v1/chat/completions", "query": b"", "headers": b"", **parts}
    return digest_of(**given_parts, body=text.encode())


def shuffled(value: Any, chance: random.Random) -> Any:
    if isinstance(value, list):
        return [shuffled(each, chance) for each in value]
    if isinstance(value, dict):
        items = list(value.items())
        chance.shuffle(items)
        return {name: shuffled(each, chance) for name, each in items}
    return value


@pytest.mark.parametrize("length", [10, REMEMBERED_BYTES])
def test_each_part_counts_also_where_digests_are_remembered(length: int):
    body = json.dumps({"a": "x" * length})
    parts = {"scope": b"key 1", "path": "/v1/completions", "query": b"a=b", "headers": b"a: b", "ignored": ("a",)}
    digests = [digest(body), *(digest(body, **{name: value}) for name, value in parts.items()), digest(body + " ")]
    assert digests[-1] == digests[0]
    assert len(set(digests)) == len(parts) + 1
    assert digests == [digest(body), *(digest(body, **{name: value}) for name, value in parts.items()), digest(body)]


@given(BODIES, st.randoms(use_true_random=False), st.sampled_from([None, 1, "\t"]))
def test_order_and_white_space_do_not_count(body: dict[str, Any], chance: random.Random, indent: Any):
    assert digest(json.dumps(body)) == digest(json.dumps(shuffled(body, chance), indent=indent, ensure_ascii=False))


@given(BODIES, BODIES)
def test_two_bodies_share_a_name_only_if_they_are_equal(one: dict[str, Any], other: dict[str, Any]):
    # As Python writes them: 1 and 1.0 and True are equal to Python, and not to a provider.
    same = json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    assert (digest(json.dumps(one)) == digest(json.dumps(other))) is same


DIFFERENT = [
    ('{"n": 1}', '{"n": 1.0}'),
    ('{"n": 1}', '{"n": true}'),
    ('{"n": 1}', '{"n": "1"}'),
    ('{"n": 0}', '{"n": -0}'),
    ('{"n": 0.1}', '{"n": 0.1000000000000000055511151231257827}'),
    ('{"n": 10000000000000000000000000000001}', '{"n": 10000000000000000000000000000002}'),
    ('{"n": 9007199254740993}', '{"n": 9007199254740992}'),
    ('{"n": 1e400}', '{"n": 1e401}'),
    ('{"n": null}', "{}"),
    ('{"n": "\\u00e9"}', '{"n": "e\\u0301"}'),  # an accent, in one character and in two
    ('{"n": "paypal"}', '{"n": "p\\u0430ypal"}'),  # with a Cyrillic letter
    ('{"n": "a"}', '{"n": "a "}'),
    ('{"n": "a"}', '{"N": "a"}'),
    ('{"n": ["a", "b"]}', '{"n": ["b", "a"]}'),
    ('{"n": ["ab"]}', '{"n": ["a", "b"]}'),
    ('{"n": {}}', '{"n": []}'),
    ('{"a": {"b": 1}}', '{"a": {}, "b": 1}'),
]


@pytest.mark.parametrize("one, other", DIFFERENT)
def test_what_a_provider_may_tell_apart_is_told_apart(one: str, other: str):
    assert digest(one) != digest(other)


def test_an_escape_is_the_letter_that_it_stands_for():
    assert digest('{"n": "a\\u0062"}') == digest('{"n": "ab"}')


AMBIGUOUS = [
    '{"m": 1, "m": 2}',
    '{"m": {"role": "user", "role": "system"}}',
    '{"m": [{"a": [{"x": 1, "x": 1}]}]}',
    '{"m": {"role": "user", "\\u0072ole": "system"}}',
    '{"m": "\\ud800"}',
    '{"m": ' + "[" * 100_000 + "]" * 100_000 + "}",
]


@pytest.mark.parametrize(
    "text", AMBIGUOUS, ids=["twice-on-top", "twice", "deep-twice", "escaped-twice", "half-a-pair", "deep"]
)
def test_what_parsers_read_in_different_ways_has_no_name(text: str):
    with pytest.raises(NoDigest):
        canonical(text.encode())


@pytest.mark.parametrize("constant", ["NaN", "Infinity", "-Infinity"])
def test_what_is_no_json_has_no_name(constant: str):
    with pytest.raises(NoDigest):
        canonical(b'{"m": [%s]}' % constant.encode())


PARTS = {
    "scope": (b"project 1", b"project 2", b"key 1", b"shared"),
    "path": ("/v1/chat/completions", "/v1/completions"),
    "query": (b"", b"api-version=2024"),
    "headers": (b"", b"openai-beta: x", b"openai-beta: y"),
}


def test_each_part_counts():
    base = {name: values[0] for name, values in PARTS.items()}
    each = [base] + [{**base, name: value} for name, values in PARTS.items() for value in values[1:]]
    assert len({digest('{"a": 1}', **parts) for parts in each}) == len(each)


def test_no_part_can_end_in_the_beginning_of_the_next_one():
    assert digest("{}", query=b"a", headers=b"bc") != digest("{}", query=b"ab", headers=b"c")


def test_how_an_answer_comes_does_not_count():
    assert digest('{"a": 1, "stream": true, "stream_options": {"include_usage": true}}') == digest('{"a": 1}')
