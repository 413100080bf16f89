"""Who may use the gateway: projects and their virtual keys."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Any, ClassVar

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import MinValueValidator
from django.db import connections, models
from django.db.models.expressions import RawSQL
from django.utils import timezone

from keys.changes import changed
from keys.tokens import hash_secret, mask_token, new_salt, new_token, write_token

DEFAULT_PROJECT = "default"

IDS_IN_A_STATEMENT = 10_000
"""SQLite takes 32,766 parameters, PostgreSQL 65,535."""


class Unmintable(Exception):
    """A key cannot be minted: its project is inactive."""


class AlreadyRevoked(Exception):
    """A revoked key stays as it is: nothing about it can be changed, least of all its secret."""


def validate_patterns(value: Any) -> None:
    """A list of model names or globs."""
    if not isinstance(value, list) or not all(isinstance(item, str) and item.strip() for item in value):
        raise ValidationError('Write a list of model names or globs, such as ["gpt-4.1-*"].')


def validate_strings(value: Any) -> None:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValidationError("Write a list of strings.")


def validate_object(value: Any) -> None:
    if not isinstance(value, dict):
        raise ValidationError("Write a JSON object.")


def validate_alias(value: str) -> None:
    if not re.fullmatch(r"[a-z0-9_.-]*", value):
        raise ValidationError("Write the alias in lower-case letters, digits, dots, dashes and underscores.")


class Project(models.Model):
    """A group of keys that share settings. An inactive one refuses requests and new keys."""

    name = models.CharField(max_length=100, unique=True)
    is_active = models.BooleanField(default=True)
    upstream_alias = models.CharField(
        max_length=64,
        blank=True,
        validators=[validate_alias],
        help_text="Alias of the upstream credential its requests use. Blank: the provider's own.",
    )
    notes = models.TextField(blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering: ClassVar = ["name"]

    def __str__(self) -> str:
        return self.name

    @classmethod
    def default(cls) -> Project:
        """The project of keys that name none, and of anonymous requests; made when it is first asked for."""
        return cls.objects.get_or_create(name=DEFAULT_PROJECT)[0]

    @classmethod
    def find(cls, name_or_id: str | int) -> Project:
        """By name, else by number, so that a project named `7` is still found. Raises `Project.DoesNotExist`."""
        if isinstance(name_or_id, str) and (named := cls.objects.filter(name=name_or_id).first()):
            return named
        if not str(name_or_id).isdecimal() or len(str(name_or_id)) > 18:
            raise cls.DoesNotExist
        return cls.objects.get(pk=int(name_or_id))

    def change(self, **fields: Any) -> None:
        """Set these settings and no other column: what others write meanwhile stays."""
        for field, value in fields.items():
            setattr(self, field, value)
        self.full_clean()
        self.save(update_fields=[*fields, "updated_at"])


class VirtualKeyQuerySet(models.QuerySet["VirtualKey"]):
    def with_status(self, status: str, now: datetime) -> VirtualKeyQuerySet:
        """Those of which `status_at(now)` says so."""
        if status == "revoked":
            return self.filter(revoked_at__isnull=False)
        kept = self.filter(revoked_at__isnull=True)
        if status == "expired":
            return kept.filter(expires_at__lte=now)
        return kept.filter(is_active=status == "active").exclude(expires_at__isnull=False, expires_at__lte=now)

    def tagged(self, tag: str) -> VirtualKeyQuerySet:
        if connections[self.db].vendor != "sqlite":
            return self.filter(tags__contains=[tag])
        # Django offers no `contains` on SQLite's JSON.
        one = "EXISTS (SELECT 1 FROM json_each(keys_virtualkey.tags) WHERE json_each.value = %s)"
        return self.filter(RawSQL(one, [tag], output_field=models.BooleanField()))  # noqa: S611 - the tag is a parameter

    def revoke(self) -> int:
        """Revoke all of them for good. Returns how many were not revoked before."""
        now = timezone.now()
        ids = list(self.filter(revoked_at__isnull=True).values_list("pk", flat=True))
        for start in range(0, len(ids), IDS_IN_A_STATEMENT):
            some = ids[start : start + IDS_IN_A_STATEMENT]
            self.model.objects.filter(pk__in=some).update(revoked_at=now, updated_at=now)
        changed.send(sender=self.model, ids=ids)
        return len(ids)

    def mint(self, *, name: str, project: Project | None = None, **fields: Any) -> tuple[VirtualKey, str]:
        """A new key and its token, which is told here and never again.

        Raises `Unmintable` when the project is inactive and `ValidationError` when a field does not fit.
        """
        project = project or Project.default()
        if not project.is_active:
            raise Unmintable(f"Project {project.name!r} is inactive; activate it first.")
        token, salt = new_token(), new_salt()
        for field, value in default_limits().items():
            if fields.get(field) is None:
                fields[field] = value
        key = self.model(
            name=name,
            project=project,
            public_id=token.public_id,
            salt=salt,
            secret_hash=hash_secret(token.secret, salt),
            **fields,
        )
        key.full_clean()
        key.save(force_insert=True)
        return key, write_token(token, settings.KEY_PREFIX)


def default_limits() -> dict[str, Any]:
    """What new keys get where the operator says nothing, from `KEY_DEFAULT_*`."""
    days = settings.KEY_DEFAULT_EXPIRES_DAYS
    return {
        "rpm": settings.KEY_DEFAULT_RPM,
        "expires_at": timezone.now() + timedelta(days=days) if days else None,
    }


class VirtualKey(models.Model):
    """A credential for programs. Its secret is stored only as a salted hash."""

    name = models.CharField(max_length=100)
    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="keys")
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL)
    public_id = models.CharField(max_length=16, unique=True, editable=False)
    salt = models.BinaryField(editable=False)
    secret_hash = models.BinaryField(editable=False)
    is_active = models.BooleanField(default=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)
    allowed_models = models.JSONField(
        default=list,
        blank=True,
        validators=[validate_patterns],
        help_text='Names or globs, such as ["gpt-4.1-*"]. Empty: every model.',
    )
    rpm = models.PositiveIntegerField(
        "requests per minute", null=True, blank=True, validators=[MinValueValidator(1)], help_text="Blank: no limit."
    )
    upstream_alias = models.CharField(
        max_length=64,
        blank=True,
        validators=[validate_alias],
        help_text="Alias of the upstream credential its requests use. Blank: the project's, else the provider's.",
    )
    metadata = models.JSONField(default=dict, blank=True, validators=[validate_object])
    tags = models.JSONField(default=list, blank=True, validators=[validate_strings])
    notes = models.TextField(blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)
    total_requests = models.PositiveBigIntegerField(default=0, editable=False)

    objects = VirtualKeyQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["-id"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["project", "name"],
                name="key_name_unique_in_project",
                violation_error_message="This project has a key of that name already.",
                violation_error_code="duplicate_name",
            )
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def mask(self) -> str:
        return mask_token(self.public_id, settings.KEY_PREFIX)

    @property
    def status(self) -> str:
        return self.status_at(timezone.now())

    def status_at(self, now: datetime) -> str:
        """`revoked`, `expired`, `inactive` or `active`."""
        if self.revoked_at is not None:
            return "revoked"
        if self.expires_at is not None and self.expires_at <= now:
            return "expired"
        return "active" if self.is_active else "inactive"

    def change(self, **fields: Any) -> None:
        """Set these settings and no other column: what others write meanwhile (a revocation, its use) stays."""
        if self.revoked_at is not None:
            raise AlreadyRevoked(f"Key {self.name!r} is revoked, for good; mint another one.")
        for field, value in fields.items():
            setattr(self, field, value)
        self.full_clean()
        self.save(update_fields=[*fields, "updated_at"])

    def revoke(self) -> None:
        """Refuse it from now on, for good."""
        VirtualKey.objects.filter(pk=self.pk).revoke()
        self.refresh_from_db()

    def rotate(self) -> str:
        """Give it a new secret and return the new token; the old one dies at once. The public id changes with it.

        Raises `AlreadyRevoked`.
        """
        if self.revoked_at is not None:
            raise AlreadyRevoked(f"Key {self.name!r} is revoked, for good; mint another one.")
        token, salt = new_token(), new_salt()
        self.public_id, self.salt, self.secret_hash = token.public_id, salt, hash_secret(token.secret, salt)
        self.save(update_fields=["public_id", "salt", "secret_hash", "updated_at"])
        return write_token(token, settings.KEY_PREFIX)


def announce(sender: type[models.Model], instance: models.Model, **_: Any) -> None:
    changed.send(sender=sender, ids=[instance.pk])


for model in (Project, VirtualKey):
    models.signals.post_save.connect(announce, sender=model)
    models.signals.post_delete.connect(announce, sender=model)
