"""The management API's serializers of providers and credentials. They take secrets, and never return one."""

from __future__ import annotations

from functools import cached_property
from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.exceptions import PermissionDenied

from providers.health import Health, health_of
from providers.models import Credential, Provider, alias_validator, validate_models, validate_secret
from providers.ports import CONFIGURATION_VERSION
from strict.members import Strict


class SecretField(serializers.CharField):
    """A secret, taken exactly as sent: spaces at its ends are refused, not removed."""

    def __init__(self, **options: Any) -> None:
        super().__init__(
            write_only=True,
            trim_whitespace=False,
            validators=[validate_secret],
            style={"input_type": "password"},
            **options,
        )

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return data


@extend_schema_field(
    {
        "oneOf": [
            {"type": "object", "additionalProperties": {"type": "string"}},
            {"type": "array", "items": {"type": "string"}},
        ],
        "description": "Client-side name or glob to the provider's name, blank for the same name. "
        "A list of names stands for an object of blank values. Empty: every model.",
    }
)
class ModelsField(serializers.JSONField):
    shown_as: ClassVar = {"type": "object", "additionalProperties": {"type": "string"}}

    def to_internal_value(self, data: Any) -> Any:
        value = super().to_internal_value(data)
        if isinstance(value, list) and all(isinstance(name, str) for name in value):
            return dict.fromkeys(value, "")
        return value


@extend_schema_field({"type": "object", "additionalProperties": {}})
class OptionsField(serializers.JSONField):
    pass


class HealthSerializer(serializers.Serializer[Health]):
    """The latest finding about a provider's health."""

    status = serializers.CharField(help_text="`ok`, `down`, or `unknown`: it was never asked.")
    latency_ms = serializers.FloatField(allow_null=True)
    since = serializers.DateTimeField(allow_null=True)
    checked_at = serializers.DateTimeField(allow_null=True)
    error = serializers.CharField()


class ProviderSerializer(Strict, serializers.ModelSerializer[Provider]):
    moving = Strict.moving | {"health", "version"}
    required_examples: ClassVar = {"base_url": "https://api.openai.com/v1"}
    """Only the simulator needs no base URL."""

    credential = serializers.CharField(
        source="credential_alias",
        required=False,
        allow_blank=True,
        max_length=64,
        validators=[alias_validator],
        help_text="Alias of the credential it is called with. Blank: none is sent.",
    )
    models = ModelsField(source="model_map", required=False, validators=[validate_models])
    options = OptionsField(required=False)
    api_key = SecretField(
        required=False,
        help_text="Kept, encrypted, as this provider's own credential under the alias `credential` (or `default`).",
    )
    health = serializers.SerializerMethodField()
    version = serializers.SerializerMethodField(help_text="Of the whole configuration; it grows with every change.")

    class Meta:
        model = Provider
        fields = (
            "id",
            "name",
            "kind",
            "base_url",
            "credential",
            "api_key",
            "models",
            "priority",
            "weight",
            "is_enabled",
            "options",
            "health",
            "created_at",
            "updated_at",
            "version",
        )
        # A name that is taken is a conflict (409). A serializer's validator would make it 400, so the model checks it.
        extra_kwargs: ClassVar[dict[str, Any]] = {"name": {"validators": []}, "priority": {"max_value": 32_767}}

    @extend_schema_field(HealthSerializer)
    def get_health(self, provider: Provider) -> dict[str, Any]:
        return dict(HealthSerializer(health_of(provider)).data)

    def get_version(self, _provider: Provider) -> int:
        return self._version

    @cached_property
    def _version(self) -> int:
        """Read once for each answer, not for each row: a list has one serializer for all its rows."""
        return CONFIGURATION_VERSION()()

    def validate_api_key(self, value: str) -> str:
        user = self.context["request"].user
        if not user.has_perms(["providers.add_credential", "providers.change_credential"]):
            raise PermissionDenied("Storing a credential needs the permissions to add and change credentials.")
        return value

    def create(self, validated_data: dict[str, Any]) -> Provider:
        return self.update(Provider(), validated_data)

    def update(self, instance: Provider, validated_data: dict[str, Any]) -> Provider:
        instance.change(secret=validated_data.pop("api_key", None), **validated_data)
        return instance


class CredentialSerializer(Strict, serializers.ModelSerializer[Credential]):
    provider_name = serializers.SerializerMethodField()
    secret = SecretField(help_text="Never shown again; leave it out of an update to keep it.")
    mask = serializers.CharField(read_only=True)
    usable = serializers.BooleanField(
        read_only=True, help_text="False: ENCRYPTION_KEY no longer lists the key that it was encrypted under."
    )

    class Meta:
        model = Credential
        fields = ("id", "alias", "provider", "provider_name", "secret", "mask", "usable", "created_at", "updated_at")
        validators: ClassVar[list[Any]] = []  # an alias that is taken is a conflict (409), so the model checks it

    def get_fields(self) -> dict[str, Any]:
        """A secret is required to create a credential. A `PUT` may leave it out too, because no client can read it."""
        fields = super().get_fields()
        fields["secret"].required = self.instance is None
        return fields

    def get_provider_name(self, credential: Credential) -> str | None:
        return credential.provider.name if credential.provider is not None else None

    def create(self, validated_data: dict[str, Any]) -> Credential:
        return self.update(Credential(), validated_data)

    def update(self, instance: Credential, validated_data: dict[str, Any]) -> Credential:
        instance.change(**validated_data)
        return instance


class CredentialUpdateSerializer(CredentialSerializer):
    """A credential as `PUT` takes it. If the secret is left out, the stored one stays."""

    def get_fields(self) -> dict[str, Any]:
        fields = super().get_fields()
        fields["secret"].required = False
        return fields
