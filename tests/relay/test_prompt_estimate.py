"""What is reserved for a prompt before it is sent: never less than its text, and nothing for the bytes of pictures."""

from __future__ import annotations

import json
from typing import Any

import pytest

from proxy.estimate import MOST_READ_BYTES, read_prompt
from proxy.jsonbody import JSONBody

PICTURE = "data:image/png;base64," + "iVBORw0KGgo" * 1_000


def read(**members: Any) -> tuple[int | None, bool]:
    return read_prompt(JSONBody(json.dumps({"model": "m", **members}, ensure_ascii=False).encode()))


def said(text: object) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}]}


def test_text_is_a_token_for_three_bytes_and_two_where_it_is_not_ascii():
    for text, size in (("a" * 300, 3), ("é" * 300, 2)):
        messages = json.dumps(said(text)["messages"], ensure_ascii=False).encode()
        assert read(**said(text)) == (-(-len(messages) // size), True)


def test_every_member_that_a_model_reads_counts():
    alone, _ = read(input="a" * 300)
    both, _ = read(input="a" * 300, instructions="b" * 300)
    assert alone is not None
    assert both == pytest.approx(2 * alone, abs=1)


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": PICTURE}},
        {"type": "input_image", "image_url": PICTURE},
        {"type": "input_audio", "input_audio": {"data": "UklGRg" * 1_000, "format": "wav"}},
        {"type": "file", "file": {"file_data": "JVBERi0" * 1_000}},
        {"type": "computer_screenshot", "image_url": PICTURE},
    ],
    ids=lambda part: part["type"],
)
def test_the_bytes_of_pictures_sound_and_files_are_no_text(part: dict[str, Any]):
    tokens, is_all = read(**said([{"type": "text", "text": "What is this?"}, part]))
    assert tokens is not None
    assert tokens < 100
    assert not is_all


def test_what_looks_like_a_picture_in_plain_text_is_text():
    page = f'<img src="{PICTURE}">'
    tokens, is_all = read(**said(page))
    assert tokens is not None
    assert tokens >= len(page) // 3
    assert is_all


@pytest.mark.parametrize(
    "members, is_all",
    [
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, True),
        ({"tools": [{"type": "web_search"}]}, False),
        ({"previous_response_id": "resp_1"}, False),
        ({"previous_response_id": None}, True),
        ({"prompt": {"id": "pmpt_1"}}, False),
        ({"prompt": "hello"}, True),
        ({"temperature": 1}, True),
    ],
)
def test_whether_the_text_is_all_that_the_model_reads(members: dict[str, Any], is_all: bool):
    assert read(input="hello", **members)[1] is is_all


def test_where_nobody_can_say():
    assert read_prompt(None) == (None, False)
    assert read(temperature=1) == (None, True)
    assert read(input="a" * MOST_READ_BYTES) == (None, False)
