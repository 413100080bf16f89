"""Chat completions, legacy completions and embeddings: one object or a stream of its chunks.

https://platform.openai.com/docs/api-reference/chat/streaming
"""

from __future__ import annotations

from typing import Any

import msgspec

from proxy.dialects.base import AnswerContext, Dialect, Facts, StreamFault, StreamReader
from proxy.dialects.chat_forms import chat_as_object, chat_as_stream
from proxy.dialects.completion_forms import completion_as_object, completion_as_stream
from proxy.dialects.counts import decoded_or_mended, find_usage, lenient_json, mend, read_usage
from proxy.dialects.openai_object import read_object, tells_error
from proxy.dialects.text import bytes_within
from proxy.wire.jsonbody import JSONBody, NotAnObject, decoded
from proxy.wire.openai_error import error_body
from proxy.wire.sse import data_of, replace_data
from proxy.wire.text import bytes_of


class _Message(msgspec.Struct):
    """A message, or what a chunk adds to one."""

    content: Any = None
    reasoning_content: Any = None
    reasoning: Any = None
    refusal: Any = None
    tool_calls: Any = None
    function_call: Any = None


class _Choice(msgspec.Struct):
    index: Any = 0
    finish_reason: Any = None
    delta: _Message | None = None
    message: _Message | None = None
    text: Any = None
    usage: msgspec.Raw = msgspec.Raw()
    """Moonshot tells the usage here."""


class _Chunk(msgspec.Struct):
    """What is read of a chunk. It is lenient: a member of an unexpected type must not hide the others."""

    id: Any = None
    choices: list[_Choice] | None = None
    usage: msgspec.Raw = msgspec.Raw()
    error: msgspec.Raw = msgspec.Raw()
    x_groq: msgspec.Raw = msgspec.Raw()
    """Groq tells the usage here."""


class _OddChunk(msgspec.Struct):
    """The same for a chunk whose choices have another shape."""

    id: Any = None
    choices: Any = None
    usage: msgspec.Raw = msgspec.Raw()
    error: msgspec.Raw = msgspec.Raw()


class _Answer(msgspec.Struct):
    choices: list[_Choice] | None = None
    data: msgspec.Raw = msgspec.Raw()
    """Of embeddings."""


_answer = msgspec.json.Decoder(_Answer)
_chunk = msgspec.json.Decoder(_Chunk)
_odd_chunk = msgspec.json.Decoder(_OddChunk)
_NULL = b"null"

USAGE_CHUNK = frozenset(
    {
        *("id", "object", "created", "model", "choices", "usage", "system_fingerprint", "service_tier"),
        *("obfuscation", "provider"),
    }
)
"""Members that are no news in a chunk for the usage. If it has others, the client gets it without the usage."""


class ChatDialect(Dialect):
    output_limits: tuple[str, ...] = ("max_completion_tokens", "max_tokens")

    def hides_usage(self, body: JSONBody) -> bool:
        options = body.get("stream_options")
        return options is None or (isinstance(options, dict) and not options.get("include_usage"))

    def asking_for_usage(self, body: JSONBody) -> dict[str, Any]:
        return {"stream_options": (body.get("stream_options") or {}) | {"include_usage": True}}

    def read_answer(self, raw: bytes, context: AnswerContext) -> tuple[bytes, Facts]:
        return read_object(raw, context)

    def answer_bytes(self, raw: bytes) -> int | None:
        answer = decoded_or_mended(_answer, raw)
        if answer is None:
            return None
        if answer.choices is None and not answer.data:
            return None
        return sum(map(choice_bytes, answer.choices or ()))

    def as_stream(self, raw: bytes, *, with_usage: bool) -> list[bytes]:
        return chat_as_stream(raw, with_usage=with_usage)

    def as_object(self, frames: list[bytes]) -> bytes:
        return chat_as_object(frames)

    def stream_reader(self, context: AnswerContext) -> StreamReader:
        return ChunkReader(context)


class CompletionDialect(ChatDialect):
    """The dialect of `/v1/completions`, whose answers have the same structure."""

    output_limits = ("max_tokens",)

    def as_stream(self, raw: bytes, *, with_usage: bool) -> list[bytes]:
        return completion_as_stream(raw, with_usage=with_usage)

    def as_object(self, frames: list[bytes]) -> bytes:
        return completion_as_object(frames)


class EmbeddingDialect(ChatDialect):
    """Embeddings have no output: if the total is more than the prompt, all of it counts as prompt."""

    makes_text = False

    def read_answer(self, raw: bytes, context: AnswerContext) -> tuple[bytes, Facts]:
        raw, facts = read_object(raw, context)
        usage = facts.usage
        if usage is not None and usage.completion:
            usage.prompt, usage.completion, usage.reasoning = (usage.prompt or 0) + usage.completion, None, None
        return raw, facts


