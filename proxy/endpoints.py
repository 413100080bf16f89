"""The addresses of the data plane, and how each is treated."""

from __future__ import annotations

import re
from typing import NamedTuple

from proxy.dialects.base import Dialect
from proxy.dialects.chat import ChatDialect, EmbeddingDialect
from proxy.dialects.made import MadeDialect
from proxy.dialects.opaque import OpaqueDialect
from proxy.dialects.responses import ResponsesDialect

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

    metered: bool = False
    """Whatever it is asked: its model is known before the provider is asked, and its cost afterwards."""

    speaks_of_stored: bool = False
    """Its requests may go on with, or ask for, what a provider has stored."""


CHAT = Endpoint("/v1/chat/completions", ChatDialect(), reads_body=True, metered=True)
COMPLETIONS = Endpoint("/v1/completions", ChatDialect(), reads_body=True, metered=True)
EMBEDDINGS = Endpoint("/v1/embeddings", EmbeddingDialect(), reads_body=True, metered=True)
RESPONSES = Endpoint("/v1/responses", ResponsesDialect(), reads_body=True, speaks_of_stored=True)
"""Metered where its body says no otherwise (`metering.py`)."""
COMPACT = Endpoint("/v1/responses/compact", ResponsesDialect(), reads_body=True, metered=True, speaks_of_stored=True)
STORED_RESPONSE = Endpoint("/v1/responses/{id}", ResponsesDialect(), speaks_of_stored=True)
NEW_CONVERSATION = Endpoint("/v1/conversations", MadeDialect())
STORED_CONVERSATION = Endpoint("/v1/conversations/{id}", speaks_of_stored=True)
MODELS = Endpoint("/v1/models", own=True, metered=True)

READ = {endpoint.label: endpoint for endpoint in (CHAT, COMPLETIONS, EMBEDDINGS, RESPONSES, COMPACT)}
READ_RAW = {path.encode(): endpoint for path, endpoint in READ.items()}
"""By the bytes of the request's target."""

# What is passed through, by its first segment: names of OpenAI's API, so that no client can invent a label.
PASSED = {
    name: Endpoint(f"/v1/{name}")
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
PASSED["responses"] = Endpoint("/v1/responses", speaks_of_stored=True)  # what is counted or made shorter
PASSED |= {name: Endpoint(f"/v1/{name}", forms_name_model=True) for name in ("audio", "images", "videos")}
OTHER = Endpoint("/v1/{other}", forms_name_model=True)
UNKNOWN = Endpoint("{unknown}")
"""Outside of `/v1`, or not understood before it was refused."""

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
ONLY_POST = frozenset({"/v1/completions", "/v1/embeddings", "/v1/responses", "/v1/responses/compact"})
CHAT_METHODS = frozenset({"GET", "POST"})


def find_endpoint(method: str, path: str) -> Endpoint:
    """The endpoint of a request whose path is known to be clean and to begin with `/v1/`."""
    endpoint = READ.get(path)
    if endpoint is not None and method == "POST":
        return endpoint
    rest = path[4:]
    if method in ("GET", "HEAD") and (rest == "models" or (rest.startswith("models/") and len(rest) > 7)):
        return MODELS
    name, _, tail = rest.partition("/")
    if name == "responses" and tail and tail != "input_tokens":
        return STORED_RESPONSE
    if name == "conversations" and (tail or method == "POST"):
        return STORED_CONVERSATION if tail else NEW_CONVERSATION
    return PASSED.get(name, OTHER)


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
