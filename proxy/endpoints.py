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
    """For metrics: one of a small, fixed number."""

    dialect: Dialect = OPAQUE
    reads_body: bool = False
    """Its body is a JSON object with a `model`, read whole before the request goes on."""

    own: bool = False
    """Answered by Sluice itself."""

    forms_name_model: bool = False
    """A form that is sent to it may have a field `model`."""

    media: str = ""
    """What its price may be by: pictures, speech or what is heard (`media.py`)."""

    metered: bool = False
    """Whatever it is asked: its model is known before the provider is asked, and its cost afterwards."""

    names_stored: tuple[bytes, ...] = ()
    """Its bodies may name what a provider has stored; one that does has one of these bytes in it."""

    makes: Kind | None = None
    """What a provider stores for who asks it."""

    one_of: Kind | None = None
    """Its path names one."""

    lists: Kind | None = None
    """It tells of all that there are."""


CHAT = Endpoint(
    "/v1/chat/completions", ChatDialect(), reads_body=True, metered=True, names_stored=IN_CHATS, makes=STORED_CHAT
)
COMPLETIONS = Endpoint("/v1/completions", CompletionDialect(), reads_body=True, metered=True)
EMBEDDINGS = Endpoint("/v1/embeddings", EmbeddingDialect(), reads_body=True, metered=True)
RESPONSES = Endpoint("/v1/responses", ResponsesDialect(), reads_body=True, names_stored=IN_RESPONSES, makes=RESPONSE)
"""Metered where its body says no otherwise (`metering.py`)."""
COMPACT = Endpoint("/v1/responses/compact", CompactDialect(), reads_body=True, metered=True, names_stored=IN_RESPONSES)
STORED_RESPONSE = Endpoint("/v1/responses/{id}", ResponsesDialect(), names_stored=ANYWHERE, one_of=RESPONSE)
STORED_CONVERSATION = Endpoint("/v1/conversations/{id}", names_stored=ANYWHERE, one_of=CONVERSATION)
MODELS = Endpoint("/v1/models", own=True, metered=True)

READ = {endpoint.label: endpoint for endpoint in (CHAT, COMPLETIONS, EMBEDDINGS, RESPONSES, COMPACT)}
READ_RAW = {path.encode(): endpoint for path, endpoint in READ.items()}
"""By the bytes of the request's target."""


def dialect_of(path: str) -> Dialect:
    """The one that a client speaks who asks for this path."""
    endpoint = READ.get(path)
    return OPAQUE if endpoint is None else endpoint.dialect


# What is passed through, by its first segment: names of OpenAI's API, so that no client can invent a label.
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
    """Of one kind of what providers store."""

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

# What costs nothing, since no model works for it: by method, and by the path after `/v1` as the provider reads it.
# Whatever is not here and not metered may cost. A path with escapes is none of these: two readers may take it for two.
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

# Who lists or reads what is stored, asks with GET; the rest of what OpenAI has no use for is refused here.
ONLY_POST = frozenset(READ) - {CHAT.label}
CHAT_METHODS = frozenset({"GET", "POST"})


def find_endpoint(method: str, path: str) -> Endpoint:
    """The endpoint of a request whose path is known to be clean and to begin with `/v1/`."""
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
    """The endpoint of what a provider stores; `rest` is what follows `/v1`, and `name` its first segment."""
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
    """The methods of a path that takes only some; None where the provider decides."""
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
