"""F84: a client that has an answer already gets 304 in place of it (RFC 9110, section 13)."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.kit.caching import cache_of, question
from tests.kit.ledger import shown_row_of
from tests.kit.requests import STREAM, WITH_USAGE, ask
from tests.kit.sluice import Sluice
from tests.kit.upstream import Head, Send, Upstream, chat_answer, chat_stream, usage_of

pytestmark = [
    pytest.mark.server(prices={"gpt-4.1-mini": {"input": "1", "output": "2"}}),
    pytest.mark.key(project={"cache_policy": "on"}),
]


def get(sluice: Sluice, key: str, path: str, **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return sluice.client(key).get(path, headers=named)


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/gpt-4.1-mini"])
def test_what_sluice_makes_has_a_tag(sluice: Sluice, key: str, path: str):
    first, again = get(sluice, key, path), get(sluice, key, path)
    tag = first.headers["etag"]
    assert tag.startswith('"')
    assert again.headers["etag"] == tag
    for told in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        answer = get(sluice, key, path, if_none_match=told)
        assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", tag)
    for told in ('"other"', tag[1:-1], ""):
        answer = get(sluice, key, path, if_none_match=told)
        assert (answer.status_code, answer.content) == (200, first.content)


@pytest.mark.parametrize("body", [{}, STREAM, WITH_USAGE], ids=["plain", "stream", "with-usage"])
def test_a_hit_has_a_tag(sluice: Sluice, upstream: Upstream, key: str, body: dict[str, Any]):
    usage = usage_of(1000, 500)
    upstream.script = chat_stream(usage=usage) if body else chat_answer(usage=usage)
    asked = {**body, **question()}
    ask(sluice, key, **asked)
    hits = [ask(sluice, key, **asked) for _ in range(2)]
    tag = hits[0].headers["etag"]
    assert hits[1].headers["etag"] == tag
    answer = ask(sluice, key, headers={"if-none-match": tag}, **asked)
    assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", tag)
    assert answer.headers["x-cache"] == "HIT"
    other = ask(sluice, key, headers={"if-none-match": '"other"'}, **asked)
    assert (cache_of(other), other.content) == ("HIT", hits[0].content)
    row = shown_row_of(sluice, answer)
    assert (row["status_code"], row["outcome"], row["cache"], row["saved_tokens"]) == (304, "complete", "HIT", 1500)
    assert len(upstream.requests) == 1


def test_each_form_has_a_tag_of_its_own(sluice: Sluice, upstream: Upstream, key: str):
    upstream.script = chat_answer(usage=usage_of(3, 4))
    asked = question()
    ask(sluice, key, **asked)
    tags = {ask(sluice, key, **{**body, **asked}).headers["etag"] for body in ({}, STREAM, WITH_USAGE)}
    assert len(tags) == 3


def test_an_answer_that_was_made_anew_has_another_tag(sluice: Sluice, upstream: Upstream, key: str):
    asked = question()
    ask(sluice, key, **asked)
    tag = ask(sluice, key, **asked).headers["etag"]
    ask(sluice, key, headers={"cache-control": "no-cache"}, **asked)
    answer = ask(sluice, key, headers={"if-none-match": tag}, **asked)
    assert (cache_of(answer), answer.headers["etag"] != tag) == ("HIT", True)


def test_a_condition_is_none_where_nothing_is_stored(sluice: Sluice, upstream: Upstream, key: str):
    answer = ask(sluice, key, headers={"if-none-match": "*"}, **question())
    assert cache_of(answer) == "MISS"
    assert "if-none-match" not in dict(upstream.requests[-1].headers)


def test_the_tag_of_a_provider_passes_where_its_answer_is_relayed_unread(sluice: Sluice, upstream: Upstream, key: str):
    path = "/v1/unknown/thing"
    content = Head(200, {"content-type": "text/plain", "content-length": "5", "etag": '"a"', "last-modified": "then"})
    upstream.script = [content, Send(b"hello")]
    answer = get(sluice, key, path)
    assert (answer.status_code, answer.headers["etag"], answer.headers["last-modified"]) == (200, '"a"', "then")
    upstream.script = [Head(304, {"etag": '"a"', "last-modified": "then"})]
    with sluice.client(key) as client:
        for _ in range(3):  # each connection is used again
            same = client.get(path, headers={"if-none-match": '"a"', "if-modified-since": "then"})
            assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", '"a"')
            assert same.headers["last-modified"] == "then"
    told = dict(upstream.requests[-1].headers)
    assert (told["if-none-match"], told["if-modified-since"]) == ('"a"', "then")
    upstream.script = [content, Send(b"hello")]
    assert get(sluice, key, path).content == b"hello"
    _, *later = upstream.requests
    assert len({each.connection_id for each in later}) == 1  # a 304 leaves the provider's connection in use
