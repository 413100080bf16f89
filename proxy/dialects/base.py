"""What a dialect is: the shapes in which one API asks, answers, streams, counts and fails."""

from __future__ import annotations

from typing import Any

import msgspec

from proxy.dialects.words import OPENAI
from proxy.wire.jsonbody import JSONBody
from proxy.wire.openai_error import error_body
from proxy.wire.text import tokens_of_bytes
from usage.prices.price import Units

ESTIMATED = "estimated"
"""The source of a usage that no provider counted, or not to its end."""


class Usage(msgspec.Struct):
    """Tokens of one request, None where the provider said nothing."""

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
    """What a dialect needs of a request to read its answer."""

    model: str | None = None
    """The client's name for the model, where the answer has another one."""

    hides_usage: bool = False
    """The usage of the stream was asked for on behalf of a client that did not."""

    body: JSONBody | None = None
    path: str = ""
    """What follows `/v1`."""


class RareFacts(msgspec.Struct):
    """What few answers say of themselves."""

    units: Units | None = None
    """How much there is of what has a price by something else than tokens."""

    stored_keys: tuple[str, ...] = ()
    """Keys of what the provider now keeps for who asked, beside the response."""

    is_error: bool = False
    """It tells of an error, whatever its status says."""

    goes_on: bool = False
    """The response is still being made, also where nobody waits for it."""


class Facts(msgspec.Struct):
    """What an answer says of itself."""

    usage: Usage | None = None
    response_id: str = ""
    rare: RareFacts | None = None


class StreamFault(Exception):
    """A stream that is not what it should be. `code` goes to the client and into the row."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


class StreamReader:
    """Reads one stream frame by frame, on its way from the provider to the client."""

    usage: Usage | None = None
    """What the provider counted; its last word holds."""

    text_bytes = 0
    """Of the answer, in UTF-8, since the provider's last word on usage."""

    has_output = False
    """Something of an answer has come, be it without text."""

    units: Units | None = None
    response_id = ""
    stored_keys: tuple[str, ...] = ()
    """Keys of what the provider now keeps for who asked, beside the response."""

    is_finished = False
    """The provider has said that nothing follows; what happens to its connection then does not matter."""

    failed = False
    """The provider told of an error inside the stream, in the stream's own words."""

    has_unread = False
    """Part of it was too long to be read, and went to the client unread."""

    hid_last = False
    """Nothing of the last frame went to the client."""

    def frame(self, frame: bytes) -> bytes:
        """What goes to the client for this frame: mostly the same bytes, nothing for one it must not see.

        Raises `StreamFault` for a frame that no client could read.
        """
        raise NotImplementedError

    def end(self) -> bytes:
        """The provider ended the stream: what the client still gets. Raises `StreamFault` when something is missing."""
        raise NotImplementedError

    def pass_unread(self) -> None:
        """A frame, or a part of one, goes to the client unread."""
        self.has_unread = self.has_output = True
        self.hid_last = False

    def take_usage(self, usage: Usage) -> None:
        """The provider's last word holds, but for what it does not say: a count of nothing is none where text came."""
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
        """All of the answer has come."""
        return self.is_finished

    @property
    def goes_on(self) -> bool:
        """The response is still being made, also where nobody waits for it."""
        return False

    def usage_so_far(self) -> Usage | None:
        """The tokens so far: the provider's count, else an estimate that says so; None where nothing came.

        What a provider counted in the middle of an answer that broke off after it, or counted as nothing, is completed.
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
        """How this dialect tells of an error in mid-stream."""
        raise NotImplementedError


class Dialect:
    """One API's shapes: from bytes and small values to bytes and facts. It knows neither a request nor a server."""

    api = "openai"
    """Whose API it is a part of. A provider that speaks the same gets the client's bytes (`pairs.py`)."""

    has_content = False
    """An answer may be no JSON: what is stored itself, or sound. It is passed on unread."""

    makes_text = True
    """Its answers are texts, of which tokens are counted."""

    output_limits: tuple[str, ...] = ()
    """The names under which a request says how long its answer may be. Under another one a provider may ignore it."""

    words = OPENAI
    """The names under which its requests and answers say what a model reads and writes."""

    def error(self, message: str, type_: str, param: str | None, code: str | None) -> bytes:
        """An error as the API's clients know it: OpenAI's shape, where a dialect has none of its own."""
        return error_body(message, type_, param, code)

    def hides_usage(self, body: JSONBody) -> bool:
        """Whether who asks for a stream by this body does not want to be told its usage."""
        return False

    def asking_for_usage(self, body: JSONBody) -> dict[str, Any]:
        """The members to set so that a provider tells the usage of a stream."""
        return {}

    def read_answer(self, raw: bytes, context: AnswerContext) -> tuple[bytes, Facts]:
        """What the client gets for a plain answer, and what that says of itself. Raises `NotAnObject`."""
        raise NotImplementedError

    def answer_bytes(self, raw: bytes) -> int | None:
        """The text of a plain answer, in UTF-8, to estimate its tokens by; None where there is nothing to count."""
        return None

    def stream_reader(self, context: AnswerContext) -> StreamReader:
        raise NotImplementedError