class ChunkReader(StreamReader):
    """Follows a stream of chunks to its `[DONE]`."""

    def __init__(self, context: AnswerContext) -> None:
        self.hides_usage, self.model = context.hides_usage, context.model
        self.open_choices: set[int] = set()
        self.finished_choices: set[int] = set()
        self.began = False

    def frame(self, frame: bytes) -> bytes:
        data = data_of(frame)
        if not data:
            return frame
        self.began = True
        if data.startswith(b"[DONE]"):
            self.is_finished = True
            return frame
        try:
            chunk = read_chunk(data)
        except msgspec.ValidationError:
            return frame  # JSON of another shape: the client may understand it
        except RecursionError:
            return frame
        except (msgspec.DecodeError, UnicodeDecodeError):
            if not data.lstrip().startswith(b"{"):
                return frame
            readable = mend(data)
            if readable is None:
                raise StreamFault("upstream_malformed", "The provider sent a malformed chunk.") from None
            try:
                chunk = read_chunk(readable)
            except msgspec.MsgspecError:
                return frame
        return self._read(chunk, frame, data)

    def _read(self, chunk: _Chunk, frame: bytes, data: bytes) -> bytes:
        if chunk.id and not self.response_id:
            self.response_id = str(chunk.id)
        if chunk.choices:
            self.has_output = True
        for choice in chunk.choices or ():
            index = choice.index if isinstance(choice.index, int) else 0
            if choice.finish_reason:
                self.open_choices.discard(index)
                self.finished_choices.add(index)
            elif index not in self.finished_choices:  # a later chunk of a finished choice does not open it again
                self.open_choices.add(index)
            if choice.usage and (usage := read_usage(choice.usage)):
                self.take_usage(usage)
            delta = choice.delta
            if delta is not None and type(content := delta.content) is str and content.isascii():
                self.text_bytes += len(content)  # nearly all chunks are like this
                if (
                    delta.tool_calls
                    or delta.function_call
                    or delta.reasoning_content
                    or delta.reasoning
                    or delta.refusal
                ):
                    self.text_bytes += choice_bytes(choice) - len(content)
            else:
                self.text_bytes += choice_bytes(choice)
        if chunk.error and tells_error(chunk.error):
            self.failed = True
        if chunk.x_groq and (usage := find_usage({"x_groq": lenient_json(bytes(chunk.x_groq))})):
            self.take_usage(usage)
        if chunk.usage:
            if bytes(chunk.usage) != _NULL and (usage := read_usage(chunk.usage)):
                self.take_usage(usage)
            if self.hides_usage:
                return self._without_usage(chunk, frame, data)
        return frame if self.model is None else self._rewritten(frame, data)

    def _without_usage(self, chunk: _Chunk, frame: bytes, data: bytes) -> bytes:
        """The frame without its usage; b"" for a chunk that came for the usage alone."""
        if not chunk.choices and bytes(chunk.usage) != _NULL:
            members = lenient_json(data)
            if not any(value is not None for name, value in members.items() if name not in USAGE_CHUNK):
                return b""
        return self._rewritten(frame, data, without_usage=True)

    def _rewritten(self, frame: bytes, data: bytes, *, without_usage: bool = False) -> bytes:
        try:
            body = JSONBody(data)
        except NotAnObject:
            return frame  # not strict JSON, such as one with NaN: it goes on as it came
        if without_usage:
            body.remove("usage")
        if self.model is not None and "model" in body.members:
            body.set("model", self.model)
        return replace_data(frame, body.encode())

    def end(self) -> bytes:
        """Raises `StreamFault` if a choice never finished, or if there was no answer at all: the stream was cut off,
        even if it ended properly.
        """
        if (self.open_choices or not self.began) and not (self.is_finished or self.failed or self.has_unread):
            raise StreamFault("upstream_incomplete", "The provider ended the stream before its answer was complete.")
        return b""

    @property
    def is_whole(self) -> bool:
        return self.is_finished or (self.has_output and not self.open_choices)

    def error_frame(self, code: str, message: str) -> bytes:
        return b"data: " + error_body(message, "upstream_error", None, code) + b"\n\n"


def choice_bytes(choice: _Choice) -> int:
    """The size of a choice's text in UTF-8. It is the same for a message and for all the chunks that make one up."""
    message = choice.delta or choice.message
    if message is None:
        return bytes_within(choice.text)
    content = message.content
    size = bytes_of(content) if type(content) is str else bytes_within(content)
    if message.tool_calls is not None or message.function_call is not None:
        size += bytes_within(message.tool_calls) + bytes_within(message.function_call)
    thought = message.reasoning_content or message.reasoning
    if thought is not None or message.refusal is not None:
        size += bytes_within(thought) + bytes_within(message.refusal)
    return size


def read_chunk(data: bytes) -> _Chunk:
    try:
        return decoded(_chunk, data)
    except msgspec.ValidationError:
        odd = decoded(_odd_chunk, data)
        # Choices that cannot be read count as output, and as finished, so that `end` does not miss their end.
        choices = [_Choice(finish_reason="unread")] if odd.choices else None
        return _Chunk(id=odd.id, choices=choices, usage=odd.usage, error=odd.error)
