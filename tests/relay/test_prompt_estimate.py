"""What is reserved for a prompt before it is sent: never less than its text, and nothing for the bytes of pictures.

Its most is a token a byte, where text is all that there is to read; any other request has none (X13).
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from proxy.admission.prompt import MOST_READ_BYTES, TEMPLATE_TOKENS, TOOL_TOKENS, UNREADABLE, Prompt, read_prompt
from proxy.dialects.words import OPENAI
from proxy.wire.jsonbody import JSONBody

PICTURE = "data:image/png;base64," + "iVBORw0KGgo" * 1_000


def read(**members: Any) -> Prompt:
    return read_prompt(JSONBody(json.dumps({"model": "m", **members}, ensure_ascii=False).encode()), OPENAI)


def message_of(text: object) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}]}


def test_text_is_a_token_for_three_bytes_and_two_where_it_is_not_ascii():
    for text, size in (("a" * 300, 3), ("é" * 300, 2)):
        messages = json.dumps(message_of(text)["messages"], ensure_ascii=False).encode()
        assert read(**message_of(text)) == (-(-len(messages) // size), len(messages) + TEMPLATE_TOKENS)


def test_every_member_that_a_model_reads_counts():
    alone, both = read(input="a" * 300), read(input="a" * 300, instructions="b" * 300)
    assert alone.tokens is not None
    assert both.tokens == pytest.approx(2 * alone.tokens, abs=1)
    assert alone.most is not None
    assert both.most == alone.most + 302


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
    tokens, most = read(**message_of([{"type": "text", "text": "What is this?"}, part]))
    assert tokens is not None
    assert tokens < 100
    assert most is None


def test_what_looks_like_a_picture_in_plain_text_is_text():
    page = f'<img src="{PICTURE}">'
    tokens, most = read(**message_of(page))
    assert tokens is not None
    assert tokens >= len(page) // 3
    assert most is not None
    assert most > len(page)


TEXT_ALONE: list[dict[str, Any]] = [
    {"input": "hello", "background": True},
    {"input": "hello"},
    {"input": ["hello", "world"]},
    {"input": [1, 2, 3]},
    {"input": [[1, 2], [3]]},
    {"prompt": "hello"},
    {"prompt": ["hello"]},
    {"input": "hello", "previous_response_id": None},
    {"input": "hello", "temperature": 1, "modalities": ["text"]},
    {"input": "hello", "tools": [{"type": "function", "name": "f"}, {"type": "custom", "name": "g"}]},
    {"input": "hello", "functions": [{"name": "f"}]},
    {"input": [{"role": "user", "content": [{"type": "input_text", "text": "hello"}]}]},
    {"input": [{"type": "function_call_output", "call_id": "c", "output": "done"}]},
    message_of(None),
    message_of([{"type": "text", "text": "hello", "cache_control": {"type": "ephemeral"}}]),
    {"messages": [{"role": "assistant", "content": None, "tool_calls": [{"id": "c", "function": {"name": "f"}}]}]},
    {"messages": [{"role": "assistant", "content": "a", "audio": None, "annotations": None}]},
]

MORE_THAN_TEXT: list[dict[str, Any]] = [
    {"input": "hello", "previous_response_id": "resp_1"},
    {"input": "hello", "conversation": {"id": "conv_1"}},
    {"input": "hello", "tools": [{"type": "web_search"}]},
    {"input": "hello", "tools": [{"name": "no type"}]},
    {"input": "hello", "tools": "all"},
    {"input": "hello", "an_unknown_member": 1},
    {"input": "hello", "modalities": ["text", "audio"]},
    {"input": [{"type": "item_reference", "id": "msg_1"}]},
    {"input": [{"type": "function_call_output", "call_id": "c", "output": [{"type": "input_image", "file_id": "f"}]}]},
    {"input": [{"type": "reasoning", "encrypted_content": "AAAA"}]},
    {"input": [{"image": "AAAA"}]},
    {"input": [["hello"]]},
    {"input": {"a": 1}},
    {"prompt": {"id": "pmpt_1"}},
    message_of({"type": "image_url"}),
    message_of([{"type": "text", "text": {"value": "hello"}}]),
    message_of([{"type": "text", "text": "hello", "image_url": "https://a.example"}]),
    message_of([{"text": "hello"}]),
    {"messages": [{"role": "assistant", "audio": {"id": "audio_1"}}]},
    {"messages": [{"role": "user", "content": "hello", "images": ["AAAA"]}]},
    {"messages": "hello"},
]


@pytest.mark.parametrize("members", TEXT_ALONE, ids=str)
def test_text_alone_has_a_bound(members: dict[str, Any]):
    assert read(**members).most is not None


@pytest.mark.parametrize("members", MORE_THAN_TEXT, ids=str)
def test_what_may_bring_more_than_text_has_none(members: dict[str, Any]):
    assert read(**members).most is None


def test_a_part_whose_type_is_written_in_escapes_is_what_it_is():
    raw = rb'{"model":"m","messages":[{"role":"user","content":[{"\u0074ype":"image\u005furl","image_url":"x"}]}]}'
    assert read_prompt(JSONBody(raw), OPENAI).most is None


def test_tools_come_with_instructions_of_the_provider():
    tools = [{"type": "function", "name": "f"}]
    alone, with_tools = read(input="hi"), read(input="hi", tools=tools)
    assert alone.most is not None
    assert with_tools.most == alone.most + len(json.dumps(tools)) + TOOL_TOKENS


def test_where_nobody_can_say():
    assert read_prompt(None, OPENAI) == UNREADABLE
    assert read(temperature=1) == (None, TEMPLATE_TOKENS)
    assert read(input="a" * MOST_READ_BYTES) == UNREADABLE
