"""The base of all dialects. A dialect knows one API's formats: its requests, answers, streams, counts and errors."""

from __future__ import annotations

from typing import Any

import msgspec

from proxy.dialects.words import OPENAI
from proxy.wire.jsonbody import JSONBody
from proxy.wire.openai_error import error_body
from proxy.wire.text import tokens_of_bytes
from usage.prices.price import Units

ESTIMATED = "estimated"
"""The source of a usage that no provider counted, or counted only in part."""


class Usage(msgspec.Struct):
    """Tokens of one request; None for a count that the provider did not tell."""

    prompt: int | None = None
    completion: int | None = None
    cached: int | None = None
    reasoning: int | None = None
    audio: int | None = None
    audio_in: int | None = None
    audio_out: int | None = None
    cache_write: int | None = None
    picture_in: int | None = None
    picture_out: int | None = None
    source: str = "provider"


class AnswerContext(msgspec.Struct, frozen=True):
    """What a dialect needs to know of a request to read its answer."""

    model: str | None = None
    """The client's name for the model, if the answer has another one."""

    hides_usage: bool = False
    """Sluice asked for the stream's usage and the client did not, so the client must not see it."""

    body: JSONBody | None = None
    path: str = ""
    """The request's path behind `/v1`."""


class RareFacts(msgspec.Struct):
    """Facts that few answers have."""

    units: Units | None = None
    """Amounts that have a price of their own beside tokens, such as pictures or seconds."""

    stored_keys: tuple[str, ...] = ()
    """Keys of objects that the provider now stores for the client, beside the response."""

    is_error: bool = False
    """The answer tells of an error, whatever its status is."""

    goes_on: bool = False
    """The response is still being made, and will be even if its client leaves."""


class Facts(msgspec.Struct):
    """What a dialect reads from an answer."""

    usage: Usage | None = None
    response_id: str = ""
    rare: RareFacts | None = None


class StreamFault(Exception):
    """The stream is invalid or incomplete. `code` goes to the client and into the ledger row."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


class NoOtherForm(ValueError):
    """The answer says something that has no place in the other form, a stream or an object."""


class StreamReader:
    """Reads one stream frame by frame, on its way from the provider to the client."""

    usage: Usage | None = None
    """What the provider counted; the last count applies."""

    text_bytes = 0
    """Bytes of the answer's text, in UTF-8, since the provider last told the usage."""

    has_output = False
    """Part of an answer has come, even if it has no text."""

    units: Units | None = None
    response_id = ""
    stored_keys: tuple[str, ...] = ()
    """Keys of objects that the provider now stores for the client, beside the response."""

    is_finished = False
    """The provider has said that nothing follows. What happens to its connection afterwards does not matter."""

    failed = False
    """The provider told of an error inside the stream, in the dialect's format."""

    has_unread = False
    """Part of it was too long to be read, and went to the client unread."""

    ends_for_good = True
    """The answer that has ended is all there is to say. It did not end by something that may be otherwise next time."""

    hid_last = False
    """Nothing of the last frame went to the client."""

    def frame(self, frame: bytes) -> bytes:
        """What goes to the client for this frame: mostly the same bytes, and b"" for a frame that it must not see.

        Raises `StreamFault` for a frame that no client could read.
        """
        raise NotImplementedError

    def end(self) -> bytes:
        """The provider has ended the stream. Returns what the client still gets. Raises `StreamFault` if something is
        missing.
        """
        raise NotImplementedError

    def pass_unread(self) -> None:
        """Note that a frame, or a part of one, goes to the client unread."""
        self.has_unread = self.has_output = True
        self.hid_last = False

    def take_usage(self, usage: Usage) -> None:
        """Take the provider's latest usage. A count that is missing or 0 in it does not replace an earlier one."""
        previous = self.usage
        if usage.completion:
            self.text_bytes = 0
        elif previous is not None and previous.completion:
            usage.completion, usage.reasoning = previous.completion, previous.reasoning
        if not usage.prompt and previous is not None and previous.prompt:
            usage.prompt, usage.cached, usage.cache_write = previous.prompt, previous.cached, previous.cache_write
        self.usage = usage

    @property
    def is_whole(self) -> bool:
        """Whether all of the answer has come."""
        return self.is_finished

    @property
    def goes_on(self) -> bool:
        """Whether the response is still being made, and will be even if its client leaves."""
        return False

    def usage_so_far(self) -> Usage | None:
        """The tokens so far: the provider's count, else an estimate whose source says so; None if nothing came.

        If the answer broke off after the provider's last count, or the provider counted no output although text came,
        an estimate for the text since then is added.
        """
        usage = self.usage
        if usage is None:
            return Usage(completion=tokens_of_bytes(self.text_bytes), source=ESTIMATED) if self.has_output else None
        if self.text_bytes and (not self.is_whole or not usage.completion):
            completion = (usage.completion or 0) + tokens_of_bytes(self.text_bytes)
            usage = msgspec.structs.replace(usage, completion=completion, source=ESTIMATED)
        if usage.completion and usage.prompt == 0:
            usage = msgspec.structs.replace(usage, prompt=None)
        return usage

    def error_frame(self, code: str, message: str) -> bytes:
        """The frame by which this dialect tells of an error in the middle of a stream."""
        raise NotImplementedError


