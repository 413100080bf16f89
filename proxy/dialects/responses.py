"""The Responses API: one object, or a stream of typed events around it.

https://platform.openai.com/docs/api-reference/responses-streaming
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from proxy.dialects.base import AnswerContext, Dialect, Facts, RareFacts, StreamFault, StreamReader
from proxy.dialects.counts import decoded_or_mended, mend, read_usage
from proxy.dialects.openai_object import read_object, text_of
from proxy.dialects.repeatable import is_good_end, is_repeatable
from proxy.dialects.responses_forms import response_as_object, response_as_stream
from proxy.dialects.text import bytes_within
from proxy.wire.jsonbody import JSONBody, decoded
from proxy.wire.sse import data_of, replace_data
from proxy.wire.text import bytes_of
from usage.ids import object_key

UNFINISHED = ("queued", "in_progress")
"""States of a response that is still being made. Its tokens are counted later, if it is asked for again."""

SOUND = "response.audio.delta"
LAST_EVENTS = frozenset(
    {"response.completed", "response.incomplete", "response.failed", "response.cancelled", "response.done"}
)


class _Event(msgspec.Struct):
    type: Any = ""
    sequence_number: Any = None
    delta: Any = None
    response: msgspec.Raw = msgspec.Raw()


class _Response(msgspec.Struct):
    status: Any = None
    output: Any = None
    incomplete_details: msgspec.Raw = msgspec.Raw()


_CONTAINER = re.compile(rb'"container_id"\s*:\s*"([^"\\]+)"')

_event = msgspec.json.Decoder(_Event)
_response = msgspec.json.Decoder(_Response)


class ResponsesDialect(Dialect):
    may_hide_usage = False
    output_limits: tuple[str, ...] = ("max_output_tokens",)

    def is_repeatable(self, body: JSONBody) -> bool:
        return is_repeatable(body)

    def is_stored(self, body: JSONBody) -> bool:
        return not body.says("store", b"false")

    def ends_for_good(self, raw: bytes) -> bool:
        response = decoded_or_mended(_response, raw)
        if response is None:
            return False
        return is_good_end(response.status, bytes(response.incomplete_details))

    def as_stream(self, raw: bytes, *, with_usage: bool) -> list[bytes]:
        return response_as_stream(raw)

    def as_object(self, frames: list[bytes]) -> bytes:
        return response_as_object(frames)

    def read_answer(self, raw: bytes, context: AnswerContext) -> tuple[bytes, Facts]:
        raw, facts = read_object(raw, context)
        rare = facts.rare = facts.rare or RareFacts()
        if is_background(context.body):
            response = decoded_or_mended(_response, raw)
            rare.goes_on = response is not None and response.status in UNFINISHED and facts.response_id != ""
        if runs_code(context.body):
            rare.stored_keys = containers_in(raw)
        return raw, facts

    def answer_bytes(self, raw: bytes) -> int | None:
        return output_bytes(raw)

    def stream_reader(self, context: AnswerContext) -> StreamReader:
        return EventReader(context)


class CompactDialect(ResponsesDialect):
    """The dialect of `/v1/responses/compact`. A request cannot limit the length of its answer."""

    output_limits = ()


class EventReader(StreamReader):
    """Follows a stream of events to the one that closes the response."""

    def __init__(self, context: AnswerContext) -> None:
        self.model = context.model
        self.sequence_number = -1
        self.has_data = False
        self.began = False
        self.runs_code = runs_code(context.body)
        self.is_background = is_background(context.body)

    def frame(self, frame: bytes) -> bytes:
        data = data_of(frame)
        if not data:
            return frame
        self.has_data = True
        try:
            event = decoded(_event, data)
        except msgspec.ValidationError:
            return frame
        except RecursionError:
            return frame
        except (msgspec.DecodeError, UnicodeDecodeError):
            if not data.lstrip().startswith(b"{"):
                return frame
            readable = mend(data)
            if readable is None:
                raise StreamFault("upstream_malformed", "The provider sent a malformed event.") from None
            data = readable
            try:
                event = decoded(_event, data)
            except msgspec.MsgspecError:
                return frame
        if type(event.sequence_number) is int:
            self.sequence_number = event.sequence_number
        if event.type == "error":
            self.failed = True
        elif event.type == "response.output_item.added":
            self.has_output = True
        elif event.delta is not None and event.type != SOUND:
            self.has_output = True
            self.text_bytes += bytes_of(event.delta) if type(event.delta) is str else bytes_within(event.delta)
        if not event.response:
            return frame
        return self._read_response(event, frame, data)

    def _read_response(self, event: _Event, frame: bytes, data: bytes) -> bytes:
        self.began = True
        is_last = type(event.type) is str and event.type in LAST_EVENTS
        if is_last:
            self.is_finished = True
        try:
            response = JSONBody(bytes(event.response))
        except ValueError:
            return frame
        self.response_id = self.response_id or text_of(response.members.get("id"))
        if is_last:
            self._count(event, response)
            if self.runs_code:
                self.stored_keys = containers_in(bytes(event.response))
        if self.model is None or "model" not in response.members:
            return frame
        response.set("model", self.model)
        body = JSONBody(data)
        body.set_raw("response", response.encode())
        return replace_data(frame, body.encode())

    def _count(self, event: _Event, response: JSONBody) -> None:
        status = text_of(response.members.get("status"))
        self.failed = "response.failed" in (event.type, f"response.{status}")
        self.ends_for_good = is_good_end(status, response.raw("incomplete_details"))
        usage = read_usage(response.members.get("usage"))
        if usage is not None:
            self.take_usage(usage)
        if (usage is None or not usage.completion) and not self.failed:
            size = output_bytes(bytes(event.response))
            if size is not None:
                self.has_output, self.text_bytes = True, size  # the whole answer, however much of it came in deltas

    @property
    def goes_on(self) -> bool:
        return self.is_background and self.response_id != "" and not self.is_finished

    def end(self) -> bytes:
        if (self.began or not self.has_data) and not (self.is_finished or self.failed or self.has_unread):
            raise StreamFault("upstream_incomplete", "The provider ended the stream before its response was complete.")
        return b""

    def error_frame(self, code: str, message: str) -> bytes:
        event = {
            "type": "error",
            "code": code,
            "message": message,
            "param": None,
            "sequence_number": self.sequence_number + 1,
        }
        return b"event: error\ndata: " + msgspec.json.encode(event) + b"\n\n"


def output_bytes(raw: bytes) -> int | None:
    """The size of a response's text in UTF-8; None if the response is not finished, or has no list of output."""
    response = decoded_or_mended(_response, raw)
    if response is None:
        return None
    if response.status in UNFINISHED or not isinstance(response.output, list):
        return None
    return bytes_within(response.output)


def is_background(body: JSONBody | None) -> bool:
    """Whether the response is made even if its client leaves."""
    return body is not None and body.says("background", b"true")


def runs_code(body: JSONBody | None) -> bool:
    """Whether the provider may make a container for the answer, in which code runs and leaves files."""
    if body is None:
        return True  # a stored response is read, whose request is not known here
    return body.mentions("tools", b"code_interpreter")


def containers_in(raw: bytes) -> tuple[str, ...]:
    return tuple({object_key(container.decode("utf-8", "replace")): None for container in _CONTAINER.findall(raw)})
