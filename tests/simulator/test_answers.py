"""What is said: the same for the same request, as long as asked, in the shape asked for."""

from __future__ import annotations

import json
from typing import Any

import pytest

from providers.simulator.text import CORPUS
from tests.kit.simulations import CHAT, HELLO, chat, data_of, frames_of, head_of, json_of, play, texts_of


def test_the_same_body_is_answered_by_the_same_bytes():
    assert data_of(chat()) == data_of(chat())
    assert data_of(chat(stream=True)) == data_of(chat(stream=True))
    assert head_of(chat()) == head_of(chat())


def test_blanks_and_the_order_of_keys_do_not_matter():
    turned = json.dumps(dict(reversed(HELLO.items())), indent=3).encode()
    assert data_of(play(CHAT, turned)) == data_of(chat())


def test_another_question_has_another_answer_and_id():
    other = json_of(chat(messages=[{"role": "user", "content": "something else"}]))
    assert other["id"] != json_of(chat())["id"]
    assert other["choices"][0]["message"] != json_of(chat())["choices"][0]["message"]


def test_a_stream_says_what_the_plain_answer_says():
    assert "".join(texts_of(chat(stream=True))) == json_of(chat())["choices"][0]["message"]["content"]


def test_tokens_are_words_and_their_counts_are_exact():
    answer = json_of(chat(simulate={"tokens": 300}))
    assert len(answer["choices"][0]["message"]["content"].split()) == 300
    assert answer["usage"]["completion_tokens"] == 300
    assert answer["usage"]["prompt_tokens"] == 3
    assert answer["usage"]["total_tokens"] == 303


def test_prompt_tokens_are_counted_in_parts_too():
    parts = [
        {"type": "text", "text": "four words are here"},
        {"type": "image_url", "image_url": {"url": "http://x y z"}},
    ]
    answer = json_of(chat(messages=[{"role": "system", "content": "be brief"}, {"role": "user", "content": parts}]))
    assert answer["usage"]["prompt_tokens"] == 6


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_the_requests_maximum_ends_the_answer_with_length(name):
    maximum: dict[str, Any] = {name: 5}
    answer = json_of(chat(**maximum))
    assert answer["choices"][0]["finish_reason"] == "length"
    assert answer["usage"]["completion_tokens"] == 5


@pytest.mark.parametrize("size", [1_000, 4_096, 1_000_000])
@pytest.mark.parametrize("count", [1, 3])
def test_bytes_sets_the_size_of_the_plain_body(size, count):
    assert len(data_of(chat(n=count, simulate={"bytes": size}))) == pytest.approx(size, abs=20 * count)


def test_a_size_that_no_answer_fits_into_gives_the_smallest_one():
    smallest = len(data_of(chat(simulate={"bytes": 1})))
    assert smallest < len(data_of(chat(simulate={"bytes": smallest + 100})))
    assert json_of(chat(simulate={"bytes": 1}))["choices"][0]["message"]["content"] == ""


def test_several_choices_differ_and_are_interleaved():
    answer = json_of(chat(n=3))
    assert len({choice["message"]["content"] for choice in answer["choices"]}) == 3
    assert answer["usage"]["completion_tokens"] == 48
    streamed = chat(n=3, stream=True)
    for index, choice in enumerate(answer["choices"]):
        assert "".join(texts_of(streamed, index)) == choice["message"]["content"]
    order = [frame["choices"][0]["index"] for frame in frames_of(streamed)]
    assert order[:6] == [0, 1, 2, 0, 1, 2]


def test_a_stop_sequence_ends_the_answer_before_it():
    whole = json_of(chat())["choices"][0]["message"]["content"]
    # `stop` is part of what chooses the words, so it is one that every long answer has.
    answer = json_of(chat(stop=["zzz", CORPUS[0]], simulate={"tokens": 200}))
    said = answer["choices"][0]["message"]["content"]
    assert whole
    assert CORPUS[0] not in said
    assert answer["choices"][0]["finish_reason"] == "stop"
    assert answer["usage"]["completion_tokens"] == len(said.split()) < 200


def test_json_object_is_a_json_object():
    answer = json_of(chat(response_format={"type": "json_object"}))
    said = answer["choices"][0]["message"]["content"]
    assert list(json.loads(said)) == ["answer"]
    assert len(said.split()) == answer["usage"]["completion_tokens"] == 16


def test_json_schema_is_fitted():
    schema = {
        "type": "object",
        "properties": {"name": {"$ref": "#/$defs/name"}, "ages": {"type": "array", "items": {"type": "integer"}}},
        "$defs": {"name": {"type": "string"}},
    }
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    said = json.loads(json_of(chat(response_format=form))["choices"][0]["message"]["content"])
    assert isinstance(said["name"], str)
    assert isinstance(said["ages"][0], int)


