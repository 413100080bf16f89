"""What is passed through unread. Its streams are relayed as they are, and fail as connections fail."""

from __future__ import annotations

from proxy.dialects.base import Dialect, StreamReader
from proxy.exchange import Exchange


class OpaqueDialect(Dialect):
    def read_answer(self, exchange: Exchange, raw: bytes) -> bytes:
        """Nothing is known of it."""
        return raw

    def stream_reader(self, exchange: Exchange) -> StreamReader:
        return OpaqueReader()


class OpaqueReader(StreamReader):
    def frame(self, frame: bytes) -> bytes:
        return frame

    def end(self) -> None:
        """Any end is a good one."""

    def error_frame(self, code: str, message: str) -> bytes:
        return b""
