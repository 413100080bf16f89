"""The parameters that the installed OpenAI SDK knows, each with a value of its type."""

from __future__ import annotations

import datetime
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal, get_args, get_origin

DEEPEST = 6


def parameters_of(*params: type) -> dict[str, Any]:
    """From name to a plausible JSON value, for all fields of these TypedDicts."""
    fields: dict[str, Any] = {}
    for each in params:
        hints = typing.get_type_hints(each)
        fields.update({name: value_of(hint, DEEPEST) for name, hint in hints.items()})
    return fields


def value_of(hint: Any, depth: int) -> Any:
    origin, args = get_origin(hint), get_args(hint)
    if origin in (typing.Required, typing.NotRequired, typing.Annotated):
        return value_of(args[0], depth)
    if origin is Literal:
        return args[0]
    if origin in (typing.Union, types.UnionType):
        chosen = [arg for arg in args if arg is not type(None)]
        return value_of(chosen[-1], depth)
    if typing.is_typeddict(hint):
        if not depth:
            return {}
        return {name: value_of(kind, depth - 1) for name, kind in typing.get_type_hints(hint).items()}
    if origin is not None and issubclass(origin, Mapping):
        return {"key": value_of(args[1], depth - 1)} if depth else {}
    if args:  # lists and iterables
        return [value_of(args[0], depth - 1)] if depth else []
    plain = {bool: True, int: 7, float: 0.25, str: 'é "x" \\ /', datetime.datetime: "2026-01-01T00:00:00Z"}
    return plain.get(hint, {"any": None})
