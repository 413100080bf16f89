"""The addresses of the data plane, and how each is treated."""

from __future__ import annotations

import re
from typing import NamedTuple

from proxy.dialects.base import Dialect
from proxy.dialects.chat import ChatDialect, CompletionDialect, EmbeddingDialect
from proxy.dialects.media import MediaDialect
from proxy.dialects.opaque import OpaqueDialect
from proxy.dialects.responses import CompactDialect, ResponsesDialect
from proxy.dialects.stored_kinds import (
    ANYWHERE,
    CONVERSATION,
    IN_CHATS,
    IN_RESPONSES,
    KINDS,
    MODEL,
    RESPONSE,
    STORED_CHAT,
    Kind,
)
from proxy.dialects.stored_objects import StoredObjectDialect

OPAQUE = OpaqueDialect()


class Endpoint(NamedTuple):
    label: str
    """The value of a metric's label, out of a small, fixed number."""

    dialect: Dialect = OPAQUE
    reads_body: bool = False
    """Its body is a JSON object with a `model`, which is read whole before the request is forwarded."""

    own: bool = False
    """Answered by Sluice itself."""

    forms_name_model: bool = False
    """A form that is sent to it may have a field `model`."""

    media: str = ""
    """`pictures`, `speech` or `hearing` if its price may be by these (`media.py`); else blank."""

    metered: bool = False
    """For every request, the model is known before the provider is asked, and the cost afterwards."""

    names_stored: tuple[bytes, ...] = ()
    """Its bodies may name stored objects. A body that names one contains one of these words."""

    is_cached: bool = False
    """Its answers may be stored, and answer the same request again."""

    makes: Kind | None = None
    """The kind of object that a request to it makes a provider store."""

    one_of: Kind | None = None
    """The kind of stored object that its path names."""

    lists: Kind | None = None
    """The kind of stored objects that it lists."""


CHAT = Endpoint(
    "/v1/chat/completions",
    ChatDialect(),
    reads_body=True,
    metered=True,
    names_stored=IN_CHATS,
    is_cached=True,
    makes=STORED_CHAT,
)
COMPLETIONS = Endpoint("/v1/completions", CompletionDialect(), reads_body=True, metered=True, is_cached=True)
EMBEDDINGS = Endpoint("/v1/embeddings", EmbeddingDialect(), reads_body=True, metered=True, is_cached=True)
RESPONSES = Endpoint(
    "/v1/responses",
    ResponsesDialect(),
    reads_body=True,
    names_stored=IN_RESPONSES,
    is_cached=True,
    makes=RESPONSE,
)
"""Metered, unless something in the body prevents it (`metering.py`)."""
COMPACT = Endpoint("/v1/responses/compact", CompactDialect(), reads_body=True, metered=True, names_stored=IN_RESPONSES)
STORED_RESPONSE = Endpoint("/v1/responses/{id}", ResponsesDialect(), names_stored=ANYWHERE, one_of=RESPONSE)
STORED_CONVERSATION = Endpoint("/v1/conversations/{id}", names_stored=ANYWHERE, one_of=CONVERSATION)
MODELS = Endpoint("/v1/models", own=True, metered=True)

READ = {endpoint.label: endpoint for endpoint in (CHAT, COMPLETIONS, EMBEDDINGS, RESPONSES, COMPACT)}
READ_RAW = {path.encode(): endpoint for path, endpoint in READ.items()}
"""By the bytes of the request's target."""


def dialect_of(path: str) -> Dialect:
    """The dialect of a client that asks for this path."""
    endpoint = READ.get(path)
    return OPAQUE if endpoint is None else endpoint.dialect


# Endpoints that are passed through, by first segment. Only names of OpenAI's API, so that no client can invent a label.
PASSED = {
    name: Endpoint(f"/v1/{name}", names_stored=ANYWHERE)
    for name in [
        "assistants",
        "audio",
        "batches",
        "chat",
        "completions",
        "containers",
        "conversations",
        "embeddings",
        "evals",
        "files",
        "fine_tuning",
        "images",
        "models",
        "moderations",
        "organization",
        "realtime",
        "responses",
        "threads",
        "uploads",
        "vector_stores",
        "videos",
    ]
}
WITH_FORMS = frozenset({"audio", "images", "videos"})
PASSED |= {name: Endpoint(f"/v1/{name}", forms_name_model=True, names_stored=ANYWHERE) for name in WITH_FORMS}
MEDIA = {
    path: Endpoint(
        f"/v1/{path.split('/')[1]}", MediaDialect(), forms_name_model=True, names_stored=ANYWHERE, media=kind
    )
    for kind, paths in {
        "pictures": ("/images/generations", "/images/edits", "/images/variations"),
        "speech": ("/audio/speech",),
        "hearing": ("/audio/transcriptions", "/audio/translations"),
    }.items()
    for path in paths
}
"""By what follows `/v1`; for POST."""

