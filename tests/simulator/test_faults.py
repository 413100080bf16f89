"""Every fault breaks where and how it says."""

from __future__ import annotations

import json

import pytest

from providers.simulator.actions import Cut, End, Head, Malformed, Pause, Piece, Stall
from providers.simulator.memory import Memory
from providers.simulator.settings import NAMES, problem_with
from tests.kit.simulations import HELLO, chat, data_of, frames_of, head_of, json_of, kinds_of, play, texts_of


def failing(kind: str, *, stream: bool = False, **members):
    return chat(stream=stream, simulate={"fault": {"kind": kind, **members}})


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "status, kind, code",
    [
        (429, "requests", "rate_limit_exceeded"),
        (500, "server_error", None),
        (503, "server_error", None),
        (401, "authentication_error", "invalid_api_key"),
    ],
)
def test_status(status, kind, code, stream):
    actions = failing("status", status=status, retry_after=2, stream=stream)
    assert head_of(actions).status == status
    assert (b"retry-after", b"2") in head_of(actions).headers
    assert (json_of(actions)["error"]["type"], json_of(actions)["error"]["code"]) == (kind, code)


@pytest.mark.parametrize("kind, end", [("cut", Cut()), ("stall", Stall())])
@pytest.mark.parametrize("after", [0, 1, 7, 16, 99])
def test_a_stream_breaks_after_so_many_tokens(kind, end, after):
    actions = failing(kind, after=after, stream=True)
    assert actions[-1] == end
    assert len(texts_of(actions)) == min(after, 16)
    assert all(choice["finish_reason"] is None for frame in frames_of(actions) for choice in frame["choices"])
    assert b"[DONE]" not in data_of(actions)


@pytest.mark.parametrize("kind, end", [("cut", Cut()), ("stall", Stall())])
@pytest.mark.parametrize("after", [0, 7, 99])
def test_a_plain_answer_breaks_inside_its_body(kind, end, after):
    actions = failing(kind, after=after)
    length = int(dict(head_of(actions).headers)[b"content-length"])
    assert len(data_of(actions)) < length
    assert actions[-1] == end


def test_reset_drops_before_the_head():
    assert failing("reset") == failing("reset", stream=True) == [Cut()]


def test_malformed_is_half_a_frame_and_the_stream_goes_on():
    actions = failing("malformed", after=3, stream=True)
    place = kinds_of(actions).index("Malformed")
    broken = actions[place].data
    assert broken.startswith(b"data: {")
    assert broken.endswith(b"\n\n")
    with pytest.raises(json.JSONDecodeError):
        json.loads(broken[6:])
    assert len(texts_of(actions[:place])) == 3
    assert len(texts_of(actions)) == 16
    assert data_of(actions).endswith(b"data: [DONE]\n\n")


def test_a_malformed_plain_answer_is_whole_as_http():
    actions = failing("malformed", after=5)
    assert [type(action) for action in actions] == [Head, Malformed, End]
    assert int(dict(head_of(actions).headers)[b"content-length"]) == len(data_of(actions))
    with pytest.raises(json.JSONDecodeError):
        json_of(actions)


def test_no_done_ends_properly_without_it():
    actions = failing("no_done", stream=True)
    assert actions[-1] == End()
    assert b"[DONE]" not in data_of(actions)
    assert frames_of(actions)[-1]["choices"][0]["finish_reason"] == "stop"


def test_no_done_of_a_response_lacks_its_last_event():
    body = {"model": "m", "input": "x", "stream": True}
    frames = frames_of(play("/responses", body, fault={"kind": "no_done"}))
    assert frames[-1]["type"] == "response.output_item.done"


def test_slow_first_byte_waits_before_the_head():
    actions = failing("slow_first_byte", seconds=20)
    assert actions[0] == Pause(20)
    assert isinstance(actions[1], Head)


def test_html_is_200_and_a_page():
    actions = failing("html", stream=True)
    assert head_of(actions).status == 200
    assert dict(head_of(actions).headers)[b"content-type"].startswith(b"text/html")
    assert data_of(actions).startswith(b"<!doctype html>")


