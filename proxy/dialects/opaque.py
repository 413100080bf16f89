"""The dialect of what is passed through unread. Its streams are relayed as they are, and get no error frame."""

from __future__ import annotations

from proxy.dialects.base import AnswerContext, Dialect, Facts, StreamReader


class OpaqueDialect(Dialect):
    def read_answer(self, raw: bytes, context: AnswerContext) -> tuple[bytes, Facts]:
        """The answer as it is, and no facts."""
        return raw, Facts()

    def stream_reader(self, context: AnswerContext) -> StreamReader:
        return OpaqueReader()


class OpaqueReader(StreamReader):
    def frame(self, frame: bytes) -> bytes:
        return frame

    def end(self) -> bytes:
        """Any end is accepted."""
        return b""

    def error_frame(self, code: str, message: str) -> bytes:
        return b""
