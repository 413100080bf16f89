"""Virtual keys: what programs authenticate with."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, ClassVar

from django.conf import settings
from django.db import models
from django.utils import timezone

from keys.models.alias import Aliased
from keys.models.announcing import announced
from keys.models.changing import Changing
from keys.models.key_set import VirtualKeyQuerySet
from keys.models.limited import Limited
from keys.models.project import Project
from keys.models.refusals import AlreadyRevoked
from keys.models.team import Team
from keys.models.validators import validate_alias, validate_object, validate_patterns, validate_strings
from keys.tokens import hash_secret, mask_token, new_salt, new_token, write_token

MOST_GRACE_S = 30 * 86_400
SECRET_FIELDS = (
    *("public_id", "salt", "secret_hash"),
    *("previous_public_id", "previous_salt", "previous_hash", "previous_until"),
)


@announced
class VirtualKey(Aliased, Limited, Changing):
    """A credential for programs. Its secret is stored only as a salted hash."""

    name = models.CharField(max_length=100)
    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="keys")
    # Who owns or pays for keys is not deleted from under them: their limits would go with them.
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="virtual_keys"
    )
    team = models.ForeignKey(Team, null=True, blank=True, on_delete=models.PROTECT, related_name="keys")
    public_id = models.CharField(max_length=16, unique=True, editable=False)
    salt = models.BinaryField(editable=False)
    secret_hash = models.BinaryField(editable=False)
    # The token before the last rotation, while its grace lasts.
    previous_public_id = models.CharField(max_length=16, unique=True, null=True, editable=False)
    previous_salt = models.BinaryField(null=True, editable=False)
    previous_hash = models.BinaryField(null=True, editable=False)
    previous_until = models.DateTimeField(null=True, editable=False)
    is_active = models.BooleanField(default=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    expiry_noted = models.DateTimeField(null=True, editable=False)
    """The `expires_at` that the audit log has been told to be over."""
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)
    allowed_models = models.JSONField(
        default=list,
        blank=True,
        validators=[validate_patterns],
        help_text='Names or globs, such as ["gpt-4.1-*"]. Empty: every model.',
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
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)
    total_requests = models.PositiveBigIntegerField(default=0, editable=False)

    objects = VirtualKeyQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["-id"]
        indexes: ClassVar = [
            models.Index(fields=["expires_at"], condition=models.Q(expires_at__isnull=False), name="key_by_expiry"),
        ]
        constraints: ClassVar = [
            *Limited.Meta.constraints,
            models.UniqueConstraint(
                fields=["project", "name"],
                condition=models.Q(revoked_at__isnull=True),  # the name of a key that is gone is free again
                name="key_name_unique_in_project",
                violation_error_message="This project has a key of that name already.",
                violation_error_code="duplicate_name",
            ),
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
        """`revoked`, `inactive` (the key is, or its owner), `expired` or `active`: the first that fits, which is what
        its requests are refused for.
        """
        if self.revoked_at is not None:
            return "revoked"
        if not self.is_active or (self.owner is not None and not self.owner.is_active):
            return "inactive"
        return "expired" if self.expires_at is not None and self.expires_at <= now else "active"

    def change(self, **fields: Any) -> None:
        """Set these settings and no other column: what others write meanwhile (a revocation, its use) stays.

        Raises `ValidationError`, and `AlreadyRevoked`: a revoked key stays as it is.
        """
        if self.revoked_at is not None:
            raise AlreadyRevoked(f"Key {self.name!r} is revoked, for good; mint another one.")
        super().change(**fields)

    def revoke(self) -> None:
        """Refuse it from now on, for good."""
        VirtualKey.objects.filter(pk=self.pk).revoke()
        self.refresh_from_db()

    def rotate(self, grace_s: int = 0) -> str:
        """Give it a new secret and return the new token; the public id changes with it.

        The old token dies at once, or after `grace_s` seconds; a token that an earlier rotation gave grace dies now.
        Raises `AlreadyRevoked`.
        """
        if self.revoked_at is not None:
            raise AlreadyRevoked(f"Key {self.name!r} is revoked, for good; mint another one.")
        if grace_s:
            self.previous_public_id, self.previous_salt, self.previous_hash = (
                self.public_id,
                self.salt,
                self.secret_hash,
            )
            self.previous_until = timezone.now() + timedelta(seconds=grace_s)
        else:
            self.previous_public_id = self.previous_salt = self.previous_hash = self.previous_until = None
        token, salt = new_token(), new_salt()
        self.public_id, self.salt, self.secret_hash = token.public_id, salt, hash_secret(token.secret, salt)
        self.save(update_fields=[*SECRET_FIELDS, "updated_at"])
        return write_token(token, settings.KEY_PREFIX)
