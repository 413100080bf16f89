"""Serializers of the management API for projects and keys. The models validate the rules."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from keys.api.json_fields import ObjectField, RulesSerializer, TextsField
from keys.api.limited_serializers import LimitedSerializer
from keys.api.people import TeamField, UserField
from keys.api.permissions import holds_permission
from keys.models import MOST_GRACE_S, Project, VirtualKey, validate_object, validate_patterns, validate_strings
from keys.models.virtual_key import STATUSES
from keys.ownership import OPERATORS, UNKNOWN, check_choices, check_own_key
from keys.ruled import RULES
from strict.members import Strict

if TYPE_CHECKING:
    ProjectRelation = serializers.RelatedField[Project, str | int, int]
else:
    ProjectRelation = serializers.RelatedField


class ProjectSerializer(RulesSerializer, LimitedSerializer[Project]):
    class Meta:
        model = Project
        fields = (
            "id",
            "name",
            "is_active",
            "upstream_alias",
            *LimitedSerializer.limit_fields,
            "notes",
            *RULES,
            "capture_bodies",
            "unmetered",
            "foreign_ids",
            "cache_policy",
            "cache_ttl_s",
            "cache_scope",
            "created_at",
            "updated_at",
        )
        # A taken name must be a conflict (409). A serializer's validator would answer 400, so the model checks the
        # name.
        extra_kwargs: ClassVar[dict[str, Any]] = {
            "name": {"validators": []},
            "unmetered": {"allow_blank": False},
            "cache_policy": {"allow_blank": False},
        }


@extend_schema_field(
    {"oneOf": [{"type": "integer"}, {"type": "string"}], "description": "Its id; its name is taken too."}
)
class ProjectField(ProjectRelation):
    """Answers have the id; requests may have the name or the id."""

    shown_as: ClassVar = {"type": "integer"}
    default_error_messages: ClassVar = {
        "does_not_exist": "There is no project {value!r}.",
        "wrong_type": "Write a project's name or id.",
    }

    def use_pk_only_optimization(self) -> bool:
        return True

    def to_internal_value(self, data: Any) -> Project:
        if isinstance(data, bool) or not isinstance(data, str | int):
            self.fail("wrong_type")
        try:
            return Project.find(data)
        except (Project.DoesNotExist, ValueError):
            self.fail("does_not_exist", value=data)

    def to_representation(self, value: Any) -> int:
        return int(value.pk)


class KeySerializer(LimitedSerializer[VirtualKey]):
    moving = LimitedSerializer.moving | {"last_used_at", "total_requests"}

    project = ProjectField(queryset=Project.objects.all(), required=False)
    project_name = serializers.CharField(source="project.name", read_only=True)
    owner = UserField(required=False, allow_null=True)
    team = TeamField(required=False, allow_null=True)
    team_name = serializers.SerializerMethodField()
    status = serializers.ChoiceField(choices=STATUSES, read_only=True)
    mask = serializers.CharField(read_only=True)
    # The validators are repeated, because validation of a model skips empty values, and `{}` is not an empty list.
    allowed_models = TextsField(required=False, validators=[validate_patterns])
    tags = TextsField(required=False, validators=[validate_strings])
    metadata = ObjectField(required=False, validators=[validate_object])

    class Meta:
        model = VirtualKey
        fields = (
            "id",
            "name",
            "project",
            "project_name",
            "owner",
            "team",
            "team_name",
            "status",
            "mask",
            "is_active",
            "expires_at",
            "revoked_at",
            "allowed_models",
            *LimitedSerializer.limit_fields,
            "upstream_alias",
            "metadata",
            "tags",
            "notes",
            "created_at",
            "updated_at",
            "last_used_at",
            "total_requests",
            "previous_until",
        )
        read_only_fields = ("revoked_at", "last_used_at", "total_requests", "previous_until")
        extra_kwargs: ClassVar[dict[str, Any]] = {
            "previous_until": {"help_text": "Until when the token before the last rotation is still taken."}
        }
        validators: ClassVar[list[Any]] = []  # the model checks for a taken name, which is a conflict (409)

    def get_team_name(self, key: VirtualKey) -> str | None:
        return key.team.name if key.team is not None else None

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        if isinstance(data, Mapping) and not self._may_make_any():
            meant = {name: self._meaning_of(name, data[name]) for name in (*OPERATORS, "team") if name in data}
            check_choices(self.context["request"].user, self.instance, meant)
        fields: dict[str, Any] = super().to_internal_value(data)
        return fields

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Callers who may change any key may set anything; others only what owners may set on their own keys."""
        return attrs if self._may_make_any() else check_own_key(self.context["request"].user, self.instance, attrs)

    def _may_make_any(self) -> bool:
        return holds_permission(self.context["request"], self.context["view"])

    def _meaning_of(self, name: str, value: Any) -> Any:
        try:
            return self.fields[name].run_validation(value)
        except serializers.ValidationError:
            return UNKNOWN


class MintedKeySerializer(KeySerializer):
    """A key in the only answer that has its token."""

    key = serializers.SerializerMethodField(help_text="The token. It is told here and never again.")

    class Meta(KeySerializer.Meta):
        fields = (*KeySerializer.Meta.fields, "key")

    def get_key(self, _key: VirtualKey) -> str:
        return str(self.context["token"])


class RotationSerializer(Strict, serializers.Serializer[Any]):
    grace_seconds = serializers.IntegerField(
        default=0,
        min_value=0,
        max_value=MOST_GRACE_S,
        help_text="How long the old token is still taken beside the new one, up to 30 days.",
    )


class BulkRevocationSerializer(Strict, serializers.Serializer[Any]):
    """The keys to revoke: all keys of a project."""

    project = ProjectField(queryset=Project.objects.all())


class RevokedSerializer(serializers.Serializer[Any]):
    revoked = serializers.IntegerField(help_text="Keys that were not revoked before.")
