"""F83, P30: a stored response answers both kinds of requests, and SDKs read a replay as what came live."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.responses import ResponseStreamEvent
from pydantic import TypeAdapter

from proxy.dialects.base import NoOtherForm
from proxy.dialects.responses_forms import response_as_object, response_as_stream
from tests.kit.caching import cache_of, id_in, prompt, respond
from tests.kit.sluice import Sluice, StartSluice
from tests.kit.streams import events_of
from tests.kit.upstream import (
    Upstream,
    frame,
    json_answer,
    response_frames,
    response_object,
    response_usage,
    responses_answer,
    responses_stream,
    sse,
)

pytestmark = pytest.mark.key(project={"cache_policy": "on"})

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
CITED = {"type": "url_citation", "start_index": 0, "end_index": 1, "title": "t", "url": "http://a.example/"}
TOLD = {"token": "a", "bytes": [97], "logprob": -0.25, "top_logprobs": []}
PARTS = st.one_of(
    st.fixed_dictionaries(
        {
            "type": st.just("output_text"),
            "text": TEXT,
            "annotations": st.lists(st.just(CITED), max_size=2),
            "logprobs": st.lists(st.just(TOLD), max_size=2),
        }
    ),
    st.fixed_dictionaries({"type": st.just("refusal"), "refusal": TEXT}),
)
STATUS = st.sampled_from(["completed", "incomplete"])
MESSAGES = st.fixed_dictionaries(
    {
        "id": st.just("msg_1"),
        "type": st.just("message"),
        "status": STATUS,
        "role": st.just("assistant"),
        "content": st.lists(PARTS, max_size=3),
    },
    optional={"phase": st.just("commentary")},
)
CALLED = {"call_id": st.just("call_1"), "name": st.just("f")}
CALLS = st.fixed_dictionaries(
    {"id": st.just("fc_1"), "type": st.just("function_call"), "status": STATUS, "arguments": TEXT, **CALLED}
)
CUSTOM = st.fixed_dictionaries({"id": st.just("ctc_1"), "type": st.just("custom_tool_call"), "input": TEXT, **CALLED})
REASONING = st.fixed_dictionaries(
    {
        "id": st.just("rs_1"),
        "type": st.just("reasoning"),
        "summary": st.lists(st.fixed_dictionaries({"type": st.just("summary_text"), "text": TEXT}), max_size=2),
    },
    optional={
        "status": st.none() | STATUS,
        "encrypted_content": TEXT,
        "content": st.none() | st.lists(st.fixed_dictionaries({"type": st.just("reasoning_text"), "text": TEXT})),
    },
)
ITEMS = st.lists(st.one_of(MESSAGES, CALLS, CUSTOM, REASONING), max_size=4)

EVENTS: TypeAdapter[ResponseStreamEvent] = TypeAdapter(ResponseStreamEvent)


def response_of(output: list[dict[str, Any]], **members: Any) -> dict[str, Any]:
    usage = {**response_usage(), "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0}}
    return {**response_object("x", usage=usage), "completed_at": 1, "output": output, **members}


def told_by(events: list[dict[str, Any]], output: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What a client has of the output that only adds up the deltas."""
    items: list[dict[str, Any]] = []
    for event in events:
        match event["type"].removeprefix("response."):
            case "output_item.added":
                assert event["output_index"] == len(items)
                items.append(event["item"])
            case "content_part.added":
                assert event["content_index"] == len(items[-1].setdefault("content", []))
                items[-1]["content"].append(event["part"])
            case "reasoning_summary_part.added":
                assert event["summary_index"] == len(items[-1]["summary"])
                items[-1]["summary"].append(event["part"])
            case "output_text.delta" | "reasoning_text.delta":
                items[-1]["content"][-1]["text"] += event["delta"]
                if "logprobs" in event:
                    items[-1]["content"][-1]["logprobs"] += event["logprobs"]
            case "refusal.delta":
                items[-1]["content"][-1]["refusal"] += event["delta"]
            case "reasoning_summary_text.delta":
                items[-1]["summary"][-1]["text"] += event["delta"]
            case "output_text.annotation.added":
                items[-1]["content"][-1]["annotations"].append(event["annotation"])
            case "function_call_arguments.delta":
                items[-1]["arguments"] += event["delta"]
            case "custom_tool_call_input.delta":
                items[-1]["input"] += event["delta"]
    assert len(items) == len(output)
    return items


def texts_of(items: list[dict[str, Any]]) -> list[Any]:
    """What items say, without what only their ends tell."""
    return [
        (
            item["type"],
            [(part["type"], part.get("text"), part.get("refusal")) for part in item.get("content") or []],
            [part["text"] for part in item.get("summary") or []],
            item.get("arguments"),
            item.get("input"),
        )
        for item in items
    ]


