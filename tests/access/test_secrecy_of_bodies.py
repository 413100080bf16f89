"""P17, F125: no virtual key, no provider's secret and nothing that looks like one is in a captured body, however it got
there: sent by the client, echoed by the provider, in pieces, in escapes, compressed, or across the bound."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Sequence
from typing import Any

import pytest

from tests.kit.databases import query
from tests.kit.environment import MANAGEMENT_TOKEN, UPSTREAM_KEY
from tests.kit.management import create, minted
from tests.kit.requests import CHAT, ask
from tests.kit.sluice import Sluice
from tests.kit.upstream import (
    Chunk,
    Reset,
    Script,
    Upstream,
    body_answer,
    chat_answer,
    chat_stream,
    echo,
    error_answer,
    json_answer,
    responses_stream,
)
from tests.kit.upstream.scripts import frame, stream_head
from tests.kit.waiting import soon
from usage.bodies.redact import Redaction

MOST = 4096

pytestmark = [
    pytest.mark.server(BODY_CAPTURE_BYTES=MOST, BODY_REDACT_PATTERN=r"\bCASE-[0-9]{4}\b|patient: \w+"),
    pytest.mark.key(project={"capture_bodies": "all"}),
]
STORED = "pk/stored+secret=in/the-database"
"""With characters that encoders write in ways of their own."""


@pytest.fixture(scope="module")
def server(sluice: Sluice) -> Sluice:
    create(sluice, "/api/credentials", {"alias": "stored", "secret": STORED})
    return sluice


def bodies_of(server: Sluice, answer: Any) -> dict[str, str]:
    """Request and answer as the API tells them, and everything that the database has of them."""
    path = f"/api/requests/{answer.headers['x-request-id']}/bodies"
    soon(lambda: server.api("GET", path).status_code == 200)
    told = server.api("GET", path).json()
    [row] = [
        row
        for row in query(server.database_url, "SELECT * FROM usage_requestbodies")
        if row["id"] == answer.headers["x-request-id"]
    ]
    raw = b"\n".join(bytes(row[name]) for name in ("request", "answer"))
    return {"request": told["request"]["body"], "answer": told["answer"]["body"], "raw": raw.decode("latin-1")}


def no_trace(of: Sequence[str], found: dict[str, str]) -> None:
    for secret in of:
        for text in found.values():
            assert secret not in text
            assert secret[len(secret) // 2 :] not in text, "half of it is there"


def test_a_key_that_a_client_writes_into_its_request(server: Sluice, upstream: Upstream, key: str):
    other = minted(server)[1]
    answer = ask(server, key, messages=[{"role": "user", "content": f"my key is {key}, and theirs: {other}"}])
    found = bodies_of(server, answer)
    no_trace([key, other], found)
    assert "my key is [redacted], and theirs: [redacted]" in found["request"]


def test_the_installations_own_secrets(server: Sluice, upstream: Upstream, key: str):
    text = f"{MANAGEMENT_TOKEN} {server.env['SECRET_KEY']} {server.env['ENCRYPTION_KEY']} {STORED} {UPSTREAM_KEY}"
    found = bodies_of(server, ask(server, key, messages=[{"role": "user", "content": text}]))
    no_trace(text.split(), found)


def test_a_provider_that_echoes_what_it_was_called_with(server: Sluice, upstream: Upstream, key: str):
    upstream.answers(echo)
    answer = ask(server, key, path="/v1/anything", content=b"x")
    assert UPSTREAM_KEY in answer.text, "the provider says it, and it passes unread"
    found = bodies_of(server, answer)
    no_trace([UPSTREAM_KEY], found)
    assert "[redacted]" in found["answer"]


def as_an_error(secret: str) -> Script:
    return error_answer(401, f"Incorrect API key provided: {secret}.")


def plain(secret: str) -> Script:
    return chat_answer(f"it is {secret}!")


def compressed(secret: str) -> Script:
    raw = gzip.compress(json.dumps({"choices": [], "said": secret}).encode())
    return body_answer(raw, headers={"content-encoding": "gzip"}, content_type="application/json")


def in_escapes(secret: str) -> Script:
    text = "".join(f"\\u{ord(c):04x}" for c in secret)
    return body_answer(b'{"choices": [], "said": "' + text.encode() + b'"}', content_type="application/json")


def in_some_escapes(secret: str) -> Script:
    text = secret.replace("-", "\\u002D").replace("/", "\\/")
    return body_answer(b'{"choices": [], "said": "' + text.encode() + b'"}', content_type="application/json")


def in_base64(secret: str) -> Script:
    return json_answer({"choices": [], "said": base64.b64encode(f"user:{secret}".encode()).decode()})


def in_a_stream(secret: str) -> Script:
    return chat_stream(["it is ", secret, "!"], usage_shape="none")


def letter_by_letter(secret: str) -> Script:
    return chat_stream(["it is ", *secret, "!"], usage_shape="none")


def letter_by_letter_in_a_response(secret: str) -> Script:
    return responses_stream(["it is ", *secret, "!"])


def letter_by_letter_in_two_answers_at_once(secret: str) -> Script:
    chunks = [
        {"choices": [{"index": index, "delta": {"content": text}, "finish_reason": None}]}
        for letter in secret
        for index, text in ((0, letter), (1, "x"))
    ]
    return [stream_head(), *(Chunk(frame(chunk)) for chunk in chunks), Reset()]


def in_an_argument_in_pieces(secret: str) -> Script:
    pieces = ['{"to', "ken", '": "', *secret, '"}']
    chunks = [
        {"choices": [{"index": 0, "delta": {"tool_calls": [{"index": 0, "function": {"arguments": piece}}]}}]}
        for piece in (json.dumps(each)[1:-1] for each in pieces)
    ]
    return [stream_head(), *(Chunk(frame(chunk)) for chunk in chunks), Reset()]


def torn_off(secret: str) -> Script:
    script = chat_stream(["it is ", *secret[: len(secret) - 3]], usage_shape="none")
    return [*script[: len(secret) - 2], Reset()]


def across_the_bound(secret: str) -> Script:
    document = json.dumps({"choices": [], "said": ""})
    filling = MOST - len(document) - len(secret) // 2
    return json_answer({"choices": [], "said": "x" * filling + secret})


def behind_much_that_is_redacted(secret: str) -> Script:
    """What goes away in front of it moves what was beyond the bound into it."""
    return json_answer({"choices": [], "said": (secret + " ") * 200 + "x" * 5000 + secret})


ECHOES = (
    as_an_error,
    plain,
    compressed,
    in_escapes,
    in_some_escapes,
    in_base64,
    in_a_stream,
    letter_by_letter,
    letter_by_letter_in_a_response,
    letter_by_letter_in_two_answers_at_once,
    in_an_argument_in_pieces,
    torn_off,
    across_the_bound,
    behind_much_that_is_redacted,
)


def put_together(text: str) -> str:
    """What a stream says, read as its client reads it."""
    said = []
    for line in text.splitlines():
        if line.startswith("data: {"):
            try:
                event = json.loads(line[6:])
            except ValueError:
                continue  # the last line that was kept may be cut
            for choice in event.get("choices", ()):
                delta = choice["delta"]
                calls = delta.get("tool_calls") or []
                said += [(choice["index"], delta.get("content") or "")]
                said += [(choice["index"], call["function"]["arguments"]) for call in calls]
            if isinstance(event.get("delta"), str):
                said.append((0, event["delta"]))
    return "|".join("".join(text for index, text in said if index == number) for number in (0, 1))


@pytest.mark.parametrize("secret", [UPSTREAM_KEY, STORED, "the client's key"], ids=["provider", "stored", "client"])
@pytest.mark.parametrize("way", ECHOES, ids=lambda way: way.__name__)
def test_a_secret_in_an_answer(server: Sluice, upstream: Upstream, key: str, way: Any, secret: str):
    secret = key if secret == "the client's key" else secret
    upstream.answers(way(secret))
    path = "/v1/responses" if way is letter_by_letter_in_a_response else "/v1/chat/completions"
    answer = ask(server, key, path=path, stream=True)
    found = bodies_of(server, answer)
    no_trace([secret], found)
    said = put_together(found["answer"])
    assert secret[:12] not in said
    assert secret[len(secret) // 2 :] not in said
    assert any(mark in found["answer"] for mark in ("[redacted]", "[credential]")) or way is across_the_bound


NAMED: dict[str, tuple[Any, str]] = {
    "a header of a tool's server": ({"tools": [{"headers": {"Authorization": "Basic QWxhZGRpbg"}}]}, "QWxhZGRpbg"),
    "a member": ({"metadata": {"client_secret": 'he"llo', "n": 1}}, 'he\\"llo'),
    "a member in one word": ({"metadata": {"clientSecret": "q1w2e3", "dbPasswords": ["x"]}}, "q1w2e3"),
    "a number": ({"metadata": {"password": 31337, "n": 1}}, "31337"),
    "a list": ({"metadata": {"api_keys_": 1, "api_key": ["a1b2c3", "d4e5f6"]}}, "d4e5f6"),
    "JSON in a text": ({"metadata": {"arguments": json.dumps({"password": "hunt er2"})}}, "hunt er2"),
    "JSON in a text in a text": ({"a": json.dumps({"b": json.dumps({"secret": "hunt er2"})})}, "hunt er2"),
    "a command": ({"a": "curl -H 'Authorization: Bearer abcdef' https://h"}, "abcdef"),
    "a URL": ({"a": "https://user:pa55w0rd@host/?access_token=ab12cd34&x=1"}, "pa55w0rd"),
    "a query": ({"a": "https://host/?access_token=ab12cd34&x=1"}, "ab12cd34"),
    "another vendor's key": ({"a": "use sk-ant-REDACTED then"}, "abcdefgh"),
    "a token of GitHub": ({"a": "ghp_0123456789abcdefghij0123456789abcdef"}, "0123456789"),
    "a key of Amazon": ({"a": "AKIAIOSFODNN7EXAMPLE"}, "IOSFODNN7"),
    "a JWT": ({"a": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"}, "eyJzdWIi"),
    "a private key": ({"a": "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIB\n-----END RSA PRIVATE KEY-----"}, "MIIEpAIB"),
    "half a private key": ({"a": "-----BEGIN PRIVATE KEY-----\nMIIEpAIB"}, "MIIEpAIB"),
    "what the operator names": ({"a": "CASE-1234 of patient: Miller"}, "1234"),
    "more that the operator names": ({"a": "CASE-1234 of patient: Miller"}, "Miller"),
}


@pytest.mark.parametrize("what", NAMED)
def test_what_looks_like_a_secret(server: Sluice, upstream: Upstream, key: str, what: str):
    members, secret = NAMED[what]
    found = bodies_of(server, ask(server, key, **members))
    assert secret not in found["raw"]
    assert secret not in found["request"]
    assert "[redacted]" in found["request"]
    assert '"role": "user"' in found["request"]


def test_a_form(server: Sluice, upstream: Upstream, key: str):
    form = (
        b'--b\r\nContent-Disposition: form-data; name="api_key"\r\nContent-Type: text/plain\r\n\r\nvery secret\r\n'
        b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.bin"\r\n\r\n\xff\xfe'
        + key.encode()
        + b"\r\n--b--"
    )
    answer = ask(
        server, key, path="/v1/files", content=form, headers={"content-type": "multipart/form-data; boundary=b"}
    )
    found = bodies_of(server, answer)
    no_trace([key], found)
    assert "very secret" not in found["raw"]
    assert "filename" in found["raw"]


def test_what_is_no_secret_stays_as_it_was(server: Sluice, upstream: Upstream, key: str):
    content = (
        "The basic idea of a token: max_tokens bounds it. Keys, passwords and secrets are topics; a-b, sk-1, 100%."
    )
    answer = ask(server, key, messages=[{"role": "user", "content": content}], max_tokens=5, logprobs=True)
    found = bodies_of(server, answer)
    assert json.loads(found["request"]) == {
        **CHAT,
        "messages": [{"role": "user", "content": content}],
        "max_tokens": 5,
        "logprobs": True,
    }
    assert found["answer"] == answer.text


SLOW = {
    "backslashes": b"\\" * 70_000 + b"/%41",
    "quotes behind backslashes": b'\\"' * 35_000 + b"password",
    "letters before an address": b"a" * 70_000 + b"://",
    "beginnings of a JWT": b"eyJabcdefgh-" * 6_000,
    "beginnings of a private key": b"-----BEGIN " * 3_000 + b"A " * 20_000 + b"PRIVATE KEY",
    "names": b'"password":' * 6_000,
    "names of forms": b'name="secret"\r\n' * 4_500,
    "names in a row": b"secret" * 12_000,
    "colons": b"x://" + b":" * 70_000,
    "percents": b"%7" * 35_000,
    "pieces": b'"content":"' * 6_000,
    "spaces": b'"content"' + b" " * 70_000 + b"password" + b" " * 10_000,
}


@pytest.mark.parametrize("what", SLOW)
def test_no_body_makes_it_slow(what: str):
    """One that did would take minutes, which no test is given."""
    redaction = Redaction("sk-sluice-")
    for is_stream in (False, True):
        assert redaction.redacted(SLOW[what], [UPSTREAM_KEY.encode(), STORED.encode()], is_stream=is_stream)


@pytest.mark.parametrize("pattern", ["(", "a*"])
def test_a_pattern_that_is_none_stops_the_start(pattern: str):
    with pytest.raises(RuntimeError, match=r"BODY_REDACT_PATTERN: .* use a regular expression"):
        Sluice.start(BODY_REDACT_PATTERN=pattern)
