"""F28 for forms: the field `model` of an upload is checked while the form streams by."""

from __future__ import annotations

import time
from collections.abc import Iterator

import httpx
import pytest

from tests.kit.management import minted
from tests.kit.requests import error_of
from tests.kit.sluice import Sluice
from tests.kit.upstream import Upstream

pytestmark = pytest.mark.key(allowed_models=["whisper-1"], project={"unmetered": "allow"})

FORBIDDEN = b"o1-forbidden"
FILE = b'--B\r\nContent-Disposition: form-data; name="file"; filename="a.mp3"\r\n\r\n' + b"\0" * 100_000 + b"\r\n"
END = b"--B--\r\n"


def post(sluice: Sluice, key: str, body: bytes, *, pieces: int = 0, boundary: str = "B") -> httpx.Response:
    headers = {"content-type": f"multipart/form-data; boundary={boundary}"}
    content = iter([body[at : at + pieces] for at in range(0, len(body), pieces)]) if pieces else body
    return sluice.client(key).post("/v1/audio/transcriptions", content=content, headers=headers)


def field(disposition: bytes, value: bytes = FORBIDDEN, more: bytes = b"") -> bytes:
    return b"--B\r\nContent-Disposition: form-data; " + disposition + b"\r\n" + more + b"\r\n" + value + b"\r\n"


def assert_refused(answer: httpx.Response, upstream: Upstream) -> None:
    assert not [r for r in upstream.requests if r.complete.is_set() and FORBIDDEN in r.body], "it went up whole"
    assert answer.status_code in (400, 403), answer.text
    error_of(answer)


def test_a_form_with_an_allowed_model_goes_up_unchanged(sluice: Sluice, upstream: Upstream, key: str):
    body = FILE + field(b'name="model"', b"whisper-1") + END
    assert post(sluice, key, body).status_code == 200
    assert upstream.last.body == body
    assert post(sluice, key, body, pieces=1000).status_code == 200
    assert upstream.last.body == body


@pytest.mark.parametrize("pieces", [0, 7, 1000])
@pytest.mark.parametrize("first", [True, False], ids=["before the file", "after the file"])
def test_a_forbidden_model_is_refused_wherever_it_stands(
    sluice: Sluice, upstream: Upstream, key: str, first: bool, pieces: int
):
    named = field(b'name="model"')
    small = FILE if pieces != 7 else FILE.replace(b"\0" * 99_000, b"")
    body = (named + small if first else small + named) + END
    answer = post(sluice, key, body, pieces=pieces)
    assert_refused(answer, upstream)
    assert answer.json()["error"]["code"] == "model_not_allowed"


@pytest.mark.parametrize(
    "part",
    [
        field(b"name=model"),
        field(b'NAME="model"'),
        field(b'name = "model"'),
        field(b'name="mod\\el"'),
        field(b"name*=utf-8''model"),
        field(b"name*=utf-8''m%6fdel"),
        field(b'filename="model.txt"; name="model"'),
        field(b'name="model"; filename="x"'),
        field(b'name="model"', more=b"Content-Type: text/plain\r\n"),
        field(b'name="model"', b" o1-forbidden"),
        field(b'name="model"', b"bzEtZm9yYmlkZGVu", more=b"Content-Transfer-Encoding: base64\r\n"),
        field(b'name="model"', more=b"X-Pad: " + b"x" * 20_000 + b"\r\n"),
        field(b'name="x"; pad="' + b"x" * 20_000 + b'"; name="model"'),
        field(b'name="file"; name="model"'),
        b'--B\r\nContent-Type: text/plain\r\nContent-Disposition: form-data; name="model"\r\n\r\no1-forbidden\r\n',
        b'--B\r\ncontent-disposition:form-data;name="model"\r\n\r\no1-forbidden\r\n',
        b'--B\r\nContent-Disposition: form-data;\r\n name="model"\r\n\r\no1-forbidden\r\n',
        b'--B\r\nContent-Disposition : form-data; name="model"\r\n\r\no1-forbidden\r\n',
        b'--B\nContent-Disposition: form-data; name="model"\n\no1-forbidden\n',
        field(b'name="model"', b"whisper-1") + field(b'name="model"'),
        field(b'name="model"') + field(b'name="model"', b"whisper-1"),
    ],
    ids=lambda part: part[5:90],
)
def test_no_spelling_of_the_field_gets_a_forbidden_model_through(
    sluice: Sluice, upstream: Upstream, key: str, part: bytes
):
    answer = post(sluice, key, part + FILE + END)
    went_up = [r for r in upstream.requests if r.complete.is_set() and part in r.body]
    assert not went_up, "it went up whole"
    assert answer.status_code in (400, 403), answer.text


def test_a_long_header_in_pieces_is_no_way_around(sluice: Sluice, upstream: Upstream, key: str):
    body = field(b'name="model"', more=b"X-Pad: " + b"x" * 30_000 + b"\r\n") + FILE + END

    def slowly() -> Iterator[bytes]:
        for at in range(0, len(body), 4000):
            yield body[at : at + 4000]
            time.sleep(0.01)  # or the pieces arrive as one

    headers = {"content-type": "multipart/form-data; boundary=B"}
    answer = sluice.client(key).post("/v1/audio/transcriptions", content=slowly(), headers=headers)
    assert_refused(answer, upstream)


def test_a_form_that_is_called_something_else_is_no_way_around(sluice: Sluice, upstream: Upstream, key: str):
    for content_type in (
        "Multipart/Form-Data; boundary=B",
        "multipart/mixed; boundary=B",
        "text/plain; multipart/form-data; boundary=B",
    ):
        answer = sluice.client(key).post(
            "/v1/audio/transcriptions",
            content=field(b'name="model"') + END,
            headers={"content-type": content_type},
        )
        assert_refused(answer, upstream)


def test_a_key_for_every_model_sends_any_form(sluice: Sluice, upstream: Upstream):
    _, key = minted(sluice)
    body = field(b'name="model"') + FILE + END
    assert post(sluice, key, body).status_code == 200
    assert upstream.last.body == body
