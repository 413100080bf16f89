"""Bodies of which every member is known."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from django.http import QueryDict
from rest_framework.exceptions import ValidationError
from rest_framework.fields import empty
from rest_framework.renderers import JSONRenderer

from strict.names import unknown
from strict.old_names import with_new_names

READ_ONLY = "It is read only; leave it out."
BLANK = "A blank text is no value here; write null for none."


class Strict:
    """A mix-in for serializers, before DRF's own class. What comes in is refused where it says something that would be
    dropped: an unknown member, or a read-only one of another value. An answer may be written back as it was.
    """

    default_error_messages: ClassVar[dict[str, Any]] = {"invalid": "This is no JSON object."}

    moving: ClassVar[frozenset[str]] = frozenset({"updated_at"})
    """Read-only members that change while nobody changes the row. They are not compared where a whole answer is written
    back, or a key in use could never be: it is older than the row by then."""

    required_examples: ClassVar[Mapping[str, Any]] = {}
    """Members that the OpenAPI document requires, each with an example: only some rows can do without."""

    def run_validation(self: Any, data: Any = empty) -> Any:
        return super().run_validation(self._understood(data) if isinstance(data, Mapping) else data)  # type: ignore[misc]

    def _understood(self: Any, data: Mapping[str, Any]) -> Mapping[str, Any]:
        """The body by the names of today. Raises `ValidationError`."""
        fields: Mapping[str, Any] = self.fields
        writable = {name: field for name, field in fields.items() if not field.read_only}
        problems: dict[str, list[str]] = {}
        if not isinstance(data, QueryDict):
            data, problems = with_new_names(data, fields, writable)
        for name, value in data.items():
            if name in writable:
                if is_blank(value) and writable[name].allow_null and not getattr(writable[name], "allow_blank", False):
                    problems[name] = [BLANK]
            elif name not in fields:
                problems[name] = [unknown(name, writable, "member")]
        if not problems:
            problems = self._changed({name: value for name, value in data.items() if name not in writable}, fields)
        if problems:
            raise ValidationError(problems)
        return data

    def _changed(self: Any, members: Mapping[str, Any], fields: Mapping[str, Any]) -> dict[str, list[str]]:
        """Problems with read-only members: those of a new row, and those that say something else than the row."""
        if not members:
            return {}
        if self.instance is None:
            return {name: [READ_ONLY] for name in members}
        # Another serializer: this one must not remember what it would say before the change.
        shown = json.loads(JSONRenderer().render(type(self)(self.instance, context=self.context).data))
        is_whole = all(name in members for name, field in fields.items() if field.read_only)
        return {
            name: [f"{READ_ONLY} It is {json.dumps(shown[name], ensure_ascii=False)}."]
            for name, value in members.items()
            if not (is_whole and name in self.moving) and shown[name] != value
        }


def is_blank(value: Any) -> bool:
    return isinstance(value, str) and not value.strip()


def check_members(body: Any, allowed: Iterable[str]) -> None:
    """Of a body that no serializer reads. Raises `ValidationError`."""
    if isinstance(body, Mapping):
        names = tuple(allowed)
        if problems := {name: [unknown(name, names, "member")] for name in body if name not in names}:
            raise ValidationError(problems)
