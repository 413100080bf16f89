"""What is no good JSON is told so, and never a server error."""

from __future__ import annotations

import pytest

from tests.kit.rows import make_key

PATHS = ["/api/keys", "/api/projects", "/api/providers", "/api/credentials", "/api/keys/revoke"]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "raw",
    [
        *(b"", b"{", b"nonsense", b"\xff\xfe", b"[]", b"[1]", b"null", b"5", b'"text"', b"true", b'{"name": NaN}'),
        *(b'{"name": "nul\\u0000"}', b'{"name": "\\ud800"}', b'{"metadata": {"a": ["\\udfff"]}}', b'{"a": 1e999}'),
        *(b'{"metadata": {"\\u0000": 1}}', b"[" * 100_000, b'{"a":' * 50_000, b'{"name": ' + b"9" * 5000 + b"}"),
        *(b'{"name": Infinity}', b"{} {}", b"{'name': 'x'}"),
    ],
    ids=lambda raw: repr(raw)[:24],
)
def test_a_body_that_is_no_storable_json_object_is_400(api, path, raw):
    answer = api.generic("POST", path, raw, content_type="application/json")
    assert answer.status_code == 400
    assert answer.json()


@pytest.mark.parametrize("path", PATHS)
def test_a_body_that_is_not_json_is_415(api, path):
    assert api.post(path, "name=x", content_type="application/x-www-form-urlencoded").status_code == 415


def test_a_body_beyond_the_limit_is_413(api, settings):
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 100
    assert api.post("/api/keys", {"name": "k", "notes": "x" * 100}).status_code == 413


def test_a_large_number_in_metadata_is_kept(api):
    made = api.post("/api/keys", {"name": "k", "metadata": {"n": 10**30, "deep": [[[[{}]]]]}})
    assert made.json()["metadata"] == {"n": 10**30, "deep": [[[[{}]]]]}


@pytest.mark.parametrize("method", ["trace", "put", "patch", "delete"])
def test_a_method_that_a_resource_does_not_have_is_405(api, method):
    assert getattr(api, method)("/api/keys").status_code == 405


def test_a_text_with_every_sort_of_character_comes_back_as_it_was(api):
    text = "ключ 🔑 <b>&amp;</b> ' \" \\ % \u202e"
    key = make_key(notes=text)
    assert api.get(f"/api/keys/{key.pk}").json()["notes"] == text