@given(ITEMS, STATUS, st.sampled_from([None, 2]))
def test_a_response_comes_back_from_its_stream(output: list[dict[str, Any]], status: str, indent: int | None):
    response = response_of(output, status=status)
    raw = json.dumps(response, indent=indent).encode()
    frames = response_as_stream(raw)
    assert json.loads(response_as_object(frames)) == response
    events = events_of(b"".join(frames))
    assert [event["sequence_number"] for event in events] == list(range(len(frames)))
    assert [each.split(b"\n")[0] for each in frames] == [b"event: " + event["type"].encode() for event in events]
    assert [event["type"] for event in events[:2]] == ["response.created", "response.in_progress"]
    assert (events[-1]["type"], events[-1]["response"]) == (f"response.{status}", response)
    begun = events[0]["response"]
    assert (begun["status"], begun["output"], begun["usage"], begun["completed_at"]) == ("in_progress", [], None, None)
    done = [event["item"] for event in events if event["type"] == "response.output_item.done"]
    assert done == output
    assert texts_of(told_by(events, output)) == texts_of(output)
    for event in events:
        EVENTS.validate_python(event)


def test_numbers_and_texts_stay_as_they_were_written():
    raw = json.dumps(response_of([])).replace('"temperature": 1.0', '"temperature": 1.00, "x": "\\u00e9"').encode()
    frames = response_as_stream(raw)
    assert b'"temperature":1.00,"x":"\\u00e9"' in frames[0]
    assert b'"temperature":1.00,"x":"\\u00e9"' in frames[-1]


def test_the_events_are_those_that_come_live():
    """For what both the simulator and the stand-in of the provider send."""
    live = events_of(b"".join(response_frames(("Good morning",))))
    made = events_of(b"".join(response_as_stream(json.dumps(response_object("Good morning")).encode())))
    assert [event["type"] for event in made] == [event["type"] for event in live]
    for one, other in zip(made, live, strict=True):
        assert one.keys() == other.keys()


PLAIN: dict[str, Any] = {"id": "x", "type": "message", "status": "completed", "role": "assistant", "content": []}
ODD: dict[str, bytes] = {
    "an unknown item": json.dumps(response_of([{"id": "x", "type": "hologram"}])).encode(),
    "a search": json.dumps(response_of([{"id": "x", "type": "web_search_call", "status": "completed"}])).encode(),
    "an item without an id": json.dumps(response_of([{"type": "message", "content": []}])).encode(),
    "an unknown member": json.dumps(response_of([{**PLAIN, "hologram": 1}])).encode(),
    "an unknown part": json.dumps(response_of([{**PLAIN, "content": [{"type": "hologram"}]}])).encode(),
    "a part with more": json.dumps(
        response_of([{**PLAIN, "content": [{"type": "refusal", "refusal": "no", "x": 1}]}])
    ).encode(),
    "a text that is none": json.dumps(
        response_of([{**PLAIN, "content": [{"type": "output_text", "text": 5}]}])
    ).encode(),
    "a call without arguments": json.dumps(response_of([{"id": "x", "type": "function_call"}])).encode(),
    "no list of output": json.dumps({**response_of([]), "output": None}).encode(),
    "no output": b'{"status": "completed"}',
    "one that has failed": json.dumps(response_of([], status="failed")).encode(),
    "no status": b'{"output": []}',
    "no object": b"[1]",
    "no JSON": b"no",
    "half a character": json.dumps(response_of([{**PLAIN, "phase": "\ud83d"}])).encode(),
}


@pytest.mark.parametrize("what", ODD)
def test_what_has_no_place_in_a_stream_is_not_made_one(what: str):
    with pytest.raises(NoOtherForm):
        response_as_stream(ODD[what])


ODD_STREAMS: dict[str, list[bytes]] = {
    "no end": response_frames()[:-1],
    "two ends": [*response_frames(), response_frames()[-1]],
    "an end without its items": [
        *response_frames()[:-1],
        frame({"type": "response.completed", "response": {**response_object("x"), "output": []}}),
    ],
    "an end of another shape": [frame({"type": "response.completed", "response": [1]})],
    "an event of another shape": [frame({"type": 5}), *response_frames()],
    "an object": [json.dumps(response_object("x")).encode()],
    "nothing": [],
}


@pytest.mark.parametrize("what", ODD_STREAMS)
def test_what_has_no_place_in_an_object_is_not_made_one(what: str):
    with pytest.raises(NoOtherForm):
        response_as_object(ODD_STREAMS[what])


# --- through the server --------------------------------------------------------------------------------------


@pytest.mark.parametrize("first_streams", [False, True])
def test_each_form_answers_the_other(sluice: Sluice, upstream: Upstream, key: str, first_streams: bool):
    upstream.script = responses_stream(("Good ", "morning")) if first_streams else responses_answer("Good morning")
    asked = prompt()
    forms = {streams: respond(sluice, key, stream=streams, **asked) for streams in (first_streams, not first_streams)}
    assert [cache_of(answer) for answer in forms.values()] == ["MISS", "HIT"]
    for _ in range(2):
        for streams, answer in forms.items():
            again = respond(sluice, key, stream=streams, **asked)
            assert (cache_of(again), again.content) == ("HIT", answer.content)
    assert forms[True].headers["content-type"].startswith("text/event-stream")
    assert forms[False].headers["content-type"] == "application/json"
    assert events_of(forms[True].content)[-1]["response"] == forms[False].json() == response_object("Good morning")
    assert len(upstream.requests) == 1


