"""Whether a response answers the same request again.

It does if it follows from the request alone, and if nothing happened on the way to it that a replay would leave out.
What a provider stores may change or go, and belongs to one project; tools that it runs may do anything. So a request is
repeatable if all in it is known to be: what is unknown here may be a state too.
"""

from __future__ import annotations

from typing import Any

import msgspec

from proxy.dialects.stored_kinds import IN_RESPONSES
from proxy.dialects.words import OPENAI
from proxy.wire.jsonbody import JSONBody

STATEFUL = frozenset({"messages", "prompt", "background"})
"""Members that are known, and are none of this API or speak of what the provider stores or makes later."""

MEMBERS = (OPENAI.read | OPENAI.unread | {"max_tool_calls", "moderation", "image", "access_programs"}) - STATEFUL
TOOLS = OPENAI.functions | {
    *("web_search", "web_search_2025_08_26", "web_search_preview", "web_search_preview_2025_03_11"),
}
"""Tools that the client runs, or that change nothing."""

TEXTS = ("input", "instructions")
"""Members that are a text or a list of items."""

NOTHING = frozenset({b"null", b"false", b'""'})
OWN_LIMIT = "max_output_tokens"


class _Item(msgspec.Struct):
    type: Any = None
    id: Any = None
    content: Any = None
    encrypted_content: Any = None


class _Tool(msgspec.Struct):
    type: Any = None


class _Details(msgspec.Struct):
    reason: Any = None


_items = msgspec.json.Decoder(list[_Item] | None)
_tools = msgspec.json.Decoder(list[_Tool] | None)
_details = msgspec.json.Decoder(_Details)


def is_repeatable(body: JSONBody) -> bool:
    """Whether the response to this request follows from it alone."""
    if any(name not in MEMBERS and bytes(value) not in NOTHING for name, value in body.members.items()):
        return False
    if (body.raw("store") or b"null") not in (b"null", b"false") or body.may_name(IN_RESPONSES):
        return False
    try:
        tools = _tools.decode(body.raw("tools") or b"[]") or []
        return all(tool.type in TOOLS for tool in tools) and all(says_all(body.raw(name)) for name in TEXTS)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, TypeError):
        return False


def says_all(given: bytes | None) -> bool:
    """Whether it is a text, or a list of items that say all themselves. Raises `MsgspecError`, `TypeError`."""
    return given is None or given.startswith(b'"') or all(map(is_complete, _items.decode(given) or ()))


def is_complete(item: _Item) -> bool:
    """Whether an item of the input says all itself, and does not refer to one that the provider has."""
    if item.type in (None, "message"):
        return item.content is not None
    if item.type == "reasoning":
        return item.id is None or bool(item.encrypted_content) or bool(item.content)
    return item.type in OPENAI.item_types


def is_good_end(status: Any, details: bytes | None) -> bool:
    """Whether a response is all there is to say: it is complete, or as long as the request allows."""
    if status != "incomplete" or not details:
        return bool(status == "completed")
    try:
        return bool(_details.decode(details).reason == OWN_LIMIT)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False