OTHER = Endpoint("/v1/{other}", forms_name_model=True, names_stored=ANYWHERE)
UNKNOWN = Endpoint("{unknown}")
"""Outside of `/v1`, or not understood before it was refused."""


class Addresses(NamedTuple):
    """The endpoints of one kind of stored objects."""

    kind: Kind
    creation: Endpoint
    one: Endpoint
    all: Endpoint


def addresses_of(kind: Kind) -> Addresses:
    name = kind.path.split("/")[1]
    plain = Endpoint(f"/v1/{name}", names_stored=ANYWHERE, forms_name_model=name in WITH_FORMS)
    one = plain._replace(one_of=kind, dialect=StoredObjectDialect(one_of=kind) if kind.tells else OPAQUE)
    if kind is RESPONSE or kind is CONVERSATION:
        one = STORED_RESPONSE if kind is RESPONSE else STORED_CONVERSATION
    return Addresses(
        kind, plain._replace(makes=kind, dialect=StoredObjectDialect(makes=kind)), one, plain._replace(lists=kind)
    )


STORED: dict[str, list[Addresses]] = {}
for _kind in KINDS:
    STORED.setdefault(_kind.path.split("/")[1], []).append(addresses_of(_kind))

READING = frozenset({"GET", "HEAD", "DELETE", "OPTIONS"})
"""Methods that make nothing."""

# Free requests, for which no model works: by method, and by the path after `/v1` as the provider reads it. A request
# that is neither here nor metered may cost something. A path with escapes is never free: it could be read in two ways.
_ID = r"/[\w.~:@-]+"
_STORED = (
    r"/(?:assistants|batches|chat/completions|containers|conversations|evals|files|fine_tuning|models|responses|threads"
    rf"|uploads|vector_stores|videos)(?:{_ID})*/?"
)
_KEPT = rf"/(?:moderations|files|uploads(?:{_ID}/(?:parts|complete|cancel))?|conversations(?:{_ID}(?:/items)?)?)"
_CANCELLED = rf"/(?:responses|batches|fine_tuning/jobs){_ID}/cancel"
_FREE = {
    **dict.fromkeys(("GET", "HEAD", "OPTIONS", "DELETE"), re.compile(_STORED, re.ASCII)),
    "POST": re.compile(rf"(?:{_KEPT}|{_CANCELLED}|/responses/input_tokens)/?", re.ASCII),
}

# Stored chats are listed with GET. Other methods, for which OpenAI has no use on these paths, are refused here.
ONLY_POST = frozenset(READ) - {CHAT.label}
CHAT_METHODS = frozenset({"GET", "POST"})


def find_endpoint(method: str, path: str) -> Endpoint:
    """The endpoint of a request. Its path must be canonical and begin with `/v1/`."""
    endpoint = READ.get(path)
    if endpoint is not None and method == "POST":
        return endpoint
    rest = path[4:]
    if method in ("GET", "HEAD") and (rest == "models" or (rest.startswith("models/") and len(rest) > 7)):
        return MODELS
    if method == "POST" and (endpoint := MEDIA.get(path[3:])) is not None:
        return endpoint
    name = rest.partition("/")[0]
    return find_stored(method, name, path[3:]) or PASSED.get(name, OTHER)


def find_stored(method: str, name: str, rest: str) -> Endpoint | None:
    """The endpoint of stored objects, if it is one. `rest` is what follows `/v1`, and `name` its first segment."""
    for kind, creation, one, every in STORED.get(name, ()):
        if kind is MODEL and method != "DELETE":
            continue
        if rest == kind.path or rest in kind.makes:
            if method == "POST":
                return creation
            if rest == kind.path:
                return every if method == "GET" else None
        if rest.startswith(kind.path + "/") and rest != "/responses/input_tokens":
            return one
    return None


def allowed_methods(path: str) -> frozenset[str] | None:
    """The methods that a path allows; None if the provider decides."""
    if path in ONLY_POST:
        return frozenset({"POST"})
    if path == "/v1/chat/completions":
        return CHAT_METHODS
    if path == "/v1/models":
        return frozenset({"GET", "HEAD"})
    return None


def is_free(method: str, rest: str) -> bool:
    """Whether no model works for a request; `rest` is what follows `/v1` in its path, as it was written."""
    free = _FREE.get(method)
    return free is not None and free.fullmatch(rest) is not None