def test_what_has_no_other_form_is_asked_for_again(sluice: Sluice, upstream: Upstream, key: str):
    upstream.answers(json_answer(response_of([{"id": "x", "type": "web_search_call", "status": "completed"}])))
    upstream.answers(sse(response_frames()))
    asked = prompt()
    assert [cache_of(respond(sluice, key, stream=each, **asked)) for each in (False, True)] == ["MISS", "MISS"]


SCHEMA = {"type": "object", "properties": {"a": {"type": "number"}}}
TOOL = {"type": "function", "name": "weather", "parameters": SCHEMA}
SIMULATED: dict[str, dict[str, Any]] = {
    "a text": {},
    "a call": {"tools": [TOOL], "tool_choice": "required"},
    "a text that is too long": {"max_output_tokens": 3},
    "JSON": {"text": {"format": {"type": "json_object"}}},
    "a text that is not stored": {"store": False},
    "instructions": {"instructions": "Be brief.", "metadata": {"a": "b"}, "temperature": 0.5},
}


@pytest.fixture(scope="module")
def simulated(services: Any) -> Any:
    with Sluice.start(simulated=True, HTTP_CACHE_DEFAULT_POLICY="on") as server:
        yield server


def streamed(server: Sluice, key: str, asked: dict[str, Any], **headers: str) -> tuple[str, list[Any]]:
    """What the cache says, and the SDK's events."""
    create = server.openai(key).responses.with_streaming_response.create
    with create(**{**asked, "model": "simulator", "stream": True}, extra_headers=headers) as answer:
        return answer.headers["x-cache"], [event.model_dump() for event in answer.parse()]


@pytest.mark.parametrize("what", SIMULATED)
def test_the_sdk_reads_a_replay_as_it_reads_a_live_stream(simulated: Sluice, what: str):
    """With every type of event that the simulator makes."""
    asked, key = {**prompt(), **SIMULATED[what]}, simulated.mint()
    alone, live = streamed(simulated, key, asked, **{"x-cache-skip": "1"})
    seen = [streamed(simulated, key, asked) for _ in range(3)]
    assert (alone, [cache for cache, _ in seen]) == ("BYPASS", ["MISS", "HIT", "HIT"])
    assert all(events == live for _, events in seen)
    raw = {**asked, "model": "simulator", "stream": True}
    told = [respond(simulated, key, headers={"x-cache-skip": each}, **raw) for each in ("0", "1")]
    assert [answer.headers["x-cache"] for answer in told] == ["HIT", "BYPASS"]
    assert told[0].content == told[1].content


@pytest.mark.parametrize("what", SIMULATED)
def test_the_sdk_reads_the_other_form_as_the_first(simulated: Sluice, what: str):
    """The SDK's helper for streams adds up all events, and is strict about their order."""
    client = simulated.openai(simulated.mint())
    asked: dict[str, Any] = {"model": "simulator", **prompt(), **SIMULATED[what]}
    plain = client.responses.with_raw_response.create(**asked)
    made = plain.parse()
    with client.responses.stream(**asked) as stream:
        caches = [plain.headers["x-cache"], stream._response.headers["x-cache"]]
        last: Any = list(stream)[-1]
    assert caches == ["MISS", "HIT"]
    assert last.type == f"response.{made.status}"
    assert last.response.output_text == made.output_text
    assert last.response.usage == made.usage


@pytest.mark.parametrize("what", SIMULATED)
def test_an_object_out_of_a_stream_is_the_one_that_would_have_come(simulated: Sluice, what: str):
    asked, key = {**prompt(), **SIMULATED[what], "model": "simulator"}, simulated.mint()
    live = respond(simulated, key, headers={"x-cache-skip": "1"}, **asked)
    stream = respond(simulated, key, stream=True, **asked)
    replayed = respond(simulated, key, **asked)
    assert [cache_of(answer) for answer in (live, stream, replayed)] == ["BYPASS", "MISS", "HIT"]
    one, other = (id_in(answer).removeprefix("resp_sim") for answer in (live, stream))
    assert replayed.text == live.text.replace(one, other)  # the simulator names answers by the request's bytes


def test_a_timed_replay_is_the_same(start_sluice: StartSluice):
    server = start_sluice(simulated=True, HTTP_CACHE_DEFAULT_POLICY="on")
    key, asked = server.mint(), {**prompt(), "model": "simulator", "stream": True}
    replays = ("timed", "at once", "timed")
    answers = [respond(server, key, headers={"x-cache-replay": each}, **asked) for each in replays]
    assert [cache_of(answer) for answer in answers] == ["MISS", "HIT", "HIT"]
    assert len({answer.content for answer in answers}) == 1
