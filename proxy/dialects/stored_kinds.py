"""The kinds of objects that providers store for clients: their paths, and where answers contain their ids.

What a project made through Sluice belongs to it alone: in paths with its id, in bodies that name it, and in lists. All
that is below the path of an object (`/files/{id}/content`) belongs to the object.
"""

from __future__ import annotations

import json
from typing import NamedTuple, TypeGuard


class Kind(NamedTuple):
    name: str
    path: str
    """The path behind `/v1`, at which POST makes an object. An object is at `{path}/{id}`."""

    in_ledger: bool = False
    """Each object is the answer to a request whose ledger row has its id, so nothing more is written about it."""

    tells: tuple[str, ...] = ()
    """Members of an object, or of an answer about it, with ids of other objects that were made with it."""

    makes: dict[str, str] = {}  # noqa: RUF012 (never changed)
    """Further paths at which POST makes an object, and the member of the answer that has its id."""

    names_others: bool = True
    """Requests for this kind may name other objects, so a body that cannot be read is refused."""

    missing: str = ""
    """The provider's message for an id that it does not know."""

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
"""Members of a body, at any depth, that name a stored object: by its id, or by a JSON object that has the id."""

NOT_NAMES = frozenset(
    {
        *("metadata", "annotations", "results", "outputs", "parameters", "schema", "arguments", "item", "item_schema"),
        *("embedding", "logprobs"),
    }
)
"""Members whose content is a client's own, or a model's. An id in them gives no access to an object."""

MOST_NAMED = 1000
"""Stored objects that one request may name."""

IN_CHATS = (b"file_id",)
IN_RESPONSES = (b"file_id", b"vector_store_id", b'"container"')
ANYWHERE = (b'"',)
"""A body without any of these bytes names nothing. Looking for them costs less than reading the body."""


class Named(NamedTuple):
    """A stored object that a request names."""

    kind: Kind
    id: str
    param: str
    """Where the request names it."""


class Members(tuple[tuple[str, object], ...]):
    """All members of a JSON object, also two of the same name: another reader may take the other one."""


def named_in(raw: bytes, param: str) -> list[Named]:
    """All stored objects that a member of a body names. Raises `ValueError`, `RecursionError`."""
    references: list[Named] = []
    waiting: list[tuple[str, object]] = [(param, json.loads(raw, object_pairs_hook=Members))]
    while waiting:
        name, inside = waiting.pop()
        if isinstance(inside, Members):
            is_source = ("type", "file_id") in inside  # the source of an eval's run
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
