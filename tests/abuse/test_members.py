"""A body that takes long to read is refused before it is read, and found out without holding others up."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.wire.json_members import MOST_MEMBERS, exceeds
from tests.kit.sluice import Sluice
from tests.kit.upstream import Upstream
from tests.kit.wire import request, send, sized, still_serves

WORDS = st.text(st.sampled_from('a"\\:,{}[]é\n'), max_size=8)
VALUES = st.recursive(
    st.none() | st.integers(0, 9) | WORDS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS, inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(WORDS, VALUES, max_size=8), st.integers(0, 9), st.integers(1, 60), st.booleans())
def test_members_are_counted_whatever_the_windows(document: dict[str, Any], most: int, window: int, spaced: bool):
    raw = json.dumps(document, indent=1 if spaced else None, ensure_ascii=not spaced).encode()
    assert exceeds(raw, most, window) == (max(1, len(document)) > most)


TOO_MANY = {
    "numbers": b'{"model":"gpt-4.1-mini",' + b",".join(b'"%d":0' % i for i in range(MOST_MEMBERS)) + b"}",
    "objects": b'{"model":"gpt-4.1-mini",' + b",".join(b'"%d":{"a":[1,2]}' % i for i in range(MOST_MEMBERS)) + b"}",
    "one name": b'{"model":"gpt-4.1-mini"' + b',"a":0' * MOST_MEMBERS + b"}",
    "blanks": b'{"model":"gpt-4.1-mini"' + b',\n"a" : 0' * MOST_MEMBERS + b"}",
    "depth": b'{"model":"gpt-4.1-mini","a":' + b'{":":[' * MOST_MEMBERS + b"]}" * MOST_MEMBERS + b"}",
}


@pytest.mark.parametrize("path", [b"/v1/chat/completions", b"/v1/moderations"])
@pytest.mark.parametrize("body", TOO_MANY.values(), ids=TOO_MANY)
def test_an_object_with_too_many_members_is_refused(
    strict: Sluice, upstream: Upstream, key: str, body: bytes, path: bytes
):
    line = b"POST " + path + b" HTTP/1.1"
    (reply,) = send(strict, request(key, sized(body), b"connection: close", line=line, body=body))
    assert (reply.status, reply.error["code"]) == (400, "too_many_members")
    assert not upstream.requests
    still_serves(strict, key)


def test_many_members_below_the_top_pass(strict: Sluice, upstream: Upstream, key: str):
    messages = [{"role": "user", "content": 'a:b,"c":{}[]'} for _ in range(MOST_MEMBERS)]
    body = json.dumps({"model": "gpt-4.1-mini", "messages": messages}, separators=(",", ":")).encode()
    (reply,) = send(strict, request(key, sized(body), b"connection: close", body=body))
    assert reply.status == 200
    assert upstream.last.body == body


def test_many_halves_of_surrogate_pairs_are_refused(strict: Sluice, upstream: Upstream, key: str):
    body = b'{"model":"gpt-4.1-mini","messages":[],"user":"' + b"\\ud800" * 120_000 + b'"}'
    (reply,) = send(strict, request(key, sized(body), b"connection: close", body=body))
    assert (reply.status, reply.error["code"]) == (400, "invalid_json")
    still_serves(strict, key)