def test_a_schema_that_refers_to_itself_stays_small():
    schema = {"type": "object", "properties": {f"p{n}": {"$ref": "#"} for n in range(100)}}
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    assert len(data_of(chat(response_format=form))) < 100_000


TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}},
        },
    },
    {"type": "function", "function": {"name": "clock"}},
]


def test_a_required_tool_is_called():
    choice = json_of(chat(tools=TOOLS, tool_choice="required"))["choices"][0]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["content"] is None
    call = choice["message"]["tool_calls"][0]
    assert call["function"]["name"] == "weather"
    assert set(json.loads(call["function"]["arguments"])) == {"city", "days"}


def test_a_tool_call_is_streamed_as_deltas():
    frames = frames_of(chat(tools=TOOLS, tool_choice="required", stream=True))
    calls = [call for frame in frames for call in frame["choices"][0]["delta"].get("tool_calls", [])]
    assert calls[0]["id"].startswith("call_sim")
    assert set(json.loads("".join(call["function"]["arguments"] for call in calls))) == {"city", "days"}
    assert frames[-1]["choices"][0]["finish_reason"] == "tool_calls"


def test_a_tool_is_called_by_name_and_not_at_all_when_left_to_choose():
    named = json_of(chat(tools=TOOLS, tool_choice={"type": "function", "function": {"name": "clock"}}))
    assert named["choices"][0]["message"]["tool_calls"][0]["function"] == {"name": "clock", "arguments": "{}"}
    assert "tool_calls" not in json_of(chat(tools=TOOLS))["choices"][0]["message"]


def test_legacy_completions_answer_each_prompt_n_times():
    body = {"model": "simulator", "prompt": ["one two", "three"], "n": 2, "max_tokens": 4}
    answer = json_of(play("/completions", body))
    assert answer["object"] == "text_completion"
    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2, 3]
    assert {choice["finish_reason"] for choice in answer["choices"]} == {"length"}
    assert (answer["usage"]["prompt_tokens"], answer["usage"]["completion_tokens"]) == (3, 16)
    streamed = frames_of(play("/completions", {**body, "stream": True}))
    texts = [choice["text"] for frame in streamed for choice in frame["choices"] if choice["index"] == 2]
    assert "".join(texts) == answer["choices"][2]["text"]


def test_a_models_name_cannot_break_a_frame():
    name = 'a "quoted" \x01token\x01 model'
    frames = frames_of(chat(model=name, stream=True))
    assert {frame["model"] for frame in frames} == {name}
    assert len(texts_of(chat(model=name, stream=True))) == 16


@pytest.mark.parametrize(
    "body, param",
    [
        (b"{", None),
        (b"[1]", None),
        (b'{"model": "\xff"}', None),
        (b"[" * 100_000, None),
        ({"messages": HELLO["messages"]}, "model"),
        ({**HELLO, "model": 5}, "model"),
        ({**HELLO, "messages": []}, "messages"),
        ({**HELLO, "n": 0}, "n"),
        ({**HELLO, "n": True}, "n"),
        ({**HELLO, "max_tokens": "many"}, "max_tokens"),
        ({**HELLO, "stream": "yes"}, "stream"),
        ({**HELLO, "stream_options": {"include_usage": True}}, "stream_options"),
        ({**HELLO, "tool_choice": "required"}, "tool_choice"),
    ],
)
def test_a_bad_request_is_400_in_openais_shape(body, param):
    actions = play(CHAT, body)
    assert head_of(actions).status == 400
    error = json_of(actions)["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["type"] == "invalid_request_error"
    assert error["param"] == param


def test_deep_prompts_are_refused_not_fatal():
    deep = b'{"model": "m", "messages": [{"content": ' + b"[" * 900 + b"]" * 900 + b"}]}"
    assert head_of(play(CHAT, deep)).status in (200, 400)


def test_unknown_paths_are_404_and_wrong_methods_405():
    assert head_of(play("/nowhere", b"")).status == 404
    assert json_of(play("/nowhere", b""))["error"]["code"] == "unknown_url"
    assert head_of(play(CHAT, None, method="GET")).status == 405
    assert head_of(play("/models/gpt-none", None, method="GET")).status == 404


def test_models_files_and_echo():
    models = json_of(play("/models", None, method="GET"))
    assert [model["id"] for model in models["data"]] == ["simulator", "simulator-small", "simulator-embedding"]
    assert json_of(play("/models/simulator", None, method="GET"))["object"] == "model"
    assert data_of(play("/models", None, method="HEAD")) == b""
    file = json_of(play("/files", b'name="file"; filename="a.jsonl"\r\n\r\n{}'))
    assert (file["object"], file["filename"]) == ("file", "a.jsonl")
    assert json_of(play("/echo/x", b"hi", method="PUT"))["body"] == "hi"