class Dialect:
    """One API's formats. It takes bytes and small values, and returns bytes and `Facts`. It knows neither the
    `Exchange` nor the server.
    """

    api = "openai"
    """The API that it belongs to. A provider that speaks the same API gets the client's bytes (`pairs.py`)."""

    has_content = False
    """An answer may be something else than JSON, such as a stored file or sound. Such an answer is passed on unread."""

    may_hide_usage = True
    """A client says whether it wants the usage of a stream."""

    makes_text = True
    """Its answers are texts, whose tokens are counted."""

    output_limits: tuple[str, ...] = ()
    """The members by which a request limits the length of its answer. A provider may ignore any other name."""

    words = OPENAI
    """The members of its requests and answers that a model reads and writes."""

    def error(self, message: str, type_: str, param: str | None, code: str | None) -> bytes:
        """The body of an error in the API's format: OpenAI's, unless a dialect has its own."""
        return error_body(message, type_, param, code)

    def hides_usage(self, body: JSONBody) -> bool:
        """Whether a client that asks for a stream with this body does not want the usage in it."""
        return False

    def asking_for_usage(self, body: JSONBody) -> dict[str, Any]:
        """The members to set in the body so that a provider tells the usage of a stream."""
        return {}

    def is_repeatable(self, body: JSONBody) -> bool:
        """Whether the answer to this request answers the same request again, as far as the request tells.

        Not if it depends on something else, or if the client has the provider store it.
        """
        return not body.says("store", b"true")

    def is_stored(self, body: JSONBody) -> bool:
        """Whether the provider stores the answer to this request under an id that its client may use."""
        return False

    def ends_for_good(self, raw: bytes) -> bool:
        """Whether this plain answer is all there is to say."""
        return True

    def read_answer(self, raw: bytes, context: AnswerContext) -> tuple[bytes, Facts]:
        """What the client gets for a plain answer, and the facts in it. Raises `NotAnObject`."""
        raise NotImplementedError

    def answer_bytes(self, raw: bytes) -> int | None:
        """The size of a plain answer's text in UTF-8, to estimate its tokens; None if there is no text to count."""
        return None

    def as_stream(self, raw: bytes, *, with_usage: bool) -> list[bytes]:
        """The frames of a stream that says the same as this plain answer. Raises `NoOtherForm`."""
        raise NoOtherForm("this dialect has no streams")

    def as_object(self, frames: list[bytes]) -> bytes:
        """The plain answer that says the same as these frames of a stream. Raises `NoOtherForm`."""
        raise NoOtherForm("this dialect has no streams")

    def stream_reader(self, context: AnswerContext) -> StreamReader:
        raise NotImplementedError
