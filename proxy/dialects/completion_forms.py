"""A completion of `/v1/completions` in its other form, as `chat_forms.py` has it for chats.

Object and chunks are both `text_completion` (https://platform.openai.com/docs/api-reference/completions).
"""

from __future__ import annotations

from typing import Any

from proxy.dialects.base import NoOtherForm
from proxy.dialects.chat_forms import DONE, Members, add_logprobs, list_of, object_of
from proxy.wire.jsonbody import encoded
from proxy.wire.sse import data_of


def completion_as_stream(raw: bytes, *, with_usage: bool) -> list[bytes]:
    """The frames that say the same as this object. Raises `NoOtherForm`."""
    head = object_of(raw)
    choices, usage = list_of(head.pop("choices", None)), head.pop("usage", None)
    if not choices or (with_usage and not isinstance(usage, dict)):
        raise NoOtherForm("the answer has no choices, or no usage")
    told: Members = {"usage": None} if with_usage else {}
    chunks: list[Members] = [{**head, "choices": [choice], **told} for choice in choices]
    if with_usage:
        chunks.append({**head, "choices": [], "usage": usage})
    return [*(b"data: %s\n\n" % encoded(chunk) for chunk in chunks), DONE]


def completion_as_object(frames: list[bytes]) -> bytes:
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
        for part in list_of(chunk.pop("choices", [])):
            _add(choices, part)
        answer.update(chunk)
    if not choices:
        raise NoOtherForm("the stream has no choices")
    answer["choices"] = [choices[index] for index in sorted(choices)]
    if usage is not None:
        answer["usage"] = usage
    return encoded(answer)


def _add(choices: dict[int, Members], part: Any) -> None:
    if not isinstance(part, dict) or not isinstance(index := part.pop("index", 0), int):
        raise NoOtherForm("a choice is of another shape")
    choice = choices.setdefault(index, {"text": "", "index": index, "logprobs": None, "finish_reason": None})
    for name, value in part.items():
        if name == "text" and isinstance(value, str):
            choice["text"] += value
        elif name == "logprobs" and value is not None:
            choice["logprobs"] = choice["logprobs"] or {}
            add_logprobs(choice, value)
        elif value is not None:
            choice[name] = value
