"""Reads long JSON, in the child: by the functions that read short bodies. The results are short."""

from __future__ import annotations

import ctypes
import json
import re
from typing import Any

import msgspec
from msgspec import Raw

from keys.rules import ParamRefused, ParamUnreadable, Rules
from proxy.admission.estimate import estimated_prompt, inputs_of, prompt_count
from proxy.admission.prompt import read_prompt
from proxy.dialects.stored_kinds import MOST_NAMED, NAMED, NOT_NAMES, Named, named_in
from proxy.endpoints import dialect_of
from proxy.heavy.jobs import (
    NOT_AN_OBJECT,
    READ_BYTES,
    TOO_COMPLEX,
    TOO_MANY_MEMBERS,
    AnswerFacts,
    Job,
    ReadAnswer,
    ReadRequest,
    Refused,
    Result,
)
from proxy.wire.body_facts import Member, NamedObject, RequestFacts
from proxy.wire.json_members import MOST_MEMBERS, TOO_MANY
from proxy.wire.jsonbody import JSONBody, NotAnObject, may_name
from proxy.wire.text import bytes_of

EMBEDDINGS, AUDIO = "/v1/embeddings", "/v1/audio"

MOST_NAME_BYTES = 1024 * 1024
"""Bound for the names of all members together, because the worker gets them."""

SHORT_BYTES = 16 * 1024
"""A member of an answer up to this size goes to the worker as it is."""

MOST_ITEMS = 1000
"""Items that are left of a long list in an answer. No provider's `data` has more pictures."""

MOST_NAME_CHARS = 1000
"""Bound for an id, and for the name of a member: no provider makes longer ones."""

_WORDS = tuple(name.encode() for name in NAMED)
_CONTAINER = re.compile(rb'"container_id"\s*:\s*"[^"\\]+"')
_members = msgspec.json.Decoder(dict[str, Raw])
_items = msgspec.json.Decoder(list[Raw])
_encode = msgspec.json.Encoder().encode


def read(job: Job, raw: bytes) -> Result:
    """Do a job. Every text has a result, invalid ones too."""
    try:
        return read_request(job, raw) if isinstance(job, ReadRequest) else read_answer(job, raw)
    except NotAnObject as error:
        return Refused(NOT_AN_OBJECT, str(error))
    except MemoryError:
        return Refused(TOO_COMPLEX, "It takes more memory to read the body than the gateway gives to one.")


def read_request(job: ReadRequest, raw: bytes) -> Result:
    """Raises `NotAnObject`, `MemoryError`."""
    try:
        body = JSONBody(raw)
    except MemoryError:  # only the members take memory here
        return Refused(TOO_MANY_MEMBERS, TOO_MANY)
    if len(body.members) > MOST_MEMBERS:
        return Refused(TOO_MANY_MEMBERS, TOO_MANY)
    body.check_unambiguous()
    if sum(map(len, body.members)) > MOST_NAME_BYTES:
        return Refused(TOO_MANY_MEMBERS, "The names of the body's members are too long.")
    words = dialect_of(job.endpoint).words
    facts = RequestFacts(
        members=places_of(raw, body.members),
        is_ambiguous=body.is_edited,
        inputs=inputs_of(body) if job.endpoint == EMBEDDINGS else 1,
        prompts=prompt_count(body),
        prompt=read_prompt(body, words),
        prompt_tokens=estimated_prompt(body, words),
        spoken=spoken_text(body) if job.endpoint == AUDIO else None,
        runs_code=body.mentions("tools", b"code_interpreter"),
        may_name=bool(job.names) and may_name(raw, job.names),
        named=[],
        unreadable_member=None,
        unreadable_param=False,
        refused_param=None,
    )
    if facts.may_name:
        look_for_names(body, facts)
    if job.params:
        check_params(body, job.params, facts)
    return facts


def places_of(raw: bytes, members: dict[str, Raw]) -> list[Member]:
    """Where the values stand in the text, of which they are views."""
    origin = address_of(raw)
    places = []
    for name, value in members.items():
        start = address_of(value) - origin
        places.append(Member(name, start, start + len(memoryview(value))))
    return places


