"""Reads only the ids of stored objects from answers, by which later requests find their provider and project."""

from __future__ import annotations

from proxy.dialects.base import AnswerContext, Dialect, Facts, RareFacts
from proxy.dialects.counts import lenient_json
from proxy.dialects.opaque import OpaqueReader
from proxy.dialects.stored_kinds import Kind, ids_at
from proxy.wire.sse import data_of
from usage.ids import object_key


class StoredObjectDialect(Dialect):
    """The dialect of answers that make an object of a kind, or tell of one."""

    has_content = True

    def __init__(self, *, makes: Kind | None = None, one_of: Kind | None = None) -> None:
        self._makes, self._kind = makes, makes or one_of

    def read_answer(self, raw: bytes, context: AnswerContext) -> tuple[bytes, Facts]:
        """An answer that is no JSON object is passed on too: the client must see what the provider sent."""
        response_id, stored_keys = self.ids_in(lenient_json(raw), context.path)
        return raw, Facts(response_id=response_id, rare=RareFacts(stored_keys=stored_keys))

    def stream_reader(self, context: AnswerContext) -> OpaqueReader:
        return StoredObjectReader(self, context.path)

    def ids_in(self, answer: object, path: str) -> tuple[str, tuple[str, ...]]:
        """The id of the object that was made, and the keys of all objects that the answer tells of. `path` is the
        request's.
        """
        ids = ids_at(answer, self._makes.makes.get(path, "id")) if self._makes is not None else []
        own_id = ids[0] if ids else ""
        kind = self._kind
        if kind is not None:
            ids = ids if not kind.in_ledger else []
            ids += [each for member in kind.tells for each in ids_at(answer, member)]
        return own_id, tuple({object_key(each): None for each in ids})


class StoredObjectReader(OpaqueReader):
    """Reads the events of a stream until one has the id of what was made."""

    def __init__(self, dialect: StoredObjectDialect, path: str) -> None:
        self._dialect, self._path = dialect, path

    def frame(self, frame: bytes) -> bytes:
        if not self.response_id and (data := data_of(frame)):
            self.response_id, self.stored_keys = self._dialect.ids_in(lenient_json(data), self._path)
        return frame
