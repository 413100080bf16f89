"""X3, F105: pictures, speech and what is heard are metered where their price is known, by JSON and by forms."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import httpx
import pytest

from tests.kit.forms import FORM, form
from tests.kit.ledger import row_of, shown_row_of
from tests.kit.management import minted, new_project
from tests.kit.requests import ask, post, refused
from tests.kit.sluice import Sluice
from tests.kit.upstream import Received, Script, Upstream, body_answer, frame, json_answer, sse
from tests.kit.waiting import soon

PAINTER = "painter-1"
PICTURE = Decimal("0.04")
CODE = "endpoint_not_metered"


def upload(server: Sluice, key: str, path: str, *fields: tuple[str, str]) -> httpx.Response:
    return ask(server, key, path=f"/v1{path}", content=form(*fields), headers=FORM)


def pictures(count: int, **fields: Any) -> Script:
    return json_answer({"created": 1, "data": [{"b64_json": "QUJD" * 100}] * count, **fields})


def cost_of(server: Sluice, answer: httpx.Response) -> tuple[Decimal | None, str]:
    """What the row says, and whose count it is."""
    assert answer.status_code == 200, answer.text
    row = shown_row_of(server, answer)
    return None if row["cost_usd"] is None else Decimal(row["cost_usd"]), row["usage_source"]


@pytest.fixture(scope="module")
def priced(sluice: Sluice) -> Sluice:
    for price in (
        {"model": PAINTER, "input": "0", "output": "0", "per_image": str(PICTURE)},
        {"model": "speaker-1", "input": "0", "output": "0", "per_request": "0.5"},
    ):
        assert sluice.api("POST", "/api/prices", json=price).status_code == 201
    return sluice


@pytest.fixture(scope="module")
def key(priced: Sluice) -> str:
    """Held to what is metered, by a budget that is not reached."""
    token = minted(priced, budget="1000")[1]
    soon(lambda: post(priced, token, "/images/generations", model=PAINTER).status_code != 403)
    return token


def test_a_picture_costs_its_price(priced: Sluice, upstream: Upstream, key: str):
    upstream.script = pictures(2)
    answer = post(priced, key, "/images/generations", model=PAINTER, prompt="a cat", n=2)
    assert cost_of(priced, answer) == (2 * PICTURE, "")
    assert answer.json()["data"] == [{"b64_json": "QUJD" * 100}] * 2
    answer = upload(priced, key, "/images/edits", ("model", PAINTER), ("prompt", "a cat"), ("image", "x" * 1000))
    assert cost_of(priced, answer) == (2 * PICTURE, "")
    assert upstream.last.body == form(("model", PAINTER), ("prompt", "a cat"), ("image", "x" * 1000))


def test_pictures_stop_at_the_budget(priced: Sluice, upstream: Upstream, key: str):
    upstream.script = pictures(1)
    bound = minted(priced, budget="0.1")[1]
    statuses = [post(priced, bound, "/images/generations", model=PAINTER, prompt="x").status_code for _ in range(30)]
    assert statuses == [200] * 3 + [429] * 27


def test_tokens_of_pictures_have_their_own_price(priced: Sluice, upstream: Upstream, key: str):
    usage = {"input_tokens": 1000, "output_tokens": 2000, "total_tokens": 3000,
             "input_tokens_details": {"text_tokens": 400, "image_tokens": 600}}  # fmt: skip
    # gpt-image-1.5: 5 USD for a million tokens of text, 8 of pictures, 32 of those that are made.
    upstream.script = pictures(1, usage=usage)
    expected = (400 * Decimal(5) + 600 * Decimal(8) + 2000 * Decimal(32)) / 1_000_000
    answer = post(priced, key, "/images/generations", model="gpt-image-1.5", prompt="x")
    assert cost_of(priced, answer) == (expected, "provider")
    answer = upload(priced, key, "/images/edits", ("model", "gpt-image-1.5"), ("image", "x"))
    assert cost_of(priced, answer) == (expected, "provider")
    event: dict[str, Any] = {"type": "image_generation.completed", "b64_json": "QUJD", "usage": usage}
    part: dict[str, Any] = {"type": "image_generation.partial_image", "b64_json": "QUJD"}
    upstream.script = sse([frame(part, part["type"]), frame(event, event["type"])])
    answer = post(priced, key, "/images/generations", model="gpt-image-1.5", prompt="x", stream=True)
    assert cost_of(priced, answer) == (expected, "provider")


def test_pictures_that_nobody_counted_are_estimated(priced: Sluice, upstream: Upstream, key: str):
    upstream.script = pictures(2)
    cost, source = cost_of(priced, post(priced, key, "/images/generations", model="gpt-image-1.5", prompt="x", n=2))
    assert source == "estimated"
    assert cost is not None
    assert cost >= 2 * 6_240 * Decimal(32) / 1_000_000


def test_speech_costs_its_characters(priced: Sluice, upstream: Upstream, key: str):
    upstream.script = body_answer(b"ID3 sound" * 100, content_type="audio/mpeg")
    answer = post(priced, key, "/audio/speech", model="tts-1", input="Grüße " * 100, voice="alloy")
    assert cost_of(priced, answer) == (600 * Decimal(15) / 1_000_000, "")
    assert answer.content == b"ID3 sound" * 100
    answer = post(priced, key, "/audio/speech", model="speaker-1", input="hi", voice="alloy")
    assert cost_of(priced, answer)[0] == Decimal("0.5")
    cost, source = cost_of(priced, post(priced, key, "/audio/speech", model="gpt-4o-mini-tts", input="hello" * 100))
    assert source == "estimated"
    assert cost is not None
    assert cost >= 1000 * Decimal(12) / 1_000_000


HEARD: dict[str, tuple[str, Script, Decimal]] = {
    "seconds": (
        "whisper-1", json_answer({"text": "hi", "usage": {"type": "duration", "seconds": 90}}),
        90 * Decimal("0.36") / 3600,
    ),
    "verbose": ("whisper-1", json_answer({"text": "hi", "duration": 89.3}), 90 * Decimal("0.36") / 3600),
    "tokens": (
        "gpt-4o-transcribe",
        json_answer({"text": "hi", "usage": {
            "type": "tokens", "input_tokens": 1000, "output_tokens": 100, "total_tokens": 1100,
            "input_token_details": {"text_tokens": 200, "audio_tokens": 800}}}),
        (200 * Decimal("2.5") + 800 * Decimal(6) + 100 * Decimal(10)) / 1_000_000,
    ),
    "a text alone": (
        "whisper-1", body_answer(b"hi", content_type="text/plain"), 2 * Decimal("0.36") / 3600,
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", HEARD)
def test_what_is_heard_costs_what_it_is_priced_by(priced: Sluice, upstream: Upstream, key: str, what: str):
    model, script, expected = HEARD[what]
    upstream.script = script
    answer = upload(priced, key, "/audio/transcriptions", ("model", model), ("file", "x" * 7_800))
    assert cost_of(priced, answer)[0] == expected


def test_what_has_no_price_is_refused(priced: Sluice, upstream: Upstream, key: str):
    for answer in (
        post(priced, key, "/images/generations", model="nobodys", prompt="x"),
        post(priced, key, "/images/generations", prompt="x"),
        post(priced, key, "/audio/speech", model="nobodys", input="x"),
        upload(priced, key, "/audio/transcriptions", ("model", "nobodys"), ("file", "x")),
        upload(priced, key, "/audio/transcriptions", ("file", "x")),
    ):
        assert "is not metered" in refused(answer, 403, CODE)["message"]
    assert upstream.requests == []


def test_a_form_names_one_model(priced: Sluice, upstream: Upstream, key: str):
    upstream.script = pictures(1)
    answer = upload(priced, key, "/images/edits", ("model", PAINTER), ("image", "x"), ("model", "gpt-image-1.5"))
    refused(answer, 403, CODE)
    assert upload(priced, key, "/images/edits", ("image", "x"), ("model", PAINTER)).status_code == 200
    assert upload(priced, key, "/images/edits", ("model", PAINTER), ("model", PAINTER)).status_code == 200
    listed = minted(priced, allowed_models=[PAINTER])[1]
    refused(upload(priced, listed, "/images/edits", ("model", "gpt-image-1.5")), 403, "model_not_allowed")
    refused(post(priced, listed, "/images/generations", model="gpt-image-1.5"), 403, "model_not_allowed")
    assert post(priced, listed, "/images/generations", model=PAINTER, prompt="x").status_code == 200


def test_what_fails_costs_nothing(priced: Sluice, upstream: Upstream, key: str):
    upstream.script = json_answer({"error": {"message": "no"}}, status=400)
    answer = post(priced, key, "/images/generations", model=PAINTER, prompt="x")
    assert (answer.status_code, row_of(priced, answer.headers["x-request-id"])["cost_usd"]) == (400, 0)


def test_prices_by_the_unit_are_told(priced: Sluice):
    def told(model: str) -> dict[str, Any]:
        answer = priced.api("GET", f"/api/prices/effective?provider=openai&model={model}")
        found: dict[str, Any] = answer.json()
        return found

    assert Decimal(told(PAINTER)["per_image"]) == PICTURE
    assert Decimal(told("tts-1")["per_million_characters"]) == 15
    assert Decimal(told("whisper-1")["per_minute"]) == Decimal("0.006")
    assert Decimal(told("gpt-image-1.5")["image_output"]) == 32


def test_who_is_not_bound_streams_up_as_ever(priced: Sluice, upstream: Upstream):
    """A form whose model stands behind its file is not held for that."""
    free = minted(priced, project=new_project(priced))[1]

    def early(received: Received) -> Script:
        return pictures(1)

    upstream.script = early
    answer = upload(priced, free, "/images/edits", ("image", "x" * 100_000), ("model", "nobodys"))
    assert cost_of(priced, answer)[0] is None
