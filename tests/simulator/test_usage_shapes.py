"""Where a stream tells its usage, in each of the ways that providers do it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.kit.simulations import chat, frames_of, json_of, play


def stream_frames(usage: str, *, asked: bool = False, **members):
    options: dict[str, Any] = {"stream_options": {"include_usage": True}} if asked else {}
    return frames_of(chat(stream=True, simulate={"usage": usage, "tokens": 4}, **options, **members))


def test_openai_adds_a_frame_of_its_own_when_asked_and_null_in_the_others():
    *others, last = stream_frames("openai", asked=True)
    assert last["choices"] == []
    assert last["usage"]["completion_tokens"] == 4
    assert last["usage"]["prompt_tokens"] == 3
    assert all("usage" in frame and frame["usage"] is None for frame in others)


def test_openai_says_nothing_when_not_asked():
    assert all("usage" not in frame for frame in stream_frames("openai"))


def test_last_tells_it_in_the_last_frame_with_choices():
    *others, last = stream_frames("last", n=2)
    assert last["choices"][0]["finish_reason"] == "stop"
    assert last["usage"]["completion_tokens"] == 8
    assert all("usage" not in frame for frame in others)


def test_every_frame_has_the_sum_so_far():
    assert [frame["usage"]["completion_tokens"] for frame in stream_frames("every")] == [0, 1, 2, 3, 4, 4]


@pytest.mark.parametrize("asked", [False, True])
def test_none_says_nothing_whoever_asks(asked):
    assert all("usage" not in frame for frame in stream_frames("none", asked=asked))
    assert "usage" not in json_of(chat(simulate={"usage": "none"}))


def test_always_adds_the_frame_unasked():
    *others, last = stream_frames("always")
    assert last["choices"] == []
    assert last["usage"]["total_tokens"] == 7
    assert all("usage" not in frame for frame in others)


def test_legacy_completions_have_the_same_ways():
    body = {"model": "m", "prompt": "a b", "stream": True, "stream_options": {"include_usage": True}}
    last = frames_of(play("/completions", body, tokens=2))[-1]
    assert (last["choices"], last["usage"]["total_tokens"]) == ([], 4)


@pytest.mark.parametrize("usage", ["openai", "last", "every", "always"])
def test_a_response_tells_it_in_its_last_event(usage):
    body = {"model": "m", "input": "a b", "instructions": "c", "stream": True}
    last = frames_of(play("/responses", body, usage=usage, tokens=5))[-1]
    assert last["response"]["usage"] == {
        "input_tokens": 3,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": 5,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 8,
    }


def test_a_response_without_usage():
    assert json_of(play("/responses", {"model": "m", "input": "a"}, usage="none"))["usage"] is None
