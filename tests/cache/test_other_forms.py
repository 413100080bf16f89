"""F83, P30: a stored stream answers a plain request, and a stored object a stream, with the same content."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.lib.streaming.chat import ChatCompletionStreamState

from proxy.dialects.base import NoOtherForm
from proxy.dialects.chat_forms import chat_as_object, chat_as_stream
from proxy.dialects.completion_forms import completion_as_object, completion_as_stream
from tests.kit.caching import cache_of, question
from tests.kit.requests import STREAM, WITH_USAGE, ask
from tests.kit.sluice import Sluice, StartSluice
from tests.kit.upstream import Upstream, chat_answer, chat_frames, chat_stream, sse, usage_of

pytestmark = pytest.mark.key(project={"cache_policy": "on"})

CALLS = st.fixed_dictionaries(
    {
        "id": st.text(min_size=1),
        "type": st.just("function"),
        "function": st.fixed_dictionaries({"name": st.text(min_size=1), "arguments": st.text()}),
    }
)
MESSAGES = st.fixed_dictionaries(
    {"role": st.just("assistant"), "content": st.none() | st.text(min_size=1)},
    optional={
        "reasoning_content": st.text(min_size=1),
        "refusal": st.text(min_size=1),
        "tool_calls": st.lists(CALLS, min_size=1, max_size=3),
    },
)
FINISHES = st.sampled_from(["stop", "length", "tool_calls", "content_filter"])
USAGE = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7, "prompt_tokens_details": {"cached_tokens": 1}}


def chat_of(choices: list[tuple[dict[str, Any], str]]) -> dict[str, Any]:
    told = [
        {"index": index, "message": message, "finish_reason": finish} for index, (message, finish) in enumerate(choices)
    ]
    head = {"id": "x", "object": "chat.completion", "created": 1, "model": "m", "system_fingerprint": "fp"}
    return {**head, "choices": told, "usage": USAGE}


@given(st.lists(st.tuples(MESSAGES, FINISHES), min_size=1, max_size=3))
def test_a_chat_comes_back_from_its_stream(choices: list[tuple[dict[str, Any], str]]):
    chat = chat_of(choices)
    frames = chat_as_stream(json.dumps(chat).encode(), with_usage=True)
    assert json.loads(chat_as_object(frames)) == chat
    assert frames[-1] == b"data: [DONE]\n\n"
    chunks = [json.loads(frame[6:]) for frame in frames[:-1]]
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert (chunks[-1]["choices"], chunks[-1]["usage"]) == ([], USAGE)


@given(st.lists(st.text(), min_size=1, max_size=3))
def test_a_completion_comes_back_from_its_stream(texts: list[str]):
    choices = [
        {"text": text, "index": index, "logprobs": None, "finish_reason": "stop"} for index, text in enumerate(texts)
    ]
    answer = {"id": "x", "object": "text_completion", "created": 1, "model": "m", "choices": choices, "usage": USAGE}
    frames = completion_as_stream(json.dumps(answer).encode(), with_usage=True)
    assert json.loads(completion_as_object(frames)) == answer


ODD = [
    b'{"choices": []}',
    b'{"choices": [{"index": 0, "message": {"role": "assistant", "hologram": [1]}}], "usage": {}}',
    b'{"choices": [{"index": 0}], "usage": {}}',
    b'{"choices": {"a": 1}, "usage": {}}',
    b"[1]",
    b"no",
]


@pytest.mark.parametrize("raw", ODD)
def test_what_has_no_place_in_a_stream_is_not_made_one(raw: bytes):
    with pytest.raises(NoOtherForm):
        chat_as_stream(raw, with_usage=True)


ODD_DELTAS = ['{"hologram": [1]}', '{"tool_calls": [{"index": 5, "id": "x"}]}', '{"tool_calls": {"a": 1}}']


@pytest.mark.parametrize("delta", ODD_DELTAS)
def test_what_has_no_place_in_an_object_is_not_made_one(delta: str):
    with pytest.raises(NoOtherForm):
        chat_as_object([b'data: {"choices": [{"index": 0, "delta": %s}]}\n\n' % delta.encode()])


def test_a_stored_object_answers_a_stream(sluice: Sluice, upstream: Upstream, key: str):
    upstream.script = chat_answer("Good morning", usage=usage_of(3, 2))
    asked = question()
    ask(sluice, key, **asked)
    answer = ask(sluice, key, **{**STREAM, **asked})
    assert cache_of(answer) == "HIT"
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert b"Good morning" in answer.content
    assert b'"usage"' not in answer.content
    assert answer.content.endswith(b"data: [DONE]\n\n")
    told = ask(sluice, key, **{**WITH_USAGE, **asked})
    assert cache_of(told) == "HIT"
    assert b'"usage":{"prompt_tokens":3' in told.content
    assert len(upstream.requests) == 1


def test_a_stored_stream_answers_a_plain_request(sluice: Sluice, upstream: Upstream, key: str):
    upstream.script = chat_stream(("Good ", "morning"), usage=usage_of(3, 2))
    asked = question()
    ask(sluice, key, **{**STREAM, **asked})
    answer = ask(sluice, key, **asked)
    assert cache_of(answer) == "HIT"
    told = answer.json()
    assert (told["object"], told["choices"][0]["message"]["content"]) == ("chat.completion", "Good morning")
    assert told["usage"]["total_tokens"] == 5
    assert len(upstream.requests) == 1


def test_a_stream_without_usage_is_no_object(sluice: Sluice, upstream: Upstream, key: str):
    upstream.answers(chat_stream(usage_shape="none"))
    asked = question()
    ask(sluice, key, **{**STREAM, **asked})
    assert cache_of(ask(sluice, key, **asked)) == "MISS"


@pytest.mark.parametrize("streams", [False, True])
def test_what_cannot_be_written_anew_is_asked_for_again(sluice: Sluice, upstream: Upstream, key: str, streams: bool):
    """Half of an emoji, which JavaScript writes where it cuts a text."""
    frames = [frame.replace(b"HALF", rb"\ud83d") for frame in chat_frames(("cut HALF",), usage=usage_of(3, 2))]
    plain, stream = chat_answer("cut \ud83d"), sse(frames)
    upstream.answers(stream if streams else plain)
    upstream.answers(plain if streams else stream)
    asked = question()
    answers = [ask(sluice, key, **{**asked, "stream": each}) for each in (streams, not streams)]
    assert [cache_of(answer) for answer in answers] == ["MISS", "MISS"]


@pytest.mark.parametrize("first_streams", [True, False])
def test_the_sdk_reads_both_forms_alike(start_sluice: StartSluice, first_streams: bool):
    """With tool calls, which the simulator makes."""
    server = start_sluice(simulated=True, HTTP_CACHE_DEFAULT_POLICY="on")
    client = server.openai(server.mint())
    tool = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}
    asked: dict[str, Any] = {
        "model": "simulator",
        "messages": [{"role": "user", "content": "What is the weather?"}],
        "tools": [tool],
        "tool_choice": "required",
    }

    def plain() -> tuple[str, Any]:
        raw = client.chat.completions.with_raw_response.create(**asked)
        return raw.headers["x-cache"], raw.parse().choices[0].model_dump(exclude_none=True)

    def streamed() -> tuple[str, Any]:
        with client.chat.completions.with_streaming_response.create(**asked, stream=True) as raw:
            state = ChatCompletionStreamState()
            for chunk in raw.parse():
                state.handle_chunk(chunk)
            choice = state.get_final_completion().choices[0]
            return raw.headers["x-cache"], choice.model_dump(exclude_none=True)

    first, second = (streamed, plain) if first_streams else (plain, streamed)
    (live, said), (stored, again) = first(), second()
    assert (live, stored) == ("MISS", "HIT")

    def calls(choice: Any) -> list[tuple[str, str]]:
        return [(call["function"]["name"], call["function"]["arguments"]) for call in choice["message"]["tool_calls"]]

    assert calls(again) == calls(said)
    assert again["finish_reason"] == said["finish_reason"]
