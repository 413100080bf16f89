"""Makes the script for a request. Nothing here waits, or does I/O.

Equal requests get equal bytes, except where the answer depends on the process's memory: stored responses and `flap`.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from typing import Any, NamedTuple

import msgspec

from providers.simulator import chat, completions, embeddings, others, responses, stored
from providers.simulator.actions import Malformed, Piece, Script
from providers.simulator.counting import words_in
from providers.simulator.delivery import Plain, Stream, deliver, refusal_headers
from providers.simulator.memory import Memory
from providers.simulator.refusals import RefusedError
from providers.simulator.reply import Ask
from providers.simulator.settings import PLAIN, ContextLength, Flap, Settings, Status, settings_of

CREATES = ("/chat/completions", "/completions", "/responses", "/embeddings")
# The members of the body that change how an answer is sent, but not its words.
DELIVERY = ("stream", "stream_options", "simulate")


class Request(NamedTuple):
    """A request as it arrived. `path` follows the base path. Header names are in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


def script(request: Request, memory: Memory, defaults: Mapping[str, Any] | None = None) -> Script:
    """How to answer the request. `defaults` apply where the body's `simulate` says nothing."""
    played = answered(request, memory, defaults)
    if request.method == "HEAD":
        return Script([action for action in played.actions if not isinstance(action, Piece | Malformed)], False)
    return played


def answered(request: Request, memory: Memory, defaults: Mapping[str, Any] | None) -> Script:
    settings = PLAIN
    key = sha256(f"{request.method} {request.path} ".encode() + request.body).hexdigest()[:24]
    try:
        if request.path not in CREATES:
            settings = settings_of(None, defaults)
            fail_on_demand(settings, memory)
            answer = stored.respond(request.method, request.path, memory)
            if answer is None:
                answer = others.respond(*request)
            return deliver(answer, key, settings, repeatable=False)
        if request.method != "POST":
            raise RefusedError(
                f"Not allowed to {request.method} on {request.path}.",
                status=405,
                code="method_not_allowed",
                headers=((b"allow", b"POST"),),
            )
        body = parsed(request.body)
        settings = settings_of(body.get("simulate"), defaults)
        words, rest = canonical(body)
        key = sha256(request.path.encode() + words + rest).hexdigest()[:24]
        fail_on_demand(settings, memory, body)
        ask = Ask(body, settings, key, sha256(words).digest())
        # The same request creates a deleted response again, so it must reach the memory and not be answered by a cache.
        return deliver(created(request.path, ask, memory), key, settings, repeatable=request.path != "/responses")
    except RefusedError as error:
        refused = Plain(error.body(), status=error.status, headers=error.headers)
        return deliver(refused, key, settings, repeatable=request.path in CREATES)
    except RecursionError:
        refused = Plain(RefusedError("The JSON is nested too deeply.").body(), status=400)
        return deliver(refused, key)


def created(path: str, ask: Ask, memory: Memory) -> Plain | Stream:
    if path == "/chat/completions":
        return chat.respond(ask)
    if path == "/completions":
        return completions.respond(ask)
    if path == "/responses":
        return responses.respond(ask, memory)
    return embeddings.respond(ask)


def parsed(body: bytes) -> dict[str, Any]:
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        value = None
    if not isinstance(value, dict):
        raise RefusedError("We could not parse the JSON body of your request: an object was expected.")
    return value


def canonical(body: dict[str, Any]) -> tuple[bytes, bytes]:
    """The body as deterministic JSON in two parts: the members that choose the words, and the `DELIVERY` members."""
    words = {name: value for name, value in body.items() if name not in DELIVERY}
    rest = {name: body[name] for name in DELIVERY if name in body}
    encode = msgspec.json.Encoder(order="deterministic").encode
    return encode(words), encode(rest)


def fail_on_demand(settings: Settings, memory: Memory, body: dict[str, Any] | None = None) -> None:
    """Raises `RefusedError` if the fault is an error answer: a status, a flap, or too long a context."""
    match settings.fault:
        case Status() as fault:
            message = f"The simulator was told to answer with {fault.status}."
            raise RefusedError(message, status=fault.status, headers=refusal_headers(fault))
        case Flap() as fault if memory.flap(fault.period):
            raise RefusedError(f"The simulator fails every {fault.period}. request.", status=500)
        case ContextLength() if body is not None:
            tokens = words_in([body.get(name) for name in ("messages", "prompt", "input")])
            raise RefusedError(
                "This model's maximum context length is 128 tokens. "
                f"However, your messages resulted in {max(tokens, 129)} tokens. Please reduce their length.",
                param="messages" if "messages" in body else "input",
                code="context_length_exceeded",
            )
