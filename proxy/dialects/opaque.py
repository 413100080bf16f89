"""What is passed through unread. Its streams are relayed as they are, and fail as connections fail."""

from __future__ import annotations

from proxy.dialects.base import Dialect, StreamReader
from proxy.exchange import Exchange
from proxy.jsonbody import JSONBody


class OpaqueDialect(Dialect):
    def read_answer(self, exchange: Exchange, body: JSONBody) -> None:
        """Nothing is known of it."""

    def stream_reader(self, exchange: Exchange) -> StreamReader:
        return OpaqueReader()


class OpaqueReader(StreamReader):
    def frame(self, frame: bytes) -> bytes:
        return frame

    def end(self) -> None:
        """Any end is a good one."""

    def error_frame(self, code: str, message: str) -> bytes:
        return b""
