"""What providers keep for those who made it, one row a kind: where it is asked for, and where its id is told.

What a project made through Sluice is its own: by its id, in the bodies that name it, and in lists. Below the address of
an object (`/files/{id}/content`) everything belongs to it.
"""

from __future__ import annotations

import json
from typing import NamedTuple, TypeGuard


class Kind(NamedTuple):
    name: str
    path: str
    """Behind `/v1`; an object is at `{path}/{id}`. POST makes one."""

    in_ledger: bool = False
    """Each is the answer to a request whose row has its id, so nothing more is written of it."""

    tells: tuple[str, ...] = ()
    """Members of an object, or of an answer about it, with ids of other objects that were made with it."""

    makes: dict[str, str] = {}  # noqa: RUF012 (read alone)
    """Further paths by which POST makes one, and the member of the answer that has its id."""

    names_others: bool = True
    """Requests for it may name other objects, so a body that cannot be read is refused."""

    missing: str = ""
    """The provider's words for an id that it does not know."""

    @property
    def code(self) -> str:
        return self.name.lower().replace(" ", "_").replace("-", "_") + "_not_found"

    def not_found(self, object_id: str) -> str:
        return self.missing.format(object_id) if self.missing else f"{self.name} with id {object_id!r} not found."


RESPONSE = Kind("Response", "/responses", in_ledger=True)
CONVERSATION = Kind("Conversation", "/conversations", in_ledger=True)
STORED_CHAT = Kind("Chat completion", "/chat/completions", in_ledger=True)
FILE = Kind("File", "/files", names_others=False, missing="No such File object: {}")
VECTOR_STORE = Kind("Vector store", "/vector_stores")
ASSISTANT = Kind("Assistant", "/assistants", missing="No assistant found with id '{}'.")
THREAD = Kind("Thread", "/threads", makes={"/threads/runs": "thread_id"}, missing="No thread found with id '{}'.")
CONTAINER = Kind("Container", "/containers")
BATCH = Kind("Batch", "/batches", tells=("output_file_id", "error_file_id"), missing="No batch found with id '{}'.")
VIDEO = Kind(
    "Video",
    "/videos",
    tells=("id",),  # a remix is made at the address of another one
    makes={"/videos/edits": "id", "/videos/extensions": "id"},
)
MODEL = Kind("Model", "/models", missing="The model '{}' does not exist")

KINDS = (
    RESPONSE,
    CONVERSATION,
    STORED_CHAT,
    FILE,
    BATCH,
    VECTOR_STORE,
    Kind("Character", "/videos/characters"),
    Kind("Upload", "/uploads", tells=("file.id",), names_others=False),
    ASSISTANT,
    THREAD,
    Kind("Eval", "/evals"),
    Kind("Fine-tuning job", "/fine_tuning/jobs", tells=("result_files", "fine_tuned_model")),
    CONTAINER,
    VIDEO,
    MODEL,
)

NAMED: dict[str, Kind] = {
    "file_id": FILE,
    "file_ids": FILE,
    "input_file_id": FILE,
    "training_file": FILE,
    "validation_file": FILE,
    "vector_store_id": VECTOR_STORE,
    "vector_store_ids": VECTOR_STORE,
    "assistant_id": ASSISTANT,
    "container": CONTAINER,
    "video": VIDEO,
}
"""Members of a body that name what is stored, wherever in it they stand: by its id, or by an object that has it."""

NOT_NAMES = frozenset(
    {
        *("metadata", "annotations", "results", "outputs", "parameters", "schema", "arguments", "item", "item_schema"),
        *("embedding", "logprobs"),
    }
)
"""Members whose insides are a client's own, or a model's: what is named there gives nobody anything."""

MOST_NAMED = 1000
"""Objects that one request may speak of."""

IN_CHATS = (b"file_id",)
IN_RESPONSES = (b"file_id", b"vector_store_id", b'"container"')
ANYWHERE = (b'"',)
"""Bytes without one of which a body names nothing: a look for each costs less than reading the body."""


class Named(NamedTuple):
    """Something that a request speaks of."""

    kind: Kind
    id: str
    param: str
    """Where the request names it."""


class Members(tuple[tuple[str, object], ...]):
    """An object's members, each of them, also where two have one name: another reader may take the other one."""


def named_in(raw: bytes, param: str) -> list[Named]:
    """All that is named in a member of a body. Raises `ValueError`, `RecursionError`."""
    references: list[Named] = []
    waiting: list[tuple[str, object]] = [(param, json.loads(raw, object_pairs_hook=Members))]
    while waiting:
        name, inside = waiting.pop()
        if isinstance(inside, Members):
            is_source = ("type", "file_id") in inside  # of an eval's run
            kind = FILE if is_source else NAMED.get(name)
            references += [Named(kind, each, param) for word, each in inside if kind and word == "id" and is_id(each)]
            waiting += [member for member in inside if member[0] not in NOT_NAMES]
        elif isinstance(inside, list):
            waiting += [(name, each) for each in inside]
        elif is_id(inside) and (kind := NAMED.get(name)):
            references.append(Named(kind, inside, param))
    return references


def is_id(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and value != ""


def ids_at(answer: object, path: str) -> list[str]:
    """The ids at a dotted path in an answer."""
    for name in path.split("."):
        answer = answer.get(name) if isinstance(answer, dict) else None
    values = answer if isinstance(answer, list) else [answer]
    return [value for value in values if isinstance(value, str) and value]
