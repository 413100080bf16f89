"""`/responses`: responses, whole and as typed events."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from providers.simulator.counting import responses_usage, words_in
from providers.simulator.delivery import Plain, Stream, frame
from providers.simulator.memory import Memory, Stored
from providers.simulator.refusals import RefusedError, counted, member
from providers.simulator.reply import CREATED, Ask, Choice

ECHOED: dict[str, Any] = {
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "reasoning": {"effort": None, "summary": None},
    "service_tier": "default",
    "store": True,
    "temperature": 1.0,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_p": 1.0,
    "truncation": "disabled",
    "user": None,
}


def respond(ask: Ask, memory: Memory) -> Plain | Stream:
    """A response, whole or as events. It is kept in `memory` unless `store` is false. Raises `RefusedError`."""
    prompt = member(ask.body, "input", (str, list), "")
    limit = counted(ask.body, "max_output_tokens", None, 1, 10**9)
    form = (member(ask.body, "text", dict) or {}).get("format")
    prompt_tokens = words_in(prompt) + words_in(member(ask.body, "instructions", (str, list), ""))

    def plain(choices: list[Choice]) -> bytes:
        return msgspec.json.encode(response(ask, choices[0], prompt_tokens))

    choice = ask.choices(plain, limit=limit, output=form)[0]
    whole = response(ask, choice, prompt_tokens)
    data = msgspec.json.encode(whole)
    if member(ask.body, "store", bool, True):
        items = input_items(ask.key, prompt)
        memory.keep(Stored(whole, items, len(data) + len(msgspec.json.encode(items))))
    return stream(ask, choice, whole) if ask.stream else Plain(data, len(choice.tokens))


def response(ask: Ask, choice: Choice | None, prompt_tokens: int) -> dict[str, Any]:
    """The response object. Without a choice it is that of a response that has just begun."""
    reason = {"length": "max_output_tokens", "content_filter": "content_filter"}.get(choice.finish) if choice else None
    status = "incomplete" if reason else "completed"
    usage = responses_usage(prompt_tokens, len(choice.tokens)) if choice and ask.settings.usage != "none" else None
    return {
        "id": f"resp_sim{ask.key}",
        "object": "response",
        "created_at": CREATED,
        "status": status if choice else "in_progress",
        "background": bool(ask.body.get("background")),
        "error": None,
        "incomplete_details": {"reason": reason} if reason else None,
        "model": ask.model,
        "output": [item(ask, choice.text, status)] if choice else [],
        **{name: default if (value := ask.body.get(name)) is None else value for name, default in ECHOED.items()},
        "usage": usage,
    }


def item(ask: Ask, text: str, status: str) -> dict[str, Any]:
    """The one item of the output: a message, or a function call."""
    if ask.tool:
        return {
            "id": f"fc_sim{ask.key}",
            "type": "function_call",
            "status": status,
            "arguments": text,
            "call_id": f"call_sim{ask.key}",
            "name": ask.tool.name,
        }
    content = [part(text)] if status != "in_progress" else []
    return {"id": f"msg_sim{ask.key}", "type": "message", "status": status, "content": content, "role": "assistant"}


def part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "annotations": [], "logprobs": [], "text": text}


def event(name: str, number: int, data: dict[str, Any]) -> bytes:
    return frame({"type": name, "sequence_number": number, **data}, name)


def stream(ask: Ask, choice: Choice, whole: dict[str, Any]) -> Stream:
    begun = response(ask, None, 0)
    opening = [event("response.created", 0, {"response": begun}), event("response.in_progress", 1, {"response": begun})]
    place = {"item_id": whole["output"][0]["id"], "output_index": 0}
    lead: list[tuple[str, dict[str, Any]]] = [
        ("response.output_item.added", {"output_index": 0, "item": item(ask, "", "in_progress")})
    ]
    if ask.tool:
        delta = "response.function_call_arguments.delta"
        closing = [
            ("response.function_call_arguments.done", {**place, "name": ask.tool.name, "arguments": choice.text})
        ]
    else:
        place["content_index"] = 0
        delta = "response.output_text.delta"
        lead.append(("response.content_part.added", {**place, "part": part("")}))
        closing = [
            ("response.output_text.done", {**place, "text": choice.text, "logprobs": []}),
            ("response.content_part.done", {**place, "part": part(choice.text)}),
        ]
    closing.append(("response.output_item.done", {"output_index": 0, "item": whole["output"][0]}))
    first = len(opening) + len(lead)
    after = first + len(choice.tokens)
    return Stream(
        opening=opening,
        lead=[event(name, len(opening) + order, data) for order, (name, data) in enumerate(lead)],
        tokens=deltas(delta, first, place, choice.tokens),
        closing=[event(name, after + order, data) for order, (name, data) in enumerate(closing)],
        last=[event(f"response.{whole['status']}", after + len(closing), {"response": whole})],
        broken=f'event: {delta}\ndata: {{"type":"{delta}","item_id":"msg_s\n\n'.encode(),
    )


def deltas(name: str, first: int, place: dict[str, Any], tokens: list[str]) -> Iterator[list[bytes]]:
    # `logprobs` is a member of text deltas only.
    extra = b',"logprobs":[]' if "content_index" in place else b""
    head = frame({"type": name, **place}, name).removesuffix(b"}\n\n")
    for number, token in enumerate(tokens, first):
        yield [b'%s,"delta":%s%s,"sequence_number":%d}\n\n' % (head, msgspec.json.encode(token), extra, number)]


def input_items(key: str, prompt: str | list[Any]) -> list[dict[str, Any]]:
    """The input as the API lists it: each item has an id, and a text is a part. Raises `RefusedError`."""
    items = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
    listed = []
    for number, each in enumerate(items):
        if not isinstance(each, dict):
            raise RefusedError(f"Invalid type for 'input[{number}]'.", param=f"input[{number}]", code="invalid_type")
        entry = {"id": f"msg_sim{key}_{number}", "type": "message", **each}
        if isinstance(each.get("content"), str):
            kind = "output_text" if each.get("role") == "assistant" else "input_text"
            entry |= {"status": "completed", "content": [{"type": kind, "text": each["content"]}]}
        listed.append(entry)
    return listed
