"""Users and teams as fields of the management API: answers have their ids, and requests may have their names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from django.contrib.auth import get_user_model
from django.contrib.auth.models import User
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from keys.models import Team

if TYPE_CHECKING:
    UserRelation = serializers.RelatedField[User, str | int, int]
    TeamRelation = serializers.RelatedField[Team, str | int, int]
else:
    UserRelation = TeamRelation = serializers.RelatedField

MOST_DIGITS = 18
"""No row has a longer number, and SQLite's driver raises OverflowError for it."""


def find_user(name_or_id: Any) -> Any:
    """Find a user by name, by the account's public id (`usr_…`), else by number. Raises `User.DoesNotExist`."""
    users = get_user_model()._default_manager
    if isinstance(name_or_id, str):
        if named := users.filter(username=name_or_id).first():
            return named
        if name_or_id.startswith("usr_"):
            return users.get(account__public_id=name_or_id)
    return users.get(pk=_row_id(name_or_id, get_user_model().DoesNotExist))


def find_team(name_or_id: Any) -> Team:
    """Find a team by name, else by number. Raises `Team.DoesNotExist`."""
    if isinstance(name_or_id, str) and (named := Team.objects.filter(name=name_or_id).first()):
        return named
    return Team.objects.get(pk=_row_id(name_or_id, Team.DoesNotExist))


def _row_id(text: Any, missing: type[Exception]) -> int:
    if not (str(text).isascii() and str(text).isdecimal() and len(str(text)) <= MOST_DIGITS):
        raise missing
    return int(text)


@extend_schema_field(
    {"oneOf": [{"type": "integer"}, {"type": "string"}], "description": "A user's number; the name or `usr_…` too."}
)
class UserField(UserRelation):
    shown_as: ClassVar = {"type": "integer"}
    default_error_messages: ClassVar = {
        "does_not_exist": "There is no user {value!r}.",
        "wrong_type": "Write a user's name or id.",
    }

    def __init__(self, **options: Any) -> None:
        if not options.get("read_only"):
            options.setdefault("queryset", get_user_model()._default_manager.all())
        super().__init__(**options)

    def use_pk_only_optimization(self) -> bool:
        return True

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, bool) or not isinstance(data, str | int):
            self.fail("wrong_type")
        try:
            return find_user(data)
        except get_user_model().DoesNotExist:
            self.fail("does_not_exist", value=data)

    def to_representation(self, value: Any) -> int:
        return int(value.pk)


@extend_schema_field(
    {"oneOf": [{"type": "integer"}, {"type": "string"}], "description": "Its id; its name is taken too."}
)
class TeamField(TeamRelation):
    shown_as: ClassVar = {"type": "integer"}
    default_error_messages: ClassVar = {
        "does_not_exist": "There is no team {value!r}.",
        "wrong_type": "Write a team's name or id.",
    }

    def __init__(self, **options: Any) -> None:
        super().__init__(queryset=Team.objects.all(), **options)

    def use_pk_only_optimization(self) -> bool:
        return True

    def to_internal_value(self, data: Any) -> Team:
        if isinstance(data, bool) or not isinstance(data, str | int):
            self.fail("wrong_type")
        try:
            return find_team(data)
        except Team.DoesNotExist:
            self.fail("does_not_exist", value=data)

    def to_representation(self, value: Any) -> int:
        return int(value.pk)
