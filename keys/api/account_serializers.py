"""Serializers of the management API for teams, tiers and users."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib.auth import get_user_model
from rest_framework import serializers
from rest_framework.exceptions import PermissionDenied

from keys.api.limited_serializers import LimitedSerializer
from keys.api.people import UserField
from keys.models import Account, GlobalLimits, Team, Tier
from keys.signup import MOST_PASSWORD, make_user
from strict.members import Strict

CONFLICT: dict[str, Any] = {"validators": []}
"""A taken name must be a conflict (409). A serializer's validator would answer 400, so the model checks the name."""


class TierSerializer(Strict, serializers.ModelSerializer[Tier]):
    class Meta:
        model = Tier
        fields = ("id", "name", "daily_embeddings", "compute", "created_at", "updated_at")
        extra_kwargs: ClassVar[dict[str, Any]] = {"name": CONFLICT}

    def create(self, validated_data: dict[str, Any]) -> Tier:
        tier = Tier(**validated_data)
        tier.full_clean()
        tier.save(force_insert=True)
        return tier

    def update(self, instance: Tier, validated_data: dict[str, Any]) -> Tier:
        instance.change(**validated_data)
        return instance


class TeamSerializer(LimitedSerializer[Team]):
    members = UserField(many=True, required=False)
    add_members = UserField(many=True, required=False, write_only=True, help_text="Users who become members too.")
    remove_members = UserField(many=True, required=False, write_only=True, help_text="Users who are none any longer.")

    class Meta:
        model = Team
        fields = (
            "id",
            "name",
            "members",
            "add_members",
            "remove_members",
            *LimitedSerializer.limit_fields,
            "notes",
            "created_at",
            "updated_at",
        )
        extra_kwargs: ClassVar[dict[str, Any]] = {"name": CONFLICT}

    def create(self, validated_data: dict[str, Any]) -> Team:
        members = [*validated_data.pop("members", []), *validated_data.pop("add_members", [])]
        validated_data.pop("remove_members", None)
        team = super().create(validated_data)
        team.members.set(members)
        return team

    def update(self, instance: Team, validated_data: dict[str, Any]) -> Team:
        members = validated_data.pop("members", None)
        added, removed = validated_data.pop("add_members", []), validated_data.pop("remove_members", [])
        super().update(instance, validated_data)
        if members is not None:
            instance.members.set(members)
        if added:
            instance.members.add(*added)
        if removed:
            instance.members.remove(*removed)
        return instance


class UserSerializer(LimitedSerializer[Account]):
    """A user with the account's tier and limits."""

    id = serializers.CharField(source="public_id", read_only=True)
    user = serializers.IntegerField(source="user_id", read_only=True, help_text="The number that keys name as owner.")
    username = serializers.CharField(source="user.username", read_only=True)
    email = serializers.CharField(source="user.email", read_only=True)
    is_active = serializers.BooleanField(
        source="user.is_active", required=False, help_text="False: nothing that the user owns is served."
    )
    is_staff = serializers.BooleanField(source="user.is_staff", read_only=True)
    tier = serializers.SlugRelatedField(slug_field="name", queryset=Tier.objects.all(), required=False)

    class Meta:
        model = Account
        fields = (
            "id",
            "user",
            "username",
            "email",
            "is_active",
            "is_staff",
            "tier",
            *LimitedSerializer.limit_fields,
            "created_at",
            "updated_at",
        )

    def update(self, instance: Account, validated_data: dict[str, Any]) -> Account:
        is_active = validated_data.pop("user", {}).get("is_active")
        if is_active is not None:
            self._activate(instance.user, is_active)
        return super().update(instance, validated_data)

    def _activate(self, user: Any, is_active: bool) -> None:
        if user.is_staff and not self.context["request"].user.is_superuser:
            raise PermissionDenied("Only a superuser activates and deactivates staff.")
        user.is_active = is_active
        user.save(update_fields=["is_active"])


class NewUserSerializer(UserSerializer):
    """A user to be created. Without a password nobody can sign in with it."""

    email = serializers.EmailField(max_length=150, write_only=True)
    password = serializers.CharField(
        min_length=8,
        max_length=MOST_PASSWORD,
        required=False,
        write_only=True,
        trim_whitespace=False,
        style={"input_type": "password"},
    )

    class Meta(UserSerializer.Meta):
        fields = (*UserSerializer.Meta.fields, "password")

    def create(self, validated_data: dict[str, Any]) -> Account:
        is_active = validated_data.pop("user", {}).get("is_active", True)
        user = make_user(validated_data.pop("email"), validated_data.pop("password", None))
        account = Account.of(user)
        account.change(**validated_data)
        if not is_active:
            get_user_model()._default_manager.filter(pk=user.pk).update(is_active=False)
        return Account.objects.select_related("user", "tier").get(pk=account.pk)


class GlobalLimitsSerializer(LimitedSerializer[GlobalLimits]):
    updated_at = serializers.DateTimeField(read_only=True, allow_null=True, help_text="Null: never.")

    class Meta:
        model = GlobalLimits
        fields = (*LimitedSerializer.limit_fields, "updated_at")
