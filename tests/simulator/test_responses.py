"""The Responses API: its events in order, and the responses that a process remembers."""

from __future__ import annotations

import json

from providers.simulator import memory as memory_module
from providers.simulator.memory import Memory, Stored
from tests.kit.simulations import frames_of, head_of, json_of, play

ASKED = {"model": "simulator", "input": "hello there"}


def test_the_events_of_a_text():
    events = frames_of(play("/responses", {**ASKED, "stream": True}, tokens=2))
    assert [event["type"].removeprefix("response.") for event in events] == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]
    assert [event["sequence_number"] for event in events] == list(range(10))
    deltas = "".join(event["delta"] for event in events if event["type"] == "response.output_text.delta")
    assert deltas == events[6]["text"] == events[-1]["response"]["output"][0]["content"][0]["text"]


def test_too_small_a_maximum_leaves_it_incomplete():
    body = {**ASKED, "max_output_tokens": 3}
    answer = json_of(play("/responses", body))
    assert (answer["status"], answer["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})
    assert frames_of(play("/responses", {**body, "stream": True}))[-1]["type"] == "response.incomplete"


def test_a_required_function_is_called():
    tools = [
        {"type": "function", "name": "f", "parameters": {"type": "object", "properties": {"a": {"type": "number"}}}}
    ]
    body = {**ASKED, "tools": tools, "tool_choice": "required"}
    call = json_of(play("/responses", body))["output"][0]
    assert (call["type"], call["name"]) == ("function_call", "f")
    events = frames_of(play("/responses", {**body, "stream": True}))
    deltas = [event["delta"] for event in events if event["type"] == "response.function_call_arguments.delta"]
    assert "".join(deltas) == call["arguments"]
    assert json.loads(call["arguments"])["a"] > 0
    assert [event["sequence_number"] for event in events] == list(range(len(events)))


def test_a_response_is_found_listed_cancelled_and_deleted():
    memory = Memory()
    made = json_of(play("/responses", ASKED, memory=memory))
    path = f"/responses/{made['id']}"
    assert json_of(play(path, method="GET", memory=memory)) == made
    items = json_of(play(f"{path}/input_items", method="GET", memory=memory))
    assert items["data"][0]["content"] == [{"type": "input_text", "text": "hello there"}]
    assert items["first_id"] == items["data"][0]["id"]
    assert json_of(play(f"{path}/cancel", memory=memory))["status"] == "cancelled"
    assert json_of(play(path, method="DELETE", memory=memory))["deleted"] is True
    assert memory.bytes == 0
    gone = play(path, method="GET", memory=memory)
    assert head_of(gone).status == 404
    assert json_of(gone)["error"]["type"] == "invalid_request_error"


def test_a_streamed_response_is_kept_and_one_not_to_be_stored_is_not():
    memory = Memory()
    play("/responses", {**ASKED, "stream": True}, memory=memory)
    assert len(memory.responses) == 1
    play("/responses", {**ASKED, "input": "other", "store": False}, memory=memory)
    assert len(memory.responses) == 1


def test_memory_is_bounded_in_number_and_bytes(monkeypatch):
    memory = Memory()
    for number in range(1_100):
        play("/responses", {**ASKED, "input": str(number)}, memory=memory)
    assert len(memory.responses) == 1000
    monkeypatch.setattr(memory_module, "MOST_BYTES", 10_000)
    memory.keep(Stored({"id": "big"}, [], 9_000))
    assert memory.bytes <= 10_000
    assert "big" in memory.responses


def test_an_input_of_the_wrong_shape_is_refused():
    assert head_of(play("/responses", {**ASKED, "input": [5]})).status == 400
    assert head_of(play("/responses", {**ASKED, "input": 5})).status == 400