class _Buffer(ctypes.Structure):
    """Python's `Py_buffer`."""

    _fields_ = (
        ("buf", ctypes.c_void_p),
        ("obj", ctypes.c_void_p),
        ("len", ctypes.c_ssize_t),
        ("itemsize", ctypes.c_ssize_t),
        ("readonly", ctypes.c_int),
        ("ndim", ctypes.c_int),
        ("format", ctypes.c_void_p),
        ("shape", ctypes.c_void_p),
        ("strides", ctypes.c_void_p),
        ("suboffsets", ctypes.c_void_p),
        ("internal", ctypes.c_void_p),
    )


def address_of(view: object) -> int:
    """The address of the first byte. msgspec does not tell where in its text a `Raw` is."""
    buffer = _Buffer()
    ctypes.pythonapi.PyObject_GetBuffer(ctypes.py_object(view), ctypes.byref(buffer), 0)
    try:
        return buffer.buf or 0
    finally:
        ctypes.pythonapi.PyBuffer_Release(ctypes.byref(buffer))


def spoken_text(body: JSONBody) -> tuple[int, int] | None:
    raw = body.members.get("input")
    if raw is None or bytes(memoryview(raw)[:1]) != b'"':
        return None
    text = body.get("input")
    return len(text), bytes_of(text)


def look_for_names(body: JSONBody, facts: RequestFacts) -> None:
    """Search the members that contain a word for stored objects. To search all of a long body would take seconds."""
    for name, value in body.members.items():
        raw = bytes(value)
        if name in NOT_NAMES or (name not in NAMED and not may_name(raw, _WORDS)):
            continue
        try:
            named = named_in(raw, name)
        except (ValueError, RecursionError):
            facts.unreadable_member = name[:MOST_NAME_CHARS]
            return
        facts.named += map(named_object, named[: MOST_NAMED + 1])


def named_object(named: Named) -> NamedObject:
    return NamedObject(named.kind.name, named.id[:MOST_NAME_CHARS], named.param[:MOST_NAME_CHARS])


def check_params(body: JSONBody, params: dict[str, list[Any]], facts: RequestFacts) -> None:
    """Check the members that are too long for the worker to read."""
    rules = Rules(params=params, origins=[], headers={}, methods=[], paths=[])
    try:
        for name, value in body.members.items():
            if len(memoryview(value)) > READ_BYTES:
                rules.check_params({name: value}, {})
    except ParamRefused as error:
        facts.refused_param = error.param
    except ParamUnreadable:
        facts.unreadable_param = True


def read_answer(job: ReadAnswer, raw: bytes) -> AnswerFacts:
    """Raises `NotAnObject`, `MemoryError`."""
    try:
        members = JSONBody(raw).members
    except NotAnObject:
        members = lenient_members(raw)
        place = None  # the answer is forwarded as it came
    else:
        place = next(((each.start, each.end) for each in places_of(raw, members) if each.name == "model"), None)
    digest = {name: shortened(bytes(value)) for name, value in members.items()}
    if containers := _CONTAINER.findall(raw):
        digest[""] = Raw(b"[" + b",".join(b"{%s}" % each for each in set(containers)) + b"]")
    return AnswerFacts(_encode(digest), place)


def lenient_members(raw: bytes) -> dict[str, Raw]:
    """The members of an object with NaN or bytes that are not UTF-8, as some servers write. Raises `NotAnObject`."""
    try:
        result = json.loads(raw.decode("utf-8", "replace"), parse_constant=lambda _: None)
    except (ValueError, RecursionError):
        result = None
    if type(result) is not dict:
        raise NotAnObject("the body must be a JSON object")
    return {name: Raw(json.dumps(value).encode()) for name, value in result.items()}


def shortened(raw: bytes) -> Raw:
    """The value if it is short, else a short one of the same type. A list keeps its length, up to `MOST_ITEMS`."""
    if len(raw) <= SHORT_BYTES:
        return Raw(raw)
    if raw[:1] == b"[":
        return Raw(_encode([0] * min(len(_items.decode(raw)), MOST_ITEMS)))
    return Raw(b'{"":0}' if raw[:1] == b"{" else b'"..."' if raw[:1] == b'"' else b"0")
