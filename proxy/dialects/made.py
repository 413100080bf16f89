"""What is passed on, but for the id of what it makes: later requests for that must find its provider again."""

from __future__ import annotations

from proxy.dialects.base import Dialect
from proxy.dialects.opaque import OpaqueReader
from proxy.dialects.openai_object import text_of
from proxy.exchange import Exchange
from proxy.jsonbody import JSONBody


class MadeDialect(Dialect):
    def read_answer(self, exchange: Exchange, raw: bytes) -> bytes:
        exchange.response_id = text_of(JSONBody(raw).members.get("id"))
        return raw

    def stream_reader(self, exchange: Exchange) -> OpaqueReader:
        return OpaqueReader()
