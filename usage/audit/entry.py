"""The model of an entry in the audit log."""

from __future__ import annotations

from typing import Any, ClassVar

from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.utils import timezone


class ActorKind(models.TextChoices):
    USER = "user", "user"
    TOKEN = "token", "management token"
    CLI = "cli", "local command"
    KEY = "key", "virtual key"
    ANONYMOUS = "anonymous", "anonymous"
    SYSTEM = "system", "system"


class Result(models.TextChoices):
    OK = "ok", "ok"
    REFUSED = "refused", "refused"
    FAILED = "failed", "failed"


class AppendOnly(Exception):
    """The audit log cannot be edited. Only `manage.py audit prune` shortens it."""


class AuditEntry(models.Model):
    """An entry, which is written once. The database refuses to change or delete rows (`guard.py`), and so does this
    class.

    Names and ids are text without foreign keys, because entries outlive the objects that they are about.
    """

    created_at = models.DateTimeField(default=timezone.now, db_index=True)
    actor_kind = models.CharField(max_length=16, choices=ActorKind.choices)
    actor = models.CharField(max_length=200, blank=True, help_text="A user's name, a key's name and mask, …")
    action = models.CharField(max_length=64, help_text="`create`, `update`, `delete`, `revoke`, `login`, `request`, …")
    target_kind = models.CharField(max_length=64, blank=True)
    target_id = models.CharField(max_length=64, blank=True)
    target = models.CharField(max_length=200, blank=True, help_text="Its name then, for people.")
    result = models.CharField(max_length=8, choices=Result.choices, default=Result.OK)
    code = models.CharField(max_length=64, blank=True, help_text="Why it was refused.")
    status_code = models.PositiveSmallIntegerField(null=True)
    ip = models.GenericIPAddressField(null=True)
    request_id = models.CharField(max_length=64, blank=True, help_text="The answer's X-Request-ID.")
    changes: models.JSONField[Any, Any] = models.JSONField(
        default=dict, encoder=DjangoJSONEncoder, help_text="Field to its value before and after; secrets are masked."
    )

    class Meta:
        verbose_name = "audit entry"
        verbose_name_plural = "audit log"
        ordering: ClassVar = ["-id"]
        indexes: ClassVar = [
            models.Index(fields=["actor", "-id"], name="audit_by_actor"),
            models.Index(fields=["target_kind", "target_id", "-id"], name="audit_by_target"),
            models.Index(fields=["action", "-id"], name="audit_by_action"),
            models.Index(fields=["request_id"], condition=~models.Q(request_id=""), name="audit_by_request"),
        ]

    def __str__(self) -> str:
        return f"{self.actor or self.actor_kind}: {self.action} {self.target_kind} {self.target}".strip()

    def save(self, *args: Any, **kwargs: Any) -> None:
        if not self._state.adding:
            raise AppendOnly
        super().save(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        raise AppendOnly
