"""A response in its other form: an object as the events that say the same, and a stream as its object (F83).

The last event of a stream has the whole object, so that is taken from it as it stands. The events of an object are
those that OpenAI sends (https://platform.openai.com/docs/api-reference/responses-streaming), with each text in one
delta. All values stay as the provider wrote them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import Raw

from proxy.dialects.base import NoOtherForm
from proxy.wire.jsonbody import encoded
from proxy.wire.sse import data_of

WHOLE = frozenset({"response.completed", "response.incomplete"})
ITEM_DONE = "response.output_item.done"
NOT_YET = ("usage", "incomplete_details", "completed_at")
"""Members of a response that are null until it is over."""

Members = dict[str, Raw]

_members = msgspec.json.Decoder(Members)
_items = msgspec.json.Decoder(list[Raw])


class _Event(msgspec.Struct):
    type: str = ""
    response: Raw = Raw()


class _Output(msgspec.Struct):
    output: list[Raw]


class _Text(msgspec.Struct, tag="output_text", forbid_unknown_fields=True):
    text: Raw
    annotations: list[Raw] = []
    logprobs: list[Raw] | None = None


class _Refusal(msgspec.Struct, tag="refusal", forbid_unknown_fields=True):
    refusal: Raw


class _Summary(msgspec.Struct, tag="summary_text", forbid_unknown_fields=True):
    text: Raw


class _Thought(msgspec.Struct, tag="reasoning_text", forbid_unknown_fields=True):
    text: Raw


class _Item(msgspec.Struct):
    id: str
    type: str


_event = msgspec.json.Decoder(_Event)
_output = msgspec.json.Decoder(_Output)
_part = msgspec.json.Decoder(_Text | _Refusal | _Thought)
_summary = msgspec.json.Decoder(_Summary)
_item = msgspec.json.Decoder(_Item)


def response_as_object(frames: list[bytes]) -> bytes:
    """The object in the last event. Raises `NoOtherForm`."""
    done, found = 0, []
    try:
        for frame in frames:
            data = data_of(frame)
            if not data or not data.lstrip().startswith(b"{"):
                continue
            event = _event.decode(data)
            done += event.type == ITEM_DONE
            if event.type in WHOLE:
                found.append(bytes(event.response))
        # Some servers leave the items out of the last event, because the events before had them.
        if len(found) == 1 and len(_output.decode(found[0]).output) >= done:
            return found[0]
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise NoOtherForm("an event is of another shape") from error
    raise NoOtherForm("no event has the whole response")


def response_as_stream(raw: bytes) -> list[bytes]:
    """The frames that say the same as this object. Raises `NoOtherForm`."""
    try:
        response = _members.decode(msgspec.json.format(raw, indent=-1))  # an event has no line breaks in it
        status = msgspec.json.decode(response.get("status", Raw(b"null")))
        last = f"response.{status}"
        if last not in WHOLE:
            raise NoOtherForm("the response is of another state")
        events = _Events()
        begun: dict[str, Any] = {**response, "status": "in_progress", "output": []}
        begun |= {name: None for name in NOT_YET if name in response}
        events.add("response.created", response=begun)
        events.add("response.in_progress", response=begun)
        for index, item in enumerate(_items.decode(response["output"])):
            events.add_item(index, item)
        events.add(last, response=response)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, KeyError) as error:
        raise NoOtherForm("the response is of another shape") from error
    return events.frames


class _Events:
    """The events so far, numbered."""

    def __init__(self) -> None:
        self.frames: list[bytes] = []

    def add(self, kind: str, **members: Any) -> None:
        event = {"type": kind, "sequence_number": len(self.frames), **members}
        self.frames.append(b"event: %s\ndata: %s\n\n" % (kind.encode(), encoded(event)))

    def add_item(self, index: int, raw: Raw) -> None:
        """Add the events of one item of the output. Raises `NoOtherForm`, `KeyError`."""
        item = _item.decode(raw)
        known = ITEMS.get(item.type)
        members = _members.decode(raw)
        if known is None or not members.keys() <= known.members | COMMON:
            raise NoOtherForm("nobody knows the events of an item")
        begun: dict[str, Any] = {name: value for name, value in members.items() if name not in LATE}
        begun |= {name: value for name, value in known.empty.items() if name in members}
        if bytes(members.get("status", b"null")) != b"null":
            begun["status"] = "in_progress"
        self.add("response.output_item.added", output_index=index, item=begun)
        known.add(self, {"item_id": item.id, "output_index": index}, members)
        self.add(ITEM_DONE, output_index=index, item=raw)

    def add_text(self, name: str, place: dict[str, Any], text: Raw, **told: Any) -> None:
        """Add a text that comes in parts: in one, or in none if it is empty. Raises `NoOtherForm`."""
        if not bytes(text).startswith(b'"'):
            raise NoOtherForm("a text is none")
        if bytes(text) != b'""':
            self.add(f"{name}.delta", **place, delta=text, **told)


def add_message(events: _Events, place: dict[str, Any], item: Members) -> None:
    for index, raw in enumerate(_items.decode(item["content"])):
        add_part(events, {**place, "content_index": index}, raw)


def add_part(events: _Events, place: dict[str, Any], raw: Raw) -> None:
    part = _part.decode(raw)
    begun: dict[str, Any] = dict(_members.decode(raw))
    begun |= {name: [] for name in ("annotations", "logprobs") if name in begun}
    if isinstance(part, _Refusal):
        events.add("response.content_part.added", **place, part={**begun, "refusal": ""})
        events.add_text("response.refusal", place, part.refusal)
        events.add("response.refusal.done", **place, refusal=part.refusal)
    else:
        name = f"response.{'output_text' if isinstance(part, _Text) else 'reasoning_text'}"
        told = {"logprobs": part.logprobs or []} if isinstance(part, _Text) else {}
        events.add("response.content_part.added", **place, part={**begun, "text": ""})
        events.add_text(name, place, part.text, **told)
        if isinstance(part, _Text):
            for number, annotation in enumerate(part.annotations):
                events.add(f"{name}.annotation.added", **place, annotation_index=number, annotation=annotation)
        events.add(f"{name}.done", **place, text=part.text, **told)
    events.add("response.content_part.done", **place, part=raw)


def add_reasoning(events: _Events, place: dict[str, Any], item: Members) -> None:
    for index, raw in enumerate(_items.decode(item["summary"])):
        text, there = _summary.decode(raw).text, {**place, "summary_index": index}
        name = "response.reasoning_summary"
        events.add(f"{name}_part.added", **there, part={"type": "summary_text", "text": ""})
        events.add_text(f"{name}_text", there, text)
        events.add(f"{name}_text.done", **there, text=text)
        events.add(f"{name}_part.done", **there, part=raw)
    if bytes(item.get("content", b"null")) != b"null":
        add_message(events, place, item)


def add_function_call(events: _Events, place: dict[str, Any], item: Members) -> None:
    name, arguments = "response.function_call_arguments", item["arguments"]
    events.add_text(name, place, arguments)
    events.add(f"{name}.done", **place, name=item["name"], arguments=arguments)


def add_custom_call(events: _Events, place: dict[str, Any], item: Members) -> None:
    name, given = "response.custom_tool_call_input", item["input"]
    events.add_text(name, place, given)
    events.add(f"{name}.done", **place, input=given)


class _Known(msgspec.Struct, frozen=True):
    """One kind of items: its members beside the common ones, those that are empty at first, and its own events."""

    members: frozenset[str]
    empty: dict[str, Any]
    add: Callable[[_Events, dict[str, Any], Members], None]


COMMON = frozenset({"id", "type", "status"})
LATE = frozenset({"encrypted_content"})
"""Members that come with the end of an item."""

_CALL = frozenset({"call_id", "name", "namespace", "caller", "async"})
ITEMS = {
    "message": _Known(frozenset({"role", "content", "phase"}), {"content": []}, add_message),
    "function_call": _Known(_CALL | {"arguments"}, {"arguments": ""}, add_function_call),
    "custom_tool_call": _Known(_CALL | {"input"}, {"input": ""}, add_custom_call),
    "reasoning": _Known(LATE | {"summary", "content"}, {"summary": [], "content": []}, add_reasoning),
}
