"""`/responses/{id}` and the paths below it."""

from __future__ import annotations

import msgspec

from providers.simulator.delivery import Plain
from providers.simulator.memory import Memory
from providers.simulator.refusals import RefusedError

VERBS = {"": ("GET", "DELETE"), "input_items": ("GET",), "cancel": ("POST",)}


def respond(method: str, path: str, memory: Memory) -> Plain | None:
    """The answer; None if path and method are not among these. Raises `RefusedError` for an unknown id."""
    name, _, verb = path.removeprefix("/responses/").partition("/")
    if not path.startswith("/responses/") or method not in VERBS.get(verb, ()):
        return None
    stored = memory.responses.get(name)
    if stored is None:
        raise RefusedError(f"Response with id '{name}' not found.", status=404, param="id")
    if method == "DELETE":
        memory.forget(name)
        return Plain(msgspec.json.encode({"id": name, "object": "response", "deleted": True}))
    if verb == "cancel":
        stored = stored._replace(response={**stored.response, "status": "cancelled"})
        memory.keep(stored)
    if verb == "input_items":
        ids = [item["id"] for item in stored.input] or [None]
        listed = {"object": "list", "data": stored.input, "first_id": ids[0], "last_id": ids[-1], "has_more": False}
        return Plain(msgspec.json.encode(listed))
    return Plain(msgspec.json.encode(stored.response))
