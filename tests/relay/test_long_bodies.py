"""X4: bodies that are read by a process of their own are treated as short ones are."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.heavy.jobs import HEAVY_BYTES, ReadRequest
from proxy.heavy.reading import read
from proxy.wire.body_facts import RequestFacts
from proxy.wire.json_members import MOST_MEMBERS
from proxy.wire.jsonbody import JSONBody
from tests.kit.clients import client_of, key_of, named, new_id
from tests.kit.ledger import row_of
from tests.kit.requests import CHAT
from tests.kit.sluice import Sluice
from tests.kit.upstream import Upstream, chat_stream

pytestmark = pytest.mark.server(models={"mine": "theirs"})

SIZE = 2 * HEAVY_BYTES
MODEL = "gpt-4.1-mini"
HEAD = b'{"model":"%s",' % MODEL.encode()
BUSY = b'"user":"' + b"x" * SIZE + b'"'
"""What makes a body long."""


def filled(unit: bytes, before: bytes = b'"messages":[', after: bytes = b"]}") -> bytes:
    return HEAD + before + (unit * (SIZE // len(unit))).removesuffix(b",") + after


TEXT = b'"messages":[{"role":"user","content":"', b'"}]}'
KINDS = {
    "one text of base64": filled(b"QUJD", *TEXT),
    "many messages": filled(b'{"role":"user","content":"How many are these?"},'),
    "small arrays": filled(b"[],"),
    "deep arrays": filled(b"[" * 400 + b"]" * 400 + b","),
    "escapes": filled(b'\\n\\"\\u00e9', *TEXT),
    "text that is not ASCII": filled("日本".encode(), *TEXT),
    "numbers": filled(b"1.50,"),
}


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize("body", KINDS.values(), ids=KINDS)
def test_a_long_body_goes_up_as_it_came(sluice: Sluice, upstream: Upstream, body: bytes, packed: bool):
    call = new_id()
    headers = {**named(call), "content-type": "application/json"}
    if packed:
        sent, headers = gzip.compress(body, 1), {**headers, "content-encoding": "gzip"}
    answer = client_of(sluice).post("/v1/chat/completions", content=body if not packed else sent, headers=headers)
    assert answer.status_code == 200, answer.text
    assert upstream.last.body == body
    row = row_of(sluice, call)
    assert (row["model"], row["prompt_tokens"], row["usage_source"]) == (MODEL, 9, "provider")


@pytest.mark.parametrize("path", ["/v1/moderations", "/v1/images/generations", "/v1/batches"])
def test_a_long_body_that_is_passed_on_is_as_it_came(sluice: Sluice, upstream: Upstream, path: str):
    body = filled(b'{"type":"text"},', b'"input":[')
    assert client_of(sluice).post(path, content=body, headers={"content-type": "application/json"}).status_code == 200
    assert upstream.last.body == body
    if path == "/v1/batches":
        return  # what cannot be read may name others' files
    odd = b"[" + body + b"]"
    assert client_of(sluice).post(path, content=odd, headers={"content-type": "application/json"}).status_code == 200
    assert upstream.last.body == odd


def post(sluice: Sluice, body: bytes, path: str = "/v1/chat/completions", **headers: str) -> Any:
    given = {"content-type": "application/json", **{name.replace("_", "-"): value for name, value in headers.items()}}
    return client_of(sluice).post(path, content=body, headers=given)


def test_a_long_body_is_edited_as_a_short_one_is(sluice: Sluice, upstream: Upstream):
    said = {"messages": [{"role": "user", "content": "é\\" * SIZE}], "stream": True}
    upstream.answers(chat_stream())
    answer = post(sluice, json.dumps({"model": "mine", **said}).encode())
    assert upstream.last.json() == {"model": "theirs", **said, "stream_options": {"include_usage": True}}
    assert b'"usage":{' not in answer.content
    assert b'"model":"mine"' in answer.content
    post(sluice, json.dumps({"model": "auto", **said}).encode(), x_preferred_model="mine")
    assert upstream.last.json()["model"] == "theirs"


def test_a_name_that_stands_twice_reaches_the_provider_once(sluice: Sluice, upstream: Upstream):
    assert post(sluice, b'{"model":"other",%s,"mod\\u0065l":"%s"}' % (BUSY, MODEL.encode())).status_code == 200
    assert upstream.last.body == b'{"model":"%s",%s}' % (MODEL.encode(), BUSY)


REFUSED = {
    "too many members": HEAD + b",".join(b'"%060d":0' % i for i in range(MOST_MEMBERS)) + b"}",
    "cut off": HEAD + BUSY + b',"messages":[',
    "an array": b"[" + HEAD + BUSY + b"}]",
    "two documents": HEAD + BUSY + b"}{}",
    "NaN": HEAD + BUSY + b',"n":NaN}',
    "bytes that are no text": HEAD + BUSY + b',"a":"\xff"}',
    "half a surrogate": HEAD + BUSY + b',"a":"\\ud800"}',
    "too deep": HEAD + BUSY + b',"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "no model": b"{" + BUSY + b"}",
    "a number for the model": b'{"model":7,' + BUSY + b"}",
    "a long model": b'{"model":"' + b"m" * SIZE + b'"}',
    "a long list for the model": b'{"model":[' + b"1," * SIZE + b"1]}",
}
CODES = {
    "too many members": "too_many_members",
    "no model": "missing_required_parameter",
    "a number for the model": "invalid_type",
    "a long model": "invalid_value",
    "a long list for the model": "invalid_value",
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_of_a_short_body_is_refused_of_a_long_one(sluice: Sluice, upstream: Upstream, name: str):
    answer = post(sluice, REFUSED[name])
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, CODES.get(name, "invalid_json"))
    assert not upstream.requests


def test_limits_count_what_a_long_body_asks_for(sluice: Sluice, upstream: Upstream):
    body = filled(b'{"role":"user","content":"How many are these?"},')
    few = sluice.client(sluice.mint(tpm=SIZE // 4), headers={"content-type": "application/json"})
    answer = few.post("/v1/chat/completions", content=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (429, "rate_limit_exceeded")
    inputs = b'{"model":"text-embedding-3-small","input":[' + b",".join([b'"' + b"x" * 1000 + b'"'] * 2000) + b"]}"
    daily = sluice.client(sluice.mint(daily=2500), headers={"content-type": "application/json"})
    assert daily.post("/v1/embeddings", content=inputs).status_code == 200
    assert daily.post("/v1/embeddings", content=inputs).status_code == 429


def test_rules_hold_for_what_is_long(sluice: Sluice, upstream: Upstream):
    allowed = {"messages.role": ["user"], "temperature": [0, 0.5], "model": [MODEL]}
    made = sluice.api("POST", "/api/projects/", json={"name": new_id(), "allowed_params": allowed})
    client = sluice.client(sluice.mint(project=made.json()["id"]), headers={"content-type": "application/json"})
    user, system = b'{"role":"user","content":"one"},', b'{"role":"system","content":"one"}]'
    good = filled(user)
    assert client.post("/v1/chat/completions", content=good).status_code == 200
    for bad in (
        filled(user)[:-2] + b"," + system + b"}",
        filled(user)[:-1] + b',"temperature":1}',
        filled(user).replace(MODEL.encode(), b"gpt-4.1"),
    ):
        answer = client.post("/v1/chat/completions", content=bad)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "param_not_allowed")


def test_models_of_a_key_hold_for_what_is_long(sluice: Sluice, upstream: Upstream):
    client = sluice.client(sluice.mint(allowed_models=["gpt-4.1"]), headers={"content-type": "application/json"})
    for body in (filled(b"[],"), filled(b"[],").replace(b'"model"', b'"Model":"gpt-4.1","model"')):
        assert client.post("/v1/chat/completions", content=body).status_code == 403
    assert not upstream.requests


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/responses", "/v1/threads"])
def test_what_others_stored_is_not_named_in_a_long_body(sluice: Sluice, upstream: Upstream, path: str):
    part = b'{"type":"file","file":{"file_id":"file-of-others"}},'
    body = filled(b'{"role":"user","content":[]},', b'"input":[],"messages":[' + part)
    answer = post(sluice, body, path)
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "file_not_found")
    assert not upstream.requests


def test_a_usage_that_nobody_told_is_estimated(sluice: Sluice, upstream: Upstream):
    def charged(body: bytes) -> int:
        call = new_id()
        upstream.answers(chat_stream(usage_shape="none"))
        post(sluice, body, **named(call))
        row = row_of(sluice, call)
        assert row["usage_source"] == "estimated"
        return int(row["prompt_tokens"])

    text = json.dumps({**CHAT, "stream": True})
    short, added = charged(text.encode()), b"x" * SIZE
    assert charged(text.replace("hi", "hi" + added.decode()).encode()) == pytest.approx(short + len(added) / 4, abs=1)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(st.text(max_size=8), VALUES, max_size=8), st.sampled_from([None, 1]), st.booleans())
@settings(max_examples=30)
def test_places_of_members_are_where_their_values_stand(document: dict[str, Any], indent: int | None, escapes: bool):
    try:
        raw = json.dumps(document, indent=indent, ensure_ascii=escapes).encode()
        members = JSONBody(raw).members
    except (UnicodeEncodeError, ValueError):
        return  # half of a surrogate pair
    told = read(ReadRequest(len(raw), "/v1/chat/completions", (), {}), raw)
    assert isinstance(told, RequestFacts)
    assert {each.name: raw[each.start : each.end] for each in told.members} == {
        name: bytes(value) for name, value in members.items()
    }


def test_the_key_is_checked_before_a_long_body_is_read(sluice: Sluice, upstream: Upstream):
    assert key_of(sluice)
    answer = sluice.client("sk-nobody").post("/v1/chat/completions", content=filled(b"[],"))
    assert answer.status_code == 401