def test_context_length():
    actions = failing("context_length")
    assert head_of(actions).status == 400
    assert json_of(actions)["error"]["code"] == "context_length_exceeded"
    assert json_of(actions)["error"]["param"] == "messages"


def test_content_filter_is_the_finish_reason():
    assert json_of(failing("content_filter"))["choices"][0]["finish_reason"] == "content_filter"
    assert frames_of(failing("content_filter", stream=True))[-1]["choices"][0]["finish_reason"] == "content_filter"
    answer = json_of(play("/responses", {"model": "m", "input": "x"}, fault={"kind": "content_filter"}))
    assert answer["incomplete_details"] == {"reason": "content_filter"}


def test_every_nth_request_fails_when_it_flaps():
    memory = Memory()
    flap = {"fault": {"kind": "flap", "period": 3}}
    assert [head_of(chat(memory=memory, simulate=flap)).status for _ in range(6)] == [200, 200, 500, 200, 200, 500]


def test_the_times_of_a_stream():
    times = {"delay_ms": 50, "first_token_ms": 200, "tokens_per_second": 10, "tokens": 3}
    actions = chat(stream=True, simulate=times)
    assert kinds_of(actions)[:3] == ["Pause", "Head", "Pause"]
    assert [action.seconds for action in actions if isinstance(action, Pause)] == [0.05, 0.2, 0.1, 0.1]
    # The first frame comes with the first token, as OpenAI's does.
    assert kinds_of(actions)[3:8] == ["Piece", "Piece", "Pause", "Piece", "Pause"]


def test_a_plain_answer_waits_before_its_body_and_has_no_rate():
    actions = chat(simulate={"first_token_ms": 200, "tokens_per_second": 10})
    assert [type(action) for action in actions] == [Head, Pause, Piece, End]


def test_defaults_hold_until_the_request_says_otherwise():
    defaults = {"tokens": 3, "fault": {"kind": "status", "status": 503}}
    assert head_of(chat(defaults=defaults)).status == 503
    assert json_of(chat(defaults=defaults, simulate={"fault": None}))["usage"]["completion_tokens"] == 3
    assert head_of(play("/models", None, method="GET", defaults=defaults)).status == 503


@pytest.mark.parametrize(
    "simulate, field",
    [
        (5, "simulate"),
        ({"tokens": -1}, "simulate.tokens"),
        ({"tokens": 10**9}, "simulate.tokens"),
        ({"bytes": 10**12}, "simulate.bytes"),
        ({"delay_ms": "soon"}, "simulate.delay_ms"),
        ({"usage": "sometimes"}, "simulate.usage"),
        ({"speed": 1}, "simulate.speed"),
        ({"fault": "cut"}, "simulate.fault"),
        ({"fault": {"kind": "fire"}}, "simulate.fault.kind"),
        ({"fault": {"kind": "status", "status": 200}}, "simulate.fault.status"),
        ({"fault": {"kind": "status"}}, "simulate.fault.status"),
        ({"fault": {"kind": "cut", "after": -1}}, "simulate.fault.after"),
        ({"fault": {"kind": "flap", "period": 0}}, "simulate.fault.period"),
    ],
)
def test_a_bad_setting_is_400_and_named(simulate, field):
    actions = chat(simulate=simulate)
    assert head_of(actions).status == 400
    assert json_of(actions)["error"]["param"] == field
    assert field in json_of(actions)["error"]["message"]


def test_a_bad_default_is_told_as_a_sentence():
    assert problem_with({"tokens": 3, "fault": {"kind": "cut", "after": 2}}) is None
    assert "`tokens`" in str(problem_with({"tokens": "x"}))
    assert set(NAMES) >= {"tokens", "bytes", "usage", "fault"}


def test_too_many_tokens_altogether_are_refused():
    assert head_of(play("/chat/completions", {**HELLO, "n": 128}, tokens=100_000)).status == 400
