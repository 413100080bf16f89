"""What is passed on, but for the ids of what was made: later requests for that must find its provider and project."""

from __future__ import annotations

from proxy.dialects.base import Dialect
from proxy.dialects.counts import lenient_json
from proxy.dialects.opaque import OpaqueReader
from proxy.exchange import Exchange
from proxy.stored.kinds import told_at
from proxy.wire.sse import data_of
from usage.ids import object_key


class MadeDialect(Dialect):
    has_content = True

    def read_answer(self, exchange: Exchange, raw: bytes) -> bytes:
        """What is no object is passed on as well: its client has to see what its provider makes of it."""
        exchange.response_id, exchange.made = ids_in(exchange, lenient_json(raw))
        return raw

    def stream_reader(self, exchange: Exchange) -> OpaqueReader:
        return MadeReader(exchange)


class MadeReader(OpaqueReader):
    """Looks at the events of a stream until one tells what is made."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def frame(self, frame: bytes) -> bytes:
        if not self.response_id and (data := data_of(frame)):
            self.response_id, self.made = ids_in(self._exchange, lenient_json(data))
        return frame


def ids_in(exchange: Exchange, answer: object) -> tuple[str, tuple[str, ...]]:
    """The id of what was made, and the keys of all that the answer tells of."""
    endpoint = exchange.endpoint
    ids = told_at(answer, endpoint.makes.makes.get(exchange.rest, "id")) if endpoint.makes is not None else []
    own_id = ids[0] if ids else ""
    kind = endpoint.makes or endpoint.one_of
    if kind is not None:
        ids = ids if not kind.in_ledger else []
        ids += [each for path in kind.tells for each in told_at(answer, path)]
    return own_id, tuple({object_key(each): None for each in ids})
