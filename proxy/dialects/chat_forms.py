"""A chat completion in its other form: an object as the stream that says the same, and a stream as its object.

For stored answers, which answer both kinds of requests (F83). The formats are OpenAI's: `chat.completion` and
`chat.completion.chunk` (https://platform.openai.com/docs/api-reference/chat). What has no known place in the other form
is not changed: then there is no other form, and the provider is asked.
"""

from __future__ import annotations

import json
from typing import Any

from proxy.dialects.base import NoOtherForm
from proxy.wire.jsonbody import encoded
from proxy.wire.sse import data_of

OBJECT, CHUNK = "chat.completion", "chat.completion.chunk"
TEXTS = frozenset({"content", "refusal", "reasoning", "reasoning_content"})
"""Members of a message that come in parts."""

ONCE = frozenset({"role", "name", "annotations", "audio", "reasoning_details"})
"""Members of a message that come whole."""

CALL_TEXTS = frozenset({"arguments", "input"})
DONE = b"data: [DONE]\n\n"

Members = dict[str, Any]


def chat_as_stream(raw: bytes, *, with_usage: bool) -> list[bytes]:
    """The frames that say the same as this object. Raises `NoOtherForm`."""
    answer = object_of(raw)
    choices = answer.pop("choices", None)
    usage = answer.pop("usage", None)
    if not isinstance(choices, list) or not choices or (with_usage and not isinstance(usage, dict)):
        raise NoOtherForm("the answer has no choices, or no usage")
    head = {**answer, "object": CHUNK}
    told: Members = {"usage": None} if with_usage else {}
    chunks: list[Members] = []
    for choice in choices:
        rest, message = _split(choice)
        finish = rest.pop("finish_reason", None)
        index = rest.pop("index", 0)
        first: Members = {"index": index, "delta": {"role": message.pop("role", "assistant")}, "finish_reason": None}
        chunks.append({**head, "choices": [first], **told})
        if delta := _delta_of(message):
            chunks.append(
                {**head, "choices": [{"index": index, "delta": delta, **rest, "finish_reason": None}], **told}
            )
        chunks.append({**head, "choices": [{"index": index, "delta": {}, "finish_reason": finish}], **told})
    if with_usage:
        chunks.append({**head, "choices": [], "usage": usage})
    return [*(b"data: %s\n\n" % encoded(chunk) for chunk in chunks), DONE]


def chat_as_object(frames: list[bytes]) -> bytes:
    """The object that says the same as these frames. Raises `NoOtherForm`."""
    answer: Members = {}
    choices: dict[int, Members] = {}
    usage: Any = None
    for frame in frames:
        data = data_of(frame)
        if not data or data.startswith(b"[DONE]"):
            continue
        chunk = object_of(data)
        usage = chunk.pop("usage", None) or usage
        chunk.pop("obfuscation", None)
        for choice in list_of(chunk.pop("choices", [])):
            _add_choice(choices, choice)
        answer.update({name: value for name, value in chunk.items() if value is not None or name not in answer})
    if not choices:
        raise NoOtherForm("the stream has no choices")
    answer["object"] = OBJECT
    answer["choices"] = [choices[index] for index in sorted(choices)]
    if usage is not None:
        answer["usage"] = usage
    return encoded(answer)


def _add_choice(choices: dict[int, Members], part: Any) -> None:
    if not isinstance(part, dict) or not isinstance(index := part.pop("index", 0), int):
        raise NoOtherForm("a choice is of another shape")
    delta, finish, logprobs = part.pop("delta", None) or {}, part.pop("finish_reason", None), part.pop("logprobs", None)
    choice = choices.setdefault(index, {"index": index, "message": {"role": "assistant", "content": None}})
    message = choice["message"]
    for name, value in delta.items():
        if value is None:
            message.setdefault(name, None)
        elif name in TEXTS and isinstance(value, str):
            message[name] = (message.get(name) or "") + value
        elif name == "tool_calls":
            _add_calls(message.setdefault("tool_calls", []), value)
        elif name == "role" or (name in ONCE and message.get(name) in (None, value)):
            message[name] = value
        else:
            raise NoOtherForm(f"nobody knows how {name!r} comes in parts")
    if logprobs is not None:
        add_logprobs(choice, logprobs)
    if finish is not None:
        choice["finish_reason"] = finish
    for name, value in part.items():
        if choice.setdefault(name, value) != value:
            raise NoOtherForm(f"{name!r} of a choice changes")


def _add_calls(calls: list[Members], parts: Any) -> None:
    for part in list_of(parts):
        index = part.pop("index", None) if isinstance(part, dict) else None
        if not isinstance(index, int) or not 0 <= index <= len(calls):
            raise NoOtherForm("a tool call is out of order")
        if index == len(calls):
            calls.append({})
        _merge(calls[index], part)


def _merge(call: Members, part: Members) -> None:
    """Texts are continued; all else comes once."""
    for name, value in part.items():
        if isinstance(value, dict):
            _merge(call.setdefault(name, {}), value)
        elif name in CALL_TEXTS and isinstance(value, str):
            call[name] = call.get(name, "") + value
        elif value is not None and call.setdefault(name, value) != value:
            raise NoOtherForm(f"{name!r} of a tool call changes")


def add_logprobs(choice: Members, logprobs: Any) -> None:
    if not isinstance(logprobs, dict):
        raise NoOtherForm("the log probabilities are of another shape")
    whole = choice["logprobs"] = choice.get("logprobs") or {}
    for name, value in logprobs.items():
        if isinstance(value, list):
            whole[name] = (whole.get(name) or []) + value
        elif value is None:
            whole.setdefault(name, None)
        else:
            raise NoOtherForm("the log probabilities are of another shape")


def _delta_of(message: Members) -> Members:
    """What a message says, as one part of it."""
    delta = {name: value for name, value in message.items() if value is not None}
    if not delta.keys() <= TEXTS | ONCE | {"tool_calls"}:
        raise NoOtherForm("a message has members that nobody knows as parts")
    if "tool_calls" in delta:
        delta["tool_calls"] = [{"index": index, **call} for index, call in enumerate(list_of(delta["tool_calls"]))]
    return delta


def _split(choice: Any) -> tuple[Members, Members]:
    """A choice without its message, and the message."""
    if not isinstance(choice, dict) or not isinstance(choice.get("message"), dict):
        raise NoOtherForm("a choice has no message")
    rest = {name: value for name, value in choice.items() if name != "message" and value is not None}
    return rest, dict(choice["message"])


def list_of(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise NoOtherForm("a list is of another shape")
    return value


def object_of(raw: bytes) -> Members:
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise NoOtherForm("it is no JSON") from error
    if not isinstance(value, dict):
        raise NoOtherForm("it is no object")
    return value
