"""What a dialect is: the shapes in which one API asks, answers, streams, counts and fails."""

from __future__ import annotations

import msgspec

from proxy.exchange import Exchange
from proxy.jsonbody import JSONBody


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
    source: str = "provider"


class StreamFault(Exception):
    """A stream that is not what it should be. `code` goes to the client and into the row."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


class StreamReader:
    """Reads one stream frame by frame, on its way from the provider to the client."""

    usage: Usage | None = None
    response_id = ""
    is_finished = False
    """The provider has said that nothing follows; what happens to its connection then does not matter."""

    failed = False
    """The provider told of an error inside the stream, in the stream's own words."""

    def frame(self, frame: bytes) -> bytes:
        """What goes to the client for this frame: mostly the same bytes, nothing for one it must not see.

        Raises `StreamFault` for a frame that no client could read.
        """
        raise NotImplementedError

    def end(self) -> None:
        """The provider ended the stream. Raises `StreamFault` when something is missing from it."""
        raise NotImplementedError

    def counted(self) -> Usage | None:
        """The tokens so far: the provider's count, else an estimate that says so, else None."""
        return self.usage

    def error_frame(self, code: str, message: str) -> bytes:
        """How this dialect tells of an error in mid-stream."""
        raise NotImplementedError


class Dialect:
    """One API's shapes. Its methods are called once a request, in this order."""

    def prepare(self, exchange: Exchange, body: JSONBody) -> None:
        """Edit the request before it goes up, beyond the model's name."""

    def read_answer(self, exchange: Exchange, raw: bytes) -> bytes:
        """Take usage and id from a plain answer, and put the client's name for the model back. Raises `NotAnObject`."""
        raise NotImplementedError

    def stream_reader(self, exchange: Exchange) -> StreamReader:
        raise NotImplementedError
