"""Projects and keys as the management API shows and takes them. Rules are the models'."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from keys.models import Project, VirtualKey, validate_object, validate_patterns, validate_strings

if TYPE_CHECKING:
    ProjectRelation = serializers.RelatedField[Project, str | int, int]
else:
    ProjectRelation = serializers.RelatedField


class ProjectSerializer(serializers.ModelSerializer[Project]):
    class Meta:
        model = Project
        fields = ("id", "name", "is_active", "upstream_alias", "notes", "created_at", "updated_at")
        # A name that is taken is a conflict (409), which a serializer's validator cannot say: the model finds it.
        extra_kwargs: ClassVar[dict[str, Any]] = {"name": {"validators": []}}

    def create(self, validated_data: dict[str, Any]) -> Project:
        project = Project(**validated_data)
        project.full_clean()
        project.save(force_insert=True)
        return project

    def update(self, instance: Project, validated_data: dict[str, Any]) -> Project:
        instance.change(**validated_data)
        return instance


@extend_schema_field(
    {"oneOf": [{"type": "integer"}, {"type": "string"}], "description": "Its id; its name is taken too."}
)
class ProjectField(ProjectRelation):
    """Shown by id, taken by name or id."""

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


@extend_schema_field({"type": "array", "items": {"type": "string"}})
class TextsField(serializers.JSONField):
    """A list of texts, checked by the model's own validator: a `ListField` would make texts of numbers."""


@extend_schema_field({"type": "object", "additionalProperties": {}})
class ObjectField(serializers.JSONField):
    pass


class KeySerializer(serializers.ModelSerializer[VirtualKey]):
    project = ProjectField(queryset=Project.objects.all(), required=False)
    project_name = serializers.CharField(source="project.name", read_only=True)
    status = serializers.ChoiceField(choices=["active", "inactive", "expired", "revoked"], read_only=True)
    mask = serializers.CharField(read_only=True)
    # Named again: the model's own validation skips whatever is empty, and `{}` is no empty list.
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
            "status",
            "mask",
            "is_active",
            "expires_at",
            "revoked_at",
            "allowed_models",
            "rpm",
            "upstream_alias",
            "metadata",
            "tags",
            "notes",
            "created_at",
            "updated_at",
            "last_used_at",
            "total_requests",
        )
        read_only_fields = ("revoked_at", "last_used_at", "total_requests")
        validators: ClassVar[list[Any]] = []  # the model finds a name that is taken: a conflict (409)

    def update(self, instance: VirtualKey, validated_data: dict[str, Any]) -> VirtualKey:
        instance.change(**validated_data)
        return instance


class MintedKeySerializer(KeySerializer):
    """A key at the only moment at which its token is known."""

    key = serializers.SerializerMethodField(help_text="The token. It is told here and never again.")

    class Meta(KeySerializer.Meta):
        fields = (*KeySerializer.Meta.fields, "key")  # type: ignore[assignment]

    def get_key(self, _key: VirtualKey) -> str:
        return str(self.context["token"])


class BulkRevocationSerializer(serializers.Serializer[Any]):
    """Which keys to revoke: all of one project."""

    project = ProjectField(queryset=Project.objects.all())


class RevokedSerializer(serializers.Serializer[Any]):
    revoked = serializers.IntegerField(help_text="Keys that were not revoked before.")
